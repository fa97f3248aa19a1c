"""Strategies share processes by load: nothing is lost, nothing is over-full, and small changes move nobody."""

from __future__ import annotations

import asyncio
import os

from hypothesis import given
from hypothesis import strategies as st

from tidegate.ops.loads import Known, Meter, read_loads
from tidegate.ops.packing import EACH, HEADROOM, MEMORY, SLACK, Load, pack

LOADS = st.dictionaries(
    st.integers(0, 60).map(lambda n: f"s{n:02}"),
    st.one_of(st.none(), st.builds(Load, st.floats(0, 1.2), st.integers(0, MEMORY))),
    min_size=1,
)
CORES = st.integers(1, 8)


def known(loads: dict[str, Load | None]) -> dict[str, Load]:
    return {name: load for name, load in loads.items() if load is not None}


@given(LOADS, CORES)
def test_every_strategy_has_one_place_and_no_process_is_over_full(found, cores):
    loads = known(found)
    hosts = pack(list(found), loads, (), cores)
    assert sorted(name for host in hosts for name in host) == sorted(found)
    for host in hosts:
        if len(host) > 1:
            assert len(found) > cores * EACH
            assert sum(loads[name].cpu for name in host) <= HEADROOM  # a KeyError: an unknown one shares
            assert sum(loads[name].memory for name in host) <= MEMORY


@given(LOADS, CORES)
def test_packed_again_nothing_moves(found, cores):
    hosts = pack(list(found), known(found), (), cores)
    assert pack(list(found), known(found), hosts, cores) == hosts


@given(LOADS, CORES, st.randoms(use_true_random=False))
def test_a_small_change_of_load_moves_nobody(found, cores, random):
    loads = known(found)
    hosts = pack(list(found), loads, (), cores)
    step = SLACK / 2 / max(1, max(map(len, hosts)))
    moved = {n: Load(max(0.0, at.cpu + random.uniform(-step, step)), at.memory) for n, at in loads.items()}
    after = pack(list(found), moved, hosts, cores)
    assert [host for host in after if len(host) > 1] == [host for host in hosts if len(host) > 1]


@given(LOADS, LOADS, CORES)
def test_whatever_was_before_all_are_placed_within_bounds(before, found, cores):
    loads = known(found)
    first = pack(list(before), known(before), (), cores)
    hosts = pack(list(found), loads, first, cores)
    assert sorted(name for host in hosts for name in host) == sorted(found)
    for host in hosts:
        if len(host) > 1:
            assert sum(loads[name].cpu for name in host) <= HEADROOM + SLACK + 1e-9


def test_up_to_so_many_a_core_everybody_is_alone_then_the_small_ones_share():
    names = [f"s{n}" for n in range(8)]
    loads = {name: Load(0.01, 1 << 20) for name in names[:6]} | {
        name: Load(0.45, 1 << 20) for name in names[6:]
    }
    assert pack(names, loads, (), 4) == [[name] for name in names]
    hosts = pack(names, loads, (), 2)  # four processes: three at most share one
    assert ["s6", "s0", "s1"] not in hosts
    assert sorted(map(len, hosts)) == [2, 3, 3]
    assert not any({"s6", "s7"} <= set(host) for host in hosts)


def test_a_strategy_of_which_nothing_is_known_is_alone():
    hosts = pack(["a", "b", "c"], {"a": Load(0.1, 0), "c": Load(0.1, 0)}, (), 1)
    assert hosts == [["a", "c"], ["b"]]


def test_one_that_has_grown_too_large_for_its_process_moves_and_the_rest_stays():
    names = list("abcdef")
    loads = dict.fromkeys(names, Load(0.1, 0))
    before = [["a", "b", "c", "d"], ["e", "f"]]
    grown = {**loads, "a": Load(0.45, 0)}
    assert pack(names, grown, before, 1) == [["a", "b"], ["c", "d", "e", "f"]]


def test_loads_are_measured_and_kept(tmp_path):
    meter = Meter(tmp_path)
    health = {"services": {"strategy a": {"strategies": {"a": {"busy": 0}}},
                           "strategy b": {"strategies": {"b": {"busy": 0}}}}}  # fmt: skip
    meter.look("strategy-1", os.getpid(), health, 0.0)
    end = os.times()
    while sum(os.times()[:2]) - sum(end[:2]) < 0.12:
        pass
    health["services"]["strategy a"]["strategies"]["a"]["busy"] = 300
    health["services"]["strategy b"]["strategies"]["b"]["busy"] = 100
    meter.look("strategy-1", os.getpid(), health, 40.0)
    meter.keep()
    found = read_loads(tmp_path)
    assert found.hosts == [["a", "b"]]
    assert found.loads["a"].cpu == 3 * found.loads["b"].cpu > 0
    assert sum(load.cpu for load in found.loads.values()) >= 0.1 / 40
    assert read_loads(tmp_path / "nowhere") == Known()
    (tmp_path / "loads.json").write_text("{}}")
    assert read_loads(tmp_path) == Known()


def test_a_process_that_is_gone_leaves_no_figures(tmp_path):
    async def scenario() -> int:
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
        return process.pid

    meter = Meter(tmp_path)
    meter.look("strategy-1", asyncio.run(scenario()), {}, 0.0)
    meter.keep()
    assert read_loads(tmp_path) == Known()

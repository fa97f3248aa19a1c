"""Cells as the configuration says them: narrow before wide, one line for each mistake, strategies packed by load."""

from __future__ import annotations

import msgspec
import pytest

from tidegate import config as configuration
from tidegate.cli.cells import celled, check_cells, hosts_of
from tidegate.errors import UserError
from tidegate.ops.cell import Limits
from tidegate.ops.loads import FILE, Known
from tidegate.ops.packing import Load
from tidegate.ops.topology import Process

BASE = """
[data]
lake = "lake"
instruments = ["X.Y"]
[accounts.one]
capital = "1000"
[strategies.s]
type = "ema_cross"
account = "one"
[strategies.t]
type = "ema_cross"
account = "one"
"""


@pytest.fixture
def load(tmp_path):
    def read(more: str = "", base: str = BASE):
        path = tmp_path / "c.toml"
        path.write_text(base + more)
        return configuration.load(path)

    return read


def of(config, *roles: str, name: str = "strategy-s") -> Process:
    return celled(Process(name, ["true"]), roles, config, "c.toml")


def test_a_strategys_process_has_a_cell_without_a_word_of_it(load):
    found = of(load(), "strategy:s")
    assert found.cell == Limits(1 << 30, 1.0, 64, 256, 256 << 20)
    assert (found.hung_after, found.deaths, found.deaths_within, found.strategies) == (2.0, 5, 60.0, ("s",))
    assert of(load(), "strategy").strategies == ("s", "t")


def test_the_strategys_own_word_is_before_the_topologys_and_that_before_the_default(load):
    config = load(
        '[strategies.t.cell]\nmemory = "2GiB"\ncpu = "unlimited"\nprocesses = "unlimited"\n'
        '[topology.cell]\nmemory = "512MiB"\nfiles = 99\nhung_after = "5s"\ndeaths = 0\n'
    )
    assert of(config, "strategy:s").cell == Limits(512 << 20, 1.0, 64, 99, 256 << 20)
    found = of(config, "strategy:t")
    assert found.cell == Limits(2 << 30, None, None, 99, 256 << 20)
    assert (found.hung_after, found.deaths) == (5.0, 0)


def test_a_slot_for_new_versions_has_its_strategys_cell(load):
    config = load('[strategies.s.cell]\nmemory = "2GiB"\n')
    found = of(config, "strategy:s.next")
    assert found.cell is not None
    assert found.cell.memory == 2 << 30
    assert found.strategies == ("s.next",)


def test_several_in_one_process_have_what_each_has(load):
    config = load(
        '[strategies.t.cell]\nmemory = "2GiB"\nhung_after = "9s"\ndeaths = 2\nfiles = "unlimited"\n'
    )
    found = of(config, "strategy:s", "strategy:t")
    assert found.cell == Limits(3 << 30, 1.0, 128, None, 256 << 20)
    assert (found.hung_after, found.deaths, found.strategies) == (9.0, 5, ("s", "t"))


def test_other_processes_have_one_only_where_it_is_said(load):
    config = load('[topology.cells.oms]\nmemory = "4GiB"\n[topology.cells.feed-1]\nhung_after = "10s"\n')
    oms = of(config, "oms", name="oms-1")
    assert oms.cell == Limits(4 << 30, None, None, None, None)
    assert (oms.hung_after, oms.deaths, oms.strategies) == (30.0, 0, ())
    assert of(config, "feed", name="feed-1").hung_after == 10.0
    assert of(config, "gateway", name="gateway-1").cell is None
    assert of(config, "feed", "strategy", "oms", name="feed-strategy-oms").strategies == ()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            '[topology.cell]\nmemory = "1"',
            "c.toml: topology.cell.memory: '1' is no size; write it as in 512MiB",
        ),
        ('[strategies.s.cell]\ncpu = "half"', "c.toml: strategies.s.cell.cpu: 'half' is no share"),
        ("[topology.cell]\nprocesses = 0", "c.toml: topology.cell.processes: 0 is no count"),
        ('[topology.cell]\nfiles = "many"', "c.toml: topology.cell.files: 'many' is no count"),
        ('[topology.cell]\nhung_after = "soon"', "c.toml: topology.cell.hung_after: "),
        ("[topology.cell]\ndeaths = -1", "c.toml: topology.cell.deaths is -1, must be 0"),
    ],
)
def test_each_mistake_is_one_line(load, more, words):
    with pytest.raises(UserError) as told:
        of(load(more), "strategy:s")
    assert str(told.value).startswith(words)
    assert "\n" not in str(told.value)


def test_a_cell_of_a_process_that_is_not_there_names_the_nearest(load):
    config = load('[topology.cells.gatway]\nmemory = "1GiB"\n')
    with pytest.raises(
        UserError, match=r"topology\.cells\.gatway: no such process or role; did you mean 'gateway'"
    ):
        check_cells(config, ["gateway-1"], "c.toml")


def test_an_unknown_word_for_how_strategies_share_is_one_line(load):
    with pytest.raises(UserError, match=r"topology\.strategies is 'some', must be auto or each"):
        load('[topology]\nstrategies = "some"\n')


def test_strategies_are_packed_by_what_was_kept_unless_each_is_asked_for(load, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    base = BASE + '[strategies.u]\ntype = "ema_cross"\naccount = "one"\n'
    assert hosts_of(load(base=base), tmp_path) == [["s"], ["t"], ["u"]]  # nothing is known yet
    known = Known({name: Load(0.1, 1 << 20) for name in "stu"}, [])
    (tmp_path / FILE).write_bytes(msgspec.json.encode(known))
    assert hosts_of(load(base=base), tmp_path) == [["s", "t", "u"]]
    assert hosts_of(load('[topology]\nstrategies = "each"\n', base), tmp_path) == [["s"], ["t"], ["u"]]
    slotted = base.replace("[strategies.t]", '[strategies.t]\ncanary = "10%"')
    assert hosts_of(load(base=slotted), tmp_path) == [["s", "u"], ["t"]]

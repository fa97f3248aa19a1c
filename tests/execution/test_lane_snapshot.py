"""Snapshots: the whole state, the same bytes for the same state, and nothing else taken for one."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from lane_faults import MAX_QTY, FaultyWorld
from lane_world import CountingGate, SummingLedger, lane, new, universe
from test_lane_machine import one_step

from tidegate.execution.core import Lane
from tidegate.model.instrument import Universe
from tidegate.model.messages import Report, Tick
from tidegate.model.order import ExecType


def story(seed: int, steps: int = 200) -> FaultyWorld:
    world, rng = FaultyWorld(), random.Random(seed)
    for _ in range(steps):
        one_step(world, rng)
    return world


def restored(data: bytes) -> Lane:
    return Lane.restore(data, universe(), CountingGate(MAX_QTY), SummingLedger())


@pytest.mark.parametrize("seed", range(4))
def test_a_restored_lane_is_the_lane_and_answers_alike(seed):
    world = story(seed)
    again = restored(world.lane.snapshot())
    assert again.snapshot() == world.lane.snapshot()
    for key, order in world.lane.state.live.items():
        assert again.state.live[key] == order
    for message in [Tick(world.now + 10**12), *world.log[-50:]]:
        assert again.apply(message) == world.lane.apply(message)
    assert again.state_hash() == world.lane.state_hash()


def test_any_prefix_and_the_rest_of_the_log_give_the_same_state():
    world = story(11, 120)
    whole = world.lane.state_hash()
    prefix = FaultyWorld().lane
    for at, message in enumerate(world.log):
        if at % 17 == 0:
            rest = restored(prefix.snapshot())
            for later in world.log[at:]:
                rest.apply(later)
            assert rest.state_hash() == whole
        prefix.apply(message)


def test_the_hash_sees_every_part_of_the_state():
    world = story(5)
    base = world.lane.state_hash()
    state = world.lane.state
    order = next(iter(state.live.values()))
    for obj, name in ((order, "deadline"), (order, "venue_cum"), (order, "version"), (state, "seq")):
        setattr(obj, name, getattr(obj, name) + 1)
        assert world.lane.state_hash() != base, name
        setattr(obj, name, getattr(obj, name) - 1)
    state.gate.positions[0] = state.gate.positions.get(0, 0) + 1
    assert world.lane.state_hash() != base
    state.gate.positions[0] -= 1
    state.ledger.funded += 1
    assert world.lane.state_hash() != base


def test_the_hash_is_the_same_in_another_process():
    program = "from test_lane_snapshot import story; print(story(3, 80).lane.state_hash())"
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(here), "PATH": ""},
    )  # fmt: skip
    assert run.stdout.strip() == story(3, 80).lane.state_hash()


def test_what_is_no_snapshot_is_an_error():
    for data in (b"", b"nonsense", msgspec.msgpack.encode([1, 2])):
        with pytest.raises(ValueError, match="not a lane snapshot"):
            restored(data)


def test_a_snapshot_of_another_format_is_an_error():
    fields = msgspec.msgpack.decode(lane().snapshot())
    fields[0] = 99
    with pytest.raises(ValueError, match="format 99"):
        restored(msgspec.msgpack.encode(fields))


def test_a_snapshot_over_other_instruments_is_an_error():
    data = lane().snapshot()
    fewer = Universe(universe().instruments[:2])
    with pytest.raises(ValueError, match="other instruments"):
        Lane.restore(data, fewer, CountingGate(), SummingLedger())


def test_closed_orders_do_not_pile_up():
    world = lane()
    for n in range(1, 400):
        world.apply(new(n))
        world.apply(Report(2, 3 << 40 | n, ExecType.CANCELED))
    state = world.state
    assert len(state.closed) == len(state.by_cmd) == state.settings.history
    assert (state.groups, state.links, state.waiting, state.owed) == ({}, {}, {}, {})

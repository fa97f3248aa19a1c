"""Nobody says in a lane what is not his to say: a strategy only commands, and only its own orders."""

from __future__ import annotations

import pytest
from lane_world import lane, new, sends

from tidegate.execution.core import Lane
from tidegate.execution.lane_door import CMD_SHIFT, command_subject
from tidegate.execution.lane_log import fold
from tidegate.log.base import Entry
from tidegate.model.messages import (
    CancelAll,
    CancelOrder,
    LaneEpoch,
    Mark,
    Message,
    ReplaceOrder,
    Report,
    ScopeState,
    SendNew,
    Tick,
)
from tidegate.model.order import ExecType
from tidegate.model.wire import Unreadable, pack
from tidegate.risk.reasons import Reason

MINE, OTHERS = 2, 5
HOUSE = "lane.3.cmd"


def said(world: Lane, subject: str, *messages: Message) -> list[Message]:
    """What follows from an entry."""
    _, steps = fold(world, Entry(1, 0, subject, pack(list(messages), ts=1, lane=3)))
    return [out for step in steps for out in step.outputs]


def refused(world: Lane, subject: str, *messages: Message) -> str:
    """That the entry is refused as a whole and counted; why."""
    before, count = world.snapshot(), world.counts.get(Reason.FOREIGN_COMMAND, 0)
    with pytest.raises(Unreadable) as caught:
        said(world, subject, *messages)
    assert world.counts[Reason.FOREIGN_COMMAND] == count + 1
    world.state.counts[Reason.FOREIGN_COMMAND] = count
    if not count:
        del world.state.counts[Reason.FOREIGN_COMMAND]
    assert world.snapshot() == before
    return str(caught.value)


def order_of(strategy: int, count: int = 1, **more: int) -> Message:
    return new(strategy << CMD_SHIFT | count, strategy=strategy, **more)


def world_with_orders() -> Lane:
    """A lane with one order of ours and one of another strategy."""
    world = lane()
    for strategy in (MINE, OTHERS):
        said(world, command_subject(3, strategy), order_of(strategy))
    return world


def test_a_strategy_commands_its_own_orders():
    world = lane()
    subject = command_subject(3, MINE)
    assert subject == "lane.3.cmd.2"
    out = said(world, subject, order_of(MINE))
    key = sends(out, SendNew)[0].cl_ord_id
    world.apply(Report(2, key, ExecType.NEW, ts_venue=2))
    assert sends(said(world, subject, ReplaceOrder(3, MINE << CMD_SHIFT | 1, qty=5)))
    world.apply(Report(4, key, ExecType.REPLACED, ts_venue=4, qty=5, price=100))
    assert sends(said(world, subject, CancelOrder(5, MINE << CMD_SHIFT | 1)))
    assert said(world, subject, CancelAll(6, strategy=MINE)) is not None


@pytest.mark.parametrize(
    "message",
    [
        order_of(OTHERS, 7),
        new(OTHERS << CMD_SHIFT | 7, strategy=MINE),  # would take the other's next id
        new(MINE << CMD_SHIFT | 7, strategy=OTHERS),
        order_of(MINE, 7, parent_cmd_id=OTHERS << CMD_SHIFT | 1),
        CancelOrder(3, OTHERS << CMD_SHIFT | 1),
        ReplaceOrder(3, OTHERS << CMD_SHIFT | 1, qty=1),
        CancelAll(3),
        CancelAll(3, strategy=OTHERS),
    ],
)
def test_a_strategy_commands_nobody_elses_orders(message):
    world = world_with_orders()
    assert "another strategy's" in refused(world, command_subject(3, MINE), message)


def test_one_foreign_command_in_an_entry_refuses_all_of_it():
    world = world_with_orders()
    refused(world, command_subject(3, MINE), order_of(MINE, 2), CancelOrder(3, OTHERS << CMD_SHIFT | 1))
    assert world.by_command(MINE << CMD_SHIFT | 2) is None


def test_the_house_commands_all_orders():
    world = world_with_orders()
    assert len(sends(said(world, HOUSE, CancelAll(3)))) == 2


FACTS = [
    Report(3, 3 << 40 | 1, ExecType.NEW),
    ScopeState(3, 0, 0),
    Mark(3, 0, 99, 101),
    Tick(3),
    LaneEpoch(3, 9, "mallory"),
]


@pytest.mark.parametrize("subject", [command_subject(3, MINE), HOUSE])
@pytest.mark.parametrize("message", FACTS, ids=lambda m: type(m).__name__)
def test_a_command_is_no_fact(subject, message):
    assert "no command" in refused(world_with_orders(), subject, message)


@pytest.mark.parametrize(
    "message", [*FACTS[1:], order_of(MINE, 7), CancelAll(3)], ids=lambda m: type(m).__name__
)
def test_gateways_only_report(message):
    refused(world_with_orders(), "lane.3.rpt", message)


def test_an_epoch_is_only_the_writers_to_begin():
    world = lane()
    for subject in ("lane.3.sys", "lane.3.rpt", HOUSE):
        refused(world, subject, LaneEpoch(3, 9, "mallory"))
    assert said(world, "lane.3.epoch", LaneEpoch(3, 9, "oms")) == []
    refused(world, "lane.3.epoch", Tick(3))


@pytest.mark.parametrize(
    "subject", ["lane.3.cmd.x", "lane.3.cmd.2.3", "lane.3.other", "lane.3.cmd.-1", "lane.3.rpt.2"]
)
def test_no_other_subject_says_anything(subject):
    for message in (order_of(MINE, 7), Tick(3), FACTS[0]):
        refused(world_with_orders(), subject, message)

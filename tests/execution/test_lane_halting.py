"""A halt in the lane: its scope's orders are cancelled, and what passes later says under which epoch it was checked."""

from __future__ import annotations

from decimal import Decimal

import pytest
from lane_world import MS, new, sends, universe
from test_lane_gate import SCOPES, gate, gated

from tidegate.execution.core import Lane
from tidegate.model.messages import (
    Mark,
    ReplaceOrder,
    Report,
    ScopeState,
    SendCancel,
    SendNew,
    SendReplace,
    Tick,
)
from tidegate.model.order import ExecType, OrdStatus
from tidegate.risk.ledger import Ledger
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import Level, State

MAIN, OTHER = (SCOPES.number(Level.ACCOUNT, name) for name in ("main", "other"))
S1 = SCOPES.number(Level.STRATEGY, "s1")


def placed(lane: Lane) -> dict[str, int]:
    """Orders of two accounts, two strategies and two instruments, acknowledged; by a name for each."""
    kinds = {
        "main": {"account": 0}, "other": {"account": 1}, "s1": {"account": 0, "strategy": 1},
        "c1": {"account": 0, "instrument": 1},
    }  # fmt: skip
    keys = {}
    lane.apply(Mark(1, 1, 100, 102))
    for n, (name, more) in enumerate(kinds.items(), 1):
        (sent,) = sends(lane.apply(new(n, **more)), SendNew)
        keys[name] = sent.cl_ord_id
        lane.apply(Report(1, sent.cl_ord_id, ExecType.NEW))
    return keys


@pytest.mark.parametrize("state", [State.CANCEL_ONLY, State.KILLED])
@pytest.mark.parametrize(
    ("halt", "cancelled"),
    [
        ({"scope": 0}, {"main", "other", "s1", "c1"}),
        ({"scope": MAIN}, {"main", "s1", "c1"}),
        ({"scope": OTHER}, {"other"}),
        ({"scope": S1}, {"s1"}),
        ({"scope": -1, "instrument": 1}, {"c1"}),
    ],
)
def test_the_orders_of_the_scope_are_cancelled_and_no_others(halt, cancelled, state):
    lane = gated()
    keys = placed(lane)
    out = lane.apply(ScopeState(5, state=state, epoch=7, **halt))
    assert {cancel.cl_ord_id for cancel in sends(out, SendCancel)} == {keys[name] for name in cancelled}
    assert lane.apply(ScopeState(6, state=state, epoch=7, **halt)) == [], "twice is once"
    assert {order.status for order in lane.open_orders()} <= {OrdStatus.NEW, OrdStatus.PENDING_CANCEL}


def test_a_state_that_comes_late_changes_nothing():
    """A writer that was asleep tells what it had in hand: the scope was halted again since."""
    lane = gated()
    lane.apply(ScopeState(5, MAIN, State.KILLED, epoch=7, at=7))
    lane.apply(ScopeState(6, MAIN, State.RECOVERING, epoch=7, at=8))
    lane.apply(ScopeState(7, MAIN, State.KILLED, epoch=9, at=9))
    before = lane.state.gate.state_bytes()
    assert lane.apply(ScopeState(8, MAIN, State.RECOVERING, epoch=7, at=8)) == []
    assert lane.state.gate.state_bytes() == before
    assert lane.state.counts[Reason.STALE_COMMAND] == 1
    again = Lane.restore(lane.snapshot(), universe(), gate(), Ledger(universe()))
    again.apply(ScopeState(9, MAIN, State.RECOVERING, epoch=7, at=8))
    assert again.state.gate.scope_state(MAIN) is State.KILLED, "a snapshot keeps what it was told"
    again.apply(ScopeState(10, MAIN, State.RECOVERING, epoch=9, at=11))
    assert again.state.gate.scope_state(MAIN) is State.RECOVERING
    lane.apply(ScopeState(9, -1, State.KILLED, instrument=1, epoch=3, at=3))
    assert lane.state.gate.instrument_state(1) is State.KILLED, "an instrument has a place of its own"


def test_reduce_only_cancels_nothing():
    lane = gated()
    placed(lane)
    assert lane.apply(ScopeState(5, 0, State.REDUCE_ONLY, epoch=7)) == []


def test_orders_in_flight_and_unknown_ones_are_cancelled_and_children_that_wait_are_over():
    lane = gated()
    lane.apply(new(1))
    lane.apply(Tick(1000 * MS))
    assert lane.by_command(1).status is OrdStatus.UNKNOWN
    lane.apply(new(2, ts=1000 * MS))
    lane.apply(new(3, ts=1000 * MS, parent_cmd_id=2))
    assert lane.by_command(3).status is OrdStatus.CREATED
    out = lane.apply(ScopeState(1001 * MS, 0, State.KILLED, epoch=3))
    asked = {cancel.cl_ord_id for cancel in sends(out, SendCancel)}
    assert asked == {lane.by_command(n).cl_ord_id for n in (1, 2)}
    child = lane.by_command(3)
    assert (child.status, child.reason) == (OrdStatus.CANCELED, Reason.SCOPE_KILLED)
    # The parent fills all the same: nothing is released for it.
    filled = Report(
        1002 * MS, lane.by_command(2).cl_ord_id, ExecType.TRADE, exec_id=1, last_qty=10, last_px=100
    )
    assert not sends(lane.apply(filled), SendNew)
    lane.check()


def test_a_cancel_that_the_throttle_forbids_is_sent_later():
    lane = gated(cancels_per_second=Decimal(1))
    for n in (1, 2):
        (sent,) = sends(lane.apply(new(n)), SendNew)
        lane.apply(Report(1, sent.cl_ord_id, ExecType.NEW))
    assert len(sends(lane.apply(ScopeState(5, 0, State.KILLED)), SendCancel)) == 1
    assert len(sends(lane.apply(Tick(2000 * MS)), SendCancel)) == 1


def test_what_is_sent_says_whose_it_is_and_the_last_halt_it_was_checked_after():
    lane = gated()
    lane.apply(ScopeState(1, S1, State.KILLED, epoch=7))
    lane.apply(ScopeState(2, S1, State.RECOVERING, epoch=7))
    lane.apply(ScopeState(3, OTHER, State.ACTIVE, epoch=4))
    (sent,) = sends(lane.apply(new(1, strategy=2)), SendNew)
    assert (sent.strategy, sent.halt_epoch) == (2, 7)
    lane.apply(Report(4, sent.cl_ord_id, ExecType.NEW))
    (changed,) = sends(lane.apply(ReplaceOrder(5, 1, qty=5)), SendReplace)
    assert (changed.strategy, changed.halt_epoch) == (2, 7)


def test_a_halt_of_what_does_not_exist_cancels_nothing():
    lane = gated()
    placed(lane)
    assert lane.apply(ScopeState(5, 99, State.KILLED)) == []
    assert lane.counts[Reason.INVALID_CONTROL] == 1

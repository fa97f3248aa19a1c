"""The lane over the real gate and the real ledger: the same stories, and their own books compared with it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from lane_faults import FaultyWorld
from lane_world import SETTINGS, new, sends, universe
from test_lane_machine import run_seed

from tidegate.execution.core import Lane
from tidegate.kernel.gate_state import C_POS, L_OPEN
from tidegate.model.messages import CancelOrder, Funding, Mark, Report, ScopeState, SendCancel, SendNew
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import unlimited
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import Account, ScopeTable, State, StrategyScope

NAMES = ("main", "other")
SCOPES = ScopeTable(
    [Account(name=name, capital=Decimal(10**9)) for name in NAMES],
    [StrategyScope(name=f"s{n}", accounts=NAMES) for n in range(4)],
)


def gate(**firm) -> Gate:
    """Everything unlimited but what is said."""
    limits = unlimited()
    limits = msgspec.structs.replace(limits, firm=msgspec.structs.replace(limits.firm, **firm))
    return Gate(universe(), SCOPES, limits, open_orders=256)


def real_parts() -> tuple[Gate, Ledger]:
    return gate(order_qty=Decimal("0.040"), cancels_per_second=Decimal(40)), Ledger(universe())


def charges(gate: Gate) -> dict[int, int]:
    """Lots the gate holds open, by order."""
    slots = gate.state.slot
    return {key: int(slots[at, L_OPEN]) for key, at in gate._slot.items()}


class GatedWorld(FaultyWorld):
    """Compares the gate's own books after every step."""

    def holds(self) -> None:
        super().holds()
        state = self.lane.state
        expected = {
            key: max(order.leaves_qty, order.pending_qty - order.cum_qty)
            for key, order in state.live.items()
            if order.sent
        }
        assert charges(state.gate) == {key: lots for key, lots in expected.items() if lots}
        booked = [0, 0, 0]
        for (_, _, instrument), position in state.ledger.positions():
            booked[instrument] += position.lots
        assert [int(state.gate.state.cell[n, C_POS]) for n in range(3)] == booked
        orders = [*state.live.values(), *state.closed.values()]
        if len(state.closed) < SETTINGS.history:
            held = [sum((3 - 2 * o.side) * o.cum_qty for o in orders if o.instrument == n) for n in range(3)]
            assert held == booked
            fees = sum(fill[2] for order in orders for fill in (order.fills or {}).values())
            assert fees == sum(position.fees for _, position in state.ledger.positions())


@pytest.mark.parametrize("seed", range(12))
def test_a_long_run_of_faults_leaves_the_real_gate_with_what_is_open(seed):
    world = run_seed(seed, 250, make=GatedWorld, parts=real_parts)
    assert charges(world.lane.state.gate) == {}


def gated(**firm) -> Lane:
    lane = Lane(3, universe(), gate(**firm), Ledger(universe()), SETTINGS)
    lane.apply(Mark(1, 0, 100, 102))
    return lane


def test_a_denial_carries_the_gates_figures():
    lane = gated(order_qty=Decimal("0.005"))
    (told,) = lane.apply(new(1, qty=6))
    assert (told.status, told.reason) == (OrdStatus.DENIED, Reason.MAX_ORDER_QTY)
    assert (told.limit, told.value, told.scope) == (5, 6, 0)
    assert lane.counts == {Reason.MAX_ORDER_QTY: 1}


def test_a_killed_firm_trades_no_more():
    lane = gated()
    lane.apply(ScopeState(2, 0, State.KILLED))
    (told,) = lane.apply(new(2))
    assert told.reason == Reason.SCOPE_KILLED


def test_what_is_only_to_be_reduced_may_still_be_cancelled():
    lane = gated()
    lane.apply(new(1))
    assert lane.apply(ScopeState(2, 0, State.REDUCE_ONLY)) == []
    assert sends(lane.apply(CancelOrder(3, 1)), SendCancel)


def test_a_child_that_waits_at_the_kill_is_never_released():
    lane = gated()
    key = sends(lane.apply(new(1)), SendNew)[0].cl_ord_id
    lane.apply(new(2, parent_cmd_id=1))
    lane.apply(ScopeState(2, 0, State.KILLED))
    lane.apply(Report(3, key, ExecType.TRADE, exec_id=1, last_qty=10, last_px=100))
    child = lane.by_command(2)
    assert (child.status, child.reason) == (OrdStatus.CANCELED, Reason.SCOPE_KILLED)


def test_a_snapshot_holds_the_gate():
    world = run_seed(2, 120, make=GatedWorld, parts=real_parts)
    again = Lane.restore(world.lane.snapshot(), universe(), *real_parts())
    assert again.state_hash() == world.lane.state_hash()
    for cmd_id in (10**6, 10**6 + 1):
        order = new(cmd_id, qty=7, ts=world.now)
        assert again.apply(order) == world.lane.apply(order)
    assert charges(again.state.gate) == charges(world.lane.state.gate) != {}


def test_money_is_booked_to_the_last_unit():
    lane = gated()
    keys = [sends(lane.apply(new(n, side=Side(n))), SendNew)[0].cl_ord_id for n in (1, 2)]
    for exec_id, (key, price, fee) in enumerate(zip(keys, (100, 103), (7, 5), strict=True), 1):
        lane.apply(
            Report(3, key, ExecType.TRADE, exec_id=exec_id, last_qty=10, last_px=price, fee=fee, cum_qty=10)
        )
    position = lane.state.ledger.position(1, 2, 0)
    per_tick = 10 * 1_000  # lots × (0.01 × 0.001 in units of 1e-8)
    assert (position.lots, position.realised, position.fees) == (0, 3 * per_tick, 12)
    assert lane.state.ledger.balance(1, "USDT") == 3 * per_tick - 12
    lane.apply(
        Report(4, keys[1], ExecType.TRADE_CORRECT, exec_id=9, ref_exec_id=2, last_qty=10, last_px=101, fee=5)
    )
    assert lane.state.ledger.balance(1, "USDT") == per_tick - 12
    lane.apply(Report(5, keys[1], ExecType.TRADE_CANCEL, exec_id=10, ref_exec_id=9))
    assert position.lots == 10
    assert lane.state.ledger.balance(1, "USDT") == -7


def test_funding_is_paid_on_what_is_held():
    lane = gated()
    key = sends(lane.apply(new(1)), SendNew)[0].cl_ord_id
    lane.apply(Report(3, key, ExecType.TRADE, exec_id=1, last_qty=10, last_px=100))
    lane.apply(Funding(4, 0, 1_000_000, 100))
    assert lane.state.ledger.balance(1, "USDT") == -10_000

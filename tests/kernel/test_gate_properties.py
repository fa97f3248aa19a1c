"""What holds of the gate whatever is asked of it, by hypothesis: limits are never passed, denials leave nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.gate_world import BASE, FX, SCOPES, START, UNIVERSE

from tidegate.kernel import gate_state as g
from tidegate.model.order import Order, OrdType, Side, TimeInForce
from tidegate.risk.gate import Gate
from tidegate.risk.limits import Limits

LOTS, ORDERS, VALUE = 60, 6, 9_000
_TIGHT = {"position": "0.06", "open_orders": ORDERS, "open_value": VALUE}
N = len(UNIVERSE)

asks = st.tuples(
    st.just("ask"), st.integers(0, 2), st.sampled_from((1, -1)), st.integers(1, 70), st.integers(-40, 40)
)
replaces = st.tuples(
    st.just("replace"), st.integers(0, 30), st.integers(1, 90), st.integers(-40, 40), st.booleans()
)
fills = st.tuples(st.just("fill"), st.integers(0, 30), st.integers(1, 70))
ends = st.tuples(st.just("end"), st.integers(0, 30))
moves = st.lists(st.one_of(asks, asks, replaces, fills, ends), max_size=50)


def tight() -> Gate:
    limits = Limits.load(
        {
            "firm": {"trade": ["*"], "sides": ["buy", "sell"], "order_types": ["limit"], "time_in_force": ["gtc"]}
            | dict.fromkeys(
                ("order_qty", "order_value", "parent_value", "price_collar", "dynamic_collar", "period_drift",
                 "max_age", "duplicate_orders", "gross", "net", "loss", "drawdown", "traded_value"), "unlimited",
            ) | _TIGHT | {"self_match": True},
            **{
                level: {"*": dict.fromkeys(
                    ("orders_per_second", "cancels_per_second", "gross", "net", "margin_buffer", "loss", "drawdown",
                     "traded_value"), "unlimited") | _TIGHT}
                for level in ("accounts", "strategies")
            },
        }
    )  # fmt: skip
    return Gate(UNIVERSE, SCOPES, limits, base_currency=BASE, fx=FX)


class Run:
    """A gate, and the orders it let pass."""

    def __init__(self) -> None:
        self.gate, self.live, self.number = tight(), list[Order](), 0

    def ref(self) -> tuple[int, int, int, int]:
        return 119_999, 120_001, START, START

    def do(self, move: tuple[Any, ...]) -> None:
        match move:
            case ("ask", strategy, sign, lots, away):
                self.number += 1
                order = Order(
                    cl_ord_id=self.number, cmd_id=self.number, account=2 if strategy == 2 else 0, strategy=strategy,
                    instrument=0, side=Side.BUY if sign > 0 else Side.SELL, ord_type=OrdType.LIMIT,
                    time_in_force=TimeInForce.GTC, qty=lots, leaves_qty=lots, price=120_000 + away,
                )  # fmt: skip
                before = self.figures()
                if self.gate.check(order, *self.ref()) == 0:
                    self.live.append(order)
                else:
                    assert self.figures() == before, "a denial left something behind"
            case ("replace", n, lots, away, accepted) if self.live:
                order = self.live[n % len(self.live)]
                before = self.figures()
                if self.gate.check_replace(order, order.cum_qty + lots, 120_000 + away, *self.ref()):
                    assert self.figures() == before
                    return
                self.within()
                if accepted:
                    order.qty, order.price, order.leaves_qty = order.cum_qty + lots, 120_000 + away, lots
                    self.gate.replaced(order, order.qty, order.price, START)
                else:
                    self.gate.replace_rejected(order, order.cum_qty + lots, 120_000 + away, START)
            case ("fill", n, lots) if self.live:
                order = self.live[n % len(self.live)]
                lots = min(lots, order.leaves_qty)
                self.gate.fill(order, lots, order.price, 0, START)
                order.cum_qty += lots
                order.leaves_qty -= lots
                self.live = [o for o in self.live if o.leaves_qty]
            case ("end", n) if self.live:
                order = self.live.pop(n % len(self.live))
                self.gate.release(order, order.leaves_qty, START)

    def figures(self) -> list[bytes]:
        return [self.gate.state.scope.tobytes(), self.gate.state.cell.tobytes()]

    def within(self) -> None:
        """Every scope, were every open order to fill, is within its limits."""
        scope, cell = self.gate.state.scope, self.gate.state.cell[::N]
        assert (cell[:, g.C_POS] + cell[:, g.C_BUYS] <= LOTS).all()
        assert (cell[:, g.C_SELLS] - cell[:, g.C_POS] <= LOTS).all()
        assert (scope[[0, 2, 3, 4, 5, 6, 7], g.P_ORDERS] <= ORDERS).all()
        assert (scope[[0, 2, 3, 4, 5, 6, 7], g.P_OPEN] <= VALUE * g.MICRO).all()


@given(moves)
@settings(max_examples=150, deadline=None)
def test_no_sequence_of_orders_replaces_and_fills_passes_a_limit(sequence: list[tuple[Any, ...]]) -> None:
    run = Run()
    for move in sequence:
        run.do(move)
        run.within()
    lots = {(o.strategy, o.side): 0 for o in run.live}
    for order in run.live:
        lots[order.strategy, order.side] += order.leaves_qty
    for (strategy, side), total in lots.items():
        row = SCOPES.strategy_scope(strategy) * N
        assert run.gate.state.cell[row, g.C_BUYS if side is Side.BUY else g.C_SELLS] == total
    assert run.gate.state.slot[0, g.H_USED] == len(run.live)


@given(moves)
@settings(max_examples=60, deadline=None)
def test_what_was_charged_is_released_to_the_last_micro_unit(sequence: list[tuple[Any, ...]]) -> None:
    run = Run()
    for move in sequence:
        run.do(move)
    for order in run.live:
        run.gate.release(order, order.leaves_qty, START)
    assert not run.gate.state.scope[:, [g.P_ORDERS, g.P_OPEN]].any()
    assert not run.gate.state.cell[:, [g.C_BUYS, g.C_SELLS, g.C_BIDS, g.C_ASKS]].any()

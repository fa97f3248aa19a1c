"""The first thing of a day, whatever it is, begins it: no figure of the day before is counted in it, and none of its own
in that."""

from __future__ import annotations

import pytest
from gate_desk import BTC, FIRM, MAIN, MM, SECOND, T0, Desk

from tidegate.kernel import gate_state as g
from tidegate.model.time import DAY
from tidegate.risk.ledger import NOBODY

NEXT = (T0 // DAY + 1) * DAY + 1
ALL = (MM, MAIN, FIRM)


def lost() -> Desk:
    """A thousand lots bought, and some 600 USDT down on them, on the day before `NEXT`."""
    desk = Desk()
    desk.mark()
    desk.trade(1_000, 600_010)
    desk.move(594_000, 594_010)
    assert all(loss(desk, s) == 601 for s in ALL)
    assert all(desk.gate.state.scope[s, g.P_TRADED] > 0 for s in ALL)
    desk.ts = NEXT
    return desk


def loss(desk: Desk, scope: int) -> int:
    row = desk.gate.state.scope[scope]
    return int(row[g.P_DAY_PNL] - row[g.P_PNL]) // g.MICRO


@pytest.mark.parametrize("strategy", [0, NOBODY])
def test_an_adoption_is_the_first_event_of_a_day(strategy: int) -> None:
    desk, other = lost(), lost()
    peak = int(desk.gate.state.scope[FIRM, g.P_PEAK])
    desk.gate.adopt(0, strategy, BTC, 10, 594_000, desk.ts)
    assert [loss(desk, s) for s in ALL] == [0, 0, 0]
    assert [int(desk.gate.state.scope[s, g.P_TRADED]) for s in ALL] == [0, 0, 0]
    assert desk.gate.state.scope[FIRM, g.P_PEAK] == peak, "the drawdown is not forgiven"
    other.mark()
    other.gate.adopt(0, strategy, BTC, 10, 594_000, other.ts)
    figures = [g.P_TRADED, g.P_DAY_PNL, g.P_PNL, g.P_PEAK]
    assert (desk.gate.state.scope[:, figures] == other.gate.state.scope[:, figures]).all(), (
        "as if a mark had begun it"
    )


def test_a_fill_that_is_the_first_of_a_day_counts_among_its_trades() -> None:
    desk = Desk()
    desk.mark()
    order = desk.order(10, 600_000)
    assert desk.check(order) == 0
    desk.gate.fill(order, 4, 600_000, 0, NEXT)
    cell = desk.gate.state.cell[MAIN * len(desk.gate.universe) + BTC]
    assert cell[[g.C_TRADES, g.C_TRADED_LOTS, g.C_SENT]].tolist() == [1, 4, 0]


def test_a_cancel_that_is_the_first_of_a_day_counts_among_its_orders() -> None:
    desk = Desk()
    desk.mark()
    order = desk.order(10, 600_000)
    assert desk.check(order) == 0
    assert desk.gate.check_cancel(order, NEXT) == 0
    desk.ts = NEXT + SECOND
    desk.mark()
    cell = desk.gate.state.cell[MAIN * len(desk.gate.universe) + BTC]
    assert cell[[g.C_SENT, g.C_SENT_LOTS]].tolist() == [1, 10]

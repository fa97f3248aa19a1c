"""Two incidents replayed: the gate stops each with the controls that the catalogue names."""

from __future__ import annotations

from collections import Counter

from gate_desk import FIRM, MM, SECOND, Desk

from tidegate.kernel.gate_state import I_MAX_QTY, UNLIMITED
from tidegate.model.order import TimeInForce
from tidegate.risk.reasons import Reason as R

USDT = 1_000_000


def runaway(desk: Desk, seconds: int, gap: int, vary: bool) -> Counter[int]:
    """Child orders without end, bought at the offer and sold at the bid, each filled at once."""
    reasons: Counter[int] = Counter()
    stop, n = desk.ts + seconds * SECOND, 0
    while desk.ts < stop:
        n += 1
        side, price = (1, 600_010) if n % 2 else (-1, 600_000)
        lots = 200 + (n % 150 if vary else 0)
        order = desk.order(side * lots, price, time_in_force=TimeInForce.IOC)
        reason = desk.check(order)
        if reason == R.NONE:
            desk.gate.fill(order, order.qty, price, 0, desk.ts)
        reasons[reason] += 1
        desk.ts += gap
    return reasons


def test_knight_2012_08_01_identical_children_are_stopped_as_duplicates_within_a_second() -> None:
    # 212 parents became over four million children in 45 minutes: some 1,500 a second.
    desk = Desk()
    reasons = runaway(desk, seconds=1, gap=SECOND // 1_500, vary=False)
    assert reasons[R.NONE] == 6, "three buys and three sells in the window, then no more"
    assert reasons.total() >= 1_500
    assert reasons[R.DUPLICATE_ORDER] == reasons.total() - 6


def test_knight_children_that_differ_are_stopped_by_throttle_and_traded_value() -> None:
    desk = Desk(
        strategies={"*": {"orders_per_second": 100, "order_burst": 20}},
        accounts={"*": {"traded_value": 1_000_000}},
    )
    reasons = runaway(desk, seconds=1, gap=SECOND // 1_500, vary=True)
    assert reasons[R.ORDER_THROTTLE] > 500
    assert reasons[R.NONE] < 100
    assert reasons[R.TRADED_VALUE] > 500, "the day's cap came within the second"
    traded = int(desk.gate.state.scope[2, 13])
    assert traded <= 1_000_000 * USDT + 350 * 60_001_000, "overrun by no more than one order that reduced"
    last = [reason for reason in runaway(desk, 1, SECOND // 1_500, vary=True) if reason == R.NONE]
    assert len(last) <= 1, "nothing but what reduces passes for the rest of the day"


def without_maximum(desk: Desk) -> Desk:
    """Lift the instrument's own maximum quantity, so that only the gate's limits stand in the way."""
    desk.gate.state.inst[0, I_MAX_QTY] = UNLIMITED
    return desk


def test_citi_2022_05_02_a_quantity_typed_as_a_value_is_blocked_by_quantity_value_and_parent() -> None:
    # 58 million USD were meant; the number went into the quantity, and a basket of 444 billion came out.
    meant, price = 58_000_000, 600_010
    limits = {"order_qty": 1_000, "order_value": 60_000_000, "parent_value": 100_000_000}
    wide = {"position": "unlimited", "gross": "unlimited", "net": "unlimited"}
    everywhere = {"accounts": {"*": {**wide, "margin_buffer": "unlimited", "open_value": "unlimited"}},
                  "strategies": {"*": {**wide, "open_value": "unlimited"}}}  # fmt: skip
    desk = without_maximum(Desk(firm={**limits, **wide}, **everywhere))
    intended = meant * 10_000 // price  # lots of 0.001 that 58 million buy
    assert desk.send(intended, price) == R.NONE
    typed = 7_400_000 * 1_000  # 7.4 million BTC: 444 billion USDT
    assert desk.send(typed, price) == R.MAX_ORDER_QTY
    assert desk.figures == (1_000_000, 7_400_000_000, FIRM)

    desk = without_maximum(Desk(firm={**limits, **wide, "order_qty": "unlimited"}, **everywhere))
    assert desk.send(typed, price) == R.MAX_ORDER_VALUE
    assert desk.gate.limit == 60_000_000 * USDT
    assert desk.gate.value == 444_007_400_000 * USDT

    # 711 warnings in one popup: here a soft warning never stands in for the refusal.
    desk = without_maximum(Desk(firm={**limits, **wide}, **everywhere))
    slices = [desk.order(intended, price - n) for n in range(3)]
    refs = [(600_000, 600_010, desk.ts)] * 3
    assert desk.send(slices[0].qty, price) == R.NONE
    assert desk.gate.warnings == 1 << 5
    assert desk.gate.check_parent(slices, refs, desk.ts) == R.MAX_PARENT_VALUE
    assert desk.gate.scope == FIRM
    assert desk.gate.value > 100_000_000 * USDT
    assert desk.gate.state.scope[MM, 4] == 1, "the basket charged nothing"

"""Who adds an order's fills up has what the lane has in its books, also where it tells of reports that it did not apply."""

from __future__ import annotations

import pytest
from execution.lane_world import CountingGate
from risk.gate_desk import SCOPES, T0, UNIVERSE
from strategy.test_flood_budget import Plain, World

from tidegate.execution.core import Lane
from tidegate.model.messages import OrderEvent, Report
from tidegate.model.order import ExecType
from tidegate.model.time import SECOND
from tidegate.risk.exposure import Exposure
from tidegate.risk.ledger import Ledger
from tidegate.strategy.deploy.measure import Measure

FILL = {"exec_id": 7, "last_qty": 4, "last_px": 600_000, "cum_qty": 4, "leaves_qty": 6}


class Counting(Plain):
    """Adds up what it is told of fills."""

    lots = 0

    def on_fill(self, fill) -> None:
        self.lots += fill.qty


def reports(key: int, *said: tuple[ExecType, dict[str, int]]) -> list[Report]:
    return [
        Report(T0 + n, key, kind, ts_venue=T0 + n, **fields)
        for n, (kind, fields) in enumerate([(ExecType.NEW, {}), *said], 1)
    ]


@pytest.mark.parametrize(
    ("said", "lots", "filled"),
    [
        ([(ExecType.TRADE, FILL)], 4, 4),
        ([(ExecType.TRADE, FILL | {"last_px": 0})], 0, 0),
        ([(ExecType.TRADE, FILL | {"exec_id": 0})], 0, 0),
        (
            [
                (ExecType.TRADE, FILL),
                (ExecType.TRADE_CANCEL, {"ref_exec_id": 7}),
                (ExecType.TRADE_CORRECT, FILL | {"exec_id": 8, "ref_exec_id": 7}),
            ],
            0,
            4,
        ),
        ([(ExecType.TRADE, FILL), (ExecType.TRADE_CORRECT, FILL | {"exec_id": 8, "ref_exec_id": 7, "last_qty": 3})], 3, 4),
    ],
    ids=["a fill", "at no price", "without a number", "corrected when taken back", "corrected"],
)  # fmt: skip
def test_everybody_holds_what_the_lane_holds(said, lots, filled):
    world = World(Counting)
    order = world.market.buy(10, 600_000)
    world.runner.flush()
    lane = Lane(0, UNIVERSE, CountingGate(), Ledger(UNIVERSE))
    exposure = Exposure(UNIVERSE, SCOPES)
    measure = Measure(UNIVERSE, 0, SECOND, "USDT", {}, {})

    def take(message) -> int:
        events = [event for event in lane.apply(message) if type(event) is OrderEvent]
        world.runner.on_events(events)
        for event in events:
            exposure.apply(event)
            measure.event(event)
        return events[0].cl_ord_id if events else 0

    key = take(world.sent[-1])
    for report in reports(key, *said):
        take(report)
    assert sum(position.lots for _, position in lane.state.ledger.positions()) == lots
    assert world.market.position == lots
    assert exposure.positions.get((0, 0, 0), [0])[0] == lots
    assert measure.positions.get(0, 0) == lots
    assert world.strategy.lots == filled, "a strategy is told of trades; what is taken back, by its position"
    assert order.avg_px == (600_000 if lots else 0)

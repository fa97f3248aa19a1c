"""What a strategy writes faster than its entries of the log may come is gathered: nothing is lost, all stays in order."""

from __future__ import annotations

import asyncio

from risk.gate_desk import SCOPES, UNIVERSE, merged
from strategy.test_flood_budget import CANCELS, ORDERS, Plain

from tidegate.log.base import Entry
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.messages import CancelAll, CancelOrder, OrderEvent
from tidegate.model.order import OrdStatus
from tidegate.model.wire import MOST, decode, pack
from tidegate.ops.connection_watch import allowed
from tidegate.risk.gate import Gate
from tidegate.risk.limits import Limits
from tidegate.risk.pace import ENTRIES_AT_ONCE, Pace, pace_of
from tidegate.sim.virtual_time import VirtualClock, run
from tidegate.strategy.budget import entries
from tidegate.strategy.service import StrategyService
from tidegate.strategy.strategy import StrategyParams


class Desk:
    def __init__(self):
        loop = asyncio.get_running_loop()
        self.clock = VirtualClock(loop)
        self.server = MemoryServer(1, clock=self.clock, log=declared(1))
        limits = {"orders_per_second": ORDERS, "cancels_per_second": CANCELS}
        self.gate = Gate(UNIVERSE, SCOPES, Limits.load(merged({"strategies": {"*": limits}})))
        strategy = Plain("mm", 0, 0, StrategyParams())
        log = self.server.client("strategy")
        self.service = StrategyService(strategy, 0, UNIVERSE, self.gate, log, self.clock)
        self.sent = 0

    def send(self, n):
        """One handler after another writes a command, at one moment."""
        for _ in range(n):
            self.sent += 1
            self.service._send([CancelOrder(self.clock.now(), self.sent)], 0)

    def stored(self):
        return self.server.streams["LANE_0"].entries

    def told(self):
        return [m.cmd_id for e in self.stored() for m in decode(e.data).messages if type(m) is CancelOrder]


def test_what_is_within_its_pace_has_an_entry_of_its_own_at_once():
    async def main():
        desk = Desk()
        for _ in range(200):
            desk.send(1)
            assert desk.service._gathering is None
            await asyncio.sleep(1 / (ORDERS + CANCELS))
        assert len(desk.stored()) == 200
        desk.send(ENTRIES_AT_ONCE)
        assert desk.service._gathering is None

    run(main())


def test_what_comes_faster_is_one_entry_within_ten_milliseconds_and_in_order():
    async def main():
        desk = Desk()
        desk.send(ENTRIES_AT_ONCE + 400)
        await asyncio.sleep(0.011)
        assert desk.told() == list(range(1, desk.sent + 1))
        assert len(desk.stored()) == ENTRIES_AT_ONCE + 1
        for _ in range(1000):  # 1,000 a second at first, then again as it may
            desk.send(1)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.011)
        assert desk.told() == list(range(1, desk.sent + 1))
        pace = pace_of(desk.gate, 0)
        watched = allowed([pace])
        assert len(desk.stored()) <= ENTRIES_AT_ONCE + 1 + 2 * pace.total * 1.03 + 1
        assert len(desk.stored()) < watched.burst + watched.rate, (
            "who watches from outside takes it for no flood"
        )

    run(main())


def test_one_that_is_stopped_leaves_nothing_behind_it():
    async def main():
        desk = Desk()
        desk.send(ENTRIES_AT_ONCE + 5)
        desk.service._halt("a mistake")
        await asyncio.sleep(0)
        await desk.service._outbox.drained(1.0)
        assert desk.told() == list(range(1, desk.sent + 1))
        last = decode(desk.stored()[-1].data).messages
        assert [type(m) for m in last] == [CancelAll]
        await asyncio.sleep(1)
        assert type(decode(desk.stored()[-1].data).messages[0]) is CancelAll

    run(main())


def test_the_slowest_waits_ten_milliseconds_at_most():
    slow = entries(Pace(1, 1, 1, 1))
    for _ in range(ENTRIES_AT_ONCE):
        assert slow.take(1)
    assert not slow.take(1)
    assert slow.due() - 1 <= 10_000_001


def test_what_no_writer_of_the_lane_wrote_among_its_events_is_passed_over_and_what_follows_is_heard():
    async def main():
        desk = Desk()
        heard = []
        desk.service._runner.on_events = heard.extend
        desk.service._running = True
        event = OrderEvent(1, 1, 1, 0, 0, 0, OrdStatus.NEW, None, 1, 0)
        data = pack([event], lane=0, epoch=1)
        said = [("evt.0", b'{"stream":"LANE_0","seq":5}'), ("evt.1", data), ("evt.0", b""), ("evt.0", data)]
        desk.service._on_events([Entry(n, 1, *entry) for n, entry in enumerate(said, 1)])
        assert heard == [event]
        assert not desk.service.error

    run(main())


def test_more_commands_than_an_entry_takes_are_written_in_several_in_order():
    async def main():
        desk = Desk()
        count = 2 * MOST + 1
        desk.service._put([CancelOrder(1, n) for n in range(count)], 0, 1)
        await asyncio.sleep(0)
        assert [len(decode(e.data).messages) for e in desk.stored()] == [MOST, MOST, 1]
        assert desk.told() == list(range(count))

    run(main())

"""Dynamic limits as the risk service tells them: what margin leaves free, and words that rise and withhold."""

from __future__ import annotations

import asyncio

from risk.test_margin_book import Desk

from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.marketdata.pulse import Pulse
from tidegate.model.messages import DynamicLimit
from tidegate.model.wire import decode
from tidegate.risk.dynamic import DynamicSettings
from tidegate.risk.dynamic_desk import FIRST, DynamicDesk
from tidegate.risk.lane_facts import LaneFacts
from tidegate.risk.numbers import BITS
from tidegate.sim.virtual_time import VirtualClock, run

S = 10**9


class Lender:
    """Says what is withheld; None once another lends."""

    def __init__(self):
        self.held, self.says, self.far = [], (), set()

    def hold(self, instrument, ppm):
        self.held.append((instrument, ppm))
        return self.says

    def over(self):
        return self.far


class Scene:
    def __init__(self, capital):
        clock = VirtualClock(asyncio.get_running_loop())
        self.server = MemoryServer(1, clock=clock, log=declared(1))
        self.margin, log = Desk(capital=capital), self.server.client("risk")
        settings = DynamicSettings.load({"step": "1%"})
        self.desk = DynamicDesk(
            settings, self.margin.book, LaneFacts("dynamic", 1, log, clock, "r"), log, clock
        )

    async def look(self, instrument=0):
        for _ in range(2):
            self.margin.now += S
            self.desk.pulse(Pulse(instrument, self.margin.now, 0, 1, 2, 9, 9, 0), self.margin.now, True)
        await asyncio.sleep(0.1)

    def words(self):
        entries = self.server.streams["LANE_0"].entries
        return [m for e in entries for m in decode(e.data).messages if type(m) is DynamicLimit]


def test_use_of_margin_is_by_the_tiers_in_force_at_the_accounts_size():
    async def main():
        scene = Scene(100_000)
        scene.margin.trade(0, 20_000, 500_000)  # 20 BTC are 1,000,000: a 20th of it, half of what there is
        await scene.look()
        assert scene.words() == []
        scene = Scene(1_900_000)
        scene.margin.trade(
            0, 400_000, 500_000
        )  # 20,000,000: only 10 × there, so two millions of margin, and not one
        await scene.look()
        assert [(m.instrument, m.factor) for m in scene.words()] == [(0, 200_000)], (
            "by 20 × nothing would be held"
        )
        assert scene.desk.factors() == {"BTCUSDT.U": "20% margin"}

    run(main())


def test_words_rise_and_say_what_is_withheld_and_who_was_replaced_says_nothing():
    async def main():
        scene, lender = Scene(1_000), Lender()
        scene.desk.lender, lender.says = lender, ((0, 6, 30),)
        scene.desk.begin(lambda: 1)
        await asyncio.sleep(0.1)
        assert scene.words() == [], "nobody has acted before, and nothing is held down"
        scene.margin.trade(0, 20_000, 500_000)
        await scene.look()
        (word,) = scene.words()
        assert (word.number, word.withheld) == (FIRST + (1 << BITS) + 1, ((0, 6, 30),))
        lender.says = ()
        scene.desk.say(0)
        scene.desk.begin(lambda: 2)
        await asyncio.sleep(0.1)
        told = scene.words()[1:]
        assert [m.instrument for m in told] == [0, 0, 1, 2], (
            "a successor says all, so that nothing older counts"
        )
        assert [m.number for m in told] == [word.number + 1, *(FIRST + (2 << BITS) + n for n in (1, 2, 3))]
        lender.far = {2}
        scene.desk.say_again()
        await asyncio.sleep(0.1)
        assert [m.instrument for m in scene.words()[5:]] == [0, 2], "limits have changed"
        lender.says = None
        scene.desk.say(0)
        await asyncio.sleep(0.1)
        assert len(scene.words()) == 7

    run(main())

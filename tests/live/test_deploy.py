"""A version from shadow over canary to live, and versions that misbehave, in the live services on virtual time."""

from __future__ import annotations

import msgspec
import pytest
from live.deploy_world import MARKET, PART, SLOTS, World, maker

from tidegate.model.order import OrdStatus, Side
from tidegate.model.time import SECOND
from tidegate.risk.halt import decode as halt_of
from tidegate.risk.leases.fields import Field
from tidegate.risk.scopes import State
from tidegate.sim.virtual_time import run
from tidegate.strategy.deploy.stages import Stage, decode
from tidegate.strategy.library.avellaneda_stoikov import AvellanedaStoikov
from tidegate.strategy.strategy import Strategy


class Remembering(AvellanedaStoikov):
    """The maker, with something to hand over."""

    heard = 0

    def on_quote(self, quote):
        self.heard += 1
        super().on_quote(quote)

    def save_state(self):
        return {"heard": self.heard}

    def load_state(self, state):
        self.heard = state["heard"]


def remembering(name, number):
    return Remembering(name, number, 0, Remembering.Params(market=MARKET, size=10, max_position=100))


def test_shadow_canary_live():
    async def body():
        world = World(60)
        world.versions["configured"] = remembering
        await world.start()
        version = await world.know("v2", remembering)
        await world.play(5)
        await world.say("shadow", version, "olga")
        await world.play(20)
        board = world.deploy.board.status("maker")
        assert (board.candidate, board.stage) == (version, Stage.SHADOW)
        seen = world.deploy._seen("maker")
        assert seen.judged
        assert min(seen.comparison.orders) >= 4
        assert seen.comparison.matched >= 2
        assert len(seen.comparison.path) >= 10
        assert world.asked(SLOTS.candidate) == []  # a shadow sends nothing
        gate = world.lane.state.gate
        assert gate.limit_of(SLOTS.next_scope, Field.LONG, 1) == 0

        await world.say("canary", version, "olga", PART)
        await world.play(35)
        assert world.deploy.board.status("maker").stage is Stage.CANARY
        canary = world.asked(SLOTS.candidate)
        assert len(canary) > 3
        whole = gate.human_limit(SLOTS.live_scope, Field.LONG, 1)
        live, part = (gate.limit_of(scope, Field.LONG, 1) for scope in (SLOTS.live_scope, SLOTS.next_scope))
        assert live + part <= whole
        assert part > 0
        held = world.position(SLOTS.live) + world.position(SLOTS.candidate)

        began = world.clock.now()
        await world.say("live", version)
        await world.play(38)
        status = world.deploy.board.status("maker")
        assert (status.live, status.previous, status.candidate) == (version, "configured", "")
        assert world.position(SLOTS.candidate) == 0  # handed over
        assert not [o for o in world.lane.open_orders() if o.strategy == SLOTS.candidate]
        assert gate.limit_of(SLOTS.next_scope, Field.LONG, 1) == 0
        await world.play(58)
        assert [ts for ts in world.asked(SLOTS.live) if ts > began]
        assert max(world.asked(SLOTS.candidate)) < began + SECOND
        assert status.live == world.deploy.board.status("maker").live  # and nobody took it back
        assert gate.use(SLOTS.live_scope, Field.LONG, 1) <= whole
        assert abs(world.position(SLOTS.live) - held) <= 200
        await world.stop()
        state = msgspec.json.decode((await world.log.bucket("STATE").get("strategy.maker")).value)
        assert world.hosted == [
            "maker live configured", f"maker.next shadow {version}", f"maker.next canary {version}", f"maker live {version}",
        ]  # fmt: skip
        assert state["heard"] > 1000  # counted on over all four lives
        audited = [entry.data for entry in world.stream("AUDIT")]
        assert sum(b'"live"' in data for data in audited) >= 1
        assert len(audited) == 3

    run(body())


class Runaway(Strategy):
    """Sends ten times what the maker does, far from the market, and cancels it."""

    def on_start(self):
        self.m = self.market(MARKET)
        self.subscribe_quotes(self.m)
        self.every("20ms")

    def on_timer(self, name):
        if self.m.has_touch:
            bid, ask, _ = self.host.touch(self.m.number)
            for order in list(self.orders.values())[:2]:
                self.cancel(order)
            self.m.buy(10, bid - 200, post_only=True)
            self.m.sell(10, ask + 200, post_only=True)


class Hoarder(Strategy):
    """Buys and never sells."""

    def on_start(self):
        self.m = self.market(MARKET)
        self.subscribe_quotes(self.m)
        self.every("300ms")

    def on_timer(self, name):
        if self.m.has_touch:
            self.m.submit(Side.BUY, 10)


class Raising(AvellanedaStoikov):
    """Raises in its handler."""

    def on_quote(self, quote):
        raise RuntimeError("a bug")


def made(kind):
    if issubclass(kind, AvellanedaStoikov):
        return lambda name, number: kind(
            name, number, 0, kind.Params(market=MARKET, size=10, max_position=100)
        )
    return lambda name, number: kind(name, number, 0, kind.Params())


def small(name, number):
    """What the hoarder said it was: a maker of small size."""
    return maker(name, number, 2)


@pytest.mark.parametrize(
    ("kind", "behaves", "trigger", "figure"),
    [
        (Runaway, maker, "deviation", {"orders", "changes"}),
        (Hoarder, small, "deviation", {"inventory"}),
        (Raising, maker, "failed", set()),
    ],
)
def test_a_bad_canary_is_taken_back_within_a_second(kind, behaves, trigger, figure):
    async def body():
        world = World(40)
        await world.start()
        version = await world.know("bad", made(kind), behaves)
        await world.play(5)
        await world.say("canary", version, "olga", PART)
        for second in range(6, 40):
            await world.play(second)
            if not world.deploy.board.status("maker").candidate:
                break
        status = world.deploy.board.status("maker")
        assert (status.live, status.candidate, status.did) == ("configured", "", "rollback")
        decided = world.stream("DEPLOY")[-1]
        event = decode(decided.data)
        assert event.trigger == trigger
        if figure:
            assert event.figures["figure"] in figure
            assert event.figures["backtest"]
        await world.play(second + 1.0)
        halts = [halt_of(entry.data) for entry in world.stream("HALT")]
        assert [(h.scope, h.state, h.trigger) for h in halts] == [
            ("strategy:maker.next", State.KILLED, "deploy")
        ]
        # The deviation is on the log with the event that shows it: from then on a second.
        seen = max([ts for ts, m in world.events(SLOTS.candidate) if ts <= decided.ts], default=decided.ts)
        ended = [ts for ts, m in world.events(SLOTS.candidate) if m.status >= OrdStatus.FILLED]
        assert not [o for o in world.lane.open_orders() if o.strategy == SLOTS.candidate]
        assert max(ended, default=seen) - seen < SECOND
        assert not [ts for ts in world.asked(SLOTS.candidate) if ts > decided.ts + SECOND // 10]
        gate = world.lane.state.gate
        assert gate.limit_of(SLOTS.next_scope, Field.ORDERS) == 0
        whole, kept = gate.human_limit(SLOTS.live_scope, Field.LONG, 1), world.position(SLOTS.candidate)
        held_back = max(0, gate.use(SLOTS.next_scope, Field.LONG, 1))
        assert held_back == max(0, kept)
        await world.play(second + 4.0)
        assert min(whole, gate.limit_of(SLOTS.live_scope, Field.LONG, 1)) == whole - held_back
        assert world.candidate is None  # its process is gone
        await world.play(second + 14.0)
        assert [ts for ts in world.asked(SLOTS.live) if ts > decided.ts]  # the other trades on
        alerts = [entry for entry in world.stream("ALERT") if entry.subject == "alert.deploy_rolled_back"]
        assert len(alerts) == 1
        await world.stop()

    run(body())


def test_a_process_that_dies_again_and_again_is_taken_back():
    async def body():
        world = World(40)
        await world.start()
        version = await world.know("v2", maker)
        await world.play(3)
        await world.say("canary", version, "olga", PART)
        for second in range(4, 30):
            await world.play(second)
            if world.candidate is None:
                break
            host = world.candidate
            if host.state.life == "running":  # kill -9: it never says a word
                host._following.close()
                host._task.cancel()
                for task in host._hosted._tasks:
                    task.cancel()
                host._hosted._running = False
                for subscription in host._hosted._subscriptions:
                    subscription.close()
                world.candidate = world.host(True)
                await world.candidate.start()
        event = decode(world.stream("DEPLOY")[-1].data)
        assert (event.do, event.trigger) == ("rollback", "crashes")
        assert "3 starts" in event.reason
        await world.play(second + 2)
        assert not [o for o in world.lane.open_orders() if o.strategy == SLOTS.candidate]
        await world.stop()

    run(body())


def test_a_version_that_fails_live_gives_way_to_the_one_before():
    async def body():
        world = World(60)
        await world.start()
        version = await world.know("bad", made(Runaway))
        await world.play(10)
        await world.say("live", version)
        for second in range(11, 60):
            await world.play(second)
            if world.deploy.board.status("maker").live == "configured":
                break
        decided = world.stream("DEPLOY")[-1]
        event = decode(decided.data)
        assert (event.do, event.version, event.trigger) == ("rollback", version, "deviation")
        await world.play(second + 1)
        own = [o for o in world.lane.open_orders() if o.strategy == SLOTS.live]
        assert len(own) <= 2  # the maker's, if any
        assert world.stream("HALT") == []
        await world.play(second + 20)  # it has a market to get to know first
        gate = world.lane.state.gate
        assert gate.limit_of(SLOTS.live_scope, Field.ORDERS) >= gate.human_limit(
            SLOTS.live_scope, Field.ORDERS
        )
        assert [ts for ts in world.asked(SLOTS.live) if ts > decided.ts + SECOND]  # the maker quotes again
        assert world.hosted[-1] == "maker live configured"
        await world.stop()

    run(body())


def test_a_watcher_that_starts_again_goes_on_where_it_was():
    async def body():
        world = World(40)
        await world.start()
        version = await world.know("v2", maker)
        await world.play(3)
        await world.say("canary", version, "olga", PART)
        await world.play(10)
        closed = [entry for entry in world.stream("LANE_0") if entry.subject == "lane.0.sys"]
        await world.deploy.stop()
        world.deploy = type(world.deploy)(
            {"maker": SLOTS}, world.universe, "USDT", {"BTC": "60000", "USD": "1"}, world.server.client("deploy2"),
            world.clock, world.deploy.board._check, lambda *_: None, world._process,
        )  # fmt: skip
        running = world.candidate
        await world.deploy.start()
        await world.play(14)
        assert world.candidate is running  # not stopped, not started again
        gate = world.lane.state.gate
        assert gate.limit_of(SLOTS.next_scope, Field.LONG, 1) > 0
        assert world.deploy.desks["maker"].watched.version == version
        assert len(world.stream("LANE_0")) > len(closed)
        await world.say("rollback", version, "olga")
        await world.play(17)
        assert gate.limit_of(SLOTS.next_scope, Field.LONG, 1) == 0
        assert world.candidate is None
        assert not [o for o in world.lane.open_orders() if o.strategy == SLOTS.candidate]
        await world.stop()

    run(body())


def test_who_may_not_is_told_and_nothing_changes():
    async def body():
        world = World(10)
        await world.start()
        version = await world.know("v2", maker)
        await world.play(1)
        await world.say("live", version, "olga")
        await world.play(2)
        assert world.deploy.board.status("maker").live == "configured"
        (alert,) = [entry for entry in world.stream("ALERT") if entry.subject == "alert.deploy_refused"]
        assert b"ROLE_TOO_LOW" in alert.data
        assert world.hosted == ["maker live configured"]
        await world.stop()

    run(body())

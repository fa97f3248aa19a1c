"""Flattening, run: it closes whatever the gate and the strategies do, and what it cannot close is told."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from types import SimpleNamespace

import pytest
from msgspec import structs
from reduce_world import ONE, SCOPES, UNIVERSE, World
from reduce_world import gate as unlimited_gate
from risk.halting import VERIFIER, event, signed
from writer_world import World as OrderManagers
from writer_world import run

from tidegate.execution.core import Lane
from tidegate.execution.flattener import Flattener
from tidegate.execution.ids import HOUSE_IDS
from tidegate.model.instrument import Universe
from tidegate.model.messages import CancelOrder, NewOrder, OrderEvent, ReplaceOrder, Report, ScopeState
from tidegate.model.order import ExecType, OrdStatus, OrdType, Side
from tidegate.model.wire import decode
from tidegate.risk.gate import Gate
from tidegate.risk.halt import HaltBoard, commanded, entry
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits, unlimited
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State

COARSE = Universe([structs.replace(item, min_qty=Decimal("0.3")) for item in UNIVERSE.instruments])


class Flattening(World):
    """A lane under a command to flatten `scope`, and the log that takes what the flattener writes. The venue fills the
    house's orders, and cancels what it is asked to cancel."""

    def __init__(
        self, held, gate=unlimited_gate, scope="firm", participation="10%", number=(0, -1), universe=UNIVERSE
    ):
        super().__init__(held)
        self.wait(1)
        self.lane = Lane.restore(self.lane.snapshot(), UNIVERSE, gate(), Ledger(UNIVERSE))
        self.told: list[tuple[str, str, str]] = []
        self.number = number
        self.board = HaltBoard(VERIFIER.verify)
        self.writer = SimpleNamespace(lane=self.lane, seq=0)
        clock = SimpleNamespace(now=lambda: self.now)
        self.flattener = Flattener(
            self.board, {0: self.writer}, SCOPES, universe, self, clock, lambda *said: self.told.append(said)
        )
        self.board.apply(1, self.now, event("flatten", scope, "ann", self.now, participation=participation))

    def begin(self) -> None:
        """The lane is told."""
        scope, instrument = self.number
        self.put(ScopeState(self.now, scope, int(State.REDUCE_ONLY), 150, instrument, 1, 1, True))

    def append(self, subject, data, msg_id="", timeout=0.0):
        assert subject == "lane.0.cmd"
        self.put(*decode(data).messages)
        done = asyncio.get_running_loop().create_future()
        done.set_result(1)
        return done

    def second(self, answers=True) -> None:
        self.wait(1)
        self.mark()
        self.writer.seq += 1
        self.flattener.start()
        self.flattener.close()
        for key in self.cancelled if answers else ():
            if key in self.sent:
                self.cancel(key)
        self.cancelled.clear()
        for key in [key for key in self.sent if self.lane.order(key).cmd_id >= HOUSE_IDS]:
            self.fill(key)

    def denied(self) -> list[int]:
        return [e.reason for e in self.events if type(e) is OrderEvent and e.status is OrdStatus.DENIED]


def limited(**firm) -> Gate:
    document = json.loads(unlimited().to_json())
    document["firm"] |= firm
    return Gate(UNIVERSE, SCOPES, Limits.load(document))


def world(main):
    asyncio.run(main())


@pytest.mark.parametrize(
    ("firm", "reason"),
    [({"order_qty": "0.2"}, Reason.MAX_ORDER_QTY), ({"order_value": "150"}, Reason.MAX_ORDER_VALUE)],
)
@pytest.mark.parametrize("participation", ["10%", "100%"])
def test_a_step_that_is_too_large_for_the_gate_is_made_smaller(firm, reason, participation):
    async def main():
        w = Flattening({(0, 0): 5_000}, lambda: limited(**firm), participation=participation)
        w.begin()
        for _ in range(120):
            w.second()
            if not w.held(0):
                break
        assert w.held(0) == 0
        denied = w.denied()
        assert set(denied) == {reason}
        assert len(denied) < 60, "what passes is not doubled until it is refused twice in a row"

    world(main)


def test_a_successor_writes_the_same():
    async def main():
        w = Flattening({(0, 0): 5_000}, lambda: limited(order_qty="0.2"), participation="100%")
        w.begin()
        for _ in range(4):
            w.second()
        lane = Lane.restore(w.lane.snapshot(), UNIVERSE, limited(order_qty="0.2"), Ledger(UNIVERSE))
        written = []
        w.put = lambda *messages: written.append(messages)
        for one in (w.lane, lane):
            w.writer.lane = one
            w.flattener.start()
            w.flattener.close()
        assert written[0] == written[1]
        ((order,), _) = written
        assert order.qty == 5_000 >> 4

    world(main)


@pytest.mark.parametrize("quoted", [100, 5_000])
def test_a_maker_that_quotes_its_way_out_does_not_hold_it_up(quoted):
    async def main():
        w = Flattening({(0, 0): 5_000})
        w.own(0, 0, -quoted)
        w.begin()
        for _ in range(40):
            w.second()
            if w.held(0):
                w.own(0, 0, -min(quoted, w.held(0)))
        assert w.held(0) == 0
        assert set(w.denied()) == {Reason.BEING_FLATTENED}
        assert not w.strategies(), "its own orders are gone"
        assert not w.told

    world(main)


def test_an_order_that_will_not_go_holds_it_up_for_no_longer_than_patience():
    async def main():
        w = Flattening({(0, 0): 1_000})
        stuck = w.own(0, 0, -100)
        w.begin()
        w.second(answers=False)
        for _ in range(15):
            w.second(answers=False)
        assert w.held(0) == 100, "what that order may still sell is not sold twice"
        assert w.lane.order(stuck).leaves_qty == 100
        assert any("1 other orders are still open" in why for _, _, why in w.told), w.told

    world(main)


def test_the_lane_lets_only_the_house_close_what_is_flattened():
    w = Flattening({(0, 0): 1_000, (1, 0): 1_000}, number=(ONE, -1))
    mine, free = w.own(0, 0, -100), w.own(1, 0, -100)
    for key in (mine, free):
        w.put(Report(w.now, key, ExecType.NEW, w.now))
    w.begin()
    order = w.lane.order(mine)
    w.put(ReplaceOrder(w.now, order.cmd_id, qty=50))
    assert w.events[-1].reason == Reason.BEING_FLATTENED
    assert order.pending_qty == 0
    w.put(ReplaceOrder(w.now, w.lane.order(free).cmd_id, qty=50))
    assert w.lane.order(free).pending_qty == 50
    w.put(CancelOrder(w.now, order.cmd_id))
    assert w.cancelled == [mine], "cancels always pass"
    w.restart()
    assert w.lane.order(w.own(0, 0, -10)).reason == Reason.BEING_FLATTENED, "a snapshot keeps it"
    w.put(ScopeState(w.now, ONE, int(State.REDUCE_ONLY), 150, -1, 1, 1))
    assert w.lane.order(w.own(0, 0, -10)).reason == Reason.BEING_FLATTENED, (
        "what was told before ends nothing"
    )
    assert w.lane.order(w.own(1, 0, -10)).reason == 0
    w.put(ScopeState(w.now, ONE, int(State.RECOVERING), 0, -1, 1, 2))
    assert w.lane.order(w.own(0, 0, -10)).reason == 0, "the next change of the state ends it"


def test_an_order_of_who_is_unknown_is_refused_as_ever():
    w = Flattening({})
    w.begin()
    w.put(NewOrder(w.now, 5, 77, 88, 0, Side.BUY, OrdType.LIMIT, 10, 9_990))
    assert w.denied() == [Reason.UNKNOWN_STRATEGY]


def test_flattening_an_instrument_touches_no_other():
    async def main():
        w = Flattening({(0, 0): 1_000, (0, 2): 1_000}, scope="instrument:BTCUSDT.X", number=(-1, 0))
        here, there = w.own(0, 0, -100), w.own(0, 2, -100)
        w.put(Report(w.now, there, ExecType.NEW, w.now))
        w.begin()
        for _ in range(15):
            w.second()
        assert w.held(0) == 0
        assert w.held(2) == 1_000
        assert w.lane.order(here).status is OrdStatus.CANCELED
        assert w.lane.order(there).status is OrdStatus.NEW
        assert w.lane.order(w.own(0, 2, 10)).reason == 0

    world(main)


def test_orders_of_who_holds_nothing_are_cancelled_too():
    async def main():
        w = Flattening({(0, 0): 1_000})
        key = w.own(1, 0, 100)
        w.begin()
        w.second()
        assert w.lane.order(key).status is OrdStatus.CANCELED

    world(main)


def test_what_waits_is_told_once_it_lasts_and_again_after_a_minute():
    async def main():
        w = Flattening({(0, 0): 1_000}, lambda: limited(price_collar="0.1%"))
        w.begin()
        for n in range(3):
            w.second()
            assert w.told == [], n
        w.second()
        ((severity, name, why),) = w.told
        assert (severity, name) == ("high", "firm main/one")
        assert "PRICE_COLLAR" in why
        for _ in range(59):
            w.second()
        assert len(w.told) == 1
        w.second()
        assert len(w.told) == 2

    world(main)


def test_what_is_left_below_the_smallest_order_is_told_once():
    async def main():
        w = Flattening({(0, 0): 100}, universe=COARSE)
        w.begin()
        for _ in range(200):
            w.second()
        ((severity, _, why),) = w.told
        assert severity == "info"
        assert "smallest order" in why

    world(main)


def test_terms_that_cannot_be_read_hold_no_other_scope_up():
    async def main():
        world = OrderManagers()
        oms = await world.oms("oms")
        await asyncio.sleep(3)
        await world.orders(1)
        now = world.clock.now()
        for scope, participation in (("account:red", "much"), ("firm", "10%")):
            made = signed("flatten", scope, "ann", now, participation=participation)
            subject, data, _ = entry(commanded(made.encode(), made.command, now))
            world.server.store(subject, data, "", None)
        await asyncio.sleep(2.5)
        flattener = oms.halts.flattener
        assert oms.halts.board.status("account:red").flatten is not None
        assert "'much' is no part" in flattener.waits["account:red"]
        stepped = []
        whole = flattener._step

        def step(status, lane, writer):
            whole(status, lane, writer)
            stepped.append(status.scope)

        flattener._step = step
        await asyncio.sleep(2.5)
        assert stepped.count("firm") == stepped.count("account:red") >= 2, "and it goes on each second"
        return True

    assert run(main())


def test_an_order_manager_says_what_waits():
    async def main():
        world = OrderManagers()
        oms = await world.oms("oms")
        await asyncio.sleep(3)
        made = signed("flatten", "account:red", "ann", world.clock.now(), participation="much")
        subject, data, _ = entry(commanded(made.encode(), made.command, world.clock.now()))
        world.server.store(subject, data, "", None)
        await asyncio.sleep(10)
        assert world.alerts().count("flatten_waits") == 1
        told = json.loads(world.server.streams["ALERT"].entries[-1].data)
        assert (told["severity"], told["scope"]) == ("high", "account:red")
        assert "'much' is no part" in told["text"]
        board = json.loads(oms.halts._board())
        assert "'much' is no part" in board["waits"]["account:red"]
        world.order()
        await asyncio.sleep(1)
        assert [e.reason for e in world.told()][-1] == Reason.BEING_FLATTENED
        world.kill("oms")
        oms = await world.oms("next")
        await asyncio.sleep(20)
        world.order()
        await asyncio.sleep(1)
        assert [e.reason for e in world.told()][-1] == Reason.BEING_FLATTENED, "as the log says"
        return True

    assert run(main())

"""The gateway, its order manager and the Binance client against the venue server: nothing stands in for anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from binance_world import KEY, NUMBERS, QUICK, TICKS, UNIT, UNIVERSE, run, server
from execution.lane_world import CountingGate
from risk.halting import VERIFIER, breach

from tidegate.access.audit import AuditTrail
from tidegate.errors import UserError
from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind
from tidegate.execution.service import OmsService
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
from tidegate.model.messages import CancelOrder, NewOrder, ReplaceOrder
from tidegate.model.order import OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.wire import decode, pack
from tidegate.risk.halt import post
from tidegate.risk.ledger import Ledger
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import ScopeTable, State
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.products import simulated
from tidegate.venue.binance.venue import BinanceVenue
from tidegate.venue.gateway import GatewayService, GatewaySettings
from tidegate.venue.sim.admin import Admin

every = pytest.mark.parametrize("name", NUMBERS)


class Stack:
    """One lane, its order manager, a gateway, and a strategy's hand."""

    def __init__(self, at, name: str) -> None:
        self.name, self.number = name, NUMBERS[name]
        self.port = int(at.url.rpartition(":")[2])
        self.clock = SystemClock()
        self.log = MemoryServer(1, clock=self.clock, log=declared(1))
        kind = LaneKind(
            "test",
            lambda n: Lane(n, UNIVERSE, CountingGate(), Ledger(UNIVERSE)),
            lambda data: pytest.fail("none kept"),
        )
        scopes = self.scopes = ScopeTable.simple()
        self.oms = OmsService(
            "oms",
            [0],
            kind,
            UNIVERSE,
            ["main"],
            self.log.client("oms"),
            self.clock,
            scopes=scopes,
            check=VERIFIER.verify,
            note=lambda *_: None,
        )
        self.user = self.log.client("user")
        self.cmd = 0
        self.lives = 0

    def gateway(self, key: str = KEY) -> GatewayService:
        self.lives += 1
        keys = Keys(key, key.replace("key", "secret"))
        venue = BinanceVenue(
            self.name, UNIVERSE, simulated("127.0.0.1", self.port, self.name), keys, self.clock, pace=QUICK
        )
        settings = GatewaySettings(drop_copy=0.3, recheck=0.3)
        client = self.log.client(f"gw-{self.lives}")
        trail = AuditTrail(client, self.clock, f"gw-{self.lives}")
        return GatewayService(
            self.name,
            "main",
            0,
            venue,
            UNIVERSE,
            client,
            self.clock,
            [0],
            settings,
            self.scopes,
            VERIFIER.verify,
            trail.note,
        )

    @property
    def lane(self) -> Lane:
        return self.oms.writers[0].lane

    async def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.01)

    async def command(self, message) -> None:
        await self.user.append("lane.0.cmd", pack([message], ts=self.clock.now()))

    async def place(self, side=Side.BUY, units=2.0, percent=-1.0, tif=TimeInForce.GTC):
        self.cmd += 1
        await self.command(
            NewOrder(
                self.clock.now(), self.cmd, 0, 0, self.number, side, OrdType.LIMIT, round(units * UNIT[self.name]),
                round(TICKS[self.name] * (1 + percent / 100)), time_in_force=tif,
            )
        )  # fmt: skip
        await self.until(lambda: self.lane.by_command(self.cmd) is not None)
        return self.lane.by_command(self.cmd)

    async def becomes(self, order, status: OrdStatus) -> None:
        await self.until(lambda: self.lane.order(order.cl_ord_id).status is status)

    def alerts(self) -> list[str]:
        return [msgspec.json.decode(e.data)["kind"] for e in self.log.streams["ALERT"].entries]


@asynccontextmanager
async def stack(at, name: str) -> AsyncIterator[tuple[Stack, GatewayService]]:
    desk = Stack(at, name)
    await desk.oms.start()
    await desk.until(lambda: 0 in desk.oms.writers)
    gateway = desk.gateway()
    await gateway.start()
    await desk.until(lambda: not gateway.session.holds)
    try:
        yield desk, gateway
    finally:
        await gateway.stop()
        await desk.oms.stop()


@every
def test_orders_live_and_fill_and_all_is_agreed(tmp_path, name):
    async def work():
        async with server(tmp_path) as at, stack(at, name) as (desk, gateway):
            resting = await desk.place()
            await desk.becomes(resting, OrdStatus.NEW)
            await desk.command(
                ReplaceOrder(desk.clock.now(), resting.cmd_id, price=round(TICKS[name] * 0.98))
            )
            await desk.until(lambda: desk.lane.order(resting.cl_ord_id).price == round(TICKS[name] * 0.98))
            taking = await desk.place(units=1.0, percent=0.5)
            await desk.becomes(taking, OrdStatus.FILLED)
            began = desk.clock.now()
            gateway.reconciler.want("test")
            await desk.until(lambda: gateway.reconciler.reconciled > began)
            assert gateway.reconciler.open_orders == 1
            assert gateway.reconciler.mismatches == 0
            await desk.command(CancelOrder(desk.clock.now(), resting.cmd_id))
            await desk.becomes(resting, OrdStatus.CANCELED)
            await desk.until(lambda: gateway.history.idle)
            assert desk.alerts() == []
            desk.lane.check()
            traces = [
                decode(e.data).lane for e in desk.log.streams["LANE_0"].entries if e.subject.endswith("rpt")
            ]
            assert set(traces) == {0}

    run(work)


def test_a_gateway_killed_with_orders_working_adopts_what_happened(tmp_path):
    async def work():
        name = "BINANCE_USDM"
        async with server(tmp_path) as at, stack(at, name) as (desk, gateway):
            first, second = await desk.place(), await desk.place(percent=-2.0)
            for order in (first, second):
                await desk.becomes(order, OrdStatus.NEW)
            for task in [*gateway._tasks, gateway._leasing]:
                task.cancel()
            desk.log.kill("gw-1")
            await gateway._venue.close()
            gateway._acting = gateway._opened = False
            other = BinanceVenue(
                name, UNIVERSE, simulated("127.0.0.1", desk.port, name), Keys(KEY, KEY.replace("key", "secret")),
                desk.clock, pace=QUICK,
            )  # fmt: skip
            await other.open(lambda reports: None, lambda up: None)
            await other.cancel_all(1)
            await other.close()
            next_life = desk.gateway()
            await next_life.start()
            for order in (first, second):
                await desk.becomes(order, OrdStatus.CANCELED)
            await desk.until(lambda: not next_life.session.holds)
            third = await desk.place()
            await desk.becomes(third, OrdStatus.NEW)
            await next_life.stop()

    run(work)


def test_what_the_account_does_at_another_venue_is_not_this_gateways(tmp_path):
    async def work():
        async with server(tmp_path) as at, stack(at, "BINANCE_USDM") as (desk, gateway):
            desk.number = NUMBERS["BINANCE"]
            elsewhere = await desk.place()
            began = desk.clock.now()
            gateway.reconciler.want("test")
            await desk.until(lambda: gateway.reconciler.reconciled > began)
            assert gateway.counts["asked"] == 0
            assert desk.lane.order(elsewhere.cl_ord_id).open

    run(work)


def test_a_wrong_key_is_one_clear_line(tmp_path):
    async def work():
        async with server(tmp_path) as at:
            desk = Stack(at, "BINANCE_USDM")
            with pytest.raises(UserError, match=r"gateway BINANCE_USDM\.main: the venue refuses"):
                await desk.gateway("nobodykey").start()

    run(work)


@pytest.mark.parametrize("name", ["BINANCE_USDM", "BINANCE"])
def test_a_kill_on_a_venue_that_says_unknown_order_is_carried_out_when_it_knows_them_again(tmp_path, name):
    async def work():
        async with server(tmp_path) as at, stack(at, name) as (desk, gateway):
            order = await desk.place()
            await desk.becomes(order, OrdStatus.NEW)
            Admin(at).fault({"kind": "hide_orders"})
            seq = await post(desk.user, breach("firm", State.KILLED, desk.clock.now()))
            await desk.until(lambda: seq in gateway.halts.followed)
            refused = await desk.place()
            await desk.becomes(refused, OrdStatus.REJECTED)
            assert desk.lane.order(refused.cl_ord_id).reason == Reason.GATEWAY_HALTED
            await desk.until(lambda: "control" in desk.alerts())
            Admin(at).clear({"kind": "hide_orders"})
            began = desk.clock.now()
            gateway.reconciler.want("test")
            await desk.until(lambda: gateway.reconciler.reconciled > began)
            await desk.until(lambda: not desk.lane.order(order.cl_ord_id).open)
            orders = await gateway._venue.open_orders()
            assert orders == []

    run(work)

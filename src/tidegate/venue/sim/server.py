"""The exchange as a server: REST, WebSocket API and streams on one port, and the clock that drives the market."""

from __future__ import annotations

import asyncio
import errno
import socket as sockets
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

from tidegate.errors import NotYet, UserError
from tidegate.kernel.replay_engine import VenueModel
from tidegate.marketdata.binance_instruments import Market
from tidegate.model.clock import Clock, SystemClock
from tidegate.model.instrument import Universe
from tidegate.model.time import MS
from tidegate.venue.sim.account_desk import AccountDesk
from tidegate.venue.sim.admin import Admin
from tidegate.venue.sim.agent_feed import AgentFeed
from tidegate.venue.sim.agent_market import AgentMarket
from tidegate.venue.sim.agents import AgentsConfig
from tidegate.venue.sim.background import NEVER
from tidegate.venue.sim.call import SOCKET_PREFIX
from tidegate.venue.sim.capture_feed import CaptureFeed, Feed
from tidegate.venue.sim.capture_files import Capture
from tidegate.venue.sim.capture_market import CaptureMarket, Records
from tidegate.venue.sim.config import VenueConfig
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.faults import Faults
from tidegate.venue.sim.hub import Hub
from tidegate.venue.sim.lending import Lender
from tidegate.venue.sim.limits import Limits
from tidegate.venue.sim.liquidation import Liquidator
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.market_desk import MarketDesk
from tidegate.venue.sim.order_desk import OrderDesk
from tidegate.venue.sim.record import Record
from tidegate.venue.sim.rest import Rest
from tidegate.venue.sim.routes import Desks, margin_table, rest_table, socket_table
from tidegate.venue.sim.sockets import Outlet, Outlets
from tidegate.venue.sim.streams import Streams
from tidegate.venue.sim.timeline import Timeline
from tidegate.venue.sim.treasury import Treasury
from tidegate.venue.sim.user_streams import UserStreams
from tidegate.venue.sim.wakeup import Wakeup
from tidegate.venue.sim.ws_api import SocketApi

API_PREFIX = SOCKET_PREFIX | {
    "ws-api": Market.SPOT,
    "ws-fapi": Market.USDM,
    "ws-dapi": Market.COINM,
}
IDLE = 200 * MS
"""How often the server looks at its clock when nothing is due: listen keys expire by it."""


class VenueServer:
    """One exchange, one port, bound to loopback unless told otherwise. See docs/venue-sim.md."""

    def __init__(self, universe: Universe, config: VenueConfig, clock: Clock | None = None) -> None:
        self.config, self.clock = config, clock or SystemClock()
        self.outlets, self.faults = Outlets(), Faults(config.seed)
        self.record, self.limits = Record(config.record), Limits(config)
        self.users = UserStreams(self.outlets, self.faults, self.record, config.seed)
        self.listings = Listings(universe)
        self.exchange = self.users.exchange = Exchange(self.listings, config, self.users)
        self.liquidator = Liquidator(self.exchange)
        self.treasury = Treasury(self.exchange, config.funding, config.open_interest, config.collateral)
        self.lender = Lender(self.exchange, config.lending, self.liquidator.insurance)
        self.hub = Hub(self.outlets)
        self.orders = OrderDesk(self.exchange, self.faults, self.limits)
        self.streams = Streams(self.hub, self.users, self.outlets, self.clock)
        self.timeline: Timeline | None = None
        self.feed: Feed
        self.url = self.broken = ""
        self._autostart = True
        self._runner: web.AppRunner | None = None
        self._wakeup: Wakeup | None = None
        self._again: asyncio.Handle | None = None

    @classmethod
    def of_capture(
        cls, capture: Capture, config: VenueConfig | dict[str, Any], *, clock: Clock | None = None,
        speed: str | int | float = 1, loop: bool = False, autostart: bool = True, skip: int = 0,
    ) -> VenueServer:  # fmt: skip
        """A server over a recorded market.

        `speed` is how fast it runs, `loop` begins it anew for ever. With `autostart` it runs from `start` on, else
        from `POST /admin/start`. What lies in its first `skip` ns
        has happened before it begins. Raises `UserError` for a configuration that does not hold.
        """
        checked = VenueConfig.load(config) if isinstance(config, dict) else config
        server = cls(capture.universe, checked, clock)
        first = (capture.frames[0].due if capture.frames else 0) + skip
        server.timeline = Timeline(first, speed)
        server._autostart = autostart
        model = VenueModel(checked.fill, checked.queue, checked.queue_exponent)
        records = Records(capture.records, capture.max_delay, loop)
        market = CaptureMarket(
            capture.universe, model, records, server.timeline, server.exchange.executed, checked.seed
        )
        server.exchange.stand_on(market)
        feed = server.feed = CaptureFeed(capture, server.listings, server.timeline, server.hub, loop)
        if skip:
            feed.skip(first)
        return server

    @classmethod
    def of_agents(
        cls,
        universe: Universe,
        agents: Mapping[str, AgentsConfig],
        config: VenueConfig | dict[str, Any],
        *,
        clock: Clock | None = None,
    ) -> VenueServer:
        """A server over a market of seeded agents, by instrument id. Raises `UserError` as `of_capture` does."""
        checked = VenueConfig.load(config) if isinstance(config, dict) else config
        server = cls(universe, checked, clock)
        market = AgentMarket(server.listings, agents, server.exchange.executed, checked.seed)
        market.begin(server.clock.now())
        server.exchange.stand_on(market)
        server.feed = AgentFeed(market, server.listings, server.hub)
        return server

    # Life.

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen, and let the market run. Raises `NotYet` when the port is taken."""
        loop = asyncio.get_running_loop()
        self.users.run_on(loop)
        self._wakeup = Wakeup(loop, self.pump)
        self._runner = web.AppRunner(
            self._application(), access_log=None, handle_signals=False, shutdown_timeout=0.1
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self.stop()
            if error.errno == errno.EADDRINUSE:
                raise NotYet(
                    f"port {port} of {host} is taken; stop what listens there, or choose another"
                ) from None
            raise UserError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        bound = self._runner.addresses[0]
        self.url = f"http://{bound[0]}:{bound[1]}"
        if self._autostart:
            self.run_market()
        self.pump()

    async def stop(self) -> None:
        """Cut every connection and stop listening. Orders and money stay as they are."""
        if self._wakeup is not None:
            self._wakeup.close()
            self._wakeup = None
        if self._again is not None:
            self._again.cancel()
        self.outlets.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def run_market(self) -> None:
        """Let a capture begin to run; again does nothing."""
        if self.timeline is not None:
            self.timeline.start(self.clock.now())
        self.pump()

    def set_speed(self, speed: str | int | float) -> None:
        """Run a capture at another speed from now on."""
        if self.timeline is None:
            raise UserError("only a capture has a speed; this market runs by itself")
        self.pump()
        self.timeline.set_speed(speed, self.clock.now())
        self.pump()

    def health(self) -> dict[str, Any]:
        """Figures of the server as it is."""
        requests, happenings = self.record.size
        return {
            "url": self.url,
            "broken": self.broken,
            "sockets": len(self.outlets.open),
            "open_orders": len(self.exchange.live),
            "requests": requests,
            "happenings": happenings,
            "left_out_of_record": self.record.left_out,
            "counters": {**self.exchange.counters, **self.outlets.counters},
            "faults": dict(self.faults.acted),
        }

    # The clock.

    def pump(self) -> None:
        """Let everything happen that is due: executions, countdowns, public frames; then write it all.

        Should the market itself fail, the server is void: every connection is cut, and `health` says why.
        """
        try:
            self._pump(self.clock.now())
        except Exception as error:
            self.broken = f"{type(error).__name__}: {error}"
            self.outlets.cut()
            raise
        self._arm()

    def _pump(self, now: int) -> None:
        self.exchange.advance(now)
        self.treasury.step(now)
        self.liquidator.step(now)
        self.lender.step(now)
        self.orders.tick(now)
        self.users.expire(now)
        sent = self.feed.emit(now)
        self.outlets.flush()
        if sent:
            self.feed.fold()

    def _arm(self) -> None:
        """Wake up when the next thing is due; at once, but after waiting requests, when that has passed."""
        if self._wakeup is None:
            return
        due = min(self.feed.next_due(), self.orders.next_due())
        if self.exchange.live:
            due = min(due, self.exchange.background.next_due())
        now = self.clock.now()
        if due > now:
            self._wakeup.after(min(due - now, IDLE) if due < NEVER else IDLE)
        elif self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._again = None
        self.pump()

    # Connections.

    def _application(self) -> web.Application:
        desks = Desks(
            self.orders,
            AccountDesk(self.exchange, self.treasury, self.lender),
            MarketDesk(self.exchange, self.feed, self.limits, self.treasury),
            self.users,
        )
        common = (self.exchange, self.clock, self.limits, self.faults, self.record, self.outlets)
        self._rest = Rest(rest_table(desks), margin_table(desks), *common)
        self._api = SocketApi(socket_table(desks), *common, self.users)
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{api:api|sapi|fapi|dapi}/{version:v[0-9]}/{path:.+}", self._rest.handle)
        for prefix in SOCKET_PREFIX:
            app.router.add_get(f"/{prefix}/ws-api", self._ws_api)
            app.router.add_get(f"/{prefix}/stream", self._stream)
            app.router.add_get(f"/{prefix}/ws", self._stream)
            app.router.add_get(f"/{prefix}/ws/{{names:.+}}", self._stream)
        for path in ("/ws-api/v3", "/ws-fapi/v1", "/ws-dapi/v1"):  # as Binance calls them
            app.router.add_get(path, self._ws_api)
        Admin(self).add_to(app)
        return app

    async def _open(self, request: web.Request, kind: str) -> Outlet:
        socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        transport = request.transport
        assert transport is not None
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        outlet = Outlet(socket, transport, kind, request.remote or "")
        self.outlets.open.add(outlet)
        return outlet

    async def _ws_api(self, request: web.Request) -> web.StreamResponse:
        market = API_PREFIX[request.path.split("/")[1]]
        outlet = await self._open(request, "ws_api")
        handle, now, flush, pump = self._api.handle, self.clock.now, self.outlets.flush, self._arm
        try:
            async for message in outlet.socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    handle(outlet, market, message.data, now())
                    flush()
                    pump()
        finally:
            self._leave(outlet, request)
        return outlet.socket

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.split("/")
        market = SOCKET_PREFIX[parts[1]]
        outlet = await self._open(request, "public")
        outlet.combined = parts[2] == "stream"
        named = request.query.get("streams", "") if outlet.combined else request.match_info.get("names", "")
        names = [name for name in named.split("/") if name]
        try:
            if not self.streams.subscribe(outlet, market, names):
                await outlet.socket.close(code=1008, message=b"unknown stream or listen key")
            async for message in outlet.socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self.streams.handle(outlet, market, message.data)
                    self.outlets.flush()
        finally:
            self._leave(outlet, request)
        return outlet.socket

    def _leave(self, outlet: Outlet, request: web.Request) -> None:
        self.outlets.open.discard(outlet)
        self.streams.leave(outlet, API_PREFIX[request.path.split("/")[1]])

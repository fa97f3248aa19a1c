"""The account's own events: by listen key on a socket of their own, or subscribed to on the WS API.

Futures have listen keys: made by POST, kept alive every half hour, made anew when the venue says they expired. The
real spot market has only the subscription; our venue server, and Binance's older ones, have listen keys on spot too.
So spot tries the subscription first and falls back on a refusal.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tidegate.model.clock import Clock
from tidegate.venue.binance.errors import VenueError
from tidegate.venue.binance.products import Endpoints, Product
from tidegate.venue.binance.rest import Rest
from tidegate.venue.binance.websocket import Pace, Socket
from tidegate.venue.port import VenueDown, VenueRefused

log = logging.getLogger("tidegate.venue.binance")
KEEP_ALIVE = 1800.0
"""Seconds; a listen key lives an hour after it was made or kept alive."""


class UserStream:
    """`subscribe` asks for the events on the WS API and raises `VenueError` where it has none to give."""

    def __init__(
        self,
        product: Product,
        endpoints: Endpoints,
        rest: Rest,
        subscribe: Callable[[], Awaitable[Any]],
        on_frames: Callable[[list[bytes], int], None],
        on_change: Callable[[], None],
        clock: Clock,
        pace: Pace,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._product, self._endpoints, self._rest = product, endpoints, rest
        self._subscribe, self._on_change = subscribe, on_change
        self._keep_alive = keep_alive
        self._subscribed = False
        self._by_key = not product.subscribes
        self._key = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        name = f"{product.venue} user stream"
        self._socket = Socket(name, self._url, on_frames, self._socket_changed, clock, pace)
        self._opened = False
        self._settled = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether events arrive."""
        return self._subscribed or self._socket.up

    async def open(self) -> None:
        """Connect, unless `ws_api_changed` does it. Raises `VenueRefused`."""
        if self._by_key:
            await self._open_socket()

    async def close(self) -> None:
        """Leave."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()
        self._opened = self._subscribed = False
        self._settled.clear()

    async def settled(self) -> None:
        """Returns once a subscription has been answered, one way or the other."""
        if not self._by_key:
            await self._settled.wait()

    def ws_api_changed(self, up: bool) -> None:
        """The WS API was connected or lost: a subscription lives and dies with it."""
        if self._by_key:
            return
        if up:
            self._start(self._ask())
        else:
            self._subscribed = False

    def expired(self) -> None:
        """The venue says that this stream has ended: begin anew."""
        self.counts["user streams expired"] += 1
        if self._by_key:
            self._key = ""
            self._socket.drop("listen key expired")
        else:
            self._subscribed = False
            self._on_change()
            self._start(self._ask())

    def drop(self, why: str) -> None:
        """End the connection; the next one is made at once."""
        self._socket.drop(why)

    def health(self) -> dict[str, Any]:
        """For people."""
        way = "listen key" if self._by_key else "subscription"
        return {"up": self.up, "by": way, "socket": self._socket.health(), **self.counts}

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self) -> None:
        try:
            await self._subscribe()
            self._subscribed = True
        except VenueError as error:
            log.info("%s: no subscription to user events (%s): by listen key", self._product.venue, error)
            self._by_key = True
            with suppress(VenueRefused):  # the socket keeps it, and says so in its health
                await self._open_socket()
        except VenueDown as error:
            log.warning("%s: subscription to user events: %s", self._product.venue, error)
        self._settled.set()
        self._on_change()

    async def _open_socket(self) -> None:
        if not self._opened:
            self._opened = True
            await self._socket.open()

    async def _url(self) -> str:
        """A fresh key's URL; the key that is still alive is given again by the venue."""
        try:
            answer = await self._rest.keyed("POST", self._product.listen_key)
        except VenueError as error:
            raise VenueDown(f"no listen key: {error}") from None
        self._key = answer["listenKey"]
        self.counts["listen keys"] += 1
        self._arm()
        return self._endpoints.user(self._key)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(
            self._keep_alive, lambda: self._start(self._keep())
        )

    async def _keep(self) -> None:
        # Spot wants the key named; futures know it from the API key.
        params = {"listenKey": self._key} if self._product.subscribes else {}
        try:
            await self._rest.keyed("PUT", self._product.listen_key, params)
            self.counts["listen keys kept alive"] += 1
        except VenueError:
            self.expired()
        except (VenueDown, VenueRefused) as error:
            log.warning("%s: listen key not kept alive: %s", self._product.venue, error)
        self._arm()

    def _socket_changed(self, up: bool) -> None:
        self._on_change()

"""Binance's REST: signed and unsigned requests, its rate limits, its clock, its errors."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from tidegate.model.clock import Clock
from tidegate.model.time import MS, SECOND
from tidegate.venue.binance.errors import BAD_KEY, TIMESTAMP, UNKNOWN_OUTCOME, VenueError
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.limits import QUESTIONS, Limits
from tidegate.venue.binance.products import Endpoints, Product
from tidegate.venue.port import VenueDown, VenueRefused

RECV_WINDOW = 5000
"""Milliseconds that a signed request may take to arrive; later, the venue refuses it."""
_TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
_PATIENCE = 5 * SECOND
"""How long a query waits for its turn under the rate limit before it gives up."""
_SAMPLES = 3


class Rest:
    """One key's requests to one product. Without keys, public requests only."""

    def __init__(self, product: Product, endpoints: Endpoints, keys: Keys | None, clock: Clock) -> None:
        self.product = product
        self.limits = Limits(product)
        self.counts: Counter[str] = Counter()
        self.offset = 0
        """The venue's clock less ours, ns."""
        self._base = endpoints.rest
        self._keys = keys
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    def venue_now(self) -> int:
        """The venue's time as we know it, ns."""
        return self._clock.now() + self.offset

    async def close(self) -> None:
        """Close its connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def sync(self) -> None:
        """Measure the venue's clock: of a few samples, the one that came back soonest."""
        best = None
        for _ in range(_SAMPLES):
            sent = self._clock.now()
            answer = await self.public(self.product.time)
            back = self._clock.now()
            offset = answer["serverTime"] * MS + MS // 2 - (sent + back) // 2
            if best is None or back - sent < best[0]:
                best = back - sent, offset
        assert best is not None
        self.offset = best[1]

    async def public(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        weight: int = 1,
        share: float = QUESTIONS,
    ) -> Any:
        """GET, parsed; `share` as in `limits`. Raises `VenueDown`, `VenueError`."""
        await self._turn(weight, share)
        return _parsed("GET", path, await self._send("GET", path, urlencode(params or {}), {}))

    async def raw(self, path: str, params: Mapping[str, Any] | None = None, weight: int = 1) -> bytes:
        """GET, as it came."""
        await self._turn(weight, QUESTIONS)
        return await self._send("GET", path, urlencode(params or {}), {})

    async def keyed(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """A request that names the key and is not signed (listen keys)."""
        assert self._keys is not None
        await self._turn(1, QUESTIONS)
        headers = {"X-MBX-APIKEY": self._keys.key}
        return _parsed(method, path, await self._send(method, path, urlencode(params or {}), headers))

    async def signed(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        weight: int = 1,
        urgent: bool = False,
        share: float = QUESTIONS,
        once: bool = False,
    ) -> Any:
        """A signed request, parsed; `urgent` ones wait as cancels do, others for their `share` of the rate limit. What is
        sent `once`, a new order for which `Limits.order` found room, goes now or not at all: nobody could call it back
        from here. Raises `VenueDown` where the venue did not answer or does not know the outcome, `VenueError` where it
        refused, `VenueRefused` for a bad key."""
        assert self._keys is not None
        if not once:
            await (self._urgent(weight) if urgent else self._turn(weight, share))
        for attempt in (1, 2):
            query = urlencode(
                {**(params or {}), "recvWindow": RECV_WINDOW, "timestamp": self.venue_now() // MS}
            )
            query = f"{query}&signature={self._keys.sign(query.encode())}"
            try:
                body = await self._send(method, path, query, {"X-MBX-APIKEY": self._keys.key})
                return _parsed(method, path, body)
            except VenueError as error:
                if error.code != TIMESTAMP or attempt == 2 or once:
                    raise
                self.counts["timestamps refused"] += 1
                await self.sync()
        raise AssertionError("unreachable")

    async def _urgent(self, weight: int) -> None:
        while wait := self.limits.cancel(self.venue_now(), weight):
            await asyncio.sleep(wait / SECOND)

    async def _turn(self, weight: int, share: float) -> None:
        waited = 0
        while wait := self.limits.query(self.venue_now(), weight, share):
            if waited + wait > _PATIENCE:
                self.counts["queries held back"] += 1
                raise VenueDown(f"{self.product.venue}: rate limit, for another {wait / SECOND:.1f} s")
            waited += wait
            await asyncio.sleep(wait / SECOND)

    async def _send(self, method: str, path: str, query: str, headers: dict[str, str]) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        url = URL(f"{self._base}{path}?{query}" if query else f"{self._base}{path}", encoded=True)
        try:
            async with self._session.request(method, url, headers=headers) as answer:
                body = await answer.read()
                status, heads = answer.status, answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The error's own text may hold the URL, and with it the signature.
            self.counts["requests unanswered"] += 1
            raise VenueDown(f"{method} {path}: {type(error).__name__}") from None
        now = self.venue_now()
        self.limits.headers(now, heads)
        if status < 300:
            return body
        if status in (418, 429):
            retry = heads.get("Retry-After", "")
            self.limits.block(now, float(retry) if retry.isdigit() else None, banned=status == 418)
            self.counts["rate limit hit"] += 1
        raise self._error(method, path, status, body)

    def _error(self, method: str, path: str, status: int, body: bytes) -> Exception:
        try:
            data = orjson.loads(body)
            code, message = int(data["code"]), str(data["msg"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            code, message = 0, body[:200].decode(errors="replace")
        what = f"{self.product.venue}: {method} {path}: {message} (code {code}, HTTP {status})"
        if code in BAD_KEY or status == 401:
            return VenueRefused(f"{what}; look at the API key, its permissions and its allowed addresses")
        if status >= 500 or code in UNKNOWN_OUTCOME:
            return VenueDown(what)
        return VenueError(status, code, message)


def _parsed(method: str, path: str, body: bytes) -> Any:
    """An answer; one that cannot be read says nothing of what was done."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise VenueDown(f"{method} {path}: its answer of {len(body)} bytes cannot be read") from None

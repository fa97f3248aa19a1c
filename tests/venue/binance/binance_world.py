"""A real session against our venue server, in one process: a still market, one account, reports as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.oracle import binance_writer as w
from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.clock import SystemClock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecType, OrdType, Side, TimeInForce
from tidegate.model.time import MS, SECOND
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.products import simulated
from tidegate.venue.binance.venue import BinanceVenue
from tidegate.venue.binance.websocket import Pace
from tidegate.venue.sim.capture_files import load_capture
from tidegate.venue.sim.server import VenueServer

UNIVERSE = Universe([BINANCE[n] for n in (0, 2, 4)])
NUMBERS = {"BINANCE": 0, "BINANCE_USDM": 1, "BINANCE_COINM": 2}
NAMES = {"BINANCE": "BTCUSDT", "BINANCE_USDM": "BTCUSDT", "BINANCE_COINM": "BTCUSD_PERP"}
KEY, SECRET = "trader1key", "trader1secret"
QUICK = Pace(first_pause=0.01, longest_pause=0.05)
CONFIG: dict[str, Any] = {
    "fill": "partial",
    "accounts": [
        {"name": "one", "api_key": KEY, "api_secret": SECRET, "balances": {
            "BINANCE": {"USDT": "100000", "BTC": "1000"},
            "BINANCE_USDM": {"USDT": "3000"}, "BINANCE_COINM": {"BTC": "1000"}}, "leverage": 3},
        {"name": "two", "api_key": "trader2key", "api_secret": "trader2secret", "balances": {
            "BINANCE": {"USDT": "100000", "BTC": "1000"}, "BINANCE_USDM": {"USDT": "3000"},
            "BINANCE_COINM": {"BTC": "1000"}}},
    ],
}  # fmt: skip
"""Prices are around 100.00; a lot of spot is 0.00001 BTC, of USDⓈ-M 0.001, of COIN-M one contract."""
TOUCH = {"BINANCE": 0.01, "BINANCE_USDM": 0.1, "BINANCE_COINM": 0.1}
"""How many percent above 100 the best ask is; five units are shown there (of COIN-M fifty)."""
TICKS = {"BINANCE": 10_000, "BINANCE_USDM": 1_000, "BINANCE_COINM": 1_000}
"""100.00 in ticks."""
UNIT = {"BINANCE": 100_000, "BINANCE_USDM": 1_000, "BINANCE_COINM": 10}
"""Lots of what an order is for: a BTC, or ten contracts."""


def still_market() -> bytes:
    """A capture in which each market has a book and then nothing but a trade far from it, an hour later."""
    e0 = w.EPOCH * MS
    spot_bids, spot_asks = [("100.00", "5"), ("99.00", "50")], [("100.01", "5"), ("101.00", "50")]
    usdm_bids, usdm_asks = [("100.0", "5"), ("99.0", "50")], [("100.1", "5"), ("101.0", "50")]
    coin_bids, coin_asks = [("100.0", "500"), ("99.0", "50")], [("100.1", "500"), ("101.0", "50")]
    frames = [
        (5, w.spot_trade(1, at=0)), (6, w.spot_depth(101, 102, spot_bids, spot_asks, at=1)),
        (7, w.spot_ticker(102, size="5.00000")), (8, w.usdm_trade(1, at=3)), (9, w.coinm_trade(1, at=4)),
        (10, w.usdm_depth(101, 102, 100, usdm_bids, usdm_asks, at=5)),
        (11, w.usdm_ticker(102, size="5.000", at=6)), (3_600_000, w.spot_trade(2, at=3_599_990)),
    ]  # fmt: skip
    lines = [w.line(e0 + 1 * MS, w.usdm_snapshot(100, usdm_bids, usdm_asks))]
    lines.append(w.line(e0 + 2 * MS, w.coinm_snapshot(100, coin_bids, coin_asks)))
    return b"".join([*lines, *(w.line(e0 + at * MS, frame) for at, frame in frames)])


def captures(folder: Path) -> list[Path]:
    """The still market as capture files, one a market (a spot snapshot names no symbol)."""
    lines = still_market().splitlines(keepends=True)
    spot = [line for line in lines if (b"@0ms" not in line and b'"T":' not in line) or b'"M":true' in line]
    snapshot = w.spot_snapshot(100, [("100.00", "5"), ("99.00", "50")], [("100.01", "5"), ("101.00", "50")])
    spot.insert(0, w.line(w.EPOCH * MS + MS, snapshot))
    coinm = [line for line in lines if b"BTCUSD_PERP" in line]
    usdm = [line for line in lines if line not in spot and line not in coinm]
    made = []
    for name, part in (("spot", spot), ("usdm", usdm), ("coinm", coinm)):
        (folder / f"{name}.txt").write_bytes(b"".join(part))
        made.append(folder / f"{name}.txt")
    return made


@asynccontextmanager
async def server(
    folder: Path, config: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[VenueServer]:
    """The venue server over the still market."""
    capture = load_capture(captures(folder))
    made = VenueServer.of_capture(capture, config or CONFIG, **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


class Session:
    """A session, and what it was told."""

    def __init__(self, at: VenueServer, venue: str = "BINANCE_USDM", key: str = KEY, **options: Any) -> None:
        self.name = venue
        self.number = NUMBERS[venue]
        self.port = int(at.url.rpartition(":")[2])
        keys = Keys(key, key.replace("key", "secret"))
        self.venue = BinanceVenue(
            venue, UNIVERSE, simulated("127.0.0.1", self.port, venue), keys, SystemClock(), **({"pace": QUICK} | options)
        )  # fmt: skip
        self.reports: list[Report] = []
        self.changes: list[bool] = []
        self._news = asyncio.Event()
        self._at = 0
        self._next = (3 << 40) + 1

    async def __aenter__(self) -> Session:
        await self.venue.open(self._reported, self._changed)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.venue.close()

    def _reported(self, reports: list[Report]) -> None:
        self.reports += reports
        self._news.set()

    def _changed(self, up: bool) -> None:
        self.changes.append(up)
        self._news.set()

    async def until(self, holds: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Wait until something holds, looking whenever there is news."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := holds()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"in vain; told {self.reports[self._at :]}, {self.venue.health()}") from None
        return found

    async def told(self, *kinds: ExecType, of: int = 0) -> list[Report]:
        """Wait for reports of these kinds, in any order, after those that were waited for before."""
        wanted = sorted(kinds)

        def there() -> list[Report]:
            found = [r for r in self.reports[self._at :] if not of or r.cl_ord_id == of]
            return found if sorted(r.exec_type for r in found)[: len(wanted)] == wanted else []

        found: list[Report] = await self.until(there)
        self._at = len(self.reports)
        return sorted(found, key=lambda report: kinds.index(report.exec_type))

    def lots(self, units: float) -> int:
        """So many units: a BTC, or on COIN-M ten contracts."""
        return round(units * UNIT[self.name])

    def ticks(self, percent: float) -> int:
        """A price so far from 100."""
        return round(TICKS[self.name] * (1 + percent / 100))

    def new(self, side: Side = Side.BUY, units: float = 2, percent: float = -1.0, **changes: Any) -> SendNew:
        """A limit order of an id of its own."""
        self._next += 1
        fields: dict[str, Any] = {
            "ts": 1, "cl_ord_id": self._next, "account": 0, "instrument": self.number, "side": side,
            "ord_type": OrdType.LIMIT, "qty": self.lots(units), "price": self.ticks(percent), "stop_price": 0,
            "time_in_force": TimeInForce.GTC, "exec_inst": 0, "display_qty": 0, "offset": 0, "expire_ts": 0,
        }  # fmt: skip
        request = SendNew(**(fields | changes))
        self.venue.send(request)
        return request

    def cancel(self, order: SendNew) -> None:
        """Cancel it."""
        self.venue.send(SendCancel(2, order.cl_ord_id, 0, self.number))

    def replace(self, order: SendNew, units: float, percent: float) -> SendReplace:
        """Change it."""
        request = SendReplace(
            2, order.cl_ord_id, self.lots(units), self.ticks(percent), 0, self.number, order.side
        )
        self.venue.send(request)
        return request


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, with an end."""
    asyncio.run(asyncio.wait_for(work(), 60))


__all__ = ["CONFIG", "KEY", "NUMBERS", "QUICK", "SECOND", "TOUCH", "UNIVERSE", "Session", "run", "server"]

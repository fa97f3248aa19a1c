"""Binance's public streams as market events: one WebSocket a product, what one read brings parsed together.

Frames pass the parser and the assembler of the import, so the events are the import's: exact integers, a proven
chain, times mended. `ts_recv` is our clock when the read began. What a live stream adds:

- the snapshot: asked for by REST as soon as the connection stands, again whenever the chain breaks, with a pause that
  doubles while it does not join. Diffs wait for it (`assemble`: Binance's buffering rule);
- a frame that is refused is quarantined: counted, the last few kept as they came. If it was depth, the next one shows
  the gap, and the book is rebuilt;
- a connection that says nothing, or no longer answers, is replaced (`websocket`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from tidegate.marketdata.binance_frames import Batch, FrameParser, Quarantined
from tidegate.marketdata.binance_instruments import Directory
from tidegate.marketdata.binance_shapes import M_INSTRUMENT, M_ROWS
from tidegate.marketdata.chain import BROKEN, EMPTY
from tidegate.marketdata.clock import ClockFit
from tidegate.marketdata.live import LiveAssembler
from tidegate.model.clock import Clock
from tidegate.model.event import META, Status, Words
from tidegate.model.instrument import Universe
from tidegate.venue.binance.contract_facts import FUNDING_EVERY, INTEREST_EVERY, ContractPoll
from tidegate.venue.binance.errors import VenueError
from tidegate.venue.binance.limits import POLLS
from tidegate.venue.binance.products import Endpoints, product
from tidegate.venue.binance.rest import Rest
from tidegate.venue.binance.websocket import Pace, Socket
from tidegate.venue.feed import ContractFacts
from tidegate.venue.port import VenueDown, VenueRefused

log = logging.getLogger("tidegate.venue.binance")
STREAMS = ("depth", "bookTicker", "trade")
KEPT = 16
"""Quarantined frames and gaps kept for people."""
PACE = Pace(stale=30.0)
STATUS_EVERY = 5.0
"""Seconds between two looks at the venue's list of symbols: the streams do not say that one is halted."""
_STATUS = {
    "TRADING": Status.TRADING, "HALT": Status.HALTED, "BREAK": Status.HALTED, "SETTLING": Status.HALTED,
    "AUCTION_MATCH": Status.AUCTION, "PENDING_TRADING": Status.CLOSED, "PRE_TRADING": Status.CLOSED,
    "POST_TRADING": Status.CLOSED, "END_OF_DAY": Status.CLOSED, "PRE_DELIVERING": Status.CLOSED,
    "DELIVERING": Status.CLOSED, "DELIVERED": Status.CLOSED, "PRE_SETTLE": Status.HALTED, "CLOSE": Status.CLOSED,
}  # fmt: skip
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0
_OURS = ClockFit(np.zeros((1, 2), np.int64), 0.0, 0, 0)
"""Our own clock is not corrected."""

OnRows = Callable[[int, Words], None]
"""Called with an instrument's number in the run's universe and its new events, as rows of words that live until it
returns."""


class BinanceFeed:
    """The market data of one product's instruments in the universe."""

    def __init__(
        self,
        venue: str,
        universe: Universe,
        endpoints: Endpoints,
        clock: Clock,
        *,
        streams: Sequence[str] = STREAMS,
        pace: Pace = PACE,
        contract_paces: tuple[float, float] = (FUNDING_EVERY, INTEREST_EVERY),
    ) -> None:
        self.venue = venue
        self.numbers = [n for n, item in enumerate(universe.instruments) if item.venue == venue]
        """The universe's numbers of this feed's instruments."""
        self.status: dict[int, int] = {}
        """The venue's word on each instrument's trading (`model.event.Status`)."""
        self.counts: Counter[str] = Counter()
        self.quarantined: deque[Quarantined] = deque(maxlen=KEPT)
        """The last frames that were refused, as they came."""
        self._product = product(venue)
        self._streams = streams
        self._endpoints = endpoints
        self._rest = Rest(self._product, endpoints, None, clock)
        self._clock = clock
        self._universe = universe
        self._directory = Directory([universe[n] for n in self.numbers])
        self._parser = FrameParser(self._directory)
        self._assemblers = [
            LiveAssembler(item, self._product.market.futures, _OURS, venue)
            for item in self._directory.instruments
        ]
        self._shift = [number - n for n, number in enumerate(self.numbers)]
        self._frames = self._events = 0
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._contracts = ContractPoll(
            self._product, self._rest, universe, self.numbers, clock, *contract_paces
        )
        self._socket = Socket(f"{venue} market data", self._url, self._read, self._changed, clock, pace)
        self._on_rows: OnRows = lambda number, rows: None

    async def start(self, on_rows: OnRows) -> None:
        """Connect and stay connected."""
        self._on_rows = on_rows
        if self.numbers:
            await self._socket.open()
            self._looking = asyncio.create_task(self._look(), name=f"status {self.venue}")
            self._contracts.start()

    async def stop(self) -> None:
        """Leave."""
        await self._socket.close()
        await self._contracts.stop()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await self._rest.close()

    def facts(self, number: int) -> ContractFacts:
        """See `venue.feed.ContractFeed`."""
        return self._contracts.facts(number)

    def health(self) -> dict[str, Any]:
        """How it stands, for people and monitors."""
        return {
            "venue": self.venue,
            "connected": self._socket.up,
            "rebuilding": [self._directory.instruments[n].symbol for n in self._asking],
            "slow frames": self._parser.slow,
            "skipped": dict(self._parser.skipped),
            "gaps": sum(len(a.gaps) for a in self._assemblers) + self.counts["gaps forgotten"],
            "stamped later than received": sum(a.future for a in self._assemblers),
            "quarantined frames": [f"{q.reason}: {q.detail}" for q in self.quarantined],
            "frames": self._frames,
            "events": self._events,
            "socket": self._socket.health(),
            **self.counts,
            **self._contracts.counts,
        }

    async def _look(self) -> None:
        """See again and again which symbols trade; where the venue does not say, what was known stays."""
        numbers = {self._directory.instruments[n].symbol: number for n, number in enumerate(self.numbers)}
        futures = self._product.market.futures
        # Spot lists thousands: only ours are asked for, or all of them where it does not know one of ours any more.
        ours = None if futures else {"symbols": orjson.dumps([*numbers]).decode()}
        while True:
            await asyncio.sleep(STATUS_EVERY)
            try:
                said = await self._rest.public(self._product.exchange_info, ours, 1 if futures else 20, POLLS)
                for item in said["symbols"]:
                    number = numbers.get(item["symbol"])
                    if number is not None:
                        self._trades(number, str(item.get("status") or item.get("contractStatus") or ""))
            except VenueError:
                self.counts["status unanswered"] += 1
                ours = None
            except (VenueDown, VenueRefused, KeyError, TypeError, AttributeError):
                self.counts["status unanswered"] += 1

    def _trades(self, number: int, text: str) -> None:
        """The venue's word on one symbol."""
        status = _STATUS.get(text, Status.HALTED)
        if status != self.status.get(number, Status.TRADING):
            log.warning("%s: %s is %s", self.venue, self._universe[number].symbol, text)
            self.counts["status changes"] += 1
        self.status[number] = status

    async def _url(self) -> str:
        names = {
            "depth": f"@depth{self._product.depth_speed}",
            "bookTicker": "@bookTicker",
            "trade": "@trade",
        }
        return self._endpoints.streams(
            [
                item.symbol.lower() + names[stream]
                for item in self._directory.instruments
                for stream in self._streams
            ]
        )

    def _changed(self, up: bool) -> None:
        log.info("%s: market data %s", self.venue, "connected" if up else "lost")
        if up and "depth" in self._streams:
            for n in range(len(self.numbers)):
                self._rebuild_if_needed(n)

    def _read(self, frames: list[bytes], ts: int) -> None:
        """What one read brought."""
        self._frames += len(frames)
        self._take(self._parser.read_live(frames, ts))

    def _take(self, batch: Batch) -> None:
        if batch.quarantined:
            self._quarantine(batch.quarantined)
        messages, rows = batch.messages, batch.rows
        if not len(messages):
            return
        first = int(messages[0, M_INSTRUMENT])
        if len(messages) == 1 or self._parser.sole == first or (messages[:, M_INSTRUMENT] == first).all():
            self._assemble(first, messages, rows)
            return
        owner = np.repeat(messages[:, M_INSTRUMENT], messages[:, M_ROWS])
        for n in np.unique(messages[:, M_INSTRUMENT]).tolist():
            self._assemble(n, messages[messages[:, M_INSTRUMENT] == n], rows[owner == n])

    def _assemble(self, n: int, messages: Words, rows: Words) -> None:
        assembler = self._assemblers[n]
        out = assembler.take(messages, rows)
        if len(out):
            if self._shift[n]:
                out[:, META] += self._shift[n]
            self._events += len(out)
            self._on_rows(self.numbers[n], out)
        if assembler.chain.phase in (EMPTY, BROKEN):
            self._rebuild_if_needed(n)
        for kept in (assembler.gaps, assembler.snapshots):
            if len(kept) > 2 * KEPT:
                self.counts["gaps forgotten"] += KEPT if kept is assembler.gaps else 0
                del kept[:KEPT]

    def _quarantine(self, refused: list[Quarantined]) -> None:
        for item in refused:
            self.counts["quarantined"] += 1
            self.quarantined.append(item)
            log.warning("%s: frame quarantined: %s: %s", self.venue, item.reason, item.detail)

    def _rebuild_if_needed(self, n: int) -> None:
        if (
            n not in self._asking
            and "depth" in self._streams
            and self._assemblers[n].chain.phase in (EMPTY, BROKEN)
        ):
            self._asking[n] = asyncio.create_task(self._rebuild(n), name=f"snapshot {n} {self.venue}")

    async def _rebuild(self, n: int) -> None:
        """Ask for snapshots until one joins the chain."""
        item, pause = self._directory.instruments[n], _FIRST_PAUSE
        params = {"symbol": item.symbol, "limit": self._product.depth_levels}
        try:
            while self._assemblers[n].chain.phase in (EMPTY, BROKEN):
                if self._socket.up:
                    try:
                        raw = await self._rest.raw(self._product.depth, params, self._product.depth_weight)
                        self.counts["snapshots"] += 1
                        self._take(self._parser.read_frames([raw], [self._clock.now()], n))
                    except (VenueDown, VenueError, VenueRefused) as error:
                        self.counts["snapshots failed"] += 1
                        log.warning("%s: no snapshot of %s: %s", self.venue, item.symbol, error)
                if self._assemblers[n].chain.phase in (EMPTY, BROKEN):
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            del self._asking[n]

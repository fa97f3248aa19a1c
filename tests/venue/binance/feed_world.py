"""A feed and its service before a capture that our venue server replays."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from binance_world import CONFIG, NAMES, NUMBERS, QUICK, UNIVERSE

from tests.oracle import binance_writer as w
from tidegate.log.memory import MemoryServer
from tidegate.model.clock import SystemClock
from tidegate.model.event import (
    EVENT,
    Kind,
    Words,
    words,
)
from tidegate.model.time import MS
from tidegate.venue.binance.feed import BinanceFeed
from tidegate.venue.binance.products import simulated
from tidegate.venue.binance.websocket import Pace
from tidegate.venue.feed import FeedService
from tidegate.venue.sim.capture_files import load_capture
from tidegate.venue.sim.server import VenueServer

SAMPLE = Path(__file__).parents[3] / "data" / "sample"
FILES = {"BINANCE": "spot_btcusdt", "BINANCE_USDM": "usdm_btcusdt", "BINANCE_COINM": "cm_btcusd_perp"}
FIRST = 4_000
"""Lines of each sample file that are replayed."""


def sample(folder: Path, venue: str) -> Path:
    """The beginning of a sample capture."""
    with gzip.open(SAMPLE / f"{FILES[venue]}_20240808.gz") as whole:
        lines = [line for line, _ in zip(whole, range(FIRST), strict=False)]
    path = folder / f"{FILES[venue]}.txt"
    path.write_bytes(b"".join(lines))
    return path


def made_up(folder: Path, frames: list[tuple[int, Any]]) -> Path:
    """Made-up frames, at ms after the writer's epoch, as a capture."""
    path = folder / "made_up.txt"
    path.write_bytes(b"".join(w.line(w.EPOCH * MS + at * MS, frame) for at, frame in frames))
    return path


class Tap:
    """A feed behind its service, what it read and what was published; waits without sleeping."""

    def __init__(self, at: VenueServer, venue: str, pace: Pace = QUICK, **options: Any) -> None:
        self.at, self.number = at, NUMBERS[venue]
        port = int(at.url.rpartition(":")[2])
        self.clock = SystemClock()
        self.feed = BinanceFeed(venue, UNIVERSE, simulated("127.0.0.1", port, venue), self.clock, pace=pace)
        self.server = MemoryServer()
        self.log = self.server.client("feed")
        self.service = FeedService(UNIVERSE, [self.feed], self.log, self.clock, **options)
        self.subject = f"md.{venue}.{NAMES[venue]}"
        self.asks = f"snap.{venue}.{NAMES[venue]}"
        self.lines: list[bytes] = []
        self.published: list[bytes] = []
        self._news = asyncio.Event()
        self.log.subscribe(self.subject, self._heard)
        parser = self.feed._parser
        parser.read_live = self._noted(parser.read_live)  # type: ignore[method-assign]
        parser.read_frames = self._noted(parser.read_frames)  # type: ignore[method-assign]

    def _noted(self, read: Any) -> Any:
        def noted(frames: Any, times: Any, *owner: int) -> Any:
            # A batch of which the fast reader leaves a frame to the slow one passes here twice.
            if isinstance(times, int) or owner:
                each = [times] * len(frames) if isinstance(times, int) else times
                self.lines += [b"%d %s\n" % (at, frame) for frame, at in zip(frames, each, strict=True)]
            self._news.set()
            return read(frames, times, *owner)

        return noted

    def _heard(self, subject: str, data: bytes) -> None:
        self.published.append(data)
        self._news.set()

    def _heard_elsewhere(self) -> None:
        self._news.set()

    @property
    def rows(self) -> Words:
        """All that was published, in order."""
        return words(np.frombuffer(b"".join(self.published), EVENT)).copy()

    async def until(self, holds: Callable[[], Any], seconds: float = 20.0) -> None:
        """Wait until something holds, looking whenever a frame or a message came."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"in vain: {self.service.health()}") from None

    def done(self, missing: int = 0) -> bool:
        """Whether every frame of the capture has come (but those that a test lost), and gone on to the log."""
        sent, frames = self.at.feed.sent, self.feed.health()["frames"]  # type: ignore[attr-defined]
        out = sum(map(len, self.published)) // EVENT.itemsize + self.service.counts["quotes conflated"]
        whole = sent == len(self.at.feed._capture.frames) == frames + missing  # type: ignore[attr-defined]
        return bool(whole and self.caught_up() and out == self.feed.health()["events"])

    def caught_up(self) -> bool:
        """Whether the book is whole and stands where the server's does, at the capture's end."""
        if self.at.feed.sent < len(self.at.feed._capture.frames):  # type: ignore[attr-defined]
            return False
        return self.usable() and self.book().seq >= self.at.feed.views[0].update_id

    def usable(self) -> bool:
        return self.service._levels[self.number].usable

    def book(self) -> Book:
        """The service's own book."""
        return Book(words(self.service._levels[self.number].snapshot(100_000)))


class Book:
    """Levels by side and price, built from records as a subscriber does, with plain dicts."""

    def __init__(self, rows: Words) -> None:
        self.levels: dict[tuple[int, int], int] = {}
        self.seq = 0
        for record in rows.view(EVENT).reshape(len(rows)):
            self.take(record)

    def take(self, record: Any) -> None:
        if record["kind"] == Kind.SNAPSHOT_BEGIN:
            self.levels.clear()
        if record["kind"] == Kind.DELTA:
            key = int(record["side"]), int(record["price"])
            self.levels[key] = int(record["size"])
            if not record["size"]:
                del self.levels[key]
        if record["kind"] in (Kind.DELTA, Kind.SNAPSHOT_END):
            self.seq = int(record["seq"])


def theirs(at: VenueServer) -> dict[tuple[int, int], int]:
    """The server's book of its first instrument."""
    view = at.feed.views[0]
    item = view.listing.instrument
    sides = ((1, view.bids), (2, view.asks))
    return {
        (n, item.ticks(p)): int(item.lot and float(s) / float(item.lot) + 1e-6)
        for n, side in sides
        for p, s in side.items()
    }


@asynccontextmanager
async def replay(
    path: Path, venue: str, *, speed: float = 1, loop: bool = False, **options: Any
) -> AsyncIterator[Tap]:
    """A server over one capture, not yet running, and a feed that has its first book."""
    at = VenueServer.of_capture(load_capture([path]), CONFIG, speed=speed, loop=loop, autostart=False)
    await at.start()
    tap = Tap(at, venue, **options)
    try:
        await tap.service.start()
        await tap.until(tap.usable)
        yield tap
    finally:
        await tap.service.stop()
        await tap.log.close()
        await at.stop()

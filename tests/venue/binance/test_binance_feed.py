"""The live feed against a capture that our venue server replays: the import's own rows, broken chains mended."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from binance_world import CONFIG, NAMES, NUMBERS, QUICK, UNIVERSE, run

from tests.oracle import binance_writer as w
from tests.store.captures import spot_session, usdm_session
from tidegate.log.memory import MemoryServer
from tidegate.model.clock import SystemClock
from tidegate.model.event import (
    EVENT,
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    TS_EVENT,
    TS_RECV,
    Flag,
    Kind,
    Words,
    words,
)
from tidegate.model.time import MS
from tidegate.store.importer import import_captures
from tidegate.store.lake import Lake
from tidegate.venue.binance.feed import BinanceFeed
from tidegate.venue.binance.products import simulated
from tidegate.venue.binance.websocket import Pace
from tidegate.venue.feed import FeedService
from tidegate.venue.levels import Levels
from tidegate.venue.sim.admin import Admin
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


@pytest.mark.parametrize("venue", NUMBERS)
def test_live_rows_are_the_imports_rows(tmp_path, venue):
    """Of the very frames that came: all but the receive time, and what is estimated from it."""

    async def work() -> tuple[Words, list[bytes]]:
        async with replay(sample(tmp_path, venue), venue, speed=20, pressure=1 << 30) as tap:
            tap.at.run_market()
            await tap.until(tap.done)
            health = tap.service.health()["feeds"][0]
            assert health["gaps"] == 0
            assert health["quarantined frames"] == []
            assert tap.book().levels == theirs(tap.at)
            return tap.rows, tap.lines

    live, lines = asyncio.run(work())
    raw = tmp_path / "recorded.txt"
    raw.write_bytes(b"".join(lines))
    import_captures([raw], tmp_path / "lake")
    [instrument] = Lake(tmp_path / "lake").instruments()
    imported = np.concatenate([words(chunk) for chunk in Lake(tmp_path / "lake").open(instrument.id)])
    imported[:, META] |= NUMBERS[venue]
    assert len(live) == len(imported) > FIRST
    assert np.array_equal(live[:, 2:7], imported[:, 2:7])
    # Estimated: a spot quote's time, and one later than its receipt, which differs between the two clocks.
    estimated = ((live[:, META] | imported[:, META]) >> FLAGS_SHIFT) & Flag.ESTIMATED_TIME
    mask = ~(np.int64(Flag.ESTIMATED_TIME) << FLAGS_SHIFT)
    assert np.array_equal(live[:, META] & mask, imported[:, META] & mask)
    exact = estimated == 0
    assert np.array_equal(live[exact, TS_EVENT], imported[exact, TS_EVENT])
    if venue != "BINANCE":
        assert exact.mean() > 0.9
    assert (np.diff(live[:, TS_RECV]) >= 0).all()
    assert (live[:, TS_EVENT] <= live[:, TS_RECV]).all()


def usdm_frames(count: int = 60) -> list[tuple[int, Any]]:
    """A session whose capture begins with its snapshot."""
    frames = sorted(usdm_session(count=count), key=lambda entry: "lastUpdateId" not in entry[1])
    return [(0, frames[0][1]), *frames[1:]]


def test_a_malformed_frame_is_quarantined_and_the_feed_goes_on(tmp_path):
    async def work():
        async with replay(made_up(tmp_path, usdm_frames()), "BINANCE_USDM") as tap:
            Admin(tap.at).fault({"kind": "malformed_public", "count": 3})
            tap.at.run_market()
            await tap.until(tap.done)
            health = tap.service.health()["feeds"][0]
            assert health["quarantined"] == 3
            assert len(health["quarantined frames"]) == 3
            assert all(item.raw and item.recv for item in tap.feed.quarantined)
            assert tap.book().levels == theirs(tap.at)

    run(work)


def drop_a_diff(tap: Tap, after: int = 5) -> None:
    """One depth frame does not come, after some that did."""
    deliver, left = tap.feed._socket._on_frames, after

    def lossy(frames: list[bytes], ts: int) -> None:
        nonlocal left
        kept = list(frames)
        for n, frame in enumerate(kept):
            left -= b"@depth" in frame
            if not left:
                del kept[n]
                tap.feed._socket._on_frames = deliver
                break
        deliver(kept, ts) if kept else None

    tap.feed._socket._on_frames = lossy


def test_a_missing_diff_leads_to_a_new_snapshot(tmp_path):
    async def work():
        async with replay(made_up(tmp_path, usdm_frames()), "BINANCE_USDM") as tap:
            drop_a_diff(tap)
            tap.at.run_market()
            await tap.until(lambda: tap.done(missing=1))
            health = tap.service.health()["feeds"][0]
            assert (health["gaps"], health["rebuilding"]) == (1, [])
            assert health["snapshots"] >= 2
            kinds = (tap.rows[:, META] >> KIND_SHIFT) & 0xFF
            assert (kinds == Kind.SNAPSHOT_BEGIN).sum() == 2
            flagged = np.flatnonzero((tap.rows[:, META] >> FLAGS_SHIFT) & Flag.GAP)
            begins = np.flatnonzero(kinds == Kind.SNAPSHOT_BEGIN)
            assert len(flagged) == 1
            assert begins[0] < flagged[0] < begins[1], "the break is flagged, then the new book comes"
            assert Book(tap.rows).levels == tap.book().levels == theirs(tap.at)

    run(work)


def test_a_lost_connection_is_made_again_and_the_book_is_right(tmp_path):
    async def work():
        async with replay(made_up(tmp_path, usdm_frames(200)), "BINANCE_USDM") as tap:
            tap.at.run_market()
            await tap.until(lambda: tap.feed.health()["frames"] > 100)
            Admin(tap.at).disconnect({"kind": "public"})
            await tap.until(lambda: tap.feed.health()["socket"].get("connections") == 2)
            await tap.until(tap.caught_up)
            assert tap.feed.health()["socket"]["connections lost"] == 1
            assert tap.book().levels == theirs(tap.at)

    run(work)


def test_a_stream_that_begins_anew_is_followed(tmp_path):
    """The server's capture starts over with other ids: a gap, a new snapshot, and on."""

    async def work():
        async with replay(made_up(tmp_path, usdm_frames(20)), "BINANCE_USDM", speed=10, loop=True) as tap:
            tap.at.run_market()
            await tap.until(lambda: tap.feed.health()["gaps"] >= 1)
            kinds = lambda: (tap.rows[:, META] >> KIND_SHIFT) & 0xFF  # noqa: E731
            await tap.until(lambda: (kinds() == Kind.SNAPSHOT_BEGIN).sum() >= 2 and tap.usable())

    run(work)


def test_a_connection_that_brings_nothing_is_replaced_and_one_that_answers_pings_is_not(tmp_path):
    async def work():
        path = made_up(tmp_path, usdm_frames())
        stale = Pace(first_pause=0.01, longest_pause=0.05, idle=5.0, stale=0.1)
        async with replay(path, "BINANCE_USDM", pace=stale) as tap:  # the market stands still
            async with asyncio.timeout(10):
                while tap.feed.health()["socket"].get("stale", 0) < 2:
                    await asyncio.sleep(0.02)  # nothing happens: that is the matter
        quiet = Pace(first_pause=0.01, longest_pause=0.05, idle=0.05)
        async with replay(path, "BINANCE_USDM", pace=quiet) as tap:
            await asyncio.sleep(0.5)
            assert tap.feed.health()["socket"]["connections"] == 1

    run(work)


def test_who_comes_late_joins_by_the_snapshot(tmp_path):
    async def work():
        async with replay(made_up(tmp_path, usdm_frames(300)), "BINANCE_USDM") as tap:
            tap.at.run_market()
            await tap.until(lambda: tap.feed.health()["frames"] > 200)
            late = tap.server.client("late")
            heard: list[bytes] = []

            def hear(subject: str, data: bytes) -> None:
                heard.append(data)
                tap._heard_elsewhere()

            late.subscribe(tap.subject, hear)
            answer = await late.request(tap.asks, b"")
            book = Book(words(np.frombuffer(answer, EVENT)).copy())
            at = book.seq
            assert at > 0
            await tap.until(tap.done)
            final = tap.book()
            await tap.until(lambda: b"".join(heard).endswith(tap.published[-1]))
            for record in np.frombuffer(b"".join(heard), EVENT):
                if record["kind"] == Kind.DELTA and record["seq"] > at:
                    book.take(record)
            assert book.levels == final.levels
            await late.close()

    run(work)


def test_spot_estimates_quotes_and_all_three_streams_come(tmp_path):
    async def work():
        frames = spot_session(count=50)
        async with replay(made_up(tmp_path, frames), "BINANCE") as tap:
            tap.at.run_market()
            await tap.until(tap.done)
            kinds = set(((tap.rows[:, META] >> KIND_SHIFT) & 0xFF).tolist())
            assert {Kind.DELTA, Kind.QUOTE, Kind.TRADE, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END} <= kinds

    run(work)


# The service alone.


def rows_of(*kinds: Kind, seq: int = 1) -> Words:
    rows = np.zeros((len(kinds), 8), np.int64)
    for n, kind in enumerate(kinds):
        rows[n, 2] = seq + n
        rows[n, META] = int(kind) << KIND_SHIFT
    return rows


class Still:
    """A feed that brings what the test hands to it."""

    numbers = (0,)

    async def start(self, on_rows: Callable[[int, Words], None]) -> None:
        self.bring = on_rows

    async def stop(self) -> None:
        pass

    def health(self) -> dict[str, Any]:
        return {}


def test_under_pressure_quotes_conflate_and_nothing_else_is_dropped():
    async def work():
        server = MemoryServer()
        log, feed, heard = server.client("feed"), Still(), []
        service = FeedService(UNIVERSE, [feed], log, SystemClock(), pressure=10)
        await service.start()
        log.subscribe("md.BINANCE.BTCUSDT", lambda subject, data: heard.append(np.frombuffer(data, EVENT)))
        calm = [Kind.QUOTE, Kind.TRADE] * 5
        flood = [Kind.QUOTE, Kind.TRADE, Kind.DELTA] * 20
        feed.bring(0, rows_of(*calm))
        feed.bring(0, rows_of(*flood, seq=100))
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0)
        assert heard[0]["kind"].tolist() == calm
        counts = {kind: (heard[1]["kind"] == kind).sum() for kind in (Kind.QUOTE, Kind.TRADE, Kind.DELTA)}
        assert counts == {Kind.QUOTE: 1, Kind.TRADE: 20, Kind.DELTA: 20}
        assert heard[1]["seq"][heard[1]["kind"] == Kind.QUOTE].tolist() == [157], "the last one"
        assert service.health()["quotes conflated"] == 19
        await service.stop()

    run(work)


def test_without_a_usable_book_a_late_subscriber_is_given_nothing():
    async def work():
        server = MemoryServer()
        log, feed = server.client("feed"), Still()
        service = FeedService(UNIVERSE, [feed], log, SystemClock())
        await service.start()
        assert await log.request("snap.BINANCE.BTCUSDT", b"") == b""
        feed.bring(0, rows_of(Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END))
        assert len(np.frombuffer(await log.request("snap.BINANCE.BTCUSDT", b""), EVENT)) == 2
        gap = rows_of(Kind.DELTA, seq=9)
        gap[0, META] |= int(Flag.GAP) << FLAGS_SHIFT | 1 << 40
        feed.bring(0, gap)
        assert await log.request("snap.BINANCE.BTCUSDT", b"") == b""
        assert not service.health()["instruments"]["BTCUSDT.BINANCE"]["book"]
        await service.stop()

    run(work)


def test_levels_are_a_plain_dict_of_levels_whatever_comes():
    random = np.random.default_rng(7)
    levels, plain = Levels(3, room=64), {}
    levels.apply(rows_of(Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END))
    for step in range(400):
        n = int(random.integers(1, 40))
        rows = np.zeros((n, 8), np.int64)
        rows[:, 2], rows[:, 3] = step + 10, random.integers(-50, 3_000, n)
        rows[:, 4] = random.integers(0, 4, n) * random.integers(0, 2, n)
        side = random.integers(1, 3, n)
        rows[:, META] = 3 | int(Kind.DELTA) << KIND_SHIFT | side << 40
        for row, of in zip(rows.tolist(), side.tolist(), strict=True):
            plain[of, row[3]] = row[4]
        levels.apply(rows)
    events = levels.snapshot(10_000)
    body = events[1:-1]
    found = [(int(e["side"]), int(e["price"]), int(e["size"])) for e in body]
    wanted = sorted(
        ((side, price, size) for (side, price), size in plain.items() if size),
        key=lambda level: (level[0], -level[1] if level[0] == 1 else level[1]),
    )
    assert found == wanted
    assert set(events["seq"].tolist()) == {409}
    assert (events["kind"][0], events["kind"][-1]) == (Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END)
    short = levels.snapshot(2)[1:-1]
    assert [(int(e["side"]), int(e["price"])) for e in short] == [
        level[:2] for level in [*wanted[:2], *[level for level in wanted if level[0] == 2][:2]]
    ]

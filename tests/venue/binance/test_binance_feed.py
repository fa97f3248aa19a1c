"""The live feed against a capture that our venue server replays: the import's own rows, broken chains mended."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from binance_world import NUMBERS, run
from feed_world import FIRST, Book, Tap, made_up, replay, sample, theirs

from tests.store.captures import spot_session, usdm_session
from tidegate.model.event import (
    EVENT,
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    TS_EVENT,
    TS_RECV,
    Flag,
    Kind,
    Status,
    Words,
    words,
)
from tidegate.store.importer import import_captures
from tidegate.store.lake import Lake
from tidegate.venue.binance import feed as feed_module
from tidegate.venue.binance.websocket import Pace
from tidegate.venue.sim.admin import Admin


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


@pytest.mark.parametrize("venue", NUMBERS)
def test_a_symbol_that_the_venue_halts_is_halted_in_the_feeds_status_and_back(tmp_path, venue, monkeypatch):
    monkeypatch.setattr(feed_module, "STATUS_EVERY", 0.02)

    async def work() -> None:
        async with replay(sample(tmp_path, venue), venue) as tap:
            exchange, number = tap.at.exchange, NUMBERS[venue]
            listing = exchange.listings.all[0]

            async def until(status: Status) -> None:
                async with asyncio.timeout(20):
                    while tap.feed.status.get(number) != status:
                        await asyncio.sleep(0.01)

            await until(Status.TRADING)
            exchange.halt(listing, True, tap.at.clock.now())
            await until(Status.HALTED)
            exchange.halt(listing, False, tap.at.clock.now())
            await until(Status.TRADING)

    asyncio.run(work())

"""Public data: frames with their stamps moved, books that follow from snapshot and diffs, runs without end."""

from __future__ import annotations

import asyncio
import itertools
import json
import re

import aiohttp
import numpy as np
import pytest
from sim_venue import MARKETS, SAMPLE, SYMBOL, capture, configuration, next_event, run, serving, trading

from tidegate.kernel.replay_engine import VenueModel
from tidegate.marketdata.binance_instruments import Market
from tidegate.model.time import MS, SECOND
from tidegate.venue.sim.background import NEVER
from tidegate.venue.sim.capture_feed import CaptureFeed
from tidegate.venue.sim.capture_files import D_DEPTH, Capture, load_capture
from tidegate.venue.sim.capture_market import CaptureMarket, Records
from tidegate.venue.sim.hub import Hub
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.sockets import LARGEST_BACKLOG, Outlet, Outlets, encode
from tidegate.venue.sim.timeline import Timeline

NAMES = {"spot": "btcusdt@depth@100ms", "usdm": "btcusdt@depth@0ms", "coinm": "btcusd_perp@depth"}


class Tap:
    """A socket that keeps what is pushed to it, in place of one of the network's."""

    def __init__(self, combined):
        self.combined, self.names, self.pending, self.frames = combined, set(), [], []
        self.kind = "public"

    def write(self):
        self.frames += [
            frame[2 if frame[1] < 126 else 4 if frame[1] == 126 else 10 :] for frame in self.pending
        ]
        self.pending.clear()
        return True


def feed_of(held, loop=False, speed=1):
    outlets = Outlets()
    hub = Hub(outlets)
    line = Timeline(held.frames[0].due, speed)
    return CaptureFeed(held, Listings(held.universe), line, hub, loop), line, hub, outlets


def drain(feed, outlets, until):
    """Everything due up to `until`."""
    while feed.emit(until):
        outlets.flush()
        feed.fold()


def test_frames_go_out_as_they_came_but_for_their_stamps():
    feed, line, hub, outlets = feed_of(capture())
    tap = Tap(False)
    for market, symbol in ((Market.SPOT, "btcusdt"), (Market.USDM, "btcusdt"), (Market.COINM, "btcusd_perp")):
        for kind in ("depth", "bookTicker", "trade"):
            hub.subscribe(tap, market, f"{symbol}@{kind}")
    first = capture().frames[0].due
    shift = 1_000_000_000_123 * MS
    line.start(first + shift)
    drain(feed, outlets, first + shift + 5 * SECOND)
    sent = [frame for frame in capture().frames if frame.due <= first + 5 * SECOND]
    assert len(tap.frames) == len(sent) > 1000
    moved = re.compile(rb'"([ET])":(\d{13})')
    for frame, data in zip(sent, tap.frames, strict=True):
        expected = moved.sub(lambda m: b'"%s":%d' % (m[1], int(m[2]) + shift // MS), frame.data)
        assert data == expected


def test_aggregates_are_the_trades_under_another_name():
    feed, line, hub, outlets = feed_of(capture())
    trades, aggregates = Tap(True), Tap(True)
    hub.subscribe(trades, Market.USDM, "btcusdt@trade")
    hub.subscribe(aggregates, Market.USDM, "btcusdt@aggTrade")
    first = capture().frames[0].due
    line.start(first)
    drain(feed, outlets, first + 20 * SECOND)
    assert len(trades.frames) == len(aggregates.frames) > 50
    for one, other in zip(trades.frames, aggregates.frames, strict=True):
        one, other = json.loads(one)["data"], json.loads(other)["data"]
        assert other["e"] == "aggTrade"
        assert (other["a"], other["p"], other["q"], other["T"], other["m"]) == (
            one["t"], one["p"], one["q"], one["T"], one["m"],
        )  # fmt: skip


def test_nothing_is_sent_before_its_time_nor_before_the_start():
    held = capture()
    feed, line, hub, outlets = feed_of(held)
    tap = Tap(True)
    hub.subscribe(tap, Market.SPOT, "btcusdt@bookTicker")
    assert feed.next_due() == NEVER
    assert feed.emit(held.frames[-1].due) == 0
    line.start(50 * SECOND)
    for _ in range(300):
        due = feed.next_due()
        assert feed.emit(due - 1) == 0
        assert feed.emit(due) >= 1
    outlets.flush()
    assert json.loads(tap.frames[0])["stream"] == "btcusdt@bookTicker"


@pytest.mark.parametrize("market", MARKETS)
def test_a_client_builds_the_book_from_snapshot_and_diffs_and_has_the_servers(market):
    """Binance's own procedure, over the wire, while the capture runs at ten times its pace."""

    async def scenario():
        async with trading(market, run=True, skip=20 * SECOND, speed=10) as (server, client):
            url = f"{server.url}/{market}/stream?streams={NAMES[market]}"
            stream = await client.session.ws_connect(url)
            diffs = [json.loads((await stream.receive(5)).data)["data"] for _ in range(3)]
            book = await client.good("GET", "depth", signed=False, symbol=SYMBOL[market], limit=5000)
            sides = [dict(book["bids"]), dict(book["asks"])]
            last, joined = book["lastUpdateId"], False
            while len(diffs) < 150 or diffs[-50]["u"] <= last:  # on a busy machine the answer is far ahead
                diffs.append(json.loads((await stream.receive(5)).data)["data"])
            assert diffs[0]["s"] == SYMBOL[market]
            for diff in diffs:
                if diff["u"] <= last and not joined:
                    continue
                if not joined:
                    assert diff["U"] <= last + 1 <= diff["u"] or diff.get("pu") == last
                    joined = True
                else:
                    assert (diff["pu"] if market != "spot" else diff["U"] - 1) == last
                last = diff["u"]
                for side, levels in zip(sides, (diff["b"], diff["a"]), strict=True):
                    for price, size in levels:
                        if float(size):
                            side[price] = size
                        else:
                            side.pop(price, None)
            assert joined
            # The server, at the same update id, from its own frames.
            view = replayed(market, last)
            assert sides == [view.bids, view.asks]

    run(scenario)


def replayed(market, update_id):
    """The server's view once it has folded everything up to an update id."""
    held = capture()
    feed, _, _, _ = feed_of(held)
    (view,) = [v for v in feed.views if v.listing.market == MARKETS.index(market)]
    for frame in held.frames:
        if frame.kind == D_DEPTH and frame.instrument == view.listing.number and view.update_id < update_id:
            view.fold_depth(frame.data)
    assert view.update_id == update_id
    return view


def test_the_view_of_the_frames_and_the_books_that_fill_orders_agree():
    held = capture()
    feed, line, _, outlets = feed_of(held)
    start = held.frames[0].due
    line.start(start)
    market = CaptureMarket(
        held.universe, VenueModel(), Records(held.records, held.max_delay, False), line, print
    )
    end = held.frames[-1].due + SECOND
    drain(feed, outlets, end)
    market.advance(end)
    for view in feed.views:
        bid, ask = market.touch(view.listing.number)
        price = view.listing.price
        assert (price.steps(view.best()[0])[0], price.steps(view.best()[2])[0]) == (bid, ask)


def short(seconds=8):
    """The capture's first seconds, as a capture of their own."""
    held = capture()
    end = held.frames[0].due + seconds * SECOND
    rows = held.rows[held.rows[:, 1] <= end]
    frames = [frame for frame in held.frames if frame.due <= end]
    return Capture(held.universe, frames, held.snapshots, rows, held.max_delay)


def test_a_capture_without_end_begins_anew_from_its_snapshot_with_rising_ids():
    held = short()
    feed, line, hub, outlets = feed_of(held, loop=True)
    tap = Tap(False)
    hub.subscribe(tap, Market.USDM, "btcusdt@depth")
    hub.subscribe(tap, Market.USDM, "btcusdt@trade")
    start = held.frames[0].due
    line.start(start)
    drain(feed, outlets, start + 25 * SECOND)
    assert feed.runs == 3
    frames = [json.loads(frame) for frame in tap.frames]
    diffs = [frame for frame in frames if frame["e"] == "depthUpdate"]
    trades = [frame for frame in frames if frame["e"] == "trade"]
    assert [d["u"] for d in diffs] == sorted({d["u"] for d in diffs})
    assert [t["t"] for t in trades] == sorted({t["t"] for t in trades})
    assert all(d["U"] <= d["u"] and d["pu"] < d["u"] for d in diffs)
    breaks = [n for n, (a, b) in enumerate(itertools.pairwise(diffs)) if b["pu"] != a["u"]]
    assert len(breaks) == 2
    times = [d["E"] for d in diffs]
    assert times == sorted(times)
    (view,) = [v for v in feed.views if v.listing.market is Market.USDM]
    assert view.update_id >= diffs[-1]["u"] > diffs[0]["u"] + 2 * feed._ids


def test_the_records_of_a_capture_without_end_go_on_in_time():
    held = short()
    records = Records(held.records, held.max_delay, True)
    rows, count = [], 0
    for piece in records:
        rows.append(piece)
        count += len(piece)
        if count > 2.5 * len(held.rows):
            break
    whole = np.concatenate(rows)
    assert (np.diff(whole[:, 0]) >= 0).all()
    one, two = whole[: len(held.rows)], whole[len(held.rows) : 2 * len(held.rows)]
    shift = two[0, 0] - one[0, 0]
    assert (two[:, 0] - one[:, 0] == shift).all()
    assert (two[:, 3:] == one[:, 3:]).all()
    assert shift > held.frames[-1].due - held.frames[0].due
    assert (two[:, 2] > one[:, 2]).all()


def test_frames_may_go_out_when_the_exchange_made_them():
    early = load_capture([SAMPLE / "usdm_btcusdt_20240808.gz"], emit="exchange")
    late = load_capture([SAMPLE / "usdm_btcusdt_20240808.gz"])
    gaps = sorted(b.due - a.due for a, b in zip(early.frames, late.frames, strict=True))
    assert 2 * MS < gaps[len(gaps) // 2] < 20 * MS
    assert (early.rows == late.rows).all()


def test_streams_are_asked_for_and_given_up_on_one_socket():
    async def scenario():
        async with serving(configuration(), run=True, speed=5) as server, aiohttp.ClientSession() as session:
            socket = await session.ws_connect(f"{server.url}/spot/ws")

            async def ask(number, method, *names):
                await socket.send_json({"id": number, "method": method, "params": list(names)})
                while True:
                    answer = json.loads((await socket.receive(5)).data)
                    if answer.get("id") == number:
                        return answer

            assert await ask(1, "SUBSCRIBE", "btcusdt@trade", "btcusdt@bookTicker") == {
                "result": None,
                "id": 1,
            }
            listed = await ask(2, "LIST_SUBSCRIPTIONS")
            assert listed["result"] == ["btcusdt@bookTicker", "btcusdt@trade"]
            await ask(3, "UNSUBSCRIBE", "btcusdt@bookTicker", "btcusdt@trade")
            assert (await ask(4, "LIST_SUBSCRIPTIONS"))["result"] == []
            with pytest.raises(asyncio.TimeoutError):
                await socket.receive(0.3)
            assert (await ask(5, "SUBSCRIBE", "nonsense"))["error"]["code"] == 2
            assert (await ask(6, "JUMP"))["error"]["code"] == 2
            await socket.send_str("[")
            assert json.loads((await socket.receive(5)).data)["error"]["code"] == 3

    run(scenario)


def test_a_listen_key_is_kept_alive_expires_and_can_be_closed():
    async def scenario():
        async with trading("usdm") as (server, client):
            stream = await client.user()
            again = await client.good("POST", "listenKey", signed=False)
            kept = await client.good("PUT", "listenKey", signed=False)
            assert kept == again
            server.users.expire(server.clock.now() + 3601 * SECOND)
            server.outlets.flush()
            assert (await next_event(stream))["e"] == "listenKeyExpired"
            assert await client.code("PUT", "listenKey", signed=False) == -1125
            other = await client.user()
            await client.good("DELETE", "listenKey", signed=False)
            assert (await other.receive(5)).type.name in ("CLOSED", "ERROR")
            refused = await client.session.ws_connect(f"{server.url}/usdm/ws/{'0' * 64}")
            assert (await refused.receive(5)).type.name == "CLOSE"

    run(scenario)


def test_a_client_that_does_not_read_is_cut_off_not_thinned():
    class Stuck:
        """A transport whose other end has stopped reading."""

        held, aborted = 0, False

        def is_closing(self):
            return self.aborted

        def write(self, data):
            self.held += len(data)

        def get_write_buffer_size(self):
            return self.held

        def abort(self):
            self.aborted = True

    outlets, stuck = Outlets(), Stuck()
    outlet = Outlet(None, stuck, "public", "")
    frame = encode(b"x" * 60_000)
    sent = 0
    while not stuck.aborted:
        outlets.push(outlet, frame)
        outlets.flush()
        sent += 1
    assert sent == LARGEST_BACKLOG // len(frame) + 1
    assert outlets.counters["slow_clients_cut_off"] == 1
    outlets.push(outlet, frame)
    outlets.flush()
    assert stuck.held == sent * len(frame)


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536])
def test_frames_are_encoded_as_the_protocol_says(size):
    frame = encode(b"x" * size)
    assert frame[0] == 0x81
    head = 2 if size < 126 else 4 if size < 65_536 else 10
    assert len(frame) == head + size
    stated = frame[1] if head == 2 else int.from_bytes(frame[2:head], "big")
    assert stated == size


def test_time_runs_at_its_speed_and_never_jumps():
    line = Timeline(1000)
    assert line.capture(10**9) == 1000
    assert line.wall(2000) == NEVER
    line.start(500)
    assert (line.capture(700), line.wall(1200)) == (1200, 700)
    line.set_speed(2, 700)
    assert (line.capture(700), line.capture(710), line.wall(1220)) == (1200, 1220, 710)
    line.set_speed("0.5", 710)
    assert (line.capture(710), line.capture(730)) == (1220, 1230)
    for moment in range(1220, 1300):
        at = line.wall(moment)
        assert line.capture(at) >= moment > line.capture(at - 1) - 1
    with pytest.raises(ValueError, match="must be above 0"):
        line.set_speed(0, 800)

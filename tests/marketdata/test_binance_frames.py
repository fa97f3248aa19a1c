"""The parser against the obvious reader, on the sample and on frames bent out of shape."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle import binance_writer as w
from tests.oracle.binance_reader import read
from tidegate.kernel.jit import JIT
from tidegate.marketdata.binance_frames import Batch, FrameParser
from tidegate.marketdata.binance_instruments import BINANCE, Directory
from tidegate.marketdata.binance_shapes import M_INSTRUMENT, M_KIND, M_LINE, M_RECV, M_ROWS
from tidegate.marketdata.binance_slow import Frame, Reason, Refused, read_frame
from tidegate.model.event import Flag, Kind

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = sorted((ROOT / "data" / "sample").glob("*.gz"))
FULL = ROOT.parent / "shared" / "data" / "binance-2024-08-08"
KINDS = {1: "depth", 2: "bookTicker", 3: "trade", 4: "snapshot"}
SYMBOLS = {"spot_btcusdt": "BTCUSDT", "usdm_btcusdt": "BTCUSDT", "cm_btcusd_perp": "BTCUSD_PERP"}


def parse(data: bytes, rows: int = 4096, directory: Directory | None = None) -> list[Batch]:
    """All batches of some lines, copied."""
    parser = FrameParser(directory or Directory(), rows)
    buffer = np.frombuffer(bytearray(data), np.uint8)
    return [
        Batch(b.rows.copy(), b.messages.copy(), b.quarantined) for b in parser.read_lines(buffer, len(buffer))
    ]


def as_read(batches: list[Batch]) -> list[tuple[tuple[Any, ...], list[tuple[int, ...]]]]:
    """Batches in the oracle's terms."""
    found = []
    for batch in batches:
        events, row = batch.events, 0
        for message in batch.messages.tolist():
            _, kind, number, recv, event, traded, first, last, prev, count = message
            header = (KINDS[kind], BINANCE[number].id, recv, event, traded, first, last, prev)
            rows = []
            for e in events[row : row + count].tolist():
                ts, received, seq, price, size, price2, size2, instrument, kind_, side, flags = e
                assert instrument == number
                rows.append((ts, received, seq, kind_, side, bool(flags & 1), price, size, price2, size2))
            found.append((header, rows))
            row += count
    return found


def only(frame: Any, recv: int = w.RECV) -> Batch:
    """The one batch of one frame."""
    [batch] = parse(w.line(recv, frame) if not isinstance(frame, bytes) else frame)
    return batch


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.name)
def test_parser_agrees_with_the_obvious_reader_on_the_sample(path: Path) -> None:
    symbol = SYMBOLS[path.name.rsplit("_", 1)[0]]
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines = lines[: None if JIT else 300]
    batches = parse(b"".join(lines))
    assert not any(batch.quarantined for batch in batches)
    found = as_read(batches)
    assert len(found) == len(lines)
    for number, (line, mine) in enumerate(zip(lines, found, strict=True), 1):
        assert mine == read(line, symbol), f"line {number}"


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.name)
def test_slow_reader_agrees_with_the_scan_line_by_line(path: Path) -> None:
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)[:3000]
    [*batches] = parse(b"".join(lines))
    directory, row, number = Directory(), 0, 0
    for batch in batches:
        row = 0
        for message in batch.messages:
            recv, raw = lines[number].split(b" ", 1)
            frame = read_frame(raw, int(recv), directory, int(message[M_INSTRUMENT]))
            header = (
                number + 1, frame.kind, frame.instrument, int(recv), frame.event, frame.traded, frame.first,
                frame.last, frame.prev, len(frame.rows),
            )  # fmt: skip
            assert tuple(message.tolist()) == header
            assert [tuple(r) for r in batch.rows[row : row + len(frame.rows)].tolist()] == frame.rows
            row += len(frame.rows)
            number += 1


def test_every_line_of_the_full_captures_is_taken_by_the_compiled_scan() -> None:
    if not FULL.is_dir():
        pytest.skip(f"the full captures are not here ({FULL.name})")
    if not JIT:
        pytest.skip("kernels run as plain Python")
    expected = {
        "spot_btcusdt": (41249, 163889),
        "spot_ethusdt": (33618, 138999),
        "usdm_btcusdt": (93954, 532925),
        "usdm_ethusdt": (74655, 498732),
        "cm_btcusd_perp": (48270, 319437),
        "cm_ethusd_perp": (40454, 213299),
    }
    for path in FULL.glob("*.gz"):
        data = gzip.decompress(path.read_bytes())
        parser, events = FrameParser(Directory()), 0
        for batch in parser.read_lines(np.frombuffer(bytearray(data), np.uint8), len(data)):
            events += len(batch.rows)
            assert not batch.quarantined
        assert (parser.lines, events) == expected[path.name.rsplit("_", 1)[0]]
        assert parser.slow == 0


def test_batches_do_not_depend_on_their_size() -> None:
    data = gzip.decompress(SAMPLE[0].read_bytes())
    data = data[: data.index(b"\n", 200_000 if JIT else 5_000) + 1]
    wide, narrow = parse(data, rows=1 << 20), parse(data, rows=16)
    assert len(narrow) > (20 if JIT else 2)
    assert as_read(wide) == as_read(narrow)


def test_live_frames_give_what_recorded_lines_give() -> None:
    frames = [
        w.usdm_depth(1, 5, 0, [("100.0", "1.000")], [("100.1", "0.000")]), w.usdm_ticker(5), w.usdm_trade(7),
        {"result": None, "id": 1}, w.usdm_depth(6, 9, 5, [("100.05", "1.000")]), w.usdm_snapshot(9),
    ]  # fmt: skip
    recorded = b"".join(w.line(w.RECV + i, frame) for i, frame in enumerate(frames))
    parser = FrameParser(Directory())
    bare = [line.split(b" ", 1)[1].rstrip() for line in recorded.splitlines()]
    live = parser.read_frames(bare, [w.RECV + i for i in range(len(frames))])
    assert as_read([live]) == as_read(parse(recorded))
    assert [q.reason for q in live.quarantined] == [Reason.OFF_TICK]
    assert parser.skipped == {"control reply": 1}
    again = parser.read_frames(bare[:1], [w.RECV + 9])
    assert as_read([again])[0][0][2] == w.RECV + 9


def test_a_live_snapshot_belongs_to_who_asked_for_it() -> None:
    parser = FrameParser(Directory())
    raw = w.line(0, w.spot_snapshot(7)).split(b" ", 1)[1]
    assert parser.read_frames([raw], [w.RECV]).quarantined[0].reason == Reason.NOBODYS_SNAPSHOT
    taken = parser.read_frames([raw], [w.RECV], owner=0)
    assert taken.messages[0, M_INSTRUMENT] == 0
    assert len(taken.rows) == 4


def test_no_frames_give_an_empty_batch() -> None:
    batch = FrameParser(Directory()).read_frames([], [])
    assert len(batch.events) == len(batch.messages) == 0
    assert not batch.quarantined


SAME_FRAMES = {
    "spaces": [(b'","', b'" , "'), (b":", b": ")],
    "carriage return": [(b"\n", b"\r\n")],
    "extra key": [(b'"data":{', b'"data":{"st":1,')],
    "other order": [(b'"stream":"btcusdt@trade",', b""), (b"}}", b'},"stream":"btcusdt@trade"}')],
}


@pytest.mark.parametrize("bend", SAME_FRAMES)
def test_a_frame_written_differently_is_read_the_same(bend: str) -> None:
    frame = w.usdm_trade(7, "100.3", "0.250", seller=True)
    plain = bent = w.line(w.RECV, frame)
    for old, new in SAME_FRAMES[bend]:
        bent = bent.replace(old, new)
    assert bent != plain
    parser = FrameParser(Directory())
    [batch] = parser.read_lines(np.frombuffer(bytearray(bent), np.uint8), len(bent))
    assert parser.slow == 1
    assert as_read([batch]) == [read(plain)]


REFUSED: list[tuple[Reason, Any, str]] = [
    (Reason.NO_TIME, b'{"stream":"btcusdt@trade"}\n', "starts with '{\"stream"),
    (Reason.NO_TIME, b"1723161255 {}\n", "not with a receive time in ns"),
    (Reason.NO_TIME, b"\n", "starts with ''"),
    (Reason.MALFORMED, b'%d {"stream":\n' % w.RECV, "not JSON"),
    (Reason.MALFORMED, b"%d [1,2]\n" % w.RECV, "not an object"),
    (Reason.MALFORMED, b"%d \xff\xfe\n" % w.RECV, "not JSON"),
    (Reason.MALFORMED, {"hello": 1}, "neither a combined-stream frame nor a snapshot; keys: hello"),
    (Reason.MALFORMED, {"stream": "btcusdt@trade", "data": 4}, "not an object"),
    (Reason.MALFORMED, {"stream": "btcusdt@trade", "data": {"s": 4}}, "`s` is 4, not text"),
    (Reason.UNKNOWN_STREAM, {"stream": "btcusdt@kline_1m", "data": {}}, "none of depth, bookTicker, trade"),
    (Reason.UNKNOWN_STREAM, {"stream": "btcusdt@depth5", "data": {}}, "depth5"),
    (Reason.UNKNOWN_SYMBOL, w.spot_depth(1, 2, symbol="BTCUSDC"), "on spot; did you mean 'BTCUSDT'?"),
    (Reason.UNKNOWN_SYMBOL, w.usdm_depth(1, 2, 0, symbol="SOLUSDT"), "on futures"),
    (Reason.OFF_TICK, w.spot_trade(1, "100.005"), "nearest are 100 and 100.01"),
    (Reason.OFF_TICK, w.usdm_depth(1, 2, 0, [("100.0", "1"), ("99.95", "1")]), "nearest are 99.9 and 100"),
    (Reason.BAD_PRICE, w.spot_trade(1, "-1.00"), "not above 0"),
    (Reason.BAD_PRICE, w.spot_trade(1, "0.00"), "not above 0"),
    (Reason.BAD_PRICE, w.spot_trade(1, "ten"), "not a decimal number"),
    (Reason.BAD_PRICE, w.spot_trade(1, "NaN"), "not finite"),
    (Reason.BAD_PRICE, w.spot_trade(1, 100.0), "not decimal text"),
    (Reason.BAD_PRICE, w.spot_trade(1, "9" * 30), "beyond what fits"),
    (Reason.BAD_SIZE, w.spot_trade(1, size="0.00000"), "must be above 0"),
    (Reason.BAD_SIZE, w.spot_trade(1, size="-1.0"), "must be above 0"),
    (Reason.BAD_SIZE, w.spot_trade(1, size="0.000001"), "not a multiple of 0.00001"),
    (Reason.BAD_SIZE, w.spot_depth(1, 2, [("100.00", "-0.1")]), "must be 0 or above"),
    (Reason.BAD_SIZE, w.coinm_snapshot(5, [("100.0", "0")]), "must be above 0"),
    (Reason.BAD_SIZE, w.spot_ticker(5, size="0.0"), "must be above 0"),
    (Reason.CROSSED, w.spot_ticker(5, "100.01", "100.01"), "bid 100.01 is not below ask 100.01"),
    (Reason.NOBODYS_SNAPSHOT, w.spot_snapshot(5), "names no symbol"),
]


@pytest.mark.parametrize(("reason", "frame", "detail"), REFUSED)
def test_bad_frames_are_refused_whole_with_the_reason(reason: Reason, frame: Any, detail: str) -> None:
    batch = only(frame)
    assert len(batch.rows) == len(batch.messages) == 0
    [refused] = batch.quarantined
    assert (refused.reason, refused.line) == (reason, 1)
    assert detail in refused.detail
    assert "\n" not in refused.detail
    raw = frame if isinstance(frame, bytes) else w.line(w.RECV, frame)
    assert refused.raw == raw.rstrip(b"\n")


WRONG_TYPES = [
    ("E", -1),
    ("T", 1.5),
    ("U", "1"),
    ("u", None),
    ("pu", True),
    ("b", 5),
    ("a", [[1]]),
    ("T", 2**60),
]


@pytest.mark.parametrize(("key", "value"), WRONG_TYPES)
def test_values_of_the_wrong_type_are_refused(key: str, value: Any) -> None:
    frame = w.usdm_depth(1, 2, 0, [("100.0", "1")])
    frame["data"][key] = value
    [refused] = only(frame).quarantined
    assert refused.reason in (Reason.MALFORMED, Reason.BAD_TIME)


def test_line_numbers_and_neighbours_survive_a_bad_line() -> None:
    good = [w.line(w.RECV + i, w.spot_trade(i)) for i in range(6)]
    bad = b"%d {]\n" % w.RECV
    [batch] = parse(b"".join([*good[:3], bad, *good[3:5], bad, good[5]]))
    assert batch.messages[:, M_LINE].tolist() == [1, 2, 3, 5, 6, 8]
    assert [q.line for q in batch.quarantined] == [4, 7]


def test_trades_that_are_no_trades_of_the_public_book_are_skipped_and_counted() -> None:
    frame = w.usdm_trade(7, "0", "0")
    frame["data"]["X"] = "NA"
    data = w.line(w.RECV, frame) + w.line(w.RECV, w.usdm_trade(8))
    parser = FrameParser(Directory())
    [batch] = parser.read_lines(np.frombuffer(bytearray(data), np.uint8), len(data))
    assert parser.skipped == {"NA trade": 1}
    assert batch.messages[:, M_LINE].tolist() == [2]


def test_an_empty_side_of_the_book_is_a_quote_without_it() -> None:
    frame = w.spot_ticker(5)
    frame["data"] |= {"a": "0.00000000", "A": "0.00000000"}
    [event] = only(frame).events.tolist()
    assert event[3:7] == (10_000, 100_000, 0, 0)


def test_a_book_size_finer_than_a_lot_is_floored_and_counted() -> None:
    frames = [
        w.spot_depth(1, 2, [("99.00", "25.42618900"), ("98.00", "0.00000400")]),
        w.spot_ticker(3, size="1.0000059"),
    ]
    parser = FrameParser(Directory())
    data = b"".join(w.line(w.RECV, frame) for frame in frames)
    [batch] = parser.read_lines(np.frombuffer(bytearray(data), np.uint8), len(data))
    assert batch.events["size"].tolist() == [2_542_618, 0, 100_000]
    assert parser.off_lot == 4
    assert parser.slow == 0


def test_a_snapshot_without_symbol_is_its_files_only_instrument() -> None:
    first = w.line(w.RECV, w.spot_snapshot(5)) + w.line(w.RECV + 1, w.spot_trade(1))
    [batch] = parse(first)
    assert batch.messages[:, [M_KIND, M_INSTRUMENT]].tolist() == [[4, 0], [3, 0]]
    several = w.line(w.RECV, w.spot_trade(1)) + w.line(w.RECV, w.spot_depth(1, 2, symbol="ETHUSDT")) + first
    [batch] = parse(several)
    [refused] = batch.quarantined
    assert refused.reason == Reason.NOBODYS_SNAPSHOT
    assert "several" in refused.detail


def test_markets_are_told_apart_by_their_frames() -> None:
    frames = [w.spot_depth(1, 2), w.usdm_depth(1, 2, 0), w.spot_ticker(1), w.usdm_ticker(1), w.spot_trade(1),
              w.usdm_trade(1), w.coinm_trade(1), w.coinm_snapshot(1)]  # fmt: skip
    [batch] = parse(b"".join(w.line(w.RECV, frame) for frame in frames))
    venues = [BINANCE[number].venue for number in batch.messages[:, M_INSTRUMENT].tolist()]
    spot, usdm, coinm = "BINANCE", "BINANCE_USDM", "BINANCE_COINM"
    assert venues == [spot, usdm, spot, usdm, spot, usdm, coinm, coinm]


def test_a_message_larger_than_a_batch_is_read_whole() -> None:
    bids = [(f"{i}.00", "1.00000") for i in range(1, 400)]
    [batch] = parse(w.line(w.RECV, w.spot_depth(1, 2, bids)), rows=16)
    assert batch.messages[0, M_ROWS] == 399
    assert batch.events["flags"].nonzero()[0].tolist() == [398]
    assert batch.events["kind"].tolist() == [Kind.DELTA] * 399
    assert batch.events["flags"][-1] == Flag.LAST


@settings(max_examples=300 if JIT else 30, deadline=None)
@given(st.integers(1, 10**9), st.integers(0, 4), st.integers(0, 10**12), st.booleans())
def test_decimal_text_becomes_exact_ticks_and_lots(ticks: int, zeros: int, lots: int, short: bool) -> None:
    price, size = f"{ticks // 100}.{ticks % 100:02d}" + "0" * zeros, f"{lots // 10**5}.{lots % 10**5:05d}"
    if short:
        price = price.rstrip("0").rstrip(".")
    batch = only(w.spot_depth(1, 2, [(price, size)]))
    assert batch.events[["price", "size"]].tolist() == [(ticks, lots)]


@settings(max_examples=200 if JIT else 20, deadline=None)
@given(st.decimals(min_value="0.000001", max_value=10**7, places=6))
def test_any_decimal_price_is_exact_or_refused(price: Any) -> None:
    batch = only(w.spot_trade(1, f"{price:f}"))
    steps = price * 100
    if steps == int(steps):
        assert batch.events["price"].tolist() == [int(steps)]
    else:
        assert batch.quarantined[0].reason == Reason.OFF_TICK


def test_bent_frames_are_read_as_the_slow_reader_reads_them() -> None:
    """Random bytes of good lines changed: the scan takes a line only as the slow reader takes it."""
    rng = random.Random(20240808)
    frames = [
        w.usdm_depth(10, 20, 9, [("100.0", "1.000")], [("100.1", "0.500"), ("100.2", "0")]),
        w.spot_depth(10, 20, [("100.00", "1.0")]), w.usdm_ticker(5), w.spot_ticker(6), w.spot_trade(7),
        w.usdm_trade(8, seller=True), w.coinm_trade(9), w.coinm_snapshot(4), w.usdm_snapshot(4),
    ]  # fmt: skip
    directory = Directory()
    for attempt in range(4000 if JIT else 200):
        raw = bytearray(w.line(w.RECV, rng.choice(frames)))
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(20, len(raw) - 1)
            change = rng.randrange(3)
            if change == 0:
                raw[place] = rng.choice(b'0123456789"{}[],:.-eEuUbaT xX')
            elif change == 1:
                del raw[place]
            else:
                raw.insert(place, rng.choice(b'0123456789"{}[],:.-e '))
        parser = FrameParser(directory)
        batch = parser.read_frames([bytes(raw[20:-1])], [w.RECV], owner=2)
        taken = slowly(bytes(raw[20:-1]), directory)
        if isinstance(taken, Reason):
            assert [q.reason for q in batch.quarantined] == [taken], (attempt, raw)
            assert not len(batch.messages)
        else:
            assert [tuple(row) for row in batch.rows.tolist()] == taken.rows, (attempt, raw)
            assert batch.messages[:, M_RECV].tolist() == ([w.RECV] if taken.kind else [])


def slowly(raw: bytes, directory: Directory) -> Frame | Reason:
    """What the slow reader makes of a frame: itself, or why not."""
    try:
        return read_frame(raw, w.RECV, directory, 2)
    except Refused as refusal:
        return refusal.reason


def test_a_directory_refuses_instruments_with_the_same_frames() -> None:
    with pytest.raises(ValueError, match="have the same frames"):
        Directory([*BINANCE, BINANCE[0]])

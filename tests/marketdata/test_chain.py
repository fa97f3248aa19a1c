"""The chain's rules as a table, and whole random sessions against the book that Binance's documentation
builds.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.oracle import binance_writer as w
from tests.oracle.chain_walk import walk
from tidegate.kernel.jit import JIT
from tidegate.marketdata.assemble import Assembler, ExchangeTimes
from tidegate.marketdata.binance_frames import FrameParser
from tidegate.marketdata.binance_instruments import BINANCE, Directory
from tidegate.marketdata.binance_shapes import DEPTH, MESSAGE_WORDS, SNAPSHOT, TICKER, TRADE
from tidegate.marketdata.chain import (
    ADRIFT,
    C_LATE_QUOTES,
    C_LATE_TRADES,
    C_MISSING_TRADES,
    C_REDUNDANT,
    GAP,
    HELD,
    NEEDED,
    OLD,
    PASS,
    REDUNDANT,
    REPEATED,
    Chain,
)
from tidegate.marketdata.clock import ClockFit
from tidegate.model.event import Events, Flag, Kind

NO_OFFSET = ClockFit(np.zeros((1, 2), np.int64), 0.0, 0, 0)


def headers(*messages: tuple[int, int, int, int]) -> Any:
    """(kind, first, last, prev) as message headers."""
    table = np.zeros((len(messages), MESSAGE_WORDS), np.int64)
    for row, (kind, first, last, prev) in zip(table, messages, strict=True):
        row[1], row[6:9] = kind, (first, last, prev)
    return table


def judge(futures: bool, snapshot: int | None, *messages: tuple[int, int, int]) -> list[int]:
    """Verdicts on depth messages (U, u, pu) that follow a snapshot at an update id."""
    chain = Chain(futures)
    if snapshot is not None:
        chain.take(snapshot)
    table = headers(*((DEPTH, *message) for message in messages))
    verdicts = np.zeros(len(table), np.uint8)
    assert chain.prove(table, 0, len(table), verdicts) == len(table)
    return verdicts.tolist()


SPOT = [
    ("before any snapshot", None, [(1, 2, -1), (3, 4, -1)], [HELD, HELD]),
    ("ends at the snapshot", 10, [(8, 10, -1)], [OLD]),
    ("starts right after it", 10, [(11, 12, -1)], [PASS]),
    ("lies across it", 10, [(8, 12, -1), (13, 13, -1)], [PASS, PASS]),
    ("old ones, then one across", 10, [(5, 6, -1), (7, 9, -1), (10, 11, -1)], [OLD, OLD, PASS]),
    ("starts too late to join", 10, [(12, 13, -1)], [GAP]),
    ("one is missing", 10, [(11, 12, -1), (14, 15, -1), (16, 17, -1)], [PASS, GAP, ADRIFT]),
    ("the same twice", 10, [(11, 12, -1), (11, 12, -1), (13, 14, -1)], [PASS, REPEATED, PASS]),
    ("ids start again", 10, [(11, 12, -1), (1, 2, -1)], [PASS, GAP]),
    ("overlap is no chain", 10, [(11, 14, -1), (13, 16, -1)], [PASS, GAP]),
]
FUTURES = [
    ("before any snapshot", None, [(1, 2, 0)], [HELD]),
    ("ends before the snapshot", 10, [(7, 9, 6)], [OLD]),
    ("ends at the snapshot", 10, [(7, 10, 6), (12, 15, 10)], [PASS, PASS]),
    ("lies across it", 10, [(7, 12, 6), (20, 25, 12)], [PASS, PASS]),
    ("follows it by its previous id", 10, [(12, 15, 10)], [PASS]),
    ("starts too late to join", 10, [(12, 15, 11)], [GAP]),
    ("ids need not be dense", 10, [(9, 12, 6), (40, 50, 12)], [PASS, PASS]),
    ("one is missing", 10, [(9, 12, 6), (20, 30, 19), (31, 32, 30)], [PASS, GAP, ADRIFT]),
    ("the same twice", 10, [(9, 12, 6), (9, 12, 6), (13, 14, 12)], [PASS, REPEATED, PASS]),
    ("ids start again", 10, [(9, 12, 6), (1, 2, 0)], [PASS, GAP]),
]


@pytest.mark.parametrize(("case", "snapshot", "messages", "verdicts"), SPOT, ids=[row[0] for row in SPOT])
def test_spot_rules(case: str, snapshot: int | None, messages: Any, verdicts: list[int]) -> None:
    assert judge(False, snapshot, *messages) == verdicts


@pytest.mark.parametrize(
    ("case", "snapshot", "messages", "verdicts"), FUTURES, ids=[row[0] for row in FUTURES]
)
def test_futures_rules(case: str, snapshot: int | None, messages: Any, verdicts: list[int]) -> None:
    assert judge(True, snapshot, *messages) == verdicts


def test_a_snapshot_stops_the_proof_only_where_it_is_needed() -> None:
    chain = Chain(False)
    ids = [(DEPTH, 1, 2), (SNAPSHOT, 5, 5), (DEPTH, 6, 7), (SNAPSHOT, 7, 7), (DEPTH, 9, 9), (SNAPSHOT, 9, 9)]
    table = headers(*((*message, -1) for message in ids))
    verdicts = np.zeros(6, np.uint8)
    assert chain.prove(table, 0, 6, verdicts) == 1
    assert verdicts[1] == NEEDED
    chain.take(5)
    assert chain.prove(table, 2, 6, verdicts) == 5
    assert verdicts.tolist() == [HELD, NEEDED, PASS, REDUNDANT, GAP, NEEDED]
    assert chain.count(C_REDUNDANT) == 1


def test_quotes_and_trades_pass_and_their_order_is_counted() -> None:
    chain = Chain(True)
    ids = [(TICKER, 5), (TICKER, 4), (TRADE, 7), (TRADE, 10), (TRADE, 10), (TICKER, 9)]
    table = headers(*((kind, update, update, -1) for kind, update in ids))
    verdicts = np.zeros(6, np.uint8)
    chain.prove(table, 0, 6, verdicts)
    assert verdicts.tolist() == [PASS] * 6
    assert [chain.count(c) for c in (C_LATE_QUOTES, C_LATE_TRADES, C_MISSING_TRADES)] == [1, 1, 2]


def assemble(lines: bytes, number: int, batch_rows: int = 1 << 16) -> tuple[Assembler, list[Events]]:
    """Lines of one instrument to its stream, by a clock without offset."""
    directory = Directory()
    buffer = np.frombuffer(bytearray(lines), np.uint8)
    batches = [
        (b.messages.copy(), b.rows.copy())
        for b in FrameParser(directory, batch_rows).read_lines(buffer, len(buffer))
    ]
    times = ExchangeTimes()
    for messages, _ in batches:
        times.add(messages, NO_OFFSET)
    assembler = Assembler(BINANCE[number], directory.markets[number].futures, times)
    assembler.use(NO_OFFSET, "made up")
    return assembler, [e for messages, rows in batches for e in assembler.feed(messages, rows)]


def books_of(chunks: list[Events]) -> list[Any]:
    """What a plain reader of a stream has: the book after every depth message while it is usable."""
    books, usable, in_snapshot = [], False, False
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for chunk in chunks:
        for _, _, seq, price, size, _, _, _, kind, side, flags in chunk.tolist():
            if kind == Kind.SNAPSHOT_BEGIN:
                sides, in_snapshot = ({}, {}), True
            elif kind == Kind.DELTA:
                usable = usable and not flags & Flag.GAP
                sides[side - 1].pop(price, None)
                if size:
                    sides[side - 1][price] = size
            elif kind == Kind.SNAPSHOT_END:
                usable, in_snapshot = True, False
            if kind in (Kind.DELTA, Kind.SNAPSHOT_END) and flags & Flag.LAST and usable and not in_snapshot:
                books.append((seq, dict(sides[0]), dict(sides[1])))
    return books


def session(rng: random.Random, futures: bool) -> list[Any]:
    """A depth stream with lost and repeated diffs, and snapshots that arrive early, late and needlessly."""
    messages, at, prev = [], 100, 90
    true: dict[tuple[int, int], int] = {}
    history = [(at, dict(true))]
    for _ in range(rng.randint(5, 60)):
        first = at + 1 if not futures else at + rng.randint(1, 3)
        last = first + rng.randint(0, 4)
        levels = []
        for _ in range(rng.randint(1, 4)):
            side, size = rng.randint(0, 1), rng.choice([0, 1, 5])
            price = rng.randint(95, 99) if side == 0 else rng.randint(101, 105)
            levels.append((side, price, size))
            true[side, price] = size
        depth = ("depth", first, last, prev if futures else -1, levels)
        prev, at = last, last
        history.append((at, dict(true)))
        chance = rng.random()
        if chance > 0.1:
            messages.append(depth)
        if chance > 0.95:
            messages.append(depth)
        if rng.random() < 0.15:
            known, book = history[max(0, len(history) - rng.randint(1, 6))]
            levels = [(side, price, size) for (side, price), size in book.items() if size]
            messages.append(("snapshot", known, levels))
    return messages


@pytest.mark.parametrize("futures", [False, True], ids=["spot", "futures"])
@pytest.mark.parametrize("batch_rows", [1 << 16, 8])
def test_streams_build_the_documented_books_in_random_sessions(futures: bool, batch_rows: int) -> None:
    joined = broken = 0
    for seed in range(150 if JIT else 15):
        messages = session(random.Random(seed), futures)
        lines = []
        for number, message in enumerate(messages):
            *ids, levels = message[1:]
            bids, asks = ([(str(p), str(s)) for side, p, s in levels if side == k] for k in (0, 1))
            if message[0] == "snapshot":
                frame = (w.usdm_snapshot if futures else w.spot_snapshot)(ids[0], bids, asks)
            elif futures:
                frame = w.usdm_depth(*ids, bids, asks)
            else:
                frame = w.spot_depth(ids[0], ids[1], bids, asks)
            lines.append(w.line(w.RECV + number, frame))
        # A spot snapshot says not whose it is: let another frame of the file say it first.
        lines.insert(0, w.line(w.RECV - 1, w.usdm_trade(1) if futures else w.spot_trade(1)))
        books, gaps = walk(futures, [_bids_first(message) for message in messages])
        assembler, chunks = assemble(b"".join(lines), 2 if futures else 0, batch_rows)
        scale, lot = (10, 1000) if futures else (100, 100_000)
        scaled = [
            (seq, *({p * scale: s * lot for p, s in side.items()} for side in sides)) for seq, *sides in books
        ]
        assert books_of(chunks) == scaled, seed
        assert len(assembler.gaps) == gaps, seed
        received = np.concatenate([chunk["ts_recv"] for chunk in chunks])
        assert (np.diff(received) >= 0).all()
        joined += len(books) > 1
        broken += gaps > 0
    assert joined > 10
    assert broken > 3


def _bids_first(message: Any) -> Any:
    """A message with its levels in the order a frame has them."""
    *rest, levels = message
    return (*rest, sorted(levels, key=lambda level: level[0]))


def test_diffs_that_came_before_the_snapshot_are_applied_after_it_at_its_time() -> None:
    frames = [
        (0, w.usdm_depth(1, 5, 0, [("99.0", "1")])),
        (10, w.usdm_depth(6, 12, 5, [("99.1", "1")])),
        (20, w.usdm_depth(13, 15, 12, [("99.2", "1")])),
        (30, w.usdm_snapshot(10)),
        (40, w.usdm_depth(16, 20, 15, [("99.3", "1")])),
    ]
    assembler, chunks = assemble(b"".join(w.line(w.RECV + at, frame) for at, frame in frames), 2)
    stream = [
        (e["ts_recv"] - w.RECV, Kind(e["kind"]).name, e["seq"], e["price"]) for chunk in chunks for e in chunk
    ]
    assert stream == [
        (30, "SNAPSHOT_BEGIN", 10, 0), (30, "DELTA", 10, 1000), (30, "DELTA", 10, 1001),
        (30, "SNAPSHOT_END", 10, 0), (30, "DELTA", 12, 991), (30, "DELTA", 15, 992), (40, "DELTA", 20, 993),
    ]  # fmt: skip
    assert assembler.snapshots == [w.RECV + 30]
    assert assembler.held == 0


def test_a_gap_is_flagged_on_the_diff_that_shows_it_and_reported_with_its_line() -> None:
    frames = [
        w.usdm_trade(1), w.usdm_snapshot(10), w.usdm_depth(9, 12, 8, [("99.0", "1"), ("98.0", "1")]),
        w.usdm_depth(20, 22, 19, [("99.1", "1"), ("98.1", "1")]), w.usdm_depth(23, 24, 22, [("99.2", "1")]),
    ]  # fmt: skip
    assembler, chunks = assemble(b"".join(w.line(w.RECV + i, f) for i, f in enumerate(frames)), 2)
    flagged = [int(e["price"]) for chunk in chunks for e in chunk if e["flags"] & Flag.GAP]
    assert flagged == [991]
    [gap] = assembler.gaps
    assert (gap.source, gap.line, gap.expected, gap.found) == ("made up", 4, 12, 19)
    prices = [int(e["price"]) for chunk in chunks for e in chunk if e["kind"] == Kind.DELTA]
    assert prices == [1000, 1001, 990, 980, 991, 981, 992]


def test_a_gap_in_an_empty_diff_is_flagged_on_the_next_record() -> None:
    frames = [
        w.usdm_trade(1), w.usdm_snapshot(10), w.usdm_depth(9, 12, 8), w.usdm_depth(20, 22, 19),
        w.usdm_trade(2), w.usdm_depth(23, 24, 22, [("99.2", "1")]),
    ]  # fmt: skip
    _, chunks = assemble(b"".join(w.line(w.RECV + i, f) for i, f in enumerate(frames)), 2)
    flagged = [(Kind(e["kind"]), int(e["price"])) for chunk in chunks for e in chunk if e["flags"] & Flag.GAP]
    assert flagged == [(Kind.DELTA, 992)]


def test_without_a_snapshot_no_depth_is_handed_on_and_it_is_counted() -> None:
    frames = [w.spot_depth(i, i, [("99.00", "1")]) for i in range(1, 6)] + [w.spot_trade(1)]
    assembler, chunks = assemble(b"".join(w.line(w.RECV + i, f) for i, f in enumerate(frames)), 0)
    assert [int(e["kind"]) for chunk in chunks for e in chunk] == [Kind.TRADE]
    assert assembler.held == 5


def test_diffs_held_for_a_snapshot_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate.marketdata import assemble as module

    monkeypatch.setattr(module, "HELD_ROWS", 50)
    frames = [
        w.spot_trade(0),
        *(w.spot_depth(i, i, [("99.00", "1")]) for i in range(1, 201)),
        w.spot_snapshot(195),
    ]
    assembler, chunks = assemble(
        b"".join(w.line(w.RECV + i, f) for i, f in enumerate(frames)), 0, batch_rows=10
    )
    assert 0 < assembler.forgotten < 200
    seqs = [int(e["seq"]) for chunk in chunks for e in chunk if e["kind"] == Kind.DELTA]
    assert seqs == [195, 195, 196, 197, 198, 199, 200]

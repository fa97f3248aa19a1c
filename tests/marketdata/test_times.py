"""Receive and exchange times of the stream: held, estimated, bounded, flagged."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.marketdata.test_chain import NO_OFFSET, assemble
from tests.oracle import binance_writer as w
from tidegate.marketdata.assemble import ExchangeTimes
from tidegate.marketdata.clock import ClockFit
from tidegate.model.event import Flag, Kind
from tidegate.model.time import MS

E0 = w.EPOCH * MS


def stream(frames: list[tuple[int, Any]], number: int = 0) -> tuple[Any, np.ndarray]:
    """(assembler, events) of frames received at these ms after EPOCH."""
    assembler, chunks = assemble(b"".join(w.line(E0 + at * MS, frame) for at, frame in frames), number)
    return assembler, np.concatenate(chunks)


def test_exchange_time_is_the_transaction_time_where_there_is_one() -> None:
    _, events = stream([(10, w.usdm_trade(1, at=4)), (12, w.usdm_ticker(2, at=6))], 2)
    assert ((events["ts_event"] - E0) // MS).tolist() == [4, 6]
    assert not (events["flags"] & Flag.ESTIMATED_TIME).any()


def test_a_spot_quote_is_timed_by_the_median_latency_of_trades() -> None:
    trades = [(at + 7, w.spot_trade(at, at=at)) for at in range(0, 50, 10)]
    _, events = stream([*trades, (60, w.spot_ticker(5))])
    assert abs(int(events["ts_event"][-1]) - (E0 + 53 * MS)) < 60_000
    assert events["flags"][-1] & Flag.ESTIMATED_TIME


def test_a_spot_quote_lies_between_the_depth_diffs_that_enclose_its_update() -> None:
    frames = [
        (1, w.spot_trade(1, at=0)), (2, w.spot_snapshot(100)),
        (105, w.spot_depth(101, 110, at=100)),
        # The median latency is a millisecond; both quotes are slow or fast beyond what their ids admit.
        (106, w.spot_ticker(105)), (107, w.spot_ticker(115)), (300, w.spot_ticker(118)),
        (205, w.spot_depth(111, 120, at=200)),
    ]  # fmt: skip
    _, events = stream(frames)
    quotes = events[events["kind"] == Kind.QUOTE]
    first, second, third = ((quotes["ts_event"] - E0) / MS).tolist()
    assert first <= 100
    assert 100 <= second <= 200
    assert third == 200
    assert (quotes["ts_event"] <= quotes["ts_recv"]).all()


def test_estimates_rise_with_the_update_id() -> None:
    frames = [(0, w.spot_trade(1, at=-1)), *((10, w.spot_ticker(u)) for u in range(5)), (9, w.spot_ticker(6))]
    _, events = stream(frames)
    assert (np.diff(events["ts_event"][1:]) >= 0).all()


def test_a_stamp_later_than_the_receipt_is_set_to_it_flagged_and_counted() -> None:
    assembler, events = stream([(10, w.usdm_trade(1, at=5)), (11, w.usdm_trade(2, at=5000))], 2)
    assert assembler.future == 1
    assert events["ts_event"][1] == events["ts_recv"][1] == E0 + 11 * MS
    assert events["flags"].tolist() == [Flag.LAST, Flag.LAST | Flag.ESTIMATED_TIME]
    assert assembler.delays()["trade"].count == 1


def test_receive_time_that_runs_backwards_is_held_and_counted() -> None:
    ats = [10, 20, 15, 18, 19, 30]
    assembler, events = stream([(at, w.usdm_trade(n, at=5)) for n, at in enumerate(ats)], 2)
    assert ((events["ts_recv"] - E0) // MS).tolist() == [10, 20, 20, 20, 20, 30]
    assert assembler.backwards == (1, 5 * MS)
    assert events["seq"].tolist() == list(range(6))
    assert assembler.delays()["trade"].count == 3


def test_the_clock_of_each_source_is_its_own() -> None:
    lines = w.line(E0 + 10 * MS, w.usdm_trade(1, at=5))
    assembler, _ = assemble(lines, 2)
    behind = ClockFit(np.array([[E0, -1000 * MS]]), 0.0, 0, 0)
    assembler.use(behind, "other")
    from tests.marketdata.test_binance_frames import parse

    [batch] = parse(w.line(E0 + 20 * MS, w.usdm_trade(2, at=5)))
    [events] = assembler.feed(batch.messages, batch.rows)
    assert events["ts_recv"].tolist() == [E0 + 1020 * MS]


def test_without_any_timed_frame_a_quote_is_timed_by_its_receipt() -> None:
    assert ExchangeTimes().typical == 0
    _, events = stream([(10, w.spot_ticker(5))])
    assert events["ts_event"].tolist() == events["ts_recv"].tolist() == [E0 + 10 * MS]
    assert NO_OFFSET.correct(5) == 5

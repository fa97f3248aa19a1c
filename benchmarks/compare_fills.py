"""The same market maker on tidegate and on hftbacktest, over real captures: order by order.

    python benchmarks/compare_fills.py CAPTURE.gz …

One compiled strategy quotes both sides, at the touch or one tick behind it, every 10 or 100 ms; depth and trades of
the captures, constant order latency of 5 ms each way, whole fills, every queue model the two have in common. Both
systems see the same records at the same times. Orders are paired by the time they were sent and their side, and
compared in price, in how they ended, and in time and price of the fill; what differs is printed. The table is that
of `docs/simulation.md`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from environments import HFTBACKTEST

from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Events, Kind
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.order import OrdStatus, Side
from tidegate.model.time import MS, SECOND, duration
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Backtest, Setup
from tidegate.sim.stream import Source
from tidegate.store.importer import import_captures
from tidegate.store.lake import Lake
from tidegate.strategy.library.compiled_maker import CompiledMaker, CompiledMakerParams

Table = npt.NDArray[np.int64]
DELAY = 5 * MS


class Case(NamedTuple):
    """How often the strategy looks, how many ticks behind the touch it quotes, the queue model, its exponent."""

    interval: str
    offset: int
    queue: str
    exponent: float | None = None


CASES = (
    Case("100ms", 1, "power", 2.0),
    Case("10ms", 0, "risk_averse"),
    Case("10ms", 0, "log"),
    Case("10ms", 0, "log2"),
    Case("10ms", 0, "power", 2.0),
    Case("10ms", 0, "power2", 2.0),
    Case("10ms", 0, "power3", 3.0),
)
SIZE, MOST = 100, 10_000
"""Lots an order, and of the position either way."""
SENT, SIDE, PRICE, STATUS, FILLED_AT, FILLED_FOR = range(6)
HFT_EVENT = np.dtype(
    [("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"),
     ("ival", "i8"), ("fval", "f8")], align=True,
)  # fmt: skip
_EXCHANGE, _LOCAL, _BUY, _SELL, _DEPTH, _TRADE = 1 << 31, 1 << 30, 1 << 29, 1 << 28, 1, 2
_FILLED = 3
_STATUS = {1: OrdStatus.NEW, 2: OrdStatus.REJECTED, 3: OrdStatus.FILLED, 4: OrdStatus.CANCELED}
"""Their word for an order's end; EXPIRED is what they call a post-only order that would have taken."""


def read(capture: Path, folder: Path) -> tuple[Instrument, Events]:
    """Depth and trades of a capture from its snapshot on, imported as `tidegate data import` does."""
    import_captures([capture], folder / "lake")
    lake = Lake(folder / "lake")
    (instrument,) = lake.instruments()
    kinds = (Kind.DELTA, Kind.TRADE, Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END)
    events = np.concatenate(list(lake.open(instrument.id, kinds=kinds)))
    begin = int(np.flatnonzero(events["kind"] == Kind.SNAPSHOT_BEGIN)[0])
    if (events["kind"] == Kind.SNAPSHOT_BEGIN).sum() != 1:
        raise SystemExit(f"{capture}: more than one snapshot; choose a capture without a gap")
    return instrument, events[begin:]


def converted(events: Events, instrument: Instrument) -> Any:
    """The records as hftbacktest takes them: each twice, as the exchange saw it and as it reached us."""
    own = events[(events["kind"] == Kind.DELTA) | (events["kind"] == Kind.TRADE)]
    rows = np.zeros(len(own), HFT_EVENT)
    rows["ev"] = np.where(own["kind"] == Kind.TRADE, _TRADE, _DEPTH) | np.where(own["side"] == 1, _BUY, _SELL)
    rows["exch_ts"], rows["local_ts"] = own["ts_event"], own["ts_recv"]
    rows["px"] = own["price"] * float(instrument.tick)
    rows["qty"] = own["size"] * float(instrument.lot)
    here, there = rows.copy(), rows[np.argsort(rows["exch_ts"], kind="stable")]
    here["ev"] |= _LOCAL
    there["ev"] |= _EXCHANGE
    both = np.concatenate([there, here])
    return both[np.argsort(np.concatenate([there["exch_ts"], here["local_ts"]]), kind="stable")]


def ours(instrument: Instrument, events: Events, case: Case) -> Table:
    """tidegate's orders: sent, side, price, status, time and price of the fill."""
    params = CompiledMakerParams(
        market=instrument.id, size=SIZE, max_position=MOST, offset=case.offset,
        interval=case.interval,
    )  # fmt: skip
    venue = VenueModel(
        fill="no_partial", queue=case.queue, queue_exponent=case.exponent or 0.0, entry_latency=(DELAY,),
        response_latency=(DELAY,),
    )  # fmt: skip
    late = int((events["ts_recv"] - events["ts_event"]).max())
    setup = Setup(
        universe=Universe([instrument]),
        sources=[Source([events], 0, max_delay=late)],
        venues={instrument.venue: venue},
        scopes=ScopeTable.simple(1, "100000000"),
        limits=unlimited(),
        strategies=[CompiledMaker("maker", 0, 0, params)],
        base_currency=instrument.settle_currency,
        sample=SECOND,
    )
    result = Backtest(setup).run()
    if result.error is not None:
        raise result.error
    fills = {fill.event.cl_ord_id: fill for fill in result.recorder.fills}
    rows = []
    for number, order in result.recorder.orders.items():
        asked, fill = order.command, fills.get(number)
        ended = (fill.ts_venue, fill.event.last_px) if fill is not None else (0, 0)
        rows.append([asked.ts, 1 if asked.side is Side.BUY else -1, asked.price, order.status, *ended])
    return np.array(rows, np.int64)


def theirs(instrument: Instrument, case: Case, folder: Path, first: int) -> Table:
    """hftbacktest's, in the same columns; it runs in an environment of its own."""
    lot = float(instrument.lot)
    asked = {
        "entry": DELAY, "response": DELAY, "queue": case.queue, "exponent": case.exponent, "first": first,
        "tick": float(instrument.tick), "lot": lot, "interval": duration(case.interval), "offset": case.offset,
        "size": SIZE * lot, "most": (MOST - 0.5) * lot,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(asked))
    script = Path(__file__).parent / "peers" / "hftbacktest_fills.py"
    subprocess.run([HFTBACKTEST.python(), script, folder], check=True)
    rows: Table = np.load(folder / "orders.npy")
    rows[rows[:, STATUS] != _FILLED, FILLED_AT:] = 0
    rows[:, STATUS] = [_STATUS[status] for status in rows[:, STATUS].tolist()]
    return rows


def by_key(rows: Table) -> dict[tuple[int, int], tuple[int, ...]]:
    """What became of each order, by the time it was sent and its side."""
    return {(row[SENT], row[SIDE]): tuple(row[PRICE:]) for row in rows.tolist()}


def compare(instrument: Instrument, events: Events, folder: Path) -> Iterator[str]:
    """A line of the table for each case; what differs goes to stderr."""
    np.save(folder / "events.npy", converted(events, instrument))
    for case in CASES:
        step = duration(case.interval)
        first = (int(events["ts_recv"][0]) // step + 1) * step
        a = by_key(ours(instrument, events, case))
        b = by_key(theirs(instrument, case, folder, first))
        unlike = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
        for key in unlike[:20]:
            print(f"{instrument.id} {case}: {key}: {a.get(key)} here, {b.get(key)} there", file=sys.stderr)
        here, there = (sum(1 for end in rows.values() if end[1] == OrdStatus.FILLED) for rows in (a, b))
        model = case.queue + (f" {case.exponent:g}" if case.exponent else "")
        yield (
            f"| {instrument.id} | {case.interval}, {case.offset} | `{model}` | {len(a):,} / {len(b):,} "
            f"| {here:,} / {there:,} | {len(unlike)} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("captures", type=Path, nargs="+")
    print("| market | looks every, ticks behind | queue | orders, here / there | fills | differ |")
    print("|---|---|---|---|---|---|")
    for capture in parser.parse_args().captures:
        with tempfile.TemporaryDirectory() as name:
            instrument, events = read(capture, Path(name))
            for line in compare(instrument, events, Path(name)):
                print(line, flush=True)


if __name__ == "__main__":
    main()

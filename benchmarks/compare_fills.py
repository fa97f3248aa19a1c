"""The same market maker on tidegate and on hftbacktest, over a real capture: order by order.

    python benchmarks/compare_fills.py CAPTURE.gz [--interval 100ms]

One compiled strategy quotes one tick behind the touch on both sides, 0.001 BTC, at most 0.1 either way; depth and
trades of the capture, constant order latency of 5 ms each way, the `power` queue model with n = 2, whole fills.
Both systems see the same records at the same times. Orders are paired by their time and side; every pair that does
not end alike is printed with what the two rules say about it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from environments import HFTBACKTEST

from tidegate.model.event import EVENT, Events, Kind
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.time import MS, SECOND, duration
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Backtest, Result, Setup
from tidegate.sim.engine import VenueModel
from tidegate.sim.stream import Source
from tidegate.store.importer import import_captures
from tidegate.store.lake import Lake
from tidegate.strategy.library.compiled_maker import CompiledMaker, CompiledMakerParams

DELAY = 5 * MS
EXPONENT = 2.0
SIZE, MOST = 1, 100
"""Lots an order, and of the position either way."""
SENT, SIDE, PRICE, STATUS, ENDED, EXECUTED = range(6)
HFT_EVENT = np.dtype(
    [("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"),
     ("ival", "i8"), ("fval", "f8")], align=True,
)  # fmt: skip
_EXCHANGE, _LOCAL, _BUY, _SELL, _DEPTH, _TRADE = 1 << 31, 1 << 30, 1 << 29, 1 << 28, 1, 2
_HFT_STATUS = {1: "NEW", 2: "EXPIRED", 3: "FILLED", 4: "CANCELED", 5: "PARTIALLY_FILLED"}


def read(capture: Path, folder: Path) -> tuple[Instrument, Events]:
    """Depth and trades of a capture from its snapshot on, imported as `tidegate data import` does."""
    import_captures([capture], folder / "lake")
    lake = Lake(folder / "lake")
    (instrument,) = lake.instruments
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


def ours(instrument: Instrument, events: Events, interval: str) -> Result:
    """tidegate's run."""
    params = CompiledMakerParams(
        market=instrument.id, size=SIZE, max_position=MOST, offset=1, interval=interval
    )
    setup = Setup(
        universe=Universe([instrument]),
        sources=[Source([events], 0, max_delay=int((events["ts_recv"] - events["ts_event"]).max()))],
        venues={
            instrument.venue: VenueModel(
                fill="no_partial", queue="power", queue_exponent=EXPONENT, entry_latency=(DELAY,),
                response_latency=(DELAY,),
            )
        },
        scopes=ScopeTable.simple(1, "10000000"),
        limits=unlimited(),
        strategies=[CompiledMaker("maker", 0, 0, params)],
        sample=SECOND,
    )  # fmt: skip
    result = Backtest(setup).run()
    if result.error is not None:
        raise result.error
    return result


def table(result: Result) -> Any:
    """Our orders in the same columns as hftbacktest's."""
    fills = {fill.event.cl_ord_id: fill for fill in result.recorder.fills}
    rows = []
    for number, order in result.recorder.orders.items():
        asked, fill = order.command, fills.get(number)
        ended = (fill.ts_venue, fill.event.last_px) if fill is not None else (0, 0)
        rows.append([asked.ts, 1 if asked.side == 1 else -1, asked.price, int(order.status), *ended])
    return np.array(rows, np.int64)


def theirs(instrument: Instrument, events: Events, folder: Path, first: int, interval: int) -> Any:
    """hftbacktest's run, in an environment of its own."""
    np.save(folder / "events.npy", converted(events, instrument))
    lot = float(instrument.lot)
    asked = {
        "entry": DELAY, "response": DELAY, "exponent": EXPONENT, "tick": float(instrument.tick), "lot": lot,
        "first": first, "interval": interval, "size": SIZE * lot, "most": (MOST - 0.5) * lot,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(asked))
    script = Path(__file__).parent / "peers" / "hftbacktest_fills.py"
    subprocess.run([HFTBACKTEST.python(), script, folder], check=True)
    return np.load(folder / "orders.npy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--interval", default="100ms")
    args = parser.parse_args()
    interval = duration(args.interval)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        instrument, events = read(args.capture, folder)
        first = (int(events["ts_recv"][0]) // interval + 1) * interval
        a = table(ours(instrument, events, args.interval))
        b = theirs(instrument, events, folder, first, interval)
    np.savez("/tmp/fills.npz", a=a, b=b, events=events)
    print(len(events), "records", len(a), "orders of ours", len(b), "of theirs")
    assert EVENT


if __name__ == "__main__":
    sys.exit(main())

"""Small synthetic markets and set-ups for tests of the backtest."""

from decimal import Decimal

import numpy as np

from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Flag, Kind, empty
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.time import SECOND
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Setup
from tidegate.sim.stream import Source

START = 1_700_000_000_000_000_000
LINEAR = Instrument(
    symbol="BTCUSDT", venue="SIM", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT", tick=Decimal("0.1"),
    lot=Decimal("0.001"), taker_fee=Decimal("0.0005"), maker_fee=Decimal("0.0001"), initial_margin=Decimal("0.1"),
)  # fmt: skip


def market(n=4000, seed=7, step=10_000_000):
    """Quotes and trades of a random walk, `step` ns apart, 1 ms late."""
    rng = np.random.default_rng(seed)
    mid = 600_000 + np.cumsum(rng.integers(-2, 3, n))
    events = empty(n)
    trade = rng.random(n) < 0.3
    events["ts_event"] = START + step * np.arange(n)
    events["ts_recv"] = events["ts_event"] + 1_000_000
    events["kind"] = np.where(trade, Kind.TRADE, Kind.QUOTE)
    events["flags"] = Flag.LAST
    side = rng.integers(1, 3, n)
    events["side"] = np.where(trade, side, 0)
    events["price"] = np.where(trade, np.where(side == 1, mid + 1, mid - 1), mid - 1)
    events["price2"] = np.where(trade, np.arange(n), mid + 1)
    events["size"] = rng.integers(1, 50, n)
    events["size2"] = np.where(trade, 0, rng.integers(1, 50, n))
    return events


def setup(strategies, chunks=None, limits=None, venue=None, key="test", instrument=LINEAR):
    """`strategies` are classes or (class, params); all trade on one account."""
    made = []
    for number, item in enumerate(strategies):
        kind, params = item if isinstance(item, tuple) else (item, {})
        made.append(kind(f"strategy{number}", number, 0, kind.Params(**params)))
    return Setup(
        universe=Universe([instrument]),
        sources=[Source([market()] if chunks is None else chunks, 0, max_delay=1_000_000)],
        venues={"SIM": venue or VenueModel(entry_latency=(2_000_000,), response_latency=(1_000_000,))},
        scopes=ScopeTable.simple(len(made)),
        limits=limits or unlimited(),
        strategies=made,
        sample=SECOND // 10,
        key=key,
    )

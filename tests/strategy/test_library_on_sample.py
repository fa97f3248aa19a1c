"""Every strategy of the library on the packaged market data, as `examples/library.toml` runs it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tidegate import config
from tidegate.model.time import parse
from tidegate.sim.backtest import Backtest
from tidegate.store.importer import import_captures

ROOT = Path(__file__).resolve().parents[2]
END = "2024-08-08T23:56:00"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A hundred seconds of three markets, seven strategies."""
    folder = tmp_path_factory.mktemp("library")
    import_captures([ROOT / "data" / "sample"], folder / "lake")
    path = ROOT / "examples" / "library.toml"
    loaded = config.load(path, {"data.lake": str(folder / "lake"), "data.end": END})
    done = Backtest(config.backtest(loaded, path)).run()
    if done.error is not None:
        raise done.error
    return done


def rows(table, **wanted):
    """The rows of a table where columns have these values."""
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def positions(result, strategy, instrument):
    fills = rows(result.tables.fills, strategy=strategy, instrument=instrument)
    return np.cumsum([row["side"] * row["qty"] for row in fills])


USDM, COINM, SPOT = "BTCUSDT.BINANCE_USDM", "BTCUSD_PERP.BINANCE_COINM", "BTCUSDT.BINANCE"


def test_the_period_is_what_was_asked_for(result):
    assert result.tables.summary["end"] <= parse(END)
    assert result.tables.summary["events"] > 200_000


def test_no_strategy_runs_into_the_gate(result):
    assert rows(result.tables.denials) == []


@pytest.mark.parametrize(
    ("strategy", "instrument", "limit", "fills"),
    [
        ("avellaneda_stoikov", USDM, 0.1, 30),
        ("glft", COINM, 100, 15),
        ("compiled_maker", USDM, 0.1, 30),
    ],
)
def test_makers_fill_passively_on_both_sides_within_their_limits(result, strategy, instrument, limit, fills):
    found = rows(result.tables.fills, strategy=strategy)
    assert len(found) >= fills
    assert {row["side"] for row in found} == {1, -1}
    assert {row["liquidity"] for row in found} == {"maker"}
    assert np.abs(positions(result, strategy, instrument)).max() <= limit + 1e-9
    orders = Counter(row["status"] for row in rows(result.tables.orders, strategy=strategy))
    assert orders["REJECTED"] < 0.2 * orders.total()


def test_the_arbitrage_is_hedged_after_every_trade(result):
    fills = rows(result.tables.fills, strategy="basis_arbitrage")
    far = positions(result, "basis_arbitrage", COINM)
    assert len(far) > 4
    base, loose_since, longest = 0.0, 0, 0
    for row in sorted(fills, key=lambda row: row["ts"]):
        amount = row["qty"] * (100 / row["price"] if row["instrument"] == COINM else 1.0)
        loose_since = loose_since or row["ts"]
        base += row["side"] * amount
        if abs(base) < 0.002:
            longest, loose_since = max(longest, row["ts"] - loose_since), 0
    assert loose_since == 0
    assert longest < 2_000_000_000


def test_trend_and_pair_make_round_trips_and_hold_what_they_were_told(result):
    trend = positions(result, "ema_cross", USDM)
    assert np.abs(trend).max() == pytest.approx(0.02)
    assert (np.diff(np.sign(np.round(trend, 9))) != 0).sum() >= 2
    pair = positions(result, "pair_reversion", USDM)
    assert np.abs(pair).max() == pytest.approx(0.02)
    assert np.round(pair, 9).tolist().count(0.0) >= 1
    assert np.abs(positions(result, "pair_reversion", SPOT)).max() < 0.04


def test_the_imbalance_signal_earns_before_fees_what_it_then_pays_in_fees(result):
    held = positions(result, "imbalance", USDM)
    assert np.abs(held).max() <= 0.01 + 1e-9
    equity = rows(result.tables.equity, strategy="imbalance", instrument=USDM)[-1]
    assert equity["realised"] + equity["unrealised"] > 0
    assert equity["fees"] > equity["realised"] + equity["unrealised"]

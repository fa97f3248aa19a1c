"""The object around the kernel: growth, views of the book, its checks; and the benchmark's order flow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from matching_flow import Flow, random_commands
from matching_script import BUY, SELL, Script

from tidegate.kernel.jit import JIT
from tidegate.kernel.matching_engine import MatchingEngine
from tidegate.kernel.matching_layout import (
    C_ID,
    C_PRICE,
    C_QTY,
    C_WHAT,
    MAX_SPAN,
    R_SEQ,
    R_WHAT,
    Command,
    exec_type,
    what,
)
from tidegate.kernel.matching_snapshot import S_ID, S_LEAVES, S_PLACE, S_PRICE
from tidegate.model.order import ExecType, OrdType, TimeInForce

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "peers" / "gen_match_ops.py"


def limits(ids: np.ndarray, side: int, prices: np.ndarray) -> np.ndarray:
    """NEW commands of one lot each."""
    rows = np.zeros((len(ids), 8), np.int64)
    rows[:, C_WHAT] = what(Command.NEW, side, OrdType.LIMIT, TimeInForce.GTC)
    rows[:, C_ID], rows[:, C_PRICE], rows[:, C_QTY] = ids, prices, 1
    return rows


def test_room_for_orders_grows_and_every_order_is_still_found() -> None:
    engine = MatchingEngine(orders=1, reports=16)
    ids = np.random.default_rng(1).permutation(5000) * 1_000_003 - 7
    engine.apply(limits(ids, BUY, np.arange(5000) % 40 - 20))
    assert engine.live == 5000
    cancels = np.zeros((5000, 8), np.int64)
    cancels[:, C_WHAT], cancels[:, C_ID] = Command.CANCEL, ids[::-1]
    reports = engine.apply(cancels)
    assert set(exec_type(reports[:, R_WHAT]).tolist()) == {ExecType.CANCELED}
    assert engine.live == 0


@pytest.mark.parametrize("step", [3, 5000, -70_000])
def test_the_window_follows_a_market_that_moves_away(step: int) -> None:
    book = Script()
    for k in range(60):
        book.new(k, SELL if k % 2 else BUY, 1, k * step + (k % 2))
        if k >= 4:
            book.cancel(k - 4)


def test_the_window_reaches_to_the_ends_of_the_span_and_back() -> None:
    book = Script()
    book.new(1, BUY, 1, 100)
    for k in range(6):
        far = 100 + (MAX_SPAN - 1) * (1 if k % 2 else -1)
        book.new(10 + k, SELL if k % 2 else BUY, 1, far)
        assert len(book.book()) == 2
        book.cancel(10 + k)
    assert book.engine.best(BUY) == 100


def test_depth_sums_what_is_displayed_from_the_best_on() -> None:
    engine = MatchingEngine()
    engine.apply(random_commands(np.random.default_rng(8), 4000, Flow(sweeps=0.0)))
    for side in (BUY, SELL):
        shown: Counter[int] = Counter()
        orders: Counter[int] = Counter()
        for row in engine.orders():
            if row[S_PLACE] == side:
                shown[int(row[S_PRICE])] += int(row[S_LEAVES])
                orders[int(row[S_PRICE])] += 1
        best_first = sorted(shown, reverse=side == BUY)
        assert len(best_first) > 3
        assert engine.depth(side, 99).tolist() == [[p, shown[p], orders[p]] for p in best_first]
        assert engine.depth(side, 2).tolist() == engine.depth(side, 99)[:2].tolist()
        assert engine.best(side) == best_first[0]


def test_an_empty_book_says_so() -> None:
    engine = MatchingEngine()
    assert (engine.best(BUY), engine.best(SELL), engine.last, engine.live) == (None, None, None, 0)
    assert engine.depth(BUY, 5).shape == (0, 3)
    assert engine.orders().shape == (0, 12)
    assert engine.apply(np.empty((0, 8), np.int64)).shape == (0, 8)


def test_a_stream_yields_all_reports_in_bounded_chunks() -> None:
    commands = random_commands(np.random.default_rng(2), 3000)
    chunks = [chunk.copy() for chunk in MatchingEngine(reports=64).stream(commands)]
    assert max(len(chunk) for chunk in chunks) <= 64
    assert np.array_equal(np.concatenate(chunks), MatchingEngine().apply(commands))


def test_one_order_may_meet_more_than_the_reports_hold() -> None:
    engine = MatchingEngine(reports=16)
    engine.apply(limits(np.arange(500), SELL, np.arange(500) // 7))
    taker = limits(np.array([1000]), BUY, np.array([400]))
    taker[0, C_QTY] = 501
    reports = engine.apply(taker)
    assert len(reports) == 501
    assert engine.best(BUY) == 400


def test_reports_carry_the_number_of_their_command() -> None:
    engine = MatchingEngine()
    engine.apply(limits(np.arange(3), BUY, np.array([5, 5, 5])))
    sell = limits(np.array([9]), SELL, np.array([5]))
    assert engine.apply(sell)[:, R_SEQ].tolist() == [3, 3]


@pytest.mark.parametrize("shape", [(8,), (2, 7), (1, 2, 8)])
def test_commands_of_a_wrong_shape_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"commands have shape .*; expected \(n, 8\)"):
        MatchingEngine().apply(np.zeros(shape, np.int64))


def test_room_and_side_are_checked() -> None:
    with pytest.raises(ValueError, match="needs at least 1 and 16"):
        MatchingEngine(reports=15)
    with pytest.raises(ValueError, match="side 3 is neither"):
        MatchingEngine().depth(3, 1)


# The benchmark's order flow.


def generated(script: Path, folder: Path, *arguments: str) -> tuple[bytes, bytes]:
    """What a generator writes: rows and information."""
    out = folder / f"{script.parent.name}.bin"
    subprocess.run(
        [sys.executable, str(script), arguments[0], str(out), *arguments[1:]], check=True, capture_output=True
    )
    return out.read_bytes(), out.with_name(out.name + ".json").read_bytes()


@pytest.mark.parametrize(("target", "trades"), [(1_000, 22_457), (100_000, 30_545)])
def test_the_order_flow_trades_what_its_reference_book_trades(
    tmp_path: Path, target: int, trades: int
) -> None:
    if not JIT:
        pytest.skip("200,000 rows are for the compiled kernel")
    rows, info = generated(BENCHMARKS / "gen_match_ops.py", tmp_path, "200000", str(target))
    ops = np.frombuffer(rows, np.int32).reshape(-1, 5).astype(np.int64)
    commands = np.zeros((len(ops), 8), np.int64)
    new = what(Command.NEW, ops[:, 2] + 1, OrdType.LIMIT, TimeInForce.GTC)
    commands[:, C_WHAT] = np.where(ops[:, 0] == 0, new, Command.CANCEL)
    commands[:, C_ID], commands[:, C_PRICE], commands[:, C_QTY] = ops[:, 1], ops[:, 3], ops[:, 4]
    engine = MatchingEngine()
    reports = engine.apply(commands)
    assert np.count_nonzero(exec_type(reports[:, R_WHAT]) == ExecType.TRADE) == trades
    assert json.loads(info)["trades"] == trades
    assert engine.live == json.loads(info)["resting"] == len(np.unique(engine.orders()[:, S_ID]))


@pytest.mark.parametrize("target", ["1000", "100000"])
def test_our_generator_writes_what_the_shared_one_writes(tmp_path: Path, target: str) -> None:
    if not SHARED.exists():
        pytest.skip("../shared is not here: nothing to compare with")
    ours = generated(BENCHMARKS / "gen_match_ops.py", tmp_path, "200000", target)
    assert ours == generated(SHARED, tmp_path, "200000", target)

"""The engine against its oracle: reports word by word and state by hash, on seeded streams over everything.

420,000 commands by default, three times that with TIDEGATE_FULL=1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching_flow import Flow, Rows, random_commands
from oracle.matching import Oracle

from tidegate.kernel.jit import JIT
from tidegate.kernel.matching_engine import MatchingEngine
from tidegate.kernel.matching_layout import NO_PRICE, R_WHAT, Command, Reason, exec_type, reason, what
from tidegate.model.order import ExecInst, ExecType

FLOWS = {
    "everything": Flow(),
    "negative prices, few owners": Flow(centre=-40, owners=2, spread=6),
    "far prices": Flow(far=0.02, sweeps=0.01),
    "stops": Flow(types=(0.10, 0.30, 0.15, 0.15, 0.20, 0.05, 0.05), drift=0.3),
    "pegs": Flow(types=(0.08, 0.38, 0.05, 0.05, 0.04, 0.10, 0.30), sweeps=0.02),
    "icebergs": Flow(types=(0.10, 0.35, 0.02, 0.02, 0.01, 0.48, 0.02), spread=4),
    "plain": Flow(types=(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0), replaces=0.05, wild=0.0),
}
BATCH = 250


def compare(engine: MatchingEngine, oracle: Oracle, commands: Rows) -> list[int]:
    """Run both batch by batch; returns the first words of all reports."""
    words = []
    for start in range(0, len(commands), BATCH):
        batch = commands[start : start + BATCH]
        got = engine.apply(batch)
        want = np.array(oracle.apply(batch.tolist()), np.int64).reshape(-1, 8)
        assert np.array_equal(got, want), f"reports differ in the commands from {start}"
        assert engine.state_hash() == oracle.state_hash(), f"state differs after command {start + len(batch)}"
        words += want[:, R_WHAT].tolist()
    return words


@pytest.mark.parametrize("name", FLOWS)
def test_engine_and_oracle_agree(name: str) -> None:
    size, seeds = (60_000 if JIT else 1500), (3 if os.environ.get("TIDEGATE_FULL") == "1" else 1)
    for seed in range(seeds):
        commands = random_commands(np.random.default_rng(seed), size, FLOWS[name])
        # Almost no room to begin with, so that the kernel stops for more in every state it has.
        compare(MatchingEngine(orders=1, reports=16), Oracle(), commands)


def test_the_streams_reach_every_report_the_engine_has() -> None:
    seen: Counter[tuple[ExecType, Reason]] = Counter()
    for seed, flow in enumerate(FLOWS.values()):
        commands = random_commands(np.random.default_rng(seed), 20_000, replace(flow, far=0.03))
        for word in np.unique(MatchingEngine().apply(commands)[:, R_WHAT]).tolist():
            seen[ExecType(exec_type(word)), Reason(reason(word))] += 1
    rejected = [r for r in Reason if Reason.NONE < r < Reason.REQUESTED and r is not Reason.UNKNOWN_ORDER]
    expected = {
        *((ExecType.REJECTED, why) for why in rejected),
        *((ExecType.CANCELED, why) for why in Reason if Reason.REQUESTED <= why <= Reason.SELF_TRADE),
        *((ExecType.CANCELED, why) for why in (Reason.POST_ONLY, Reason.PRICE_SPAN)),
        *((ExecType.EXPIRED, why) for why in (Reason.EXPIRY, Reason.END_OF_DAY)),
        *((ExecType.RESTATED, why) for why in (Reason.REFRESH, Reason.PEG, Reason.TRAIL, Reason.SELF_TRADE)),
        *(
            (ExecType.CANCEL_REJECTED, why)
            for why in (
                Reason.UNKNOWN_ORDER,
                Reason.BAD_QTY,
                Reason.BAD_PRICE,
                Reason.BAD_COMBINATION,
                Reason.POST_ONLY,
                Reason.PRICE_SPAN,
            )
        ),
        *(
            (kind, Reason.NONE)
            for kind in (ExecType.NEW, ExecType.TRADE, ExecType.REPLACED, ExecType.TRIGGERED)
        ),
    }
    assert set(seen) == expected


def test_how_commands_are_batched_changes_nothing() -> None:
    commands = random_commands(np.random.default_rng(3), 6000, FLOWS["everything"])
    whole, single = MatchingEngine(orders=4096), MatchingEngine(orders=1, reports=16)
    reports = whole.apply(commands)
    one_by_one = [single.apply(commands[k : k + 1]) for k in range(len(commands))]
    assert np.array_equal(reports, np.concatenate(one_by_one))
    assert whole.state_hash() == single.state_hash()


def test_prices_between_the_first_and_the_last_of_a_sweep_decide_nothing() -> None:
    """The rule shows stops two prices of a sweep; showing them all differs only in more TRAIL reports."""
    trail = int(ExecType.RESTATED) | int(Reason.TRAIL) << 16
    commands = random_commands(np.random.default_rng(5), 20_000, replace(FLOWS["stops"], spread=20)).tolist()
    two, every = Oracle(), Oracle(every_price=True)
    fewer, more = two.apply(commands), every.apply(commands)
    assert len(fewer) < len(more)
    assert [r for r in fewer if r[0] & ~0xFF00 != trail] == [r for r in more if r[0] & ~0xFF00 != trail]
    assert two.state_hash() == every.state_hash()


def command(kind: Command, **words: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Rows of one kind over a few ids, owners, quantities and prices, so that they meet."""
    price = st.one_of(st.integers(-3, 3), st.just(NO_PRICE))
    pegs = st.sampled_from([0, 0, *(int(i) for i in ExecInst if i is not ExecInst.REDUCE_ONLY)])
    packed = st.builds(
        lambda *fields: int(what(kind, *fields)) if kind == Command.NEW else int(kind),
        st.integers(1, 2),
        st.integers(1, 7),
        st.sampled_from([0, 1, 1, 3, 4, 6]),
        st.integers(0, 4),
        pegs,
    )
    quantity = st.integers(0 if kind == Command.REPLACE else 1, 6)
    rest = (
        st.integers(1, 9),
        st.integers(0, 2),
        quantity,
        price,
        price,
        st.integers(0, 3),
        st.integers(0, 9),
    )
    return st.tuples(packed, *rest)


COMMANDS = st.one_of(
    *[command(Command.NEW)] * 6,
    command(Command.REPLACE),
    command(Command.REPLACE),
    *(command(k) for k in Command),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(COMMANDS, max_size=40))
def test_any_short_history_agrees(rows: list[tuple[int, ...]]) -> None:
    engine, oracle = MatchingEngine(orders=1, reports=16), Oracle()
    commands = np.array(rows, np.int64).reshape(-1, 8)
    assert engine.apply(commands).tolist() == [list(r) for r in oracle.apply(rows)]
    assert engine.state_hash() == oracle.state_hash()


@settings(max_examples=150, deadline=None)
@given(st.lists(COMMANDS, max_size=40))
def test_nothing_is_lost_and_the_book_never_crosses(rows: list[tuple[int, ...]]) -> None:
    """Per order: total = filled + open + taken away; and the best bid stays below the best ask."""
    engine = MatchingEngine()
    total, gone = Counter[int](), Counter[int]()
    for row in rows:
        for first, id, contra, _, qty, leaves, _, _ in engine.apply([row]).tolist():
            kind = exec_type(first)
            if kind == ExecType.NEW:
                total[id], gone[id] = qty, 0
            elif kind == ExecType.TRADE:
                gone[id] += qty
                gone[contra] += qty
            elif kind in (ExecType.CANCELED, ExecType.EXPIRED):
                gone[id] += qty
            elif kind == ExecType.REPLACED:
                total[id] = qty
            elif kind == ExecType.RESTATED and reason(first) == Reason.SELF_TRADE:
                total[id] = gone[id] + leaves
        bid, ask = engine.best(1), engine.best(2)
        assert bid is None or ask is None or bid < ask
    live = {int(r[1]): int(r[5] + r[6]) for r in engine.orders()}
    assert {id: total[id] - gone[id] for id in total if total[id] != gone[id]} == live


def test_runs_as_plain_python() -> None:
    if not JIT:
        return
    chosen = ["-k", "agree and (everything or far or pegs)"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__, *chosen],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "error::RuntimeWarning"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "3 passed" in done.stdout

"""Compiled strategies against Python ones, and the second fold of a run's log: it agrees, and it would notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiled_pairs import TIGHT, Chaos, CompiledPair, PythonPair, setup

from tidegate.execution.core import Lane
from tidegate.kernel import engine as k
from tidegate.kernel.compiled_lane import J_BODY, J_REASON
from tidegate.kernel.layout import O_PRICE, O_QTY
from tidegate.model.order import OrdStatus
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits
from tidegate.sim.audit import COMPILED_LANE, PYTHON_LANE, Audit, Disagreement
from tidegate.sim.backtest import Backtest, Result, Setup
from tidegate.sim.recorder import Recorder


def run(made: Setup, **how: Any) -> tuple[Backtest, Result]:
    backtest = Backtest(made, **how)
    result = backtest.run()
    if result.error is not None:
        raise result.error
    return backtest, result


def fills(result: Result) -> list[tuple[Any, ...]]:
    """Fills without the numbers a lane gives."""
    return [
        (f.event.ts, f.ts_venue, f.event.instrument, f.event.last_qty, f.event.last_px, f.event.fee, f.event.maker,
         f.event.exec_id, f.event.status, f.event.leaves_qty, f.bid, f.ask)
        for f in result.recorder.fills
    ]  # fmt: skip


def orders(result: Result) -> list[tuple[Any, ...]]:
    """What was asked and what became of it."""
    return [
        (o.command.ts, o.command.instrument, o.command.side, o.command.ord_type, o.command.time_in_force,
         o.command.exec_inst, o.command.qty, o.command.price, o.command.ref_bid, o.command.ref_ask,
         o.command.ref_ts, o.ts_ack, o.ts_done, o.cum_qty, o.cum_value, o.status, o.reason, o.queue_ahead)
        for o in result.recorder.orders.values()
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_rule_written_twice_gives_the_same_orders_fills_and_position(seed):
    one, compiled_run = run(setup([CompiledPair], seed, 15_000))
    other, python_run = run(setup([PythonPair], seed, 15_000))
    assert len(fills(compiled_run)) > 20
    assert fills(compiled_run) == fills(python_run)
    assert orders(compiled_run) == orders(python_run)
    assert (one.engine.state.pos == other.engine.state.pos).all()
    statuses = {row[15] for row in orders(python_run)}
    assert {OrdStatus.FILLED, OrdStatus.CANCELED} <= statuses


def tight(seed: int, n: int = 12_000, cuts: int = 1) -> Setup:
    """Two strategies that ask for anything, a Python one between them, one account and tight limits."""
    return setup([Chaos, PythonPair, Chaos], seed, n, Limits.load(TIGHT), cuts)


@pytest.mark.parametrize("seed", range(1, 9))
def test_lane_and_kernel_agree_order_by_order_whatever_is_asked(seed):
    """`Backtest` folds the log again: every decision, and the gate's whole state at the end, must be the same."""
    backtest, result = run(tight(seed))
    assert backtest.audited is result.recorder
    journal = np.concatenate(backtest.recorder.rows)
    for kind in (k.J_ORDER, k.J_CANCEL, k.J_REPLACE):
        reasons = journal[journal[:, 0] == kind, J_REASON]
        assert (reasons == 0).sum() > 50, f"requests of kind {kind} went out"
    denied = journal[journal[:, 0] == k.J_ORDER, J_REASON]
    assert len(set(denied.tolist())) >= 4, "several controls refused"
    assert len(result.recorder.fills) > 100
    assert len({row[1] for row in orders(result)}) == 6


def test_the_gate_denies_in_the_loop_exactly_as_in_the_lane():
    """The pair under limits that bite: the compiled one is denied by the kernel, the Python one by its lane."""
    bites = {
        **TIGHT,
        "firm": {**TIGHT["firm"], "order_qty": "0.003", "position": "0.004"},
        "accounts": {"*": {**TIGHT["accounts"]["*"], "order_burst": 2, "orders_per_second": 60_000}},
    }
    denials = []
    for kind in (CompiledPair, PythonPair):
        _, result = run(setup([kind], 3, 15_000, Limits.load(bites)))
        denials.append([(d.ts, d.reason, d.limit, d.value, d.scope) for d in result.recorder.denials])
        assert len(orders(result)) > len(denials[-1])
    assert denials[0] == denials[1]
    assert len({reason for _, reason, *_ in denials[0]}) >= 2


def test_chunks_make_no_difference_to_compiled_strategies():
    assert run(tight(2))[1].state_hash == run(tight(2, cuts=37))[1].state_hash


def test_a_run_of_python_strategies_can_be_folded_again_from_its_log():
    plain = run(setup([PythonPair], 4, 10_000))[1]
    folded = run(setup([PythonPair], 4, 10_000), verify=True)[1]
    assert plain.state_hash == folded.state_hash
    assert fills(plain) == fills(folded)
    assert orders(plain) == orders(folded)


# Tampering: a run's log in which one thing is not as it was.


@pytest.fixture(scope="module")
def finished() -> Backtest:
    return run(tight(5))[0]


def fold(backtest: Backtest, rows: np.ndarray) -> Gate:
    made = backtest.setup
    gate = Gate(made.universe, made.scopes, made.limits, base_currency=made.base_currency, fx=made.rates)
    ledger = Ledger(made.universe)
    lanes = {n: Lane(n, made.universe, gate, ledger) for n in (PYTHON_LANE, COMPILED_LANE)}
    source = Recorder(keep=True)
    source.rows, source.kept = [rows], backtest.recorder.kept
    Audit(lanes, gate, ledger, Recorder()).run(source)
    return gate


def tampered(backtest: Backtest, kind: int, sent: bool, word: int, by: int, which: int = 7) -> np.ndarray:
    rows = np.concatenate(backtest.recorder.rows).copy()
    chosen = np.flatnonzero((rows[:, 0] == kind) & ((rows[:, J_REASON] == 0) == sent))[which]
    rows[chosen, word] += by
    return rows


def test_the_log_as_it_was_agrees(finished):
    gate = fold(finished, np.concatenate(finished.recorder.rows))
    assert gate.state_bytes() == finished.gate.state_bytes()


@pytest.mark.parametrize(
    ("what", "kind", "sent", "word", "by"),
    [
        ("an order that was sent is said to be denied", k.J_ORDER, True, J_REASON, 40),
        ("a denied order is said to have been sent for another reason", k.J_ORDER, False, J_REASON, 1),
        ("an order of another number", k.J_ORDER, True, J_BODY, 1),
        ("an order for more lots than the limit allows", k.J_ORDER, True, J_BODY + O_QTY, 100),
        ("an order far off the market", k.J_ORDER, True, J_BODY + O_PRICE, 400_000),
        ("a cancel that was sent is said to be refused", k.J_CANCEL, True, J_REASON, 1),
        ("a cancel of another order", k.J_CANCEL, True, J_BODY, 1_000_000),
        ("a replace for more than the limit allows", k.J_REPLACE, True, J_BODY + 1, 100),
    ],
)
def test_a_decision_that_was_tampered_with_is_noticed(finished, what, kind, sent, word, by):
    with pytest.raises(Disagreement):
        fold(finished, tampered(finished, kind, sent, word, by))


def test_a_disagreement_names_order_time_and_both_answers(finished):
    rows = tampered(finished, k.J_ORDER, True, J_REASON, 40)
    original = np.concatenate(finished.recorder.rows)
    row = rows[(rows != original).any(axis=1)][0]
    said = f"order {row[J_BODY]} at {row[1]}: the kernel's gate said 40, the lane 0"
    with pytest.raises(Disagreement, match=said):
        fold(finished, rows)


def test_a_fill_that_was_tampered_with_leaves_another_gate(finished):
    rows = np.concatenate(finished.recorder.rows).copy()
    trades = (rows[:, 0] == k.J_REPORT) & (rows[:, J_BODY + k.R_EXEC] == 2)
    last = np.flatnonzero(trades)[-1]
    rows[last, J_BODY + k.R_FEE] += 1
    assert fold(finished, rows).state_bytes() != finished.gate.state_bytes()


def test_a_row_that_is_missing_is_noticed(finished):
    rows = np.concatenate(finished.recorder.rows)
    first = int(np.flatnonzero((rows[:, 0] == k.J_ORDER) & (rows[:, J_REASON] == 0))[3])
    kept = [(max(at - (at > first), 0), *rest) for at, *rest in finished.recorder.kept]
    shorter = np.delete(rows, first, axis=0)
    copy = Backtest(finished.setup)
    copy.recorder.kept = kept
    with pytest.raises(Disagreement):
        fold(copy, shorter)

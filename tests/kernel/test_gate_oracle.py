"""The gate's kernels against the slow gate: every figure of every check, and all state, over seeded commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle.gate import OracleGate
from oracle.gate_world import LIMITS, SCOPES, SETUP, UNIVERSE, World

import tidegate
from tidegate.kernel import gate_state as g
from tidegate.kernel.gate_likeness import NUMBERS
from tidegate.model.order import Side
from tidegate.risk.gate import Gate

CHECKS = {"check", "check_replace", "check_cancel", "check_parent"}


def observe(gate: Gate) -> dict[str, Any]:
    """What `OracleGate.observe` gives, read from the kernel's arrays."""
    state, n = gate.state, len(gate.universe)
    seen: dict[str, Any] = {}
    for s, row in enumerate(state.scope.tolist()):
        seen[f"scope {s}"] = row[: g.P_DAY_PNL + 2] + row[g.P_NEW_TAT : g.P_CANCEL_TAT + 1]
        for i in range(n):
            seen[f"cell {s} {i}"] = state.cell[s * n + i, : g.C_CASH + 1].tolist()
    used = [row for row in state.slot[1:].tolist() if row[g.L_ID]]
    seen["open"] = sorted([r[g.L_ID], r[g.L_OPEN], r[g.L_VALUE], r[g.L_PRICE]] for r in used)
    seen["marks"] = [
        [
            *state.inst[i, [g.I_BID, g.I_ASK, g.I_MARK_TS, g.I_MARKS]].tolist(),
            float(state.real[i, g.X_VARIANCE]),
        ]
        for i in range(n)
    ]
    day, slips = (
        [g.C_SENT, g.C_SENT_LOTS, g.C_TRADES, g.C_TRADED_LOTS],
        [g.Q_SLIPS, g.Q_SLIP_MEAN, g.Q_SLIP_VAR],
    )
    seen["conduct"] = [
        *state.cell[:, day].tolist(),
        *state.ring[:, [g.Q_REJECTS, *slips]].tolist(),
        state.scope[:, g.P_LEG_SINCE].tolist(),
        state.scope[:, g.P_FILL_TAT].tolist(),
    ]
    first = len(SCOPES) - len(SCOPES.strategies)
    runs = {
        (t, i, side): int(state.cell[(first + t) * n + i, column])
        for t in range(len(SCOPES.strategies)) for i in range(n)
        for side, column in ((Side.BUY, g.C_RUN_BUYS), (Side.SELL, g.C_RUN_SELLS))
    }  # fmt: skip
    seen["runs"] = {key: count for key, count in runs.items() if count}
    seen["halted"] = state.inst[:, g.I_STATE].tolist()
    return seen


def ask(gate: Gate, what: str, args: tuple[Any, ...]) -> list[int]:
    """Put a command to the gate; a check's figures in the oracle's order."""
    if what in ("check", "check_replace"):
        *head, ref, ts = args
        getattr(gate, what)(*head, *ref, ts)
    else:
        getattr(gate, what)(*args)
    return list(gate._figures[:6])


def play(seed: int, n: int, every: int) -> tuple[dict[int, int], int]:
    """Play `n` commands on both; how often each reason came, and the number of commands played."""
    world, gate = World(seed), Gate(UNIVERSE, SCOPES, LIMITS, **SETUP)
    oracle = OracleGate(UNIVERSE, SCOPES, LIMITS, **SETUP)
    reasons: dict[int, int] = {}
    for step, (what, args) in enumerate(world.commands(n)):
        expected = getattr(oracle, what)(*args)
        got = ask(gate, what, args)
        if what in CHECKS:
            assert got == expected, (seed, step, what, args)
            reasons[got[0]] = reasons.get(got[0], 0) + 1
            if what == "check" and got[0] == 0:
                world.accept(args[0])
        if step % every == 0:
            assert observe(gate) == oracle.observe(), (seed, step, what, args)
    assert observe(gate) == oracle.observe(), seed
    return reasons, step


# A million commands in all, in parts that run side by side; one part by default, for the oracle takes its time.
PARTS, PART = 8, 125_000
RUN = range(PARTS) if os.environ.get("TIDEGATE_FULL") == "1" else range(2)


@pytest.mark.parametrize("seed", RUN)
def test_gate_and_oracle_agree_on_every_figure_and_on_all_state(seed: int) -> None:
    length = PART if len(RUN) == PARTS else 40_000
    reasons, _ = play(seed, length, every=2_000)
    assert len(reasons) > 30, "the commands reach too few controls to prove much"


def test_state_agrees_after_every_single_command() -> None:
    play(seed=1_000, n=1_500, every=1)


def test_gate_works_as_plain_python() -> None:
    code = "from test_gate_oracle import play; print(play(7, 400, every=50)[1])"
    env = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONWARNINGS": "error::RuntimeWarning",
        "PYTHONPATH": os.pathsep.join(
            str(p) for p in (*Path(__file__).parents[:2], Path(tidegate.__file__).parents[1])
        ),
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 399


def test_snapshot_restores_the_gate_to_the_byte() -> None:
    world, gate = World(5), Gate(UNIVERSE, SCOPES, LIMITS, **SETUP)
    commands = list(_drive(world, gate, 3_000))
    assert commands
    other = Gate(UNIVERSE, SCOPES, LIMITS, **SETUP)
    other.load(gate.state_bytes())
    assert other.state_bytes() == gate.state_bytes()
    assert (other.state.chain == gate.state.chain).all(), "which chains are held follows from the states"
    for ours, theirs, ring in zip(gate.state.last, other.state.last, gate.state.ring, strict=True):
        mine, restored = ((ring[g.Q_COUNT] - last.astype(np.int64)) & NUMBERS for last in (ours, theirs))
        assert (mine == restored)[(mine < g.RING) | (restored < g.RING)].all()
        assert (mine < g.RING).any(), "there were orders to remember"
    for what, args in world.commands(1_000):
        mine, restored = ask(gate, what, args), ask(other, what, args)
        assert mine == restored or what not in CHECKS
        if what == "check" and gate._figures[0] == 0:
            world.accept(args[0])
    assert other.state_bytes() == gate.state_bytes()
    with pytest.raises(ValueError, match="built differently"):
        other.load(gate.state_bytes()[:-8])


def _drive(world: World, gate: Gate, n: int) -> list[tuple[str, tuple[Any, ...]]]:
    played = []
    for what, args in world.commands(n):
        figures = ask(gate, what, args)
        if what == "check" and figures[0] == 0:
            world.accept(args[0])
        played.append((what, args))
    return played


def test_two_runs_of_the_same_commands_end_in_the_same_bytes() -> None:
    ends = []
    for _ in range(2):
        gate = Gate(UNIVERSE, SCOPES, LIMITS, **SETUP)
        _drive(World(11), gate, 4_000)
        ends.append(gate.state_bytes())
    assert ends[0] == ends[1]


def test_when_everything_is_over_nothing_stays_charged() -> None:
    world, gate = World(3), Gate(UNIVERSE, SCOPES, LIMITS, **SETUP)
    _drive(world, gate, 6_000)
    for order in list(world.live.values()):
        gate.release(order, order.leaves_qty, world.ts)
    state = gate.state
    assert not state.scope[:, [g.P_ORDERS, g.P_OPEN]].any()
    assert not state.cell[
        :, [g.C_BUYS, g.C_SELLS, g.C_REDUCE_BUYS, g.C_REDUCE_SELLS, g.C_BIDS, g.C_ASKS]
    ].any()
    assert state.slot[0, g.H_USED] == 0
    n = len(UNIVERSE)
    for s in range(len(SCOPES)):
        for total, part in (
            (g.P_GROSS, g.C_GROSS),
            (g.P_MARGIN, g.C_MARGIN),
            (g.P_PNL, g.C_PNL),
            (g.P_LONG, g.C_LONG),
        ):
            assert state.scope[s, total] == state.cell[s * n : (s + 1) * n, part].sum()

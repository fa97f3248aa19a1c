"""The gate's kernels against the slow gate: every figure of every check, and all state, over seeded commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oracle.gate_world import LIMITS, SCOPES, SETUP, UNIVERSE, World
from oracle.gate import OracleGate
from tidegate.kernel import gate_state as g
from tidegate.model.order import Order
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
        [*state.inst[i, [g.I_BID, g.I_ASK, g.I_MARK_TS, g.I_MARKS]].tolist(), float(state.real[i, g.X_VARIANCE])]
        for i in range(n)
    ]
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

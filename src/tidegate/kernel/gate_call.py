"""How the replay's kernels ask the gate: its machine code, by address, with a command in the engine's own row."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.calls import call1
from tidegate.kernel.engine import S_GATE, S_GATE_PLAY
from tidegate.kernel.gate_commands import FIGURES
from tidegate.kernel.jit import inline


@inline
def ask_gate(e: Any, operation: int, row: int, a: int, b: int, c: int, d: int) -> int:
    """Carry out one command (`kernel.gate_commands`); of a check, the reason for its refusal, or 0.

    What a command has beyond four arguments is in the row before.
    """
    command = e.asked[0]
    command[0], command[1], command[2], command[3], command[4], command[5] = operation, row, a, b, c, d
    call1(e.s[S_GATE], e.s[S_GATE_PLAY])
    return command[FIGURES]

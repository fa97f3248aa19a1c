"""The gate's one entry point: play rows of commands. A single order from Python is a play of one row.

The gate is compiled here and nowhere else: Python calls the kernel, and the replay's kernels call its machine code
(`Played.call`). What a call from Python costs is its arrays (65 ns each), so the kernel is handed the address of a
table of them (`kernel.state`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64, void

from tidegate.kernel.calls import CALLS
from tidegate.kernel.gate import (
    GateState,
    gate_book,
    gate_cancel_check,
    gate_check,
    gate_check_parent,
    gate_check_replace,
    gate_fill,
    gate_funding,
    gate_mark,
    gate_release,
    gate_replace_rejected,
    gate_replaced,
    gate_set_state,
)
from tidegate.kernel.gate_commands import (
    BOOK,
    CANCEL_CHECK,
    CHECK,
    CHECK_PARENT,
    CHECK_REPLACE,
    COMMAND_WORDS,
    FILL,
    FUNDING,
    MARK,
    RELEASE,
    REPLACE_REJECTED,
    REPLACED,
    SET_STATE,
    TIME,
)
from tidegate.kernel.gate_marks import note_time
from tidegate.kernel.gate_plain import pass_plainly
from tidegate.kernel.gate_state import Ints, empty_gate
from tidegate.kernel.jit import JIT, kernel
from tidegate.kernel.layout import ORDER_WORDS
from tidegate.kernel.state import state_at, state_type, table


class GatePlay(NamedTuple):
    """A gate and what it is to do."""

    gate: GateState
    orders: Ints  # [rows, ORDER_WORDS]
    commands: Ints  # [commands, COMMAND_WORDS]


def allocate_play(gate: GateState, orders: int = 1, commands: int = 1) -> GatePlay:
    """Room for so many orders and commands."""
    return GatePlay(
        gate, np.zeros((orders, ORDER_WORDS), np.int64), np.zeros((commands, COMMAND_WORDS), np.int64)
    )


class Played:
    """A `GatePlay` in the form `gate_play` takes: `address`. It holds the arrays for as long as it lives."""

    def __init__(self, play: GatePlay) -> None:
        self.play = play
        self._table = table(play) if JIT else None
        self.address: Any = play if self._table is None else self._table.ctypes.data

    def call(self) -> tuple[int, int]:
        """For `kernel.calls.call1`: the address of the gate's machine code, and of what it is called with."""
        if self._table is None:
            CALLS[id(self)] = lambda _: gate_play(self.play)
            return id(self), 0
        kernel_of: Any = gate_play
        (compiled,) = kernel_of.overloads.values()
        code = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)
        return code, self._table.ctypes.data


_play_at = state_at(state_type(allocate_play(empty_gate())))


@kernel(void(int64))
def gate_play(address: Any) -> None:
    """Carry out the commands of a `GatePlay` in turn; a check writes its figures behind its command."""
    play = _play_at(address)
    g, orders, commands = play.gate, play.orders, play.commands
    n = 0
    while n < commands.shape[0]:
        if commands[n, 0] == CHECK:
            n = pass_plainly(play, n)
            if n == commands.shape[0]:
                return
        row = commands[n]
        n += 1
        op, k, a, b, c, d = row[0], row[1], row[2], row[3], row[4], row[5]
        out = row
        if op == CHECK:
            gate_check(g, orders, k, a, out)
        elif op == RELEASE:
            gate_release(g, orders, k, a, b, c)
        elif op == FILL:
            gate_fill(g, orders, k, a, b, c, d)
        elif op == MARK:
            gate_mark(g, k, a, b, c)
        elif op == CANCEL_CHECK:
            gate_cancel_check(g, orders, k, a, out)
        elif op == CHECK_REPLACE:
            gate_check_replace(g, orders, k, a, b, row[7], c, d, row[6], out)
        elif op == REPLACED:
            gate_replaced(g, orders, k, a, b, c)
        elif op == REPLACE_REJECTED:
            gate_replace_rejected(g, orders, k, a, b, c)
        elif op == BOOK:
            gate_book(g, orders, k, a, b, c, d)
        elif op == FUNDING:
            gate_funding(g, k, a, b, c)
        elif op == SET_STATE:
            gate_set_state(g, k, a, b)
        elif op == CHECK_PARENT:
            gate_check_parent(g, orders, k, a, b, out)
        elif op == TIME:
            note_time(g, a)

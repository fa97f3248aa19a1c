"""The gate's one entry point: play rows of commands. A single order from Python is a play of one row.

One kernel compiles all of the gate once. From Python, what a call costs is its arrays (65 ns each); a NamedTuple
of them would cost twice as much to unpack, so they come one by one.
"""

from __future__ import annotations

from typing import Any

from numba import float64, int64, void

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
from tidegate.kernel.jit import kernel

# Commands: operation, row of `orders`, then the arguments, ts always last. Columns of a command.
(
    CHECK,  # ts
    CHECK_REPLACE,  # new_qty, new_price, ref_bid, ref_ask, ref_ts, ts
    REPLACED,  # new_qty, new_price, ts
    REPLACE_REJECTED,  # new_qty, new_price, ts
    CANCEL_CHECK,  # ts
    FILL,  # qty, price, fee, ts
    RELEASE,  # qty, ts
    BOOK,  # qty (below 0 undoes), price, fee, ts
    MARK,  # row is the instrument; bid, ask, ts
    FUNDING,  # row is the instrument; rate × 1e8, price, ts
    SET_STATE,  # row is the scope; state, ts
    CHECK_PARENT,  # row is the first leg; legs, ts
) = range(12)
FIGURES = 8
"""Where in a command's row the figures of a check are written (the gate's `out`)."""
COMMAND_WORDS = 16

_ROWS = int64[:, ::1]
_SIGNATURE = void(_ROWS, _ROWS, _ROWS, _ROWS, _ROWS, float64[:, ::1], _ROWS, _ROWS, _ROWS, _ROWS)


@kernel(_SIGNATURE)
def gate_play(
    chain: Any, rules: Any, cell: Any, scope: Any, inst: Any, real: Any, slot: Any, ring: Any, orders: Any,
    commands: Any,
) -> None:  # fmt: skip
    """Carry out `commands` in turn on the gate's arrays; a check writes its figures behind its command."""
    g = GateState(chain, rules, cell, scope, inst, real, slot, ring)
    for n in range(commands.shape[0]):
        row = commands[n]
        op, k, a, b, c, d = row[0], row[1], row[2], row[3], row[4], row[5]
        out = row[FIGURES:]
        if op == CHECK:
            gate_check(g, orders, k, a, out)
        elif op == RELEASE:
            gate_release(g, orders, k, a, b)
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

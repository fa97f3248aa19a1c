"""The gate's one entry point: play rows of commands. A single order from Python is a play of one row.

One kernel compiles all of the gate once; a call from Python costs the unpacking of eight arrays and three more.
"""

from __future__ import annotations

from typing import Any

from numba import int64, void

from tidegate.kernel.gate import (
    GATE_TYPE,
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
from tidegate.kernel.jit import JIT, kernel

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
COMMAND_WORDS = 8
OUT_WORDS = 8

_SIGNATURE = void(GATE_TYPE, int64[:, ::1], int64[:, ::1], int64[:, ::1]) if JIT else None


@kernel(_SIGNATURE)
def gate_play(g: Any, orders: Any, commands: Any, out: Any) -> None:
    """Carry out `commands` in turn; `out[n]` gets the figures of the n-th where it is a check."""
    for n in range(commands.shape[0]):
        op, k, a = commands[n, 0], commands[n, 1], commands[n, 2]
        b, c, d = commands[n, 3], commands[n, 4], commands[n, 5]
        if op == CHECK:
            gate_check(g, orders, k, a, out[n])
        elif op == RELEASE:
            gate_release(g, orders, k, a, b)
        elif op == FILL:
            gate_fill(g, orders, k, a, b, c, d)
        elif op == MARK:
            gate_mark(g, k, a, b, c)
        elif op == CANCEL_CHECK:
            gate_cancel_check(g, orders, k, a, out[n])
        elif op == CHECK_REPLACE:
            gate_check_replace(g, orders, k, a, b, commands[n, 7], c, d, commands[n, 6], out[n])
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
            gate_check_parent(g, orders, k, a, b, out[n])

"""What the gate is asked to do, one row of words each; `kernel.gate_play` carries rows out.

Columns: operation, row of `orders`, then the arguments. What a check compared is written behind it.
"""

from __future__ import annotations

(
    CHECK,  # ts
    CHECK_REPLACE,  # new_qty, new_price, ref_bid, ref_ask, ref_ts, ts
    REPLACED,  # new_qty, new_price, ts
    REPLACE_REJECTED,  # new_qty, new_price, ts
    CANCEL_CHECK,  # ts
    FILL,  # qty, price, fee, ts
    RELEASE,  # qty, ts, 1 where the venue refused the order
    BOOK,  # qty (below 0 undoes), price, fee, ts
    MARK,  # row is the instrument; bid, ask, ts
    FUNDING,  # row is the instrument; rate × 1e8, price, ts
    SET_STATE,  # row is the scope; state, ts
    CHECK_PARENT,  # row is the first leg; legs, ts
    TIME,  # ts
) = range(13)
FIGURES = 8
"""Where in a command's row the figures of a check are written: the gate's `out` is the whole row."""
F_REASON, F_LIMIT, F_VALUE, F_SCOPE, F_CONTROL, F_WARNINGS = range(FIGURES, FIGURES + 6)
COMMAND_WORDS = 16

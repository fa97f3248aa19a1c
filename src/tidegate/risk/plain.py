"""What the limits on one order come to for a plain limit order: the rows that `kernel.gate_plain` reads.

They follow from `rules` and the instrument, and are written anew where either has changed. A bound is the tightest
of the limits and of where their warnings begin, so that what is within it leaves nothing to be said.
"""

from __future__ import annotations

import numpy as np

from tidegate.kernel import gate_state as g
from tidegate.kernel.layout import BUY, DAY, FOK, GTC, IOC, LIMIT, SELL

_MOST_THOUSANDTHS = 1 << 52  # floats hold each of them


FORMS_FROM = (
    g.R_INSTRUMENT, g.R_SIDES, g.R_TYPES, g.R_TIFS, g.R_SAME, g.R_MISSING, g.R_MISSING_RISK,
)  # fmt: skip
REST_FROM = (
    g.R_CLOSED_FROM, g.R_CLOSED_TO, g.R_LAST_ENTRY, g.R_COLLAR, g.R_AGE, g.R_SKEW, g.R_RUN, g.R_SAME, g.R_SAME_WINDOW,
    g.R_SELF_MATCH, g.R_RATIO, g.R_RATIO_FREE, g.R_VOLUME, g.R_VOLUME_FREE, g.R_SHARE,
)  # fmt: skip
SIZES_FROM = (g.R_QTY_NOW, g.R_DEPTH_BUY, g.R_DEPTH_SELL, g.R_VALUE_NOW, g.R_PARENT)
"""Columns of `rules` that `write_forms`, `write_rest` and `write_sizes` read."""


def write_forms(rules: g.Ints, plain: g.Ints, margin: g.Floats | float) -> None:
    """Which limit orders may be plain: permitted, valid, and with every limit set. `margin` is the instrument's rate."""
    forms = np.zeros(len(rules), np.int64)
    types = rules[:, g.R_TYPES] >> LIMIT & 1
    for side in (BUY, SELL):
        sides = rules[:, g.R_SIDES] >> side & types
        for tif in (DAY, GTC, IOC, FOK):
            may = rules[:, g.R_TIFS] >> tif & sides
            for post in (0, 1) if tif in (DAY, GTC) else (0,):
                forms |= may << (tif << 2 | post << 1 | side - BUY)
    spoken = (rules[:, g.R_INSTRUMENT] == 0) | (rules[:, g.R_SAME] < 1)
    spoken |= (rules[:, g.R_MISSING] != 0) | (rules[:, g.R_MISSING_RISK] != 0)
    # Sums of more margin than notional are not bounded.
    spoken |= np.less(margin, 0) | np.greater(margin, 1) | np.isnan(margin)
    plain[:, g.PL_FORMS] = np.where(spoken, 0, forms)


def write_sizes(rules: g.Ints, plain: g.Ints, inst: g.Ints) -> None:
    """How large a plain order may be; `inst` is the row of the one instrument, or has one for each of `rules`."""
    most = np.minimum(rules[:, g.R_QTY_NOW], np.minimum(g.MAX_LOTS, inst[..., g.I_MAX_QTY]))
    for bound, depth in ((g.PL_MOST_BUYS, g.R_DEPTH_BUY), (g.PL_MOST_SELLS, g.R_DEPTH_SELL)):
        plain[:, bound] = np.minimum(most, rules[:, depth] // 2)
    value = np.minimum(rules[:, g.R_VALUE_NOW] // 2, rules[:, g.R_PARENT])
    plain[:, g.PL_VALUE] = np.minimum(value, g.MAX_MONEY - 1)


def write_paths(state: g.GateState) -> None:
    """Where an order's scopes are, which does not change."""
    n = len(state.inst)
    each = np.arange(n)
    for strategy, account, desk, firm, rule, group in state.chain[:, : g.CH_GROUP + 1].tolist():
        if rule < 0:
            continue
        rows = state.plain[rule : rule + n]
        rows[:, g.PL_OWN] = group * n + each
        for place, scope in enumerate((strategy, account, firm, desk)):
            rows[:, g.PL_STRATEGY + place] = scope * n + each if scope >= 0 else -1
            rows[:, g.PL_SCOPES + place] = scope


def write_rest(rules: g.Ints, plain: g.Ints, inst: g.Ints) -> None:
    """All other bounds; `inst` as in `write_sizes`."""
    plain[:, g.PL_LEAST_LOTS] = np.maximum(1, inst[..., g.I_MIN_QTY])
    for bound, rule in (
        (g.PL_CLOSED_FROM, g.R_CLOSED_FROM), (g.PL_CLOSED_TO, g.R_CLOSED_TO), (g.PL_COLLAR, g.R_COLLAR),
        (g.PL_AGE, g.R_AGE), (g.PL_SKEW, g.R_SKEW), (g.PL_RUN, g.R_RUN), (g.PL_SAME_WINDOW, g.R_SAME_WINDOW),
        (g.PL_SELF_MATCH, g.R_SELF_MATCH),
    ):  # fmt: skip
        plain[:, bound] = rules[:, rule]
    plain[:, g.PL_LAST_ENTRY] = np.minimum(rules[:, g.R_LAST_ENTRY], inst[..., g.I_EXPIRY])
    for bound, free, rule, after in (
        (g.PL_RATIO, g.PL_RATIO_FREE, g.R_RATIO, g.R_RATIO_FREE),
        (g.PL_VOLUME, g.PL_VOLUME_FREE, g.R_VOLUME, g.R_VOLUME_FREE),
    ):
        plain[:, bound] = np.minimum(rules[:, rule] // 2, _MOST_THOUSANDTHS) + 1000
        plain[:, free] = np.where(rules[:, rule] < g.UNLIMITED, rules[:, after], g.UNLIMITED)
    plain[:, g.PL_SHARE] = rules[:, g.R_SHARE] - rules[:, g.R_SHARE] // 5
    plain[:, g.PL_SAME] = np.minimum(rules[:, g.R_SAME], g.RING + 1)

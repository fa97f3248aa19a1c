"""Control 22's limits in lots: what people's shares come to of the market's volume, open interest and depth.

They are worked out when a figure is told or a limit is changed, so that the kernels compare lots with lots. −1 is a
share of what is not known: only what reduces passes.
"""

from __future__ import annotations

import numpy as np

from tidegate.kernel import gate_state as g

_FIGURES = (
    (g.I_VOLUME, "volume"), (g.I_INTEREST, "interest"), (g.I_DEPTH_BID, "depth"), (g.I_DEPTH_ASK, "depth"),
)  # fmt: skip
UNKNOWN = -1


def tell(state: g.GateState, instrument: int, figures: tuple[int, int, int, int]) -> None:
    """The market's figures, lots: volume a day, open interest, depth of bids and of asks; −1 for not known."""
    if not 0 <= instrument < len(state.inst):
        raise ValueError(f"instrument {instrument} of {len(state.inst)}")
    if any(not UNKNOWN <= figure < g.UNLIMITED for figure in figures):
        raise ValueError(f"market figures {figures} are not lots, {UNKNOWN} for one that is not known")
    state.inst[instrument, [column for column, _ in _FIGURES]] = figures


def figures(state: g.GateState, assumed: g.Ints) -> g.Ints:
    """By instrument: volume, interest, depth of bids and of asks; of one not told yet what is `assumed` of volume,
    interest and depth."""
    told = state.inst[:, [column for column, _ in _FIGURES]]
    return np.where(told != UNKNOWN, told, assumed[:, [0, 1, 2, 2]])


def work_out(state: g.GateState, known: g.Ints, i: int) -> None:
    """Bring an instrument's limits to the market's `figures`."""
    n = len(state.inst)
    volume, interest, bids, asks = known[i].tolist()
    cells, rules = state.cell[i::n], state.rules[i::n]
    cells[:, g.C_MAX_SHARE] = most_share(cells[:, [g.C_VOLUME_PPM, g.C_INTEREST_PPM]], volume, interest)
    rules[:, g.R_DEPTH_BUY] = share(rules[:, g.R_DEPTH], asks)
    rules[:, g.R_DEPTH_SELL] = share(rules[:, g.R_DEPTH], bids)


def most_share(ppm: g.Ints, volume: g.Ints | int, interest: g.Ints | int) -> g.Ints:
    """The smaller of both shares, in lots."""
    return np.minimum(share(ppm[:, 0], volume), share(ppm[:, 1], interest))


def share(ppm: g.Ints, of: g.Ints | int) -> g.Ints:
    """Parts per million `of` so many lots, rounded down; no more than no limit."""
    whole, rest = np.floor_divide(of, g.PPM), np.remainder(of, g.PPM)
    part = np.minimum(ppm, 100 * g.PPM)
    fits = whole <= g.UNLIMITED // np.maximum(part, 1)
    lots = np.minimum(np.where(fits, whole, 0) * part + rest * part // g.PPM, g.UNLIMITED)
    lots = np.where(fits, lots, g.UNLIMITED)
    found: g.Ints = np.where(ppm >= g.UNLIMITED, g.UNLIMITED, np.where(np.equal(of, UNKNOWN), UNKNOWN, lots))
    return found

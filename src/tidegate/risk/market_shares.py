"""Control 22's limits in lots: what people's shares come to of the market's volume, open interest and depth.

They are worked out when a figure is told or a limit is changed, so that the kernels compare lots with lots. −1 is a
share of what is not known: only what reduces passes.
"""

from __future__ import annotations

from tidegate.kernel import gate_state as g
from tidegate.risk.convert import lots, parts
from tidegate.risk.limits import InstrumentLimits
from tidegate.risk.tables import Tables, find

_FIGURES = (
    (g.I_VOLUME, "volume"), (g.I_INTEREST, "interest"), (g.I_DEPTH_BID, "depth"), (g.I_DEPTH_ASK, "depth"),
)  # fmt: skip
UNKNOWN = -1


def write_shares(row: g.Ints, tables: list[InstrumentLimits]) -> None:
    """People's shares for one scope's position in an instrument."""
    for field, column in (("volume_share", g.C_VOLUME_PPM), ("interest_share", g.C_INTEREST_PPM)):
        value, _ = find(tables, field)
        row[column] = g.UNLIMITED if value is None else parts(value)


def tell(state: g.GateState, instrument: int, figures: tuple[int, int, int, int]) -> None:
    """The market's figures, lots: volume a day, open interest, depth of bids and of asks; −1 for not known."""
    if not 0 <= instrument < len(state.inst):
        raise ValueError(f"instrument {instrument} of {len(state.inst)}")
    if any(not UNKNOWN <= figure < g.UNLIMITED for figure in figures):
        raise ValueError(f"market figures {figures} are not lots, {UNKNOWN} for one that is not known")
    state.inst[instrument, [column for column, _ in _FIGURES]] = figures


def work_out(state: g.GateState, tables: Tables, i: int) -> None:
    """Bring an instrument's limits to the market's figures; one not told yet is the firm's table's, if it has it."""
    n, item = len(state.inst), tables.universe[i]
    known = []
    for column, field in _FIGURES:
        told, (assumed, _) = int(state.inst[i, column]), find(tables.of(0, item), field)
        known.append(told if told != UNKNOWN or assumed is None else lots(assumed, item))
    volume, interest, bids, asks = known
    for row in state.cell[i::n]:
        row[g.C_MAX_SHARE] = min(_part(row[g.C_VOLUME_PPM], volume), _part(row[g.C_INTEREST_PPM], interest))
    for rule in state.rules[i::n]:
        rule[g.R_DEPTH_BUY], rule[g.R_DEPTH_SELL] = _part(rule[g.R_DEPTH], asks), _part(rule[g.R_DEPTH], bids)


def _part(ppm: int, of: int) -> int:
    if ppm >= g.UNLIMITED:
        return g.UNLIMITED
    return UNKNOWN if of == UNKNOWN else of * int(ppm) // g.PPM

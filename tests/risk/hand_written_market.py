"""Legs, margin rates, shares of the market and plain rows, one scope and one instrument at a time (see
`hand_written_rules`)."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from tidegate.kernel import gate_state as g
from tidegate.kernel.layout import BUY, DAY, FOK, GTC, IOC, LIMIT, SELL
from tidegate.model.instrument import Instrument
from tidegate.risk.convert import lots, parts
from tidegate.risk.limits import InstrumentLimits
from tidegate.risk.margin.models import model_of, tiered
from tidegate.risk.margin.rates import Reach, flat_rate
from tidegate.risk.scopes import Level
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
    return UNKNOWN if of == UNKNOWN else min(of * int(ppm) // g.PPM, g.UNLIMITED)


_MOST_THOUSANDTHS = 1 << 52  # floats hold each of them


def _forms(rules: g.Ints, plain: g.Ints) -> None:
    """Which limit orders may be plain: permitted, valid, and with every limit set."""
    plain[:, g.PL_FORMS] = 0
    for side in (BUY, SELL):
        for tif in (DAY, GTC, IOC, FOK):
            for post in (0, 1) if tif in (DAY, GTC) else (0,):
                may = (
                    rules[:, g.R_SIDES] >> side & rules[:, g.R_TYPES] >> LIMIT & rules[:, g.R_TIFS] >> tif & 1
                )
                plain[:, g.PL_FORMS] |= may << (tif << 2 | post << 1 | side - BUY)
    spoken = (rules[:, g.R_INSTRUMENT] == 0) | (rules[:, g.R_SAME] < 1)
    plain[spoken | rules[:, [g.R_MISSING, g.R_MISSING_RISK]].any(axis=1), g.PL_FORMS] = 0


def write_plain(state: g.GateState, instrument: int) -> None:
    """Bring an instrument's rows to its rules."""
    n, inst = len(state.inst), state.inst[instrument]
    rules, plain = state.rules[instrument::n], state.plain[instrument::n]
    _forms(rules, plain)
    if not 0 <= state.real[instrument, g.X_MARGIN] <= 1:  # sums of more margin than notional are not bounded
        plain[:, g.PL_FORMS] = 0
    plain[:, g.PL_LEAST_LOTS] = max(1, int(inst[g.I_MIN_QTY]))
    most = np.minimum(rules[:, g.R_QTY_NOW], min(g.MAX_LOTS, int(inst[g.I_MAX_QTY])))
    for bound, depth in ((g.PL_MOST_BUYS, g.R_DEPTH_BUY), (g.PL_MOST_SELLS, g.R_DEPTH_SELL)):
        plain[:, bound] = np.minimum(most, rules[:, depth] // 2)
    value = np.minimum(rules[:, g.R_VALUE_NOW] // 2, rules[:, g.R_PARENT])
    plain[:, g.PL_VALUE] = np.minimum(value, g.MAX_MONEY - 1)
    for bound, rule in (
        (g.PL_CLOSED_FROM, g.R_CLOSED_FROM), (g.PL_CLOSED_TO, g.R_CLOSED_TO), (g.PL_COLLAR, g.R_COLLAR),
        (g.PL_AGE, g.R_AGE), (g.PL_SKEW, g.R_SKEW), (g.PL_RUN, g.R_RUN), (g.PL_SAME_WINDOW, g.R_SAME_WINDOW),
        (g.PL_SELF_MATCH, g.R_SELF_MATCH),
    ):  # fmt: skip
        plain[:, bound] = rules[:, rule]
    plain[:, g.PL_LAST_ENTRY] = np.minimum(rules[:, g.R_LAST_ENTRY], inst[g.I_EXPIRY])
    for bound, free, rule, after in (
        (g.PL_RATIO, g.PL_RATIO_FREE, g.R_RATIO, g.R_RATIO_FREE),
        (g.PL_VOLUME, g.PL_VOLUME_FREE, g.R_VOLUME, g.R_VOLUME_FREE),
    ):
        plain[:, bound] = np.minimum(rules[:, rule] // 2, _MOST_THOUSANDTHS) + 1000
        plain[:, free] = np.where(rules[:, rule] < g.UNLIMITED, rules[:, after], g.UNLIMITED)
    plain[:, g.PL_SHARE] = rules[:, g.R_SHARE] - rules[:, g.R_SHARE] // 5
    plain[:, g.PL_SAME] = np.minimum(rules[:, g.R_SAME], g.RING + 1)


def write_legs(state: g.GateState, tables: Tables, scope: int) -> None:
    """Make the instruments that people named the scope's legs. One that becomes a leg counts with its position."""
    n, row = len(tables.universe), state.scope[scope]
    named = tables.total(scope, "legs") if tables.scopes.levels[scope] is Level.STRATEGY else None
    limited = row[g.P_MAX_LEG] < g.UNLIMITED
    for i, instrument in enumerate(tables.universe.instruments):
        cell, leg = state.cell[scope * n + i], int(limited and instrument.id in (named or ()))
        if cell[g.C_LEG] != leg:
            value = math.floor(float(state.real[i, g.X_UNIT]) * int(cell[g.C_POS]) + 0.5) if leg else 0
            row[g.P_LEG_DELTA] += value - cell[g.C_LEG_VALUE]
            cell[g.C_LEG], cell[g.C_LEG_VALUE] = leg, value
    if abs(row[g.P_LEG_DELTA]) <= row[g.P_MAX_LEG]:
        row[g.P_LEG_SINCE] = 0
    elif row[g.P_LEG_SINCE] == 0:
        row[g.P_LEG_SINCE] = max(state.slot[0, g.H_FACT], 1)


def write_margins(state: g.GateState, tables: Tables) -> None:
    """Control 20's rate of every instrument with tiers, under the limits of these tables."""
    universe, scopes = tables.universe, tables.scopes
    accounts = [
        account for account in range(len(scopes.accounts))
        if state.scope[scopes.account_scope(account), g.P_KEEP] >= 0
    ]  # fmt: skip
    for i, item in enumerate(universe.instruments):
        if item.tiers and tiered(item):
            rate = flat_rate(item, [_reach(tables, a, item) for a in accounts], _settle_rate(state, i))
            state.real[i, g.X_MARGIN] = math.nextafter(float(rate), 2.0) if rate else 0.0
        if not model_of(item).covers_short and not item.cash:
            for account in accounts:
                state.cell[scopes.account_scope(account) * len(universe) + i, g.C_MAX_SHORT] = 0


def _reach(tables: Tables, account: int, item: Instrument) -> Reach:
    """What an account's own limits, its desk's and the firm's leave it."""
    scopes = tables.scopes
    here = scopes.accounts[account]
    chain = [scopes.account_scope(account), 0]
    if here.desk:
        chain.append(scopes.number(Level.DESK, here.desk))
    sizes, gross = [], []
    for scope in chain:
        own = tables.of(scope, item)
        both = find(own, "position")[0]
        ends = [both if end is None else end for end in (find(own, "long")[0], find(own, "short")[0])]
        if all(end is not None and end.is_finite() for end in ends):
            sizes.append(max(lots(end, item) for end in ends))
        value = tables.total(scope, "gross")
        if value is not None and value.is_finite():
            gross.append(Fraction(value))
    return Reach(min(sizes, default=None), min(gross, default=None))


def _settle_rate(state: g.GateState, i: int) -> Fraction | None:
    """The fixed rate of the instrument's settlement currency to the base; None where a market moves it."""
    currency = int(state.inst[i, g.I_CURRENCY])
    if (state.inst[:, g.I_FX] == currency).any():
        return None
    row = state.real[len(state.inst) + currency]
    rate = Fraction(float(row[g.X_RATE]) * float(row[g.X_UNITS]) / g.MICRO).limit_denominator(10**9)
    return rate or None

"""The gate takes over a position that was not traded through it: it is held from now on, but it is nothing of today's.

Position and cash are booked in every scope above, so limits, margin and P&L know it; the day's traded value does not,
and what it has won or lost before counts neither as today's loss nor as drawdown. Nobody's position (strategy −1) is
the account's, its desk's and the firm's alone.
"""

from __future__ import annotations

from typing import Protocol

from tidegate.kernel import gate_state as g
from tidegate.model.order import Order, OrdType, Side, TimeInForce
from tidegate.risk.derived import derive
from tidegate.risk.ledger import NOBODY
from tidegate.risk.scopes import ScopeTable


class Books(Protocol):
    """What of the gate is needed (`risk.gate.Gate`)."""

    state: g.GateState
    scopes: ScopeTable

    def begin_day(self, ts: int) -> None: ...
    def book(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None: ...


def check(scopes: ScopeTable, account: int, strategy: int, lots: int, price: int) -> None:
    """Raises `ValueError` where there is no such account, the strategy may not use it, or a number is out of range."""
    if abs(lots) > g.MAX_LOTS or abs(price) > g.MAX_TICKS:
        raise ValueError(f"{lots} lots at {price} ticks")
    if not 0 <= account < len(scopes.accounts):
        raise ValueError(f"account {account} of {len(scopes.accounts)}")
    if strategy == NOBODY:
        return
    if not 0 <= strategy < len(scopes.strategies):
        raise ValueError(f"strategy {strategy} of {len(scopes.strategies)}")
    if not scopes.chain(account, strategy).permitted:
        raise ValueError(f"strategy {strategy} may not use account {account}")


def hold(gate: Books, account: int, strategy: int, instrument: int, lots: int, price: int, ts: int) -> None:
    """Take `lots` (signed) at `price` (ticks) into the gate's books."""
    state, carrier = gate.state, max(strategy, 0)
    chain = gate.scopes.chain(account, carrier)
    own, cell = chain.strategy, chain.strategy * len(state.inst) + instrument
    gate.begin_day(ts)  # else what is put back below would be yesterday's
    kept = state.scope[own].copy(), state.cell[cell].copy()
    before = {s: state.scope[s].copy() for s in chain.scopes}
    for s in chain.scopes:  # no loss is seen while it is booked
        state.scope[s, [g.P_PEAK, g.P_DAY_PNL]] = -g.MAX_MONEY
    side = Side.BUY if lots > 0 else Side.SELL
    order = Order(
        0, 0, account, carrier, instrument, side, OrdType.MARKET, TimeInForce.IOC, abs(lots), leaves_qty=0
    )
    gate.book(order, abs(lots), price, 0, ts)
    for s, was in before.items():
        scope = state.scope[s]
        gained = scope[g.P_PNL] - was[g.P_PNL]
        scope[g.P_PEAK], scope[g.P_DAY_PNL] = was[g.P_PEAK] + gained, was[g.P_DAY_PNL] + gained
        scope[g.P_TRADED] = was[g.P_TRADED]
    if strategy == NOBODY:
        state.scope[own], state.cell[cell] = kept
    derive(state)

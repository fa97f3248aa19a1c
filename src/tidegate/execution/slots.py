"""Two versions of a strategy on one lane: how their limits are shared, and how one's positions become the other's."""

from __future__ import annotations

from typing import Protocol, cast

from tidegate.execution.state import State
from tidegate.model.messages import HandOver, OrderEvent, SlotShare
from tidegate.model.order import ExecType, Order, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.ledger import Ledger
from tidegate.risk.scopes import ScopeTable


class Books(Protocol):
    """What of the gate is needed to move a position (`risk.gate.Gate`)."""

    scopes: ScopeTable

    def book(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None: ...
    def unfill(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None: ...


def share(s: State, m: SlotShare) -> None:
    """Share the limits of a strategy between its two slots, from here on."""
    _share(s, m)
    s.slot_shares[m.live, m.candidate] = m


def share_again(s: State, instrument: int | None = None) -> None:
    """What is shared has changed, of one instrument or all: every share is a part of what is in force now."""
    for m in s.slot_shares.values():
        _share(s, m, instrument)


def _share(s: State, m: SlotShare, instrument: int | None = None) -> None:
    from tidegate.risk import slots  # not with the lane: it has compiled code behind it

    factors = {number: factor for number, (_, factor) in s.factors.items()}
    gate = cast(slots.Shared, s.gate)
    slots.share(gate, s.instruments, m.live, m.candidate, m.live_ppm, m.candidate_ppm, factors, instrument)


def hand_over(s: State, m: HandOver) -> None:
    """Move every position of `source` to `target`, at the middle of the last mark; one that has no mark stays.

    Each is told as a fill of no order (`cl_ord_id` 0) at the one and a fill taken back at the other: the positions of
    everybody who adds up fills stay right. The account's position, cash and traded value do not change.
    """
    ledger, gate = cast(Ledger, s.ledger), cast(Books, s.gate)
    if m.source == m.target or not {m.source, m.target} <= set(range(len(gate.scopes.strategies))):
        raise ValueError(f"a hand-over from strategy {m.source} to {m.target}")
    held = [
        (key, position.lots) for key, position in ledger.positions() if key[1] == m.source and position.lots
    ]
    for (account, _, instrument), lots in held:
        bid, ask, _ = s.marks.get(instrument, (0, 0, 0))
        price = (bid + ask) // 2 if bid and ask else bid or ask
        if not price:
            continue
        side = Side.BUY if lots > 0 else Side.SELL
        qty, taken = abs(lots), (m.target, 1, ExecType.TRADE)  # first taken, so that no sum falls below 0
        for strategy, sign, kind in (taken, (m.source, -1, ExecType.TRADE_CANCEL)):
            order = _order(account, strategy, instrument, side, qty)
            (gate.book if sign > 0 else gate.unfill)(order, qty, price, 0, m.ts)
            ledger.apply_fill(account, strategy, instrument, sign * lots, price, 0, m.ts)
            s.out.append(
                OrderEvent(
                    m.ts, 0, 0, account, strategy, instrument, OrdStatus.FILLED, kind, 0, 0, last_qty=qty, last_px=price,
                    side=side,
                )
            )  # fmt: skip


def _order(account: int, strategy: int, instrument: int, side: Side, lots: int) -> Order:
    """An order for the gate's eyes: whose position moves, and which way."""
    return Order(
        0, 0, account, strategy, instrument, side, OrdType.MARKET, TimeInForce.IOC, lots, leaves_qty=0
    )

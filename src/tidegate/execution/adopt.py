"""Positions that people take into the books: what was at the venue before us, at the price they were shown it at."""

from __future__ import annotations

from typing import cast

from tidegate.execution.controls import tolerant
from tidegate.execution.state import Adopted, State
from tidegate.model.messages import Adopt, OrderEvent
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.ledger import NOBODY, Ledger
from tidegate.risk.reasons import Reason


def _adopt(s: State, m: Adopt) -> None:
    """Book it, once. Where the books do not hold what people were shown, the position has moved and nothing is done.

    Each part is told as a fill of no order, with the reason ADOPTED: it was not traded here, and is no gain of today's.
    """
    ledger = cast(Ledger, s.ledger)
    if not 0 <= m.instrument < s.instruments:
        raise ValueError(f"an adoption of instrument {m.instrument} of {s.instruments}")
    if not m.lots or (m.price <= 0 and not s.universe[m.instrument].negative_prices):
        raise ValueError(f"an adoption of {m.lots} lots at {m.price} ticks")
    held = sum(p.lots for (a, _, i), p in ledger.positions() if (a, i) == (m.account, m.instrument))
    if held != m.ours or any(one.id == m.id and one.instrument == m.instrument for one in s.adopted):
        _refuse(s, m, f"the books hold {held} lots, people were shown {m.ours}")
        return
    parts = [(m.strategy, m.lots)]
    if m.given:
        nobodys = ledger.position(m.account, NOBODY, m.instrument).lots
        if m.strategy == NOBODY or not 0 < m.lots * (1 if nobodys > 0 else -1) <= abs(nobodys):
            _refuse(s, m, f"{m.lots} lots of {nobodys} that nobody holds")
            return
        parts.append((NOBODY, -m.lots))  # last, so that no sum falls below 0 between
    s.gate.may_adopt(m.account, m.strategy, m.lots, m.price)
    for strategy, lots in parts:
        s.gate.adopt(m.account, strategy, m.instrument, lots, m.price, m.ts)
        ledger.apply_fill(m.account, strategy, m.instrument, lots, m.price, 0, m.ts)
        s.out.append(_event(m, strategy, lots))
    s.adopted.append(Adopted(m.ts, m.id, m.by, m.account, m.strategy, m.instrument, m.lots, m.price))


def _event(m: Adopt, strategy: int, lots: int) -> OrderEvent:
    side = Side.BUY if lots > 0 else Side.SELL
    return OrderEvent(
        m.ts, 0, 0, m.account, strategy, m.instrument, OrdStatus.FILLED, ExecType.TRADE, 0, 0, last_qty=abs(lots),
        last_px=m.price, reason=int(Reason.ADOPTED), side=side,
    )  # fmt: skip


def _refuse(s: State, m: Adopt, why: str) -> None:
    s.count(Reason.NOT_ADOPTED)
    s.error = f"{m.id}: instrument {m.instrument} not adopted: {why}"


adopt = tolerant(_adopt)
"""What cannot be is counted (INVALID_CONTROL) and changes nothing."""

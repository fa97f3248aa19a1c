"""Closing positions: a deterministic core, of flattening (`flattener`) and of margin calls (`reduce`). `step` says which
orders close the next part.

The rules:

1. Only what reduces: every order is reduce-only and no larger than the position, so none crosses zero; nor larger than
   what is to be closed of it (`Leg.most`).
2. The legs of one group (flattening: of one strategy on one account) go down in step: each step takes the same part of
   what every leg was at the beginning, a leg that lags holds the others back, and no step begins while an order of the
   last one is open.
3. Nothing on stale, crossed or missing prices: of one leg it stops all legs of its group.
4. No price farther from the middle than the collar: what does not trade there (the orders are immediate) waits.
5. Other open orders of the group are cancelled first; for one that will not go, nothing waits longer than `PATIENCE`.
6. A rest below the venue's smallest order stays, and is said.
7. What the gate refuses is tried again at half the size, down to the venue's smallest order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

import msgspec

from tidegate.errors import UserError
from tidegate.execution.state import LaneOrder
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.messages import NewOrder
from tidegate.model.order import ExecInst, OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.time import SECOND

PPM = 1_000_000
STALE = 5 * SECOND
"""A price is too old after so long, ns."""
PATIENCE = SECOND
"""So long (ns) closing waits for the cancels that go before it."""
DUST = "what is left is below the venue's smallest order"


class Terms(msgspec.Struct, frozen=True):
    """How fast and how far: parts per million of what was held for one step, and of the middle for the collar."""

    participation: int = 100_000
    collar: int = 5_000

    @classmethod
    def of(cls, args: Mapping[str, str]) -> Terms:
        """From a command's arguments, `10%` or `0.1`; raises `UserError`."""
        return cls(
            _part(args.get("participation", "10%"), "participation"),
            _part(args.get("collar", "0.5%"), "collar"),
        )

    def args(self) -> dict[str, str]:
        """As a command's arguments."""
        return {
            "participation": f"{Decimal(self.participation) / PPM}",
            "collar": f"{Decimal(self.collar) / PPM}",
        }


def _part(text: str, name: str) -> int:
    try:
        number = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        ppm = int(number * PPM)
    except (InvalidOperation, ValueError):
        ppm = 0
    if not 0 < ppm <= PPM:
        raise UserError(f"{name}: {text!r} is no part; write 10% or 0.1, above 0 and at most 100%")
    return ppm


ALL = -1
"""As a strategy: an account's position over all of them."""
Key = tuple[int, int, str]
"""(account, strategy, group)."""


class Leg(NamedTuple):
    """A position of one strategy on one account (of all of them: `ALL`). `lots` is signed; `done` what has been closed so
    far, lots; `working` whether an order of ours on it is open, `other` whether one of somebody else is to go first;
    `group` parts the legs of a strategy further; `most` is how many lots may be closed now, −1 for all."""

    account: int
    strategy: int
    instrument: int
    lots: int
    done: int = 0
    working: bool = False
    other: bool = False
    group: str = ""
    most: int = -1

    @property
    def key(self) -> Key:
        """The group that it goes down with."""
        return self.account, self.strategy, self.group


class Touch(NamedTuple):
    """The touch of an instrument, ticks, and when it was, ns."""

    bid: int
    ask: int
    ts: int


class Close(NamedTuple):
    """An order to be placed: immediate or cancel, reduce-only, limit at `price` ticks."""

    account: int
    strategy: int
    instrument: int
    side: Side
    qty: int
    price: int
    touch: Touch


def asks(order: LaneOrder) -> bool:
    """Whether a cancel is to be asked for: the order is not over, nor is a cancel on its way."""
    if order.status >= OrdStatus.FILLED or order.closing:
        return False
    return order.status is not OrdStatus.PENDING_CANCEL and order.target is not OrdStatus.CANCELED


def smaller(close: Close, refused: int, universe: Universe) -> Close:
    """Half of it for each of so many refusals, as far as the venue takes it."""
    small = least(universe[close.instrument], close.touch.bid)
    return close._replace(qty=min(close.qty, max(small, close.qty >> min(refused, 60))))


def order_of(close: Close, cmd_id: int, now: int) -> NewOrder:
    """The order as a command."""
    return NewOrder(
        now, cmd_id, close.account, close.strategy, close.instrument, close.side, OrdType.LIMIT, close.qty, close.price,
        time_in_force=TimeInForce.IOC, exec_inst=ExecInst.REDUCE_ONLY, ref_bid=close.touch.bid,
        ref_ask=close.touch.ask, ref_ts=close.touch.ts,
    )  # fmt: skip


class Step(NamedTuple):
    """What to do now, and why nothing is done where that is so, by group."""

    closes: list[Close]
    waits: dict[Key, str]


def step(
    legs: Sequence[Leg], touches: Mapping[int, Touch], universe: Universe, terms: Terms, now: int
) -> Step:
    """The next part. The same positions, touches and time give the same orders."""
    groups: dict[Key, list[Leg]] = {}
    for leg in legs:
        if leg.lots:
            groups.setdefault(leg.key, []).append(leg)
    out = Step([], {})
    for key, group in sorted(groups.items()):
        if any(leg.working for leg in group):
            out.waits[key] = "orders of the last step are open"
        elif any(leg.other for leg in group):
            out.waits[key] = "other orders are being cancelled"
        elif stale := [leg.instrument for leg in group if not _fresh(touches.get(leg.instrument), now)]:
            out.waits[key] = f"no fresh price of {universe[stale[0]].id}"
        else:
            closes, why = _closes(group, touches, universe, terms)
            out.closes.extend(closes)
            if not closes:
                out.waits[key] = why
    return out


def _fresh(touch: Touch | None, now: int) -> bool:
    return touch is not None and 0 < touch.bid <= touch.ask and now - touch.ts <= STALE


def least(item: Instrument, ticks: int) -> int:
    """The smallest order at this price that the venue takes, lots."""
    lots = max(1, item.lots(item.min_qty) if item.min_qty else 1)
    if item.min_notional:
        worth = item.qty(1) * item.multiplier * (1 if item.inverse else item.price(max(1, ticks)))
        lots = max(lots, math.ceil(item.min_notional / worth))
    return lots


def _closes(
    group: Sequence[Leg], touches: Mapping[int, Touch], universe: Universe, terms: Terms
) -> tuple[list[Close], str]:
    """A step that takes every leg down to the same part of what it was; where there is none, why."""
    small = {
        leg: least(universe[leg.instrument], touches[leg.instrument].bid * (PPM - terms.collar) // PPM)
        for leg in group
    }
    able = [leg for leg in group if abs(leg.lots) >= small[leg]]  # what is too little holds nobody back
    most = max((abs(leg.lots) * PPM // (abs(leg.lots) + leg.done) for leg in able), default=0)
    keep = max(0, most - terms.participation)
    free = [leg for leg in able if leg.most < 0 or leg.most >= small[leg]]
    if not free:
        return [], DUST
    found = [_close(leg, small[leg], keep, touches[leg.instrument], terms.collar) for leg in free]
    return [close for close in found if close is not None], "it waits for a leg that lags behind"


def _close(leg: Leg, least: int, keep: int, touch: Touch, collar: int) -> Close | None:
    """Down to `keep` parts per million of what the leg was; None where it is there."""
    held = abs(leg.lots)
    qty = held - keep * (held + leg.done) // PPM
    if qty <= 0:
        return None
    qty = min(held, max(qty, least))
    if 0 < held - qty < least:
        qty = held
    if leg.most >= 0:
        qty = min(qty, leg.most)
    middle2 = touch.bid + touch.ask
    if leg.lots > 0:
        side, price = Side.SELL, -(-middle2 * (PPM - collar) // (2 * PPM))
    else:
        side, price = Side.BUY, middle2 * (PPM + collar) // (2 * PPM)
    return Close(leg.account, leg.strategy, leg.instrument, side, qty, price, touch)

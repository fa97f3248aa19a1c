"""Flattening a scope: a deterministic core. `step` says which orders close the next part of its positions.

The rules:

1. Only what reduces: every order is reduce-only and no larger than the position, so none crosses zero.
2. The legs of one strategy on one account go down in step: each step takes the same part of what every leg was at the
   beginning, a leg that lags holds the others back, and no step begins while an order of the last one is open.
3. Nothing on stale, crossed or missing prices: of one leg it stops all legs of its group.
4. No price farther from the middle than the collar: what does not trade there (the orders are immediate) waits.
5. Other open orders of the group are cancelled first.
6. A rest below the venue's smallest order stays, and is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

import msgspec

from tidegate.errors import UserError
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.order import Side
from tidegate.model.time import SECOND

PPM = 1_000_000
STALE = 5 * SECOND
"""A price is too old after so long, ns."""


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


class Leg(NamedTuple):
    """A position of one strategy on one account. `lots` is signed; `done` what has been closed so far, lots; `working`
    whether an order of ours on it is open, `other` whether one of somebody else is."""

    account: int
    strategy: int
    instrument: int
    lots: int
    done: int = 0
    working: bool = False
    other: bool = False


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


class Clear(NamedTuple):
    """Cancel what this strategy has open on this account."""

    account: int
    strategy: int


class Step(NamedTuple):
    """What to do now, and why nothing is done where that is so, by (account, strategy)."""

    closes: list[Close]
    clears: list[Clear]
    waits: dict[tuple[int, int], str]


def step(
    legs: Sequence[Leg], touches: Mapping[int, Touch], universe: Universe, terms: Terms, now: int
) -> Step:
    """The next part. The same positions, touches and time give the same orders."""
    groups: dict[tuple[int, int], list[Leg]] = {}
    for leg in legs:
        if leg.lots:
            groups.setdefault((leg.account, leg.strategy), []).append(leg)
    out = Step([], [], {})
    for key, group in sorted(groups.items()):
        if any(leg.working for leg in group):
            out.waits[key] = "orders of the last step are open"
        elif any(leg.other for leg in group):
            out.clears.append(Clear(*key))
            out.waits[key] = "other orders are being cancelled"
        elif stale := [leg.instrument for leg in group if not _fresh(touches.get(leg.instrument), now)]:
            out.waits[key] = f"no fresh price of {universe[stale[0]].id}"
        else:
            out.closes.extend(closes := _closes(group, touches, universe, terms))
            if not closes:
                out.waits[key] = "what is left is below the venue's smallest order"
    return out


def _fresh(touch: Touch | None, now: int) -> bool:
    return touch is not None and 0 < touch.bid <= touch.ask and now - touch.ts <= STALE


def _least(item: Instrument, ticks: int) -> int:
    """The smallest order at this price that the venue takes, lots."""
    least = max(1, item.lots(item.min_qty) if item.min_qty else 1)
    if item.min_notional:
        worth = item.qty(1) * item.multiplier * (1 if item.inverse else item.price(max(1, ticks)))
        least = max(least, math.ceil(item.min_notional / worth))
    return least


def _closes(
    group: Sequence[Leg], touches: Mapping[int, Touch], universe: Universe, terms: Terms
) -> list[Close]:
    """A step that takes every leg down to the same part of what it was."""
    least = {
        leg: _least(universe[leg.instrument], touches[leg.instrument].bid * (PPM - terms.collar) // PPM)
        for leg in group
    }
    able = [leg for leg in group if abs(leg.lots) >= least[leg]]  # what is too little holds nobody back
    most = max((abs(leg.lots) * PPM // (abs(leg.lots) + leg.done) for leg in able), default=0)
    keep = max(0, most - terms.participation)
    found = (_close(leg, least[leg], keep, touches[leg.instrument], terms.collar) for leg in able)
    return [close for close in found if close is not None]


def _close(leg: Leg, least: int, keep: int, touch: Touch, collar: int) -> Close | None:
    """Down to `keep` parts per million of what the leg was; None where it is there."""
    held = abs(leg.lots)
    qty = held - keep * (held + leg.done) // PPM
    if qty <= 0:
        return None
    qty = min(held, max(qty, least))
    if 0 < held - qty < least:
        qty = held
    middle2 = touch.bid + touch.ask
    if leg.lots > 0:
        side, price = Side.SELL, -(-middle2 * (PPM - collar) // (2 * PPM))
    else:
        side, price = Side.BUY, middle2 * (PPM + collar) // (2 * PPM)
    return Close(leg.account, leg.strategy, leg.instrument, side, qty, price, touch)

"""The exchange's own margin figures, by the formulas that Binance publishes, in decimals.

They are worked out here once more, and not by `risk.margin`, so that a comparison of the two says something. Every
position is margined as crossed: one wallet a settlement currency stands behind all that settle in it.

    maintenance = value × rate − amount                                     value at the mark, rate of its bracket
    LP (linear)  = (WB − TMM + UPNL + amount − side·Q·EP) ÷ (Q·rate − side·Q)
    LP (inverse) = Q·CS·(rate + side) ÷ (WB − TMM + UPNL + amount + side·Q·CS ÷ EP)

(WB wallet, TMM and UPNL maintenance and profit of the other positions, Q quantity, EP entry price, CS contract size,
side 1 or −1; the bracket is the one that the position is in at that price:
https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93 and …/ceccfcfb4e3a45e3b48b0b1bb1a8ae46.)
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, lru_cache
from typing import Any, NamedTuple

from tidegate.marketdata.binance_instruments import Market
from tidegate.model import money
from tidegate.model.instrument import Instrument
from tidegate.risk.margin import file as margin_file
from tidegate.venue.sim.account import Account, MarkOf
from tidegate.venue.sim.listing import Listing
from tidegate.venue.sim.order import Order

NO_END = Decimal(10**15)
"""How an answer writes the end of a bracket that has none."""


class Bracket(NamedTuple):
    """One bracket; ends and amount in whole units of the settlement currency."""

    number: int
    leverage: int
    floor: Decimal
    cap: Decimal
    rate: Decimal
    amount: Decimal


@cache
def _packaged() -> margin_file.MarginFile:
    return margin_file.packaged()


@lru_cache(maxsize=1024)
def brackets(item: Instrument) -> tuple[Bracket, ...]:
    """An instrument's brackets: its own tiers, else those that come with tidegate, else its two rates."""
    known = _packaged().instruments.get(item.id)
    tiers = item.tiers or (known.tiers if known is not None else item.margin_table.tiers)
    made: list[Bracket] = []
    for number, tier in enumerate(tiers, 1):
        below = made[-1] if made else None
        amount = below.amount + tier.floor * (tier.maintenance - below.rate) if below else Decimal(0)
        most = int(1 / tier.rate)
        made.append(Bracket(number, most, tier.floor, tier.cap or NO_END, tier.maintenance, amount))
    return tuple(made)


def bracket_of(item: Instrument, value: Decimal) -> Bracket:
    """The bracket of a value; the last one's beyond them."""
    rows = brackets(item)
    return next((row for row in rows if value <= row.cap), rows[-1])


def most_notional(item: Instrument, leverage: int) -> Decimal:
    """The largest position that may be had at a leverage."""
    return max((row.cap for row in brackets(item) if row.leverage >= leverage), default=Decimal(0))


def brackets_view(listing: Listing, name: str) -> dict[str, Any]:
    """As `leverageBracket` answers; `name` is what the symbol or pair is called in it."""
    ends = ("notionalCap", "notionalFloor") if listing.market is Market.USDM else ("qtyCap", "qtyFloor")
    rows = [
        {
            "bracket": row.number,
            "initialLeverage": row.leverage,
            ends[0]: _plain(row.cap),
            ends[1]: _plain(row.floor),
            "maintMarginRatio": float(row.rate),
            "cum": float(row.amount),
        }
        for row in brackets(listing.instrument)
    ]
    return {name: listing.pair if name == "pair" else listing.symbol, "brackets": rows}


def _plain(value: Decimal) -> int | float:
    return int(value) if value == int(value) else float(value)


def maintenance(account: Account, listing: Listing, mark_of: MarkOf) -> int:
    """Maintenance margin of a position at its mark, minor units."""
    position, mark = account.positions[listing.number], mark_of(listing.number)
    if not position.lots or mark <= 0:
        return 0
    value = money.from_units(listing.value(position.lots, mark), listing.settle)
    row = bracket_of(listing.instrument, value)
    return _units(value * row.rate - row.amount, listing.settle)


def _units(amount: Decimal, asset: str) -> int:
    return int((amount / money.unit(asset)).quantize(Decimal(1), ROUND_HALF_EVEN))


def too_large(account: Account, order: Order, price: int) -> bool:
    """Whether a position with this order and those of its side would be larger than its leverage allows."""
    listing, sign = order.listing, order.side.sign
    lots = sign * account.positions[listing.number].lots + order.leaves
    lots += sum(o.leaves for o in account.open.values() if o.listing is listing and o.side is order.side)
    if lots <= 0 or order.reduce_only or not price:
        return False
    value = money.from_units(listing.value(lots, price), listing.settle)
    return value > most_notional(listing.instrument, account.leverage[listing.number])


def order_margin(account: Account, listing: Listing) -> int:
    """What the open orders of a symbol hold, minor units."""
    return sum(order.locked for order in account.open.values() if order.listing is listing)


def liquidation_price(account: Account, listing: Listing, mark_of: MarkOf) -> Decimal:
    """Where a position would be liquidated; 0 where no price does it."""
    position, item = account.positions[listing.number], listing.instrument
    if not position.lots or not position.cost:
        return Decimal(0)
    around = money.from_units(account.wallets[listing.market, listing.settle], listing.settle)
    for other in account.listings.of(listing.market):
        if other.settle == listing.settle and other is not listing:
            margin = maintenance(account, other, mark_of)
            around += money.from_units(account.unrealised(other, mark_of) - margin, listing.settle)
    side = 1 if position.lots > 0 else -1
    size = item.qty(abs(position.lots)) * item.multiplier
    spent = abs(money.from_units(position.cost, listing.settle))
    for row in brackets(item):
        if item.inverse:
            over, under = size * (row.rate + side), around + row.amount + side * spent
        else:
            over, under = around + row.amount - side * spent, size * (row.rate - side)
        price = over / under if under else Decimal(0)
        if price > 0:
            value = size / price if item.inverse else size * price
            if row.floor < value <= row.cap or (row.floor == 0 and value == 0):
                return price
    return Decimal(0)

"""An account's money on the three markets: balances, locks, positions, margin, exactly, in minor units."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction

from tidegate.marketdata.binance_instruments import VENUES, Market
from tidegate.model import money
from tidegate.model.order import Side
from tidegate.model.scale import round_half_even
from tidegate.risk.position import Position
from tidegate.venue.sim.config import AccountConfig
from tidegate.venue.sim.listing import Listing, Listings
from tidegate.venue.sim.order import Order, Trade

MarkOf = Callable[[int], int]
"""An instrument's mark, ticks; 0 while it has none."""
Taken = Callable[[str], tuple[Fraction, Fraction]]
"""What one unit of an asset is worth in USD, and what it counts for; 0 and 0 for one that is not taken."""


class Holding:
    """An asset on spot: what can be used, and what open orders hold."""

    __slots__ = ("free", "locked")

    def __init__(self, free: int = 0) -> None:
        self.free, self.locked = free, 0


class Account:
    """One account: its key, its money, its orders and trades."""

    def __init__(self, config: AccountConfig, number: int, listings: Listings, spot_fee: str) -> None:
        self.name, self.number = config.name, number
        self.owner = config.owner or config.name
        self.key, self.secret = config.api_key, config.api_secret.encode()
        self.fee_in_quote = spot_fee == "quote"
        self.listings = listings
        self.spot = {asset: Holding() for asset in listings.assets(Market.SPOT)}
        self.wallets = {(m, a): 0 for m in (Market.USDM, Market.COINM) for a in listings.assets(m)}
        self.order_margin = dict.fromkeys(self.wallets, 0)
        for venue, amounts in config.balances.items():
            for asset, amount in amounts.items():
                units = money.to_units(amount, asset)
                market = VENUES[venue]
                if market is Market.SPOT:
                    self.spot[asset] = Holding(units)
                else:
                    self.wallets[market, asset] = units
                    self.order_margin[market, asset] = 0
        self.positions = {item.number: Position(item.terms) for item in listings.all if item.futures}
        self.lends = config.spot == "margin"
        """Whether `spot` is a margin account: see `lending`."""
        self.multi_assets = config.multi_assets
        self.together: Taken | None = None
        """In multi-assets mode on USDⓈ-M: what assets are taken for."""
        self.leverage = dict.fromkeys(self.positions, config.leverage)
        self.margin_type = dict.fromkeys(self.positions, "cross")
        self.orders: OrderedDict[int, Order] = OrderedDict()
        """Every order that is remembered, by id, oldest first; open ones always are."""
        self.open: dict[int, Order] = {}
        self.by_client: dict[tuple[int, str], Order] = {}
        """The newest order of an instrument with a client id."""
        self.trades: OrderedDict[int, Trade] = OrderedDict()

    # Money that orders hold.

    def reserve(self, order: Order, price: int, mark_of: MarkOf) -> bool:
        """Set aside what `order` may cost at `price`; False, and nothing changed, where there is not enough."""
        listing = order.listing
        if not listing.futures:
            asset, need = self.spot_need(order, order.leaves, price)
            holding = self.spot[asset]
            if holding.free < need:
                return False
            if order.side is Side.SELL or order.resting_price:
                holding.free -= need
                holding.locked += need
                order.locked = need
            return True
        key = (listing.market, listing.settle)
        need = self._margin_need(order, order.leaves, price)
        if need and self.available(listing.market, listing.settle, mark_of) < need:
            return False
        self.order_margin[key] += need
        order.locked = need
        return True

    def reserve_again(self, order: Order, leaves: int, price: int, mark_of: MarkOf) -> bool:
        """The same for an order that is to be changed; False, and nothing changed, where there is not enough."""
        listing, held = order.listing, order.locked
        if not listing.futures:
            asset, need = self.spot_need(order, leaves, price)
            holding = self.spot[asset]
            if holding.free < need - held:
                return False
            holding.free -= need - held
            holding.locked += need - held
        else:
            need = self._margin_need(order, leaves, price)
            more = need - held
            if more > 0 and self.available(listing.market, listing.settle, mark_of) < more:
                return False
            self.order_margin[listing.market, listing.settle] += more
        order.locked = need
        return True

    def hold(self, order: Order, units: int) -> None:
        """Let an order hold exactly so much, whatever is free: a change that was refused is taken back."""
        self._unlock(order, order.locked - units)

    def release(self, order: Order) -> None:
        """Give back what an order that has ended still holds."""
        self._unlock(order, order.locked)

    def _unlock(self, order: Order, units: int) -> None:
        if not units:
            return
        order.locked -= units
        listing = order.listing
        if listing.futures:
            self.order_margin[listing.market, listing.settle] -= units
            return
        holding = self.spot[self._spot_asset(order)]
        holding.locked -= units
        holding.free += units

    def _spot_asset(self, order: Order) -> str:
        item = order.listing.instrument
        return item.quote if order.side is Side.BUY else item.base

    def spot_need(self, order: Order, leaves: int, price: int) -> tuple[str, int]:
        """The asset that an order on spot is paid in, and what `leaves` of it cost at `price`."""
        listing = order.listing
        if order.side is Side.BUY:
            return listing.instrument.quote, listing.value(leaves, price)
        return listing.instrument.base, listing.terms.base_units(leaves)

    def _margin_need(self, order: Order, leaves: int, price: int) -> int:
        if order.reduce_only or not price:
            return 0
        held = self.positions[order.listing.number].lots * order.side.sign
        opening = leaves + min(held, 0) if held < 0 else leaves
        if opening <= 0:
            return 0
        return -(-order.listing.value(opening, price) // self.leverage[order.listing.number])

    # Fills.

    def fill(self, order: Order, trade: Trade) -> None:
        """Book a trade; `order.leaves` is what remains after it. Sets the trade's fee and profit."""
        listing = order.listing
        if order.locked:
            after = self._still_held(order, trade.qty)
            self._unlock(order, order.locked - after)
        self.book(trade, 1)
        if listing.futures and not order.leaves:
            self.release(order)

    def _still_held(self, order: Order, filled: int) -> int:
        """What an order still holds once `filled` more of it has traded."""
        if not order.leaves:
            return 0
        if not order.listing.futures:
            return min(order.locked, self.spot_need(order, order.leaves, order.resting_price)[1])
        return order.locked * order.leaves // (order.leaves + filled)

    def book(self, trade: Trade, sign: int) -> None:
        """Move the money of a trade: `sign` 1 books it, −1 takes it out again (spot only)."""
        order = trade.order
        listing, side = order.listing, order.side
        rate = listing.maker_fee if trade.maker else listing.taker_fee
        value = listing.value(trade.qty, trade.price)
        if listing.futures:
            trade.fee, trade.fee_asset = share(value, rate), listing.settle
            position = self.positions[listing.number]
            before = position.realised
            position.apply(side.sign * trade.qty, trade.price, trade.fee)
            trade.realised = position.realised - before
            self.wallets[listing.market, listing.settle] += trade.realised - trade.fee
            return
        item = listing.instrument
        base = listing.terms.base_units(trade.qty)
        in_base = side is Side.BUY and not self.fee_in_quote
        trade.fee = share(base if in_base else value, rate)
        trade.fee_asset = item.base if in_base else item.quote
        self.spot[item.base].free += sign * side.sign * base
        self.spot[item.quote].free -= sign * side.sign * value
        self.spot[trade.fee_asset].free -= sign * trade.fee

    def amend(self, trade: Trade, qty: int, price: int) -> bool:
        """Bust a trade (`qty` 0) or correct it; False where it is too long ago."""
        order, listing = trade.order, trade.order.listing
        if not listing.futures:
            self.book(trade, -1)
            trade.qty, trade.price = qty, price
            if qty:
                self.book(trade, 1)
            else:
                trade.fee = 0
            return True
        position, sign = self.positions[listing.number], order.side.sign
        rate = listing.maker_fee if trade.maker else listing.taker_fee
        fee = share(listing.value(qty, price), rate) if qty else 0
        before = position.realised
        old = (sign * trade.qty, trade.price, trade.fee)
        if not position.replace(*old, (sign * qty, price, fee) if qty else None):
            return False
        change = position.realised - before
        self.wallets[listing.market, listing.settle] += change + trade.fee - fee
        trade.realised += change
        trade.qty, trade.price, trade.fee = qty, price, fee
        return True

    # Margin.

    def unrealised(self, listing: Listing, mark_of: MarkOf) -> int:
        """Profit of a position at its mark."""
        position, mark = self.positions[listing.number], mark_of(listing.number)
        return position.unrealised(mark) if position.lots and mark > 0 else 0

    def position_margin(self, listing: Listing, mark_of: MarkOf) -> int:
        """Initial margin of a position at its mark."""
        position, mark = self.positions[listing.number], mark_of(listing.number)
        if not position.lots or mark <= 0:
            return 0
        return -(-listing.value(position.lots, mark) // self.leverage[listing.number])

    def available(self, market: Market, asset: str, mark_of: MarkOf) -> int:
        """What new orders may use of a futures wallet; in multi-assets mode, of all of them together."""
        if self.multi and market is Market.USDM:
            free_usd = self.balance(mark_of) - self.asked(self._bound, mark_of)
            worth = self.taken(asset)[0] * Fraction(money.unit(asset))
            return math.floor(free_usd / worth) if worth else 0
        free = self.wallets[market, asset] - self.order_margin[market, asset]
        for number, position in self.positions.items():
            if position.lots:
                listing = self.listings[number]
                if listing.market is market and listing.settle == asset:
                    free += self.unrealised(listing, mark_of) - self.position_margin(listing, mark_of)
        return free

    # Multi-assets mode.

    @property
    def multi(self) -> bool:
        """Whether all wallets of USDⓈ-M stand together."""
        return self.multi_assets and self.together is not None

    def taken(self, asset: str) -> tuple[Fraction, Fraction]:
        """See `Taken`."""
        return self.together(asset) if self.together is not None else (Fraction(0), Fraction(0))

    def balance(self, mark_of: MarkOf) -> Fraction:
        """USD: wallets and unrealised profit of USDⓈ-M, what is held for what it counts, what is owed in full."""
        total = Fraction(0)
        for market, asset in self.wallets:
            if market is Market.USDM:
                units = self.wallets[market, asset]
                units += sum(self.unrealised(item, mark_of) for item in self._settling(asset))
                worth, counts = self.taken(asset)
                total += units * Fraction(money.unit(asset)) * (counts if units > 0 else worth)
        return total

    def asked(self, of: Callable[[str, MarkOf], int], mark_of: MarkOf) -> Fraction:
        """USD: what `of` comes to in each asset's minor units, over all of USDⓈ-M."""
        each = (asset for market, asset in self.wallets if market is Market.USDM)
        return sum((of(a, mark_of) * Fraction(money.unit(a)) * self.taken(a)[0] for a in each), Fraction(0))

    def _bound(self, asset: str, mark_of: MarkOf) -> int:
        margin = sum(self.position_margin(item, mark_of) for item in self._settling(asset))
        return self.order_margin[Market.USDM, asset] + margin

    def _settling(self, asset: str) -> list[Listing]:
        return [item for item in self.listings.of(Market.USDM) if item.settle == asset]


def share(units: int, rate: tuple[int, int]) -> int:
    """`units` × rate, to the nearest minor unit, ties to even."""
    return round_half_even(units * rate[0], rate[1])


def entry_price(listing: Listing, position: Position) -> str:
    """A position's average price as decimal text with eight places, `0.0` when flat."""
    terms = position.terms
    if not position.lots or not position.cost:
        return "0.0"
    if terms.inverse:
        ticks = Fraction(-position.lots * terms.numerator, position.cost * terms.denominator)
    else:
        ticks = Fraction(position.cost * terms.denominator, position.lots * terms.numerator)
    tick = Fraction(listing.instrument.tick)
    scaled = ticks * tick * 10**8
    eight = round_half_even(scaled.numerator, scaled.denominator)
    return f"{eight // 10**8}.{eight % 10**8:08d}"

"""Liquidation: an account whose margin balance has fallen to its maintenance margin is closed out by the exchange.

Simpler than a real exchange's, and harsher: the wallet's open orders are cancelled; where that is not enough, every
position that settles in it is closed whole, at once, at its mark. The fill is the account's own, of an order whose
client id begins with `autoclose-`, as Binance's do; it pays the taker's fee, and a clearance fee of 1.25 % of the value
to the insurance fund. A wallet that is below 0 after that is filled up by the fund, which may itself go below 0: no
other account is touched.
"""

from __future__ import annotations

from fractions import Fraction

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.order import OrdStatus, OrdType, Side, TimeInForce
from tidegate.model.time import MS
from tidegate.venue.sim import margin
from tidegate.venue.sim.account import Account, MarkOf, share
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.listing import Listing
from tidegate.venue.sim.order import Order

EVERY = 100 * MS
"""How often accounts are looked at."""
PREFIX = "autoclose-"
CLEARANCE = Fraction(5, 400)
"""`liquidationFee` of `exchangeInfo`."""
Wallet = tuple[Market, str]


class Liquidator:
    """Looks at every account that holds positions. `insurance` is the fund, minor units by asset."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.insurance: dict[str, int] = {}
        self._next = 0

    def step(self, now: int) -> None:
        """Look, if it is time to."""
        if now < self._next:
            return
        self._next = now + EVERY
        for account in self.exchange.accounts:
            busy = {self._wallet(n) for n, position in account.positions.items() if position.lots}
            for wallet in sorted(busy):
                self._judge(account, wallet, now)

    def _wallet(self, number: int) -> Wallet:
        listing = self.exchange.listings[number]
        return listing.market, listing.settle

    def _held(self, account: Account, wallet: Wallet) -> list[Listing]:
        return [
            self.exchange.listings[n]
            for n, position in account.positions.items()
            if position.lots and self._wallet(n) == wallet
        ]

    def due(self, account: Account, wallet: Wallet) -> bool:
        """Whether a wallet's margin balance has fallen to its maintenance margin."""
        mark_of, held = self.exchange.mark, self._held(account, wallet)
        if not held or any(mark_of(listing.number) <= 0 for listing in held):
            return False  # never without a mark
        if account.multi and wallet[0] is Market.USDM:
            kept = account.asked(lambda asset, marks: self._kept(account, asset, marks), mark_of)
            return account.balance(mark_of) <= kept
        balance = account.wallets[wallet] + sum(account.unrealised(item, mark_of) for item in held)
        return balance <= sum(margin.maintenance(account, item, mark_of) for item in held)

    def _kept(self, account: Account, asset: str, mark_of: MarkOf) -> int:
        held = self._held(account, (Market.USDM, asset))
        return sum(margin.maintenance(account, item, mark_of) for item in held)

    def _judge(self, account: Account, wallet: Wallet, now: int) -> None:
        if not self.due(account, wallet):
            return
        exchange = self.exchange
        exchange.count("liquidations")
        exchange.cancel_all(account, wallet[0], None, now)
        if not self.due(account, wallet):
            return  # one of the orders filled meanwhile
        for listing in self._held(account, wallet):
            self._close(account, listing, now)
        short = -account.wallets[wallet]
        if short > 0:
            exchange.count("bankruptcies")
            account.wallets[wallet] = 0
            self._fund(wallet[1], -short)
            exchange.listener.on_money(account, self._any(wallet), now, True)

    def _any(self, wallet: Wallet) -> Listing:
        return next(item for item in self.exchange.listings.of(wallet[0]) if item.settle == wallet[1])

    def _close(self, account: Account, listing: Listing, now: int) -> None:
        exchange, lots = self.exchange, account.positions[listing.number].lots
        mark = exchange.mark(listing.number)
        side = Side.SELL if lots > 0 else Side.BUY
        order = Order(account, listing, side, OrdType.LIMIT, "LIMIT", abs(lots))
        order.client_id, order.price = f"{PREFIX}{now // MS}", mark
        order.tif, order.tif_text = TimeInForce.IOC, "IOC"
        exchange.force(order, now)
        order.leaves = 0
        trade = exchange.trade(order, abs(lots), mark, False, now)
        fee = share(listing.value(trade.qty, mark), (CLEARANCE.numerator, CLEARANCE.denominator))
        account.wallets[listing.market, listing.settle] -= fee
        self._fund(listing.settle, fee)
        assert order.status is OrdStatus.FILLED

    def _fund(self, asset: str, units: int) -> None:
        self.insurance[asset] = self.insurance.get(asset, 0) + units

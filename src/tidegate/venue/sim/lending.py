"""Spot bought with borrowed money: an account's loans, their interest, its margin level, and its liquidation.

By Binance's rules of its cross margin account, at 3x, worked out here once more and not by `risk.margin`, so that a
comparison of the two says something:

    level = worth of all assets ÷ worth of all debts with their interest      worth in USDT, at marks
    interest = borrowed × hourly rate, once when it is lent and at every full hour of the clock after that

(https://www.binance.com/en/support/faq/binance-margin-level-and-margin-call-360030493931.) Nothing is lent that would
leave a level of 1.5 or less; at 1.1 or less the account is liquidated: open orders are cancelled, everything is sold at
its mark, what is owed is bought back and repaid. What is lacking then is the insurance fund's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Any

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import Market
from tidegate.model import money
from tidegate.model.order import OrdType, Side, TimeInForce
from tidegate.model.time import HOUR, MS
from tidegate.venue.sim import refusal
from tidegate.venue.sim.account import Account
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.liquidation import EVERY, PREFIX
from tidegate.venue.sim.listing import PURSE, Listing
from tidegate.venue.sim.order import Order, Trade
from tidegate.venue.sim.refusal import Refused

INITIAL, LIQUIDATION = Fraction(3, 2), Fraction(11, 10)
BORROWS = frozenset({"MARGIN_BUY", "AUTO_BORROW_REPAY"})
REPAYS = frozenset({"AUTO_REPAY", "AUTO_BORROW_REPAY"})
SIDE_EFFECTS = BORROWS | REPAYS | {"NO_SIDE_EFFECT"}
NO_DEBT = "999.00000000"
"""The level of an account that owes nothing."""
_QUOTE = "USDT"
Json = dict[str, Any]


class Loan:
    """What is owed of one asset, minor units."""

    __slots__ = ("borrowed", "interest")

    def __init__(self) -> None:
        self.borrowed = self.interest = 0

    @property
    def owed(self) -> int:
        """All of it."""
        return self.borrowed + self.interest


class Lender:
    """Lends to the accounts that are `lends`; `hourly` is what an hour of each asset costs, as decimal text."""

    def __init__(self, exchange: Exchange, hourly: Mapping[str, str], insurance: dict[str, int]) -> None:
        self.exchange, self.insurance = exchange, insurance
        known = exchange.listings.assets(Market.SPOT)
        self.hourly: dict[str, Fraction] = {}
        for asset, text in hourly.items():
            try:
                rate = Fraction(text)
            except (ValueError, ZeroDivisionError):
                rate = Fraction(-1)
            if asset not in known or rate < 0:
                raise UserError(
                    f"the simulated venue's lending of {asset!r} at {text!r}: name an asset of spot "
                    f"({', '.join(known)}) and a rate of 0 or more"
                )
            self.hourly[asset] = rate
        self.loans: dict[int, dict[str, Loan]] = {a.number: {} for a in exchange.accounts if a.lends}
        self._hour = self._next = 0
        exchange.lender = self

    # Loans.

    def borrow(self, account: Account, asset: str, units: int, now: int) -> None:
        """Lend; the first hour's interest is owed at once. Raises `Refused`."""
        rate = self.hourly.get(asset)
        if rate is None:
            raise Refused(-3027, "Not a valid margin asset.")
        assets, debts = self.worths(account)
        more = units * self.worth(asset) * Fraction(money.unit(asset))
        if units <= 0 or not more or (assets + more) <= INITIAL * (debts + more):
            raise Refused(-3006, "Your borrow amount has exceed maximum borrow amount.")
        loan = self.loans[account.number].setdefault(asset, Loan())
        loan.borrowed += units
        loan.interest += math.ceil(units * rate)
        account.spot[asset].free += units
        self.exchange.listener.on_moved(account, Market.SPOT, asset, units, "BORROW", now)

    def repay(self, account: Account, asset: str, units: int, now: int) -> int:
        """Pay back at most `units` out of what is free, interest first; how much it was."""
        loan, held = self.loans[account.number].get(asset), account.spot[asset]
        paid = min(units, held.free, loan.owed) if loan is not None else 0
        if loan is None or paid <= 0:
            return 0
        held.free -= paid
        first = min(paid, loan.interest)
        loan.interest -= first
        loan.borrowed -= paid - first
        if not loan.owed:
            del self.loans[account.number][asset]
        self.exchange.listener.on_moved(account, Market.SPOT, asset, -paid, "REPAY", now)
        return paid

    def step(self, now: int) -> None:
        """Charge interest at each full hour; liquidate who has come to that."""
        hour = now // HOUR
        self._hour = self._hour or hour
        for _ in range(self._hour, hour):
            for loans in self.loans.values():
                for asset, loan in loans.items():
                    loan.interest += math.ceil(loan.borrowed * self.hourly[asset])
        self._hour = hour
        if now < self._next or not self.loans:
            return
        self._next = now + EVERY
        for account in self.exchange.accounts:
            if account.lends and self.due(account):
                self._liquidate(account, now)

    # What orders borrow and repay.

    def lend(self, order: Order, price: int, now: int) -> None:
        """Before an order is taken in: what it lacks, where it may borrow."""
        if order.side_effect in BORROWS:
            asset, need = order.account.spot_need(order, order.leaves, price)
            short = need - order.account.spot[asset].free
            if short > 0:
                self.borrow(order.account, asset, short, now)
                order.lent = short

    def traded(self, trade: Trade) -> None:
        """After a fill: what was received repays, where the order does that."""
        order, item = trade.order, trade.order.listing.instrument
        if order.side_effect not in REPAYS:
            return
        if order.side is Side.SELL:
            asset, units = item.quote, order.listing.value(trade.qty, trade.price)
        else:
            asset, units = item.base, order.listing.terms.base_units(trade.qty)
        self.repay(order.account, asset, units - (trade.fee if trade.fee_asset == asset else 0), trade.ts)

    def ended(self, order: Order, left: int, now: int) -> None:
        """After an order's end, with `left` units unused: what was borrowed for them goes back."""
        if order.lent:
            asset, _ = order.account.spot_need(order, 0, 0)
            self.repay(order.account, asset, min(order.lent, left), now)
            order.lent = 0

    # The level.

    def worth(self, asset: str) -> Fraction:
        """A whole unit in USDT, at its mark; 0 without one."""
        if asset == _QUOTE:
            return Fraction(1)
        listing = self._sold(asset)
        return (
            self.exchange.mark(listing.number) * Fraction(listing.instrument.tick) if listing else Fraction(0)
        )

    def _sold(self, asset: str) -> Listing | None:
        return self.exchange.listings.find(Market.SPOT, asset + _QUOTE)

    def worths(self, account: Account) -> tuple[Fraction, Fraction]:
        """Assets and debts in USDT."""
        held = {asset: holding.free + holding.locked for asset, holding in account.spot.items()}
        owed = {asset: loan.owed for asset, loan in self.loans[account.number].items()}
        return self._sum(held), self._sum(owed)

    def _sum(self, amounts: Mapping[str, int]) -> Fraction:
        each = (n * Fraction(money.unit(asset)) * self.worth(asset) for asset, n in amounts.items() if n)
        return sum(each, Fraction(0))

    def due(self, account: Account) -> bool:
        """Whether an account is to be liquidated; never while anything has no mark."""
        loans = self.loans[account.number]
        held = [asset for asset, holding in account.spot.items() if holding.free or holding.locked]
        if not loans or not all(map(self.worth, [*loans, *held])):
            return False
        assets, debts = self.worths(account)
        return assets <= LIQUIDATION * debts

    def _liquidate(self, account: Account, now: int) -> None:
        exchange, loans = self.exchange, self.loans[account.number]
        exchange.count("spot_liquidations")
        exchange.cancel_all(account, Market.SPOT, None, now)
        if not self.due(account):
            return
        for asset in list(loans):
            self.repay(account, asset, loans[asset].owed, now)
        for asset, holding in account.spot.items():
            listing = self._sold(asset)
            if listing is not None and asset not in loans:
                self._close(account, listing, Side.SELL, holding.free // listing.terms.base_units(1), now)
        for asset in [a for a in loans if a != _QUOTE]:
            listing = self._sold(asset)
            assert listing is not None  # else it would have no worth
            got = listing.terms.base_units(1) * (1 - Fraction(*listing.taker_fee))
            self._close(account, listing, Side.BUY, math.ceil(loans[asset].owed / got), now)
            self.repay(account, asset, loans[asset].owed, now)
        if _QUOTE in loans:
            self.repay(account, _QUOTE, loans[_QUOTE].owed, now)
        lacking = {asset: loan.owed for asset, loan in loans.items()}
        lacking[_QUOTE] = lacking.get(_QUOTE, 0) + max(0, -account.spot[_QUOTE].free)
        account.spot[_QUOTE].free = max(0, account.spot[_QUOTE].free)
        loans.clear()
        for asset, units in lacking.items():
            self.insurance[asset] = self.insurance.get(asset, 0) - units
        if any(lacking.values()):
            exchange.count("spot_bankruptcies")

    def _close(self, account: Account, listing: Listing, side: Side, lots: int, now: int) -> None:
        if lots <= 0:
            return
        mark = self.exchange.mark(listing.number)
        order = Order(account, listing, side, OrdType.LIMIT, "LIMIT", lots)
        order.client_id, order.price = f"{PREFIX}{now // MS}", mark
        order.tif, order.tif_text = TimeInForce.IOC, "IOC"
        self.exchange.force(order, now)
        order.leaves = 0
        self.exchange.trade(order, lots, mark, False, now)

    # As the exchange shows it.

    def view(self, account: Account) -> Json:
        """`GET margin/account`."""
        loans, (assets, debts) = self.loans[account.number], self.worths(account)
        btc = self.worth("BTC")
        rows = []
        for asset, held in account.spot.items():
            loan = loans.get(asset) or Loan()
            net = held.free + held.locked - loan.owed
            amounts = {
                "free": held.free, "locked": held.locked, "borrowed": loan.borrowed, "interest": loan.interest,
                "netAsset": net,
            }  # fmt: skip
            rows.append({"asset": asset} | {name: PURSE.text(asset, n) for name, n in amounts.items()})
        level = _text(assets / debts) if debts else NO_DEBT
        return {
            "created": True, "borrowEnabled": True, "tradeEnabled": True, "transferInEnabled": True,
            "transferOutEnabled": True, "accountType": "MARGIN_1", "marginLevel": level, "collateralMarginLevel": level,
            "totalAssetOfBtc": _text(assets / btc if btc else btc),
            "totalLiabilityOfBtc": _text(debts / btc if btc else btc),
            "totalNetAssetOfBtc": _text((assets - debts) / btc if btc else btc), "userAssets": rows,
        }  # fmt: skip


def _text(value: Fraction) -> str:
    exact = Decimal(value.numerator) / value.denominator
    return f"{exact.quantize(Decimal(1).scaleb(-8), ROUND_DOWN):f}"


def guarded(answer: Callable[..., Any], lends: bool) -> Callable[..., Any]:
    """A request of spot as only a margin account may make it (`lends`), or only another: here an account is one of the
    two, and the other of its pair is empty."""

    def ask(call: Any) -> Any:
        if lends and not call.account.lends:
            raise Refused(-3003, "Margin account does not exist.")
        if not lends and call.account.lends and call.market is Market.SPOT:
            raise refusal.no_balance(False)
        return answer(call)

    return ask

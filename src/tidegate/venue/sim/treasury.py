"""Money and figures that no trade makes: funding of perpetuals, deposits, open interest.

Funding is paid every so often at a rate that is set, by longs where it is above 0: value at the mark × rate, to the
nearest minor unit, out of the wallet behind the position. Each is remembered for whoever asks, and every account's part
is in its income. Open interest is what this exchange's own accounts hold, the larger of all longs and all shorts, and
what others are said to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import Market
from tidegate.model import money
from tidegate.model.time import MS, SECOND
from tidegate.venue.sim.account import Account, share
from tidegate.venue.sim.config import CollateralRule, FundingRule
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.listing import PURSE, Listing

KEPT = 1000
"""Fundings of a contract, and rows of an account's income, that are remembered."""
E8 = 10**8
Json = dict[str, Any]


class Paid(NamedTuple):
    """One funding: when it was due (ns), its rate (1e-8), its mark (ticks)."""

    due: int
    rate: int
    mark: int


class Treasury:
    """Over an exchange's accounts; `others` is what is held elsewhere, lots by instrument."""

    def __init__(
        self, exchange: Exchange, funding: Mapping[str, FundingRule], others: Mapping[str, str],
        collateral: Mapping[str, CollateralRule],
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self.paid: dict[int, deque[Paid]] = {}
        self.income: dict[int, deque[Json]] = {}
        """Rows of each account's income, by its number."""
        self._rules: dict[int, tuple[int, int]] = {}
        """(rate, ns between two) by instrument."""
        self._next: dict[int, int] = {}
        self._rows = 0
        by_id = {item.instrument.id: item for item in exchange.listings.all}
        for name in (*funding, *others):
            if name not in by_id or not by_id[name].futures:
                known = ", ".join(key for key, item in by_id.items() if item.futures)
                raise UserError(f"the simulated venue has no contract {name!r}; known: {known}")
        self._others = {
            by_id[name].number: by_id[name].instrument.lots(text) for name, text in others.items()
        }
        for name, rule in funding.items():
            self.set_funding(by_id[name], rule)
        self.collateral = {"USDT": CollateralRule(), **collateral}
        self._index: dict[str, Listing | Fraction] = {}
        for asset, taken in self.collateral.items():
            try:
                self._index[asset] = by_id.get(taken.index) or Fraction(taken.index)
                buffer = Fraction(taken.buffer)
            except ValueError:
                buffer = Fraction(-1)
            if not 0 <= buffer <= 1:
                raise UserError(
                    f"the simulated venue's collateral {asset}: index {taken.index!r}, buffer {taken.buffer!r}"
                )
        for account in exchange.accounts:
            account.together = self.taken

    # Funding.

    def set_funding(self, listing: Listing, rule: FundingRule) -> None:
        """Pay at this rate from now on; the first is due at the next whole multiple of the time between two."""
        rate = int((money.to_units(rule.rate.lstrip("-"), "USDT")) * (-1 if rule.rate.startswith("-") else 1))
        self._rules[listing.number] = rate, round(rule.every * SECOND)
        self._next.pop(listing.number, None)

    def next_of(self, number: int, now: int) -> tuple[int, int]:
        """(rate, when the next is due) of an instrument; 0 and 0 where it is not funded."""
        rule = self._rules.get(number)
        if rule is None:
            return 0, 0
        return rule[0], self._next.setdefault(number, now - now % rule[1] + rule[1])

    def step(self, now: int) -> None:
        """Pay what is due."""
        for number, (rate, every) in self._rules.items():
            due = self.next_of(number, now)[1]
            if now >= due:
                self._next[number] = now - now % every + every
                self._pay(self.exchange.listings[number], Paid(due, rate, self.exchange.mark(number)), now)

    def _pay(self, listing: Listing, paid: Paid, now: int) -> None:
        if paid.mark <= 0:
            return
        self.paid.setdefault(listing.number, deque(maxlen=KEPT)).append(paid)
        self.exchange.count("fundings")
        for account in self.exchange.accounts:
            position = account.positions[listing.number]
            if position.lots:
                cost = share(listing.value(position.lots, paid.mark), (paid.rate, E8))
                received = -cost if position.lots > 0 else cost
                position.funding += received
                account.wallets[listing.market, listing.settle] += received
                self._note(account, listing, received, paid.due)
                self.exchange.listener.on_moved(
                    account, listing.market, listing.settle, received, "FUNDING_FEE", now
                )

    def _note(self, account: Account, listing: Listing, units: int, due: int) -> None:
        self._rows += 1
        row = {
            "symbol": listing.symbol, "incomeType": "FUNDING_FEE", "income": PURSE.text(listing.settle, units),
            "asset": listing.settle, "time": due // MS, "info": "FUNDING_FEE", "tranId": self._rows, "tradeId": "",
            "market": listing.market,
        }  # fmt: skip
        self.income.setdefault(account.number, deque(maxlen=KEPT)).append(row)

    # Deposits.

    def deposit(self, account: Account, market: Market, asset: str, text: str, now: int) -> None:
        """Put an amount (decimal text) into an account; below 0 takes it out. Raises `UserError`."""
        units = money.to_units(text.lstrip("-"), asset) * (-1 if text.startswith("-") else 1)
        if market is Market.SPOT:
            held = account.spot.get(asset)
            if held is None or held.free + units < 0:
                raise UserError(f"account {account.name}: {text} {asset} cannot be moved")
            held.free += units
        else:
            account.wallets[market, asset] = account.wallets.get((market, asset), 0) + units
            account.order_margin.setdefault((market, asset), 0)
        reason = "DEPOSIT" if units >= 0 else "WITHDRAW"
        self.exchange.listener.on_moved(account, market, asset, units, reason, now)

    # Multi-assets mode.

    def taken(self, asset: str) -> tuple[Fraction, Fraction]:
        """See `account.Taken`."""
        found = self._index.get(asset, Fraction(0))
        if isinstance(found, Listing):
            found = self.exchange.mark(found.number) * Fraction(found.instrument.tick)
        rule = self.collateral.get(asset)
        return found, found * (1 - Fraction(rule.buffer)) if rule else Fraction(0)

    # Open interest.

    def interest(self, listing: Listing) -> int:
        """Lots held, by either side."""
        held = [account.positions[listing.number].lots for account in self.exchange.accounts]
        own = max(sum(lots for lots in held if lots > 0), -sum(lots for lots in held if lots < 0))
        return own + self._others.get(listing.number, 0)

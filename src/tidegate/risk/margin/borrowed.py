"""A spot margin account as one that is judged: borrowed assets and debts at marks, and what an order would borrow.

What is held of an asset that nothing here sells counts for nothing; a debt of one cannot be judged, and is said. All
worths are what assets are sold at, whole: a margin level knows no haircuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from tidegate.model import money
from tidegate.model.scale import round_half_even
from tidegate.risk.margin.account import MarginAccount
from tidegate.risk.margin.compare import VenueMargin
from tidegate.risk.margin.liquidation import NONE, Liquidation
from tidegate.risk.margin.pool import Holding
from tidegate.risk.margin.spot import Debt, SpotFigures, SpotMargin
from tidegate.risk.margin.whatif import MARGIN, OK, STALE, Intent, Side, WhatIf
from tidegate.risk.wallet_worth import WalletWorth


def stated(said: VenueMargin) -> SpotMargin | None:
    """What a venue states of a spot margin account; None of any other."""
    if said.lending is None:
        return None
    assets = {name: _units(wallet.wallet, name) for name, wallet in said.wallets.items()}
    loans = said.lending.loans.items()
    debts = {name: Debt(_units(loan.borrowed, name), _units(loan.interest, name)) for name, loan in loans}
    return SpotMargin(assets, debts)


def net(spot: SpotMargin) -> dict[str, int]:
    """What is held less what is owed, of each asset."""
    owed = {name: debt.owed for name, debt in spot.debts.items()}
    return {name: spot.assets.get(name, 0) - owed.get(name, 0) for name in (*spot.assets, *owed)}


@dataclass(frozen=True, slots=True)
class BorrowedAccount(MarginAccount):
    """It has no pools: `spot` is all. `pools` and `capital` are not used."""

    spot: SpotMargin = field(default_factory=lambda: SpotMargin({}))

    @property
    def figures(self) -> SpotFigures:
        """In `currency`."""
        return self.spot.figures(self.rates, self.currency)

    @property
    def alone(self) -> bool:
        """See `MarginAccount`."""
        return True

    @property
    def reducible(self) -> bool:
        """Selling alone leaves the level where it is: only repaying raises it."""
        return False

    @property
    def equity(self) -> int:
        """What is held less what is owed."""
        return self.figures.equity

    @property
    def initial(self) -> int:
        """What the venue wants to be left before it lends more."""
        return self.figures.initial

    @property
    def maintenance(self) -> int:
        """What must be left, or the venue liquidates."""
        return self.figures.maintenance

    @property
    def closing(self) -> int:
        """Nothing: the level knows no fees."""
        return 0

    @property
    def ratio(self) -> Fraction:
        """Maintenance margin over equity: at 1 the venue liquidates."""
        return self.figures.ratio

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Nothing: what is short was borrowed."""
        return ()


def judged(
    name: str, venue: str, currency: str, spot: SpotMargin, worth: WalletWorth, now: int, age: int
) -> BorrowedAccount:
    """The account at marks of now; those older than `age` (ns) make it stale."""
    rates = worth.rates(now)
    rates.setdefault(currency, Fraction(1))
    owed = {asset for asset, debt in spot.debts.items() if debt.owed}
    held = {asset for asset, units in spot.assets.items() if units}
    stale = {worth.stale(asset, now, age) for asset in held | owed} - {""} if owed else set()
    stale |= {f"{asset} in {currency}" for asset in owed if asset not in rates}
    assets = {asset: spot.assets[asset] for asset in held if asset in rates}
    debts = {asset: spot.debts[asset] for asset in owed if asset in rates}
    valued = replace(spot, assets=assets, debts=debts)
    return BorrowedAccount(name, venue, currency, (), rates, stale=tuple(sorted(stale)), spot=valued)


def what_if(
    account: BorrowedAccount, holding: Holding, order: Intent, buffer: Fraction = Fraction(0)
) -> WhatIf:
    """Judge an order at its worst, filled and its fee paid: what is lacking for it is borrowed."""
    item = holding.contract.instrument
    price = order.price or (holding.touch.ask if order.lots > 0 else holding.touch.bid)
    terms = holding.contract.terms
    cost, amount = terms.cost(order.lots, price), terms.base_units(order.lots)
    fee = holding.contract.closing(order.lots, price)
    changes = {item.base: amount, item.quote: -cost - fee}
    spot, lacking = _after(account.spot, changes)
    done = replace(account, spot=spot)
    if not account.rates.keys() >= changes.keys():
        before = _side(account, holding)
        return WhatIf(False, STALE, f"nothing says what {item.base} or {item.quote} is worth", before, before)
    before, after = _side(account, holding), _side(done, holding)
    if item.id in account.stale:
        return WhatIf(False, STALE, f"the mark of {item.id} is too old, or missing", before, after)
    if not lacking:
        return WhatIf(True, OK, "nothing is borrowed for it", before, after)
    borrows = ", ".join(money.show(units, asset) for asset, units in lacking.items())
    free = after.equity * (1 - buffer)
    if after.initial > free:
        show = [money.show(n, account.currency, 2) for n in (after.initial, int(free))]
        text = f"it would borrow {borrows}: initial margin {show[0]} would be above {show[1]}, equity less its buffer"
        return WhatIf(False, MARGIN, text, before, after)
    return WhatIf(True, OK, f"it would borrow {borrows}, and there is margin for it", before, after)


def _after(spot: SpotMargin, changes: Mapping[str, int]) -> tuple[SpotMargin, dict[str, int]]:
    """The account after these changes, and what had to be borrowed for them."""
    assets, debts = dict(spot.assets), dict(spot.debts)
    lacking: dict[str, int] = {}
    for asset, units in changes.items():
        left = assets.get(asset, 0) + units
        if left < 0:
            lacking[asset] = -left
            debt = debts.get(asset, Debt(0))
            debts[asset] = Debt(debt.borrowed - left, debt.interest)
        assets[asset] = max(left, 0)
    return replace(spot, assets=assets, debts=debts), lacking


def _side(account: BorrowedAccount, holding: Holding) -> Side:
    item = holding.contract.instrument
    figures, ends = account.figures, NONE
    if item.base in account.rates and item.quote in account.rates:
        worth = account.spot.liquidation(item.base, account.rates)
        if worth is not None:
            ticks = worth / account.rates[item.quote] / Fraction(item.tick)
            owed = account.spot.debts.get(item.base, Debt(0)).owed
            below = account.spot.assets.get(item.base, 0) > account.spot.levels.liquidation * owed
            ends = Liquidation("", ticks, below)
    return Side(figures.equity, figures.initial, figures.maintenance, figures.ratio, ends)


def _units(amount: Decimal, currency: str) -> int:
    exact = Fraction(amount) / Fraction(money.unit(currency))
    return round_half_even(exact.numerator, exact.denominator)

"""Every account's margin, as the risk service knows it: positions and open orders of its exposure, wallets of venues.

A venue's wallet comes by a gateway's statement (`margin_compare.VenueMargin`, on `margin.<VENUE>.<account>`), and is
carried on from there by what fills, fees and funding have moved since. A statement counts only where it and the
exposure hold the same positions: one that a fill has overtaken would be wrong by the whole of that fill. An account
without statements is judged as a whole, by its capital in the base currency, over all venues.

Marks are the exposure's: longs at the bid, shorts at the ask, margin at the dearer side. Pure: time is passed in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.kernel.gate_state import MICRO
from tidegate.model import money
from tidegate.model.scale import ScaleError
from tidegate.risk.exposure import Cell, Exposure
from tidegate.risk.limits import Limits
from tidegate.risk.margin import borrowed
from tidegate.risk.margin import whatif as margin_whatif
from tidegate.risk.margin.account import MarginAccount
from tidegate.risk.margin.collateral import Haircuts
from tidegate.risk.margin.compare import VenueAsset, VenueMargin, holding
from tidegate.risk.margin.models import tiered
from tidegate.risk.margin.pool import Contract, Holding, Pool, Touch, funding_due, resting
from tidegate.risk.margin.spot import SpotMargin
from tidegate.risk.margin.watch import Acts, MarginSettings, MarginWatch
from tidegate.risk.margin.whatif import Intent, WhatIfAnswer, WhatIfRequest, what_if
from tidegate.risk.tables import Tables
from tidegate.risk.wallet_worth import WalletWorth, stated

Key = tuple[str, str, str]
"""(account, venue, currency) of what is watched; the venue is empty for an account as a whole."""


class _Basis(NamedTuple):
    """What a statement said of one instrument, and the exposure's cash in it then."""

    cost: int
    cash: int
    leverage: int
    isolated: int | None


class _Known(NamedTuple):
    """A venue's statement that was taken: wallets by currency, and what each instrument cost."""

    wallets: dict[str, int]
    basis: dict[int, _Basis]
    assets: dict[str, VenueAsset]
    """What each counts for, where all stand behind all positions; of spot, and of single wallets, nothing."""
    spot: SpotMargin | None
    """A spot margin account, whose `wallets` are net of what is owed; None of any other."""


class MarginBook:
    """Reads an exposure; keeps statements and one watch for each account and wallet. `counts` has what was not taken.

    `haircuts` hold for an account as a whole, `collateral` for what venues hold; where a venue states what it takes its
    assets for, that holds of those that neither names. `coins` are worth 1 at most.
    """

    def __init__(
        self,
        exposure: Exposure,
        limits: Limits,
        settings: MarginSettings | None = None,
        haircuts: Haircuts | None = None,
        source: str = "risk",
        collateral: Mapping[str, Haircuts] | None = None,
        coins: Iterable[str] = (),
    ) -> None:
        self.exposure, self.settings, self._haircuts = exposure, settings or MarginSettings(), haircuts
        self.counts: Counter[str] = Counter()
        self.watches: dict[Key, MarginWatch] = {}
        self.worth = WalletWorth(exposure, coins)
        self.next_funding: dict[int, tuple[int, int]] = {}
        """By instrument: the rate (1e-8) of its next funding, and the price (ticks) that it would be paid at now."""
        self._collateral = dict(collateral or {})
        self._source = source
        self._known: dict[tuple[str, int], _Known] = {}
        self._contracts = [Contract(n, item) for n, item in enumerate(exposure.universe.instruments)]
        self._accounts = {account.name: n for n, account in enumerate(exposure.scopes.accounts)}
        self._buffers: list[Fraction] = []
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Limits have changed: of them only `margin_buffer` matters here."""
        scopes = self.exposure.scopes
        tables = Tables(self.exposure.universe, scopes, limits)
        found = [tables.total(scopes.account_scope(n), "margin_buffer") for n in range(len(scopes.accounts))]
        self._buffers = [Fraction(b) if b is not None and b.is_finite() else Fraction(0) for b in found]

    # What venues say.

    def statement(self, venue: str, account: str, said: VenueMargin) -> bool:
        """Take a venue's word on an account's wallets; False where it does not hold what we hold."""
        number = self._accounts.get(account)
        if number is None:
            self.counts["statements_of_others"] += 1
            return False
        stated = {p.instrument: p for p in said.positions}
        basis: dict[int, _Basis] = {}
        for n, contract in enumerate(self._contracts):
            item, cell = contract.instrument, self._cell(number, n)
            if item.venue != venue or not tiered(item):
                continue
            position = stated.get(n)
            if (position.lots if position else 0) != (cell.lots if cell else 0):
                self.counts["statements_overtaken"] += 1
                return False
            held = holding(item, position) if position and position.lots else None
            basis[n] = _Basis(
                held.cost if held else 0, cell.cash if cell else 0, position.leverage if position else 0,
                held.isolated if held else None,
            )  # fmt: skip
        wallets = {name: int(wallet.wallet / money.unit(name)) for name, wallet in said.wallets.items()}
        spot = borrowed.stated(said)
        self._known[venue, number] = _Known(
            borrowed.net(spot) if spot is not None else wallets, basis, dict(said.assets), spot
        )
        self.counts["statements"] += 1
        return True

    # What there is.

    def _cell(self, account: int, instrument: int) -> Cell | None:
        return self.exposure.cells.get((self.exposure.scopes.account_scope(account), instrument))

    def _holding(self, n: int, cell: Cell, basis: _Basis | None) -> Holding:
        """What an account has of an instrument; without a basis cash is the wallet's, and the cost is 0."""
        worth = self.exposure.worth
        contract = self._contracts[n]
        if basis is not None and basis.leverage and basis.leverage != contract.leverage:
            contract = Contract(n, contract.instrument, basis.leverage)
        touch = Touch(worth.bid[n], worth.ask[n])
        orders = [(lots, 0) for lots in (cell.buys, -cell.sells) if lots]
        cost = basis.cost - (cell.cash - basis.cash) if basis is not None else 0
        return Holding(
            contract, touch, cell.lots, cost, *resting(contract, touch, orders),
            isolated=basis.isolated if basis is not None and cell.lots else None,
        )  # fmt: skip

    def _busy(self, account: int) -> Iterator[tuple[int, Cell]]:
        for n in range(len(self._contracts)):
            cell = self._cell(account, n)
            if cell is not None and (cell.lots or cell.buys or cell.sells or cell.cash):
                yield n, cell

    def _stale(self, cells: list[tuple[int, Cell]], now: int) -> tuple[str, ...]:
        worth, names = self.exposure.worth, self.exposure.universe
        return tuple(
            names[n].id for n, cell in cells
            if (cell.lots or cell.buys or cell.sells)
            and (not worth.ts[n] or now - worth.ts[n] > self.settings.max_age)
        )  # fmt: skip

    def _pool(self, currency: str, wallet: int, held: tuple[Holding, ...]) -> Pool:
        due = funding_due([h for h in held if h.isolated is None], self.next_funding)
        return Pool(currency, wallet, held, funding=due)

    def _haircuts_at(self, venue: str, known: _Known) -> Haircuts | None:
        """People's table goes before what the venue states."""
        ours = self._collateral.get(venue, self._haircuts)
        return {**stated(known.assets), **(ours or {})} if known.assets else ours

    def whole(self, account: int, now: int) -> MarginAccount:
        """An account over all venues, by its capital, in the base currency."""
        base, scopes, worth = self.exposure.base_currency, self.exposure.scopes, self.exposure.worth
        cells = list(self._busy(account))
        held: dict[str, list[Holding]] = {}
        cash: Counter[str] = Counter()
        for n, cell in cells:
            currency = self._contracts[n].instrument.settle_currency
            cash[currency] += cell.cash
            if worth.ts[n]:
                held.setdefault(currency, []).append(self._holding(n, cell, None))
        rates = self.worth.rates(now)
        missing = tuple(f"{c} in {base}" for c in cash if c != base and c not in rates)
        pools = tuple(self._pool(c, units, tuple(held.get(c, ()))) for c, units in cash.items() if c in rates)
        item = scopes.accounts[account]
        capital = int(item.capital / money.unit(base))
        return MarginAccount(
            item.name, "", base, pools, rates, capital, self._haircuts, (*self._stale(cells, now), *missing)
        )

    def at(self, venue: str, account: int, currency: str, now: int) -> MarginAccount | None:
        """An account's wallet at a venue, or in multi-assets mode and of a spot margin account all of them, whatever
        `currency` is; None where the venue has said nothing of it, or neither has contracts nor lends."""
        known = self._known.get((venue, account))
        if known is not None and known.spot is not None:
            base, name = self.exposure.base_currency, self.exposure.scopes.accounts[account].name
            return borrowed.judged(name, venue, base, known.spot, self.worth, now, self.settings.max_age)
        if known is None or not known.basis:
            return None
        if known.assets:
            return self._together(venue, account, known, now)
        if currency not in known.wallets:
            return None
        held, stale = self._held(account, known, currency, now)
        name = self.exposure.scopes.accounts[account].name
        return MarginAccount(
            name, venue, currency, (self._pool(currency, known.wallets[currency], held),), stale=stale
        )

    def _held(
        self, account: int, known: _Known, currency: str, now: int
    ) -> tuple[tuple[Holding, ...], tuple[str, ...]]:
        cells = [
            (n, cell) for n, cell in self._busy(account)
            if n in known.basis and self._contracts[n].instrument.settle_currency == currency
        ]  # fmt: skip
        marks = self.exposure.worth.ts
        held = tuple(self._holding(n, cell, known.basis[n]) for n, cell in cells if marks[n])
        return held, self._stale(cells, now)

    def _together(self, venue: str, account: int, known: _Known, now: int) -> MarginAccount:
        """All wallets behind all positions, each asset at its mark, else at the venue's own rate, after haircuts."""
        base, name = self.exposure.base_currency, self.exposure.scopes.accounts[account].name
        rates, haircuts = self.worth.rates(now), self._haircuts_at(venue, known)
        unit = known.assets[base].worth if base in known.assets else Decimal(0)
        for asset, value in known.assets.items():
            if unit > 0:
                rates.setdefault(asset, Fraction(value.worth) / Fraction(unit))
        pools: list[Pool] = []
        stale: list[str] = []
        for currency, units in known.wallets.items():
            held, old = self._held(account, known, currency, now)
            if units or held:
                pools.append(self._pool(currency, units, held))
                stale += old
        valued = tuple(pool for pool in pools if pool.currency in rates)
        stale += [f"{p.currency} in {base}" for p in pools if p.currency not in rates and p.holdings]
        return MarginAccount(name, venue, base, valued, rates, haircuts=haircuts or {}, stale=tuple(stale))

    def equity(self, venue: str, now: int) -> int | None:
        """All accounts' wallets and unrealised profit at a venue, micro-units of the base currency, after haircuts; None
        while no account's is known, or a mark is waited for. What has none then counts for nothing (`worth.missing`)."""
        rates, total, told = self.worth.rates(now), Fraction(0), False
        for (at, account), known in self._known.items():
            if at != venue:
                continue
            told, haircuts = True, self._haircuts_at(venue, known)
            for currency, units in known.wallets.items():
                held, _ = self._held(account, known, currency, now)
                pool = self._pool(currency, units, held)
                units = pool.figures().equity
                units += sum(pool.alone(h).equity for h in pool.holdings if h.isolated is not None)
                worth = self.worth.value(venue, currency, units, rates, haircuts, now)
                if worth is None or (
                    units < 0 and currency not in rates
                ):  # a debt of which nobody knows the worth
                    return None
                total += worth
        return math.floor(total * MICRO) if told else None

    def accounts(self, now: int) -> Iterator[tuple[Key, MarginAccount]]:
        """Everything that is watched: every wallet that a venue has told of, and as a whole every account that holds
        contracts of which no venue has."""
        for name, account in self._accounts.items():
            unknown = False
            wallets = {
                (venue, self.exposure.base_currency)
                for (venue, number), known in self._known.items()
                if number == account and known.spot is not None
            }
            for n, _ in self._busy(account):
                item = self._contracts[n].instrument
                known = self._known.get((item.venue, account))
                if known is not None and known.assets:
                    wallets.add((item.venue, self.exposure.base_currency))
                elif known is not None and known.basis and item.settle_currency in known.wallets:
                    wallets.add((item.venue, item.settle_currency))
                elif tiered(item):
                    unknown = True
            for venue, currency in sorted(wallets):
                found = self.at(venue, account, currency, now)
                if found is not None:
                    yield (name, venue, currency), found
            if unknown:
                yield (name, "", self.exposure.base_currency), self.whole(account, now)

    # What follows.

    def step(self, now: int) -> list[tuple[Key, MarginAccount, Acts]]:
        """Judge every account; what is to be said, halted and closed."""
        made = []
        for key, account in self.accounts(now):
            watch = self.watches.get(key)
            if watch is None:
                watch = self.watches[key] = MarginWatch(self.settings, self._source)
            acts = watch.step(account, now)
            if acts.said or acts.halts or acts.plan is not None or acts.over:
                made.append((key, account, acts))
        return made

    def rearm(self, account: str) -> None:
        """People have lifted a halt of this account."""
        for key, watch in self.watches.items():
            if key[0] == account:
                watch.rearm()

    # What would be.

    def what_if(self, data: bytes, now: int) -> bytes:
        """Answer `risk.whatif`: JSON in, JSON out, an error as its text."""
        try:
            found = self._what_if(margin_whatif.read(data), now)
        except (ValueError, LookupError, UserError) as error:
            found = WhatIfAnswer(error=str(error))
        return msgspec.json.encode(found)

    def _what_if(self, asked: WhatIfRequest, now: int) -> WhatIfAnswer:
        universe = self.exposure.universe
        if asked.account not in self._accounts:
            raise UserError(f"unknown account {asked.account!r}{nearest(asked.account, self._accounts)}")
        if asked.instrument not in universe.index:
            raise UserError(
                f"unknown instrument {asked.instrument!r}{nearest(asked.instrument, universe.index)}"
            )
        if asked.side not in ("buy", "sell"):
            raise UserError(f"side is {asked.side!r}, must be buy or sell")
        n, account = universe.number(asked.instrument), self._accounts[asked.account]
        contract = self._contracts[n]
        item = contract.instrument
        lots = _lots(item.lots(asked.quantity), asked.side, asked.quantity)
        price = item.ticks(asked.price) if asked.price is not None else 0
        judged = self.at(item.venue, account, item.settle_currency, now)
        basis = f"the {item.settle_currency} wallet at {item.venue}"
        if isinstance(judged, borrowed.BorrowedAccount) or (
            judged is not None and judged.haircuts is not None
        ):
            basis = f"all wallets at {item.venue}"
        if judged is None:
            judged, basis = self.whole(account, now), f"the capital of {asked.account}, over all venues"
        worth = self.exposure.worth
        if not worth.ts[n]:
            raise UserError(f"no mark of {item.id} is known yet")
        pair = judged.find(n)
        held = pair[1] if pair else Holding(contract, Touch(worth.bid[n], worth.ask[n]))
        if now - worth.ts[n] > self.settings.max_age and item.id not in judged.stale:
            judged = replace(judged, stale=(*judged.stale, item.id))
        order, buffer = Intent(n, lots, price), self._buffers[account]
        if isinstance(judged, borrowed.BorrowedAccount):
            found = borrowed.what_if(judged, held, order, buffer)
        else:
            found = what_if(judged, held, order, buffer)
        return margin_whatif.answer(found, judged, contract, basis)


def _lots(lots: int, side: str, quantity: Decimal) -> int:
    if lots <= 0:
        raise ScaleError(f"quantity {quantity} is not above 0")
    return lots if side == "buy" else -lots

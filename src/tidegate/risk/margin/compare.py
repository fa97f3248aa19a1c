"""Our margin beside the venue's own: the same positions, wallets and marks, two sums, and where they differ.

A gateway asks the venue what it holds of an account and what it asks for it (`VenueMargin`), and works the same out by
`risk.margin` from what the venue said it holds. So a difference is one of tables or of formulas, not of positions:
those are reconciled elsewhere. A venue that changes its tiers is seen here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import msgspec

from tidegate.model import money
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.margin_tiers import Tier
from tidegate.model.scale import round_half_even
from tidegate.risk.margin.file import Margins
from tidegate.risk.margin.liquidation import of_pool
from tidegate.risk.margin.pool import Contract, Holding, Pool, Touch

TOLERANCE = Fraction(1, 200)
"""How far two figures may be apart, of the larger one: marks are rounded to ticks, and move between two answers."""


class VenuePosition(msgspec.Struct, frozen=True):
    """A position as the venue shows it; money in whole units of the settlement currency."""

    instrument: int
    lots: int
    entry: Decimal
    mark: Decimal
    initial: Decimal
    """Of the position alone."""
    maintenance: Decimal
    liquidation: Decimal
    """0 where no price liquidates it."""
    leverage: int
    isolated: Decimal | None = None
    """Its own wallet; None where it is cross."""


class VenueWallet(msgspec.Struct, frozen=True):
    """A wallet as the venue shows it, whole units of its currency."""

    wallet: Decimal
    """What stands behind the cross positions."""
    initial: Decimal
    """Of positions and open orders."""
    maintenance: Decimal


class VenueAsset(msgspec.Struct, frozen=True):
    """What a venue takes one unit of an asset for, in the currency in which it reckons all of them together."""

    worth: Decimal
    counts: Decimal
    """As collateral, of what is held."""


class VenueLoan(msgspec.Struct, frozen=True):
    """What an account owes of one asset, whole units."""

    borrowed: Decimal
    interest: Decimal


class VenueLending(msgspec.Struct, frozen=True):
    """What a spot margin account owes, by asset, and its margin level by the venue's own sum; 0 where nothing is owed."""

    loans: dict[str, VenueLoan]
    level: Decimal = Decimal(0)


class VenueMargin(msgspec.Struct, frozen=True):
    """One account's wallets and margin by its venue's own account, at `ts` (venue's time, ns). Of spot, every asset held
    is a wallet, free and locked together, whether it was borrowed or not."""

    ts: int
    wallets: dict[str, VenueWallet]
    positions: list[VenuePosition]
    tiers: dict[str, Margins] = {}
    """The venue's tiers by symbol, where it was asked for them."""
    assets: dict[str, VenueAsset] = {}
    """What assets count for, where the account is in multi-assets mode: all its wallets stand behind all its positions."""
    lending: VenueLending | None = None
    """Of a spot margin account; None of any other."""

    def encode(self) -> bytes:
        """For the wire: what a gateway publishes on `margin.<VENUE>.<account>`."""
        return msgspec.json.encode(self)


def decode(data: bytes) -> VenueMargin:
    """The inverse of `VenueMargin.encode`; raises `ValueError`."""
    try:
        return msgspec.json.decode(data, type=VenueMargin)
    except ValueError as error:
        raise ValueError(f"not a venue's margin: {error}") from None


class Difference(NamedTuple):
    """One figure that two sums do not agree on."""

    what: str
    of: str
    ours: str
    theirs: str

    @property
    def text(self) -> str:
        """For people, in one line."""
        return f"{self.what} of {self.of}: {self.ours} by our tiers, {self.theirs} by the venue"


def pools(universe: Universe, said: VenueMargin) -> dict[str, Pool]:
    """The account as we would see it, by settlement currency, from what the venue says it holds."""
    held: dict[str, list[Holding]] = {name: [] for name in said.wallets}
    for position in said.positions:
        if position.lots:
            item = universe[position.instrument]
            held.setdefault(item.settle_currency, []).append(holding(item, position))
    return {
        name: Pool(name, _units(said.wallets[name].wallet, name) if name in said.wallets else 0, tuple(found))
        for name, found in held.items()
    }


def holding(item: Instrument, position: VenuePosition) -> Holding:
    """A position of the venue's as one of ours; entry and mark need not lie on ticks, the mark is rounded to one."""
    contract = Contract(position.instrument, item, position.leverage)
    tick = Fraction(item.tick)
    mark = Fraction(position.mark) / tick
    ticks = round_half_even(mark.numerator, mark.denominator)
    entry = Fraction(position.entry) / tick
    worth = position.lots * contract.lot_value
    cost = (worth * entry if contract.sense > 0 else -worth / entry) if entry else Fraction(0)
    wallet = None if position.isolated is None else _units(position.isolated, item.settle_currency)
    return Holding(
        contract, Touch(ticks, ticks), position.lots, round_half_even(cost.numerator, cost.denominator),
        isolated=wallet,
    )  # fmt: skip


def differences(universe: Universe, said: VenueMargin, tolerance: Fraction = TOLERANCE) -> list[Difference]:
    """Every figure that is further apart than `tolerance`, of contracts whose tiers are known here. What open orders
    are asked for is not compared: ours takes the worse of limit and market for each, a venue may take less."""
    found: list[Difference] = []
    ours = pools(universe, said)
    unknown = {
        universe[p.instrument].settle_currency for p in said.positions if not universe[p.instrument].tiers
    }
    for position in said.positions:
        item = universe[position.instrument]
        if not position.lots or not item.tiers:
            continue
        name = item.settle_currency
        pool = ours[name]
        own = pool.find(position.instrument)
        assert own is not None
        for what, units, theirs in (
            ("initial margin", own.position_initial, position.initial),
            ("maintenance margin", own.maintenance, position.maintenance),
        ):
            if apart(Fraction(units), _exact(theirs, name), tolerance):
                found.append(Difference(what, item.id, money.show(units, name), f"{theirs:f} {name}"))
        if said.assets:
            continue  # what liquidates it, and each wallet's part, is a matter of all wallets
        price = of_pool(pool, own).price
        exact = price * Fraction(item.tick) if price is not None else Fraction(0)
        if apart(exact, Fraction(position.liquidation), tolerance):
            shown = f"{float(exact):.8g}" if exact else "never"
            theirs_text = f"{position.liquidation:f}" if position.liquidation else "never"
            found.append(Difference("liquidation price", item.id, shown, theirs_text))
    for name, wallet in said.wallets.items():
        if name in unknown or said.assets:
            continue
        units = ours[name].figures().maintenance
        units += sum(h.maintenance for h in ours[name].holdings if h.isolated is not None)
        if apart(Fraction(units), _exact(wallet.maintenance, name), tolerance):
            found.append(
                Difference(
                    "maintenance margin",
                    f"the {name} wallet",
                    money.show(units, name),
                    f"{wallet.maintenance:f} {name}",
                )
            )
    return found


def tier_differences(universe: Universe, venue: str, tiers: Mapping[str, Margins]) -> list[Difference]:
    """Where the venue's tiers are not the run's: the first tier of each contract that differs."""
    found = []
    for item in universe.instruments:
        theirs = tiers.get(item.symbol)
        if item.venue != venue or theirs is None or not item.tiers:
            continue
        own, other = item.margin_table.tiers, theirs.tiers
        for number in range(max(len(own), len(other))):
            a = _tier(own[number]) if number < len(own) else "none"
            b = _tier(other[number]) if number < len(other) else "none"
            if a != b:
                found.append(Difference(f"tier {number + 1}", item.id, a, b))
                break
    return found


def _tier(tier: Tier) -> str:
    kept = float(tier.maintenance)
    return f"from {tier.floor.normalize():f}: initial {float(tier.rate):.6g}, maintenance {kept:.6g}"


def apart(one: Fraction, other: Fraction, tolerance: Fraction) -> bool:
    """Whether two figures differ by more than a part of the larger."""
    return abs(one - other) > tolerance * max(abs(one), abs(other))


def _exact(amount: Decimal, currency: str) -> Fraction:
    return Fraction(amount) / Fraction(money.unit(currency))


def _units(amount: Decimal, currency: str) -> int:
    exact = _exact(amount, currency)
    return round_half_even(exact.numerator, exact.denominator)

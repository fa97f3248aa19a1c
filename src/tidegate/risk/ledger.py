"""The ledger: positions, profit, fees, funding and cash, exact to the last minor unit, in Python's integers.

For every account and currency, at any moment and whatever was booked:

    balance = deposits − fees + funding + realised profit of contracts − prices paid (assets, options' premiums)
              + assets received

and, with positions at their marks, equity = deposits + realised + unrealised + funding − fees. Nothing is rounded
twice, and what rounding leaves stays in a position's cost until it is flat (`risk.position`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from tidegate.model import money
from tidegate.model.instrument import Universe
from tidegate.model.scale import round_half_even
from tidegate.risk.position import Entry, Position, Terms

Key = tuple[int, int, int]
Marks = Mapping[int, int] | Sequence[int]
"""Marks in ticks by instrument number."""
_E8 = 10**8
NOBODY = -1
"""The strategy of positions that people adopted for none."""


class Ledger:
    """Folds fills, busts, corrections, funding and deposits; times are taken for the record and change nothing.

    `fx` gives each currency's rate to `base_currency`, as the gate's: a number, or the instrument whose mark it
    is. It is needed only where `equity` has to convert.
    """

    def __init__(
        self,
        universe: Universe,
        *,
        base_currency: str = "USDT",
        fx: Mapping[str, str | Decimal] | None = None,
    ) -> None:
        self.universe, self.base_currency, self._fx = universe, base_currency, dict(fx or {})
        self._terms = [Terms(item) for item in universe.instruments]
        self._positions: dict[Key, Position] = {}
        self._balances: defaultdict[int, dict[str, int]] = defaultdict(dict)

    def position(self, account: int, strategy: int, instrument: int) -> Position:
        """The position as it is booked; an empty one when there has been no fill."""
        return self._positions.get((account, strategy, instrument)) or Position(self._terms[instrument])

    def _book(self, account: int, strategy: int, instrument: int) -> Position:
        key = (account, strategy, instrument)
        position = self._positions.get(key)
        if position is None:
            position = self._positions[key] = Position(self._terms[instrument])
        return position

    def positions(self) -> Iterator[tuple[Key, Position]]:
        """All positions ever touched, by (account, strategy, instrument)."""
        yield from sorted(self._positions.items(), key=lambda item: item[0])

    def balance(self, account: int, currency: str) -> int:
        """Cash of an account in a currency, in its minor units."""
        return self._balances[account].get(currency, 0)

    def balances(self, account: int) -> dict[str, int]:
        """All cash of an account."""
        return dict(self._balances[account])

    def deposit(self, account: int, currency: str, units: int) -> None:
        """Put minor units of a currency into an account; below 0 takes them out."""
        balance = self._balances[account]
        balance[currency] = balance.get(currency, 0) + units

    def apply_fill(
        self,
        account: int,
        strategy: int,
        instrument: int,
        signed_lots: int,
        price_ticks: int,
        fee_units: int,
        ts: int,
        fee_currency: str | None = None,
    ) -> int:
        """Book a fill (lots positive for a buy); the profit it realised, before its fee.

        The fee is in minor units of `fee_currency`, the settlement currency unless said, positive is paid.
        """
        position = self._positions.get((account, strategy, instrument))
        if position is None:
            position = self._book(account, strategy, instrument)
        lots, realised, terms = position.lots, position.realised, position.terms
        cost = position.apply(signed_lots, price_ticks, fee_units)
        gained = position.realised - realised
        balance, settle = self._balances[account], terms.settle
        if terms.pays:
            balance[settle] = balance.get(settle, 0) - cost
            if terms.exchanges:
                moved = terms.base_units(position.lots) - terms.base_units(lots)
                balance[terms.base] = balance.get(terms.base, 0) + moved
        else:
            balance[settle] = balance.get(settle, 0) + gained
        if fee_units:
            self._charge(position, balance, fee_units, fee_currency or settle)
        return gained

    @staticmethod
    def _charge(position: Position, balance: dict[str, int], fee: int, currency: str) -> None:
        balance[currency] = balance.get(currency, 0) - fee
        if currency == position.terms.settle:
            position.fees += fee

    def bust(
        self,
        account: int,
        strategy: int,
        instrument: int,
        signed_lots: int,
        price_ticks: int,
        fee_units: int,
        ts: int,
        fee_currency: str | None = None,
    ) -> int:
        """Take back a fill booked with these figures; how realised profit changed.

        Among a position's last 64 fills it is taken out of its place and the later ones are booked anew, so
        average price and profit are as if it had never been. An older one is traded back at its own price: the
        sum of realised and unrealised profit is the same, their split may differ.
        """
        return self._amend(
            account, strategy, instrument, (signed_lots, price_ticks, fee_units), None, fee_currency
        )

    def correct(
        self,
        account: int,
        strategy: int,
        instrument: int,
        old: tuple[int, int, int],
        new: tuple[int, int, int],
        ts: int,
        fee_currency: str | None = None,
    ) -> int:
        """Put `new` (signed lots, price, fee) in the place of the fill `old`; how realised profit changed."""
        return self._amend(account, strategy, instrument, old, new, fee_currency)

    def _amend(
        self,
        account: int,
        strategy: int,
        instrument: int,
        old: tuple[int, int, int],
        new: tuple[int, int, int] | None,
        fee_currency: str | None,
    ) -> int:
        position = self._book(account, strategy, instrument)
        terms, balance = position.terms, self._balances[account]
        lots, realised = position.lots, position.realised
        if not position.replace(*old, new):
            for fill in ((-old[0], old[1], -old[2]), *([new] if new is not None else [])):
                position.apply(*fill)
        paid = -terms.cost(old[0], old[1]) + (terms.cost(new[0], new[1]) if new is not None else 0)
        gained = position.realised - realised
        balance[terms.settle] = balance.get(terms.settle, 0) + (-paid if terms.pays else gained)
        if terms.exchanges:
            moved = terms.base_units(position.lots) - terms.base_units(lots)
            balance[terms.base] = balance.get(terms.base, 0) + moved
        fee = (new[2] if new is not None else 0) - old[2]
        self._charge(position, balance, fee, fee_currency or terms.settle)
        return gained

    def apply_funding(self, instrument: int, rate: int, price: int, ts: int) -> list[tuple[Key, int]]:
        """Pay funding on every position: `rate` × 1e-8 of its value at `price` (ticks), by longs when above 0.

        Gives each position's payment in settlement minor units, positive is received.
        """
        payments = self.funding_of(instrument, rate, price)
        for key, received in payments:
            position = self._positions[key]
            position.funding += received
            balance, settle = self._balances[key[0]], position.terms.settle
            balance[settle] = balance.get(settle, 0) + received
        return payments

    def funding_of(self, instrument: int, rate: int, price: int) -> list[tuple[Key, int]]:
        """What `apply_funding` would book."""
        payments = []
        for key, position in self._positions.items():
            if key[2] == instrument and position.lots:
                terms = position.terms
                worth = terms.cost(position.lots, price)
                received = -round_half_even((-worth if terms.inverse else worth) * rate, _E8)
                payments.append((key, received))
        return payments

    def unrealised(self, marks: Marks) -> dict[Key, int]:
        """Unrealised profit of every open position, in its settlement currency's minor units."""
        return {
            key: position.unrealised(marks[key[2]])
            for key, position in self._positions.items()
            if position.lots
        }

    def equity(self, account: int, marks: Marks, currency: str) -> int:
        """Worth of an account in `currency`'s minor units: cash, and positions at their marks.

        Raises `LookupError` for a mark or a rate that is missing where something must be valued.
        """
        worth: dict[str, int] = dict(self._balances[account])
        for (owner, _, instrument), position in self._positions.items():
            terms = position.terms
            if owner != account or not position.lots or terms.exchanges:
                continue
            value = position.unrealised(marks[instrument])
            if terms.pays:
                value += position.cost
            worth[terms.settle] = worth.get(terms.settle, 0) + value
        total = Fraction(0)
        for name, units in worth.items():
            if units:
                total += Fraction(units) * self.rate(name, marks) * _scale(name)
        ratio = total / (self.rate(currency, marks) * _scale(currency))
        return round_half_even(ratio.numerator, ratio.denominator)

    def rate(self, currency: str, marks: Marks) -> Fraction:
        """What one whole unit of a currency is worth in the base currency, at these marks."""
        if currency == self.base_currency:
            return Fraction(1)
        known = self._fx.get(currency)
        if known is None:
            raise LookupError(f"no rate from {currency} to {self.base_currency}: give fx.{currency}")
        if isinstance(known, str) and known in self.universe.index:
            number = self.universe.number(known)
            item = self.universe[number]
            return Fraction(item.tick) * marks[number] * self.rate(item.quote, marks)
        return Fraction(known)

    def state_bytes(self) -> bytes:
        """All state as lines of integers, in a canonical order: the same books, the same bytes."""
        lines = []
        for key, p in self.positions():
            fills = ";".join(",".join(map(str, entry)) for entry in p.history)
            numbers = (*key, p.lots, p.cost, p.realised, p.fees, p.funding)
            lines.append(f"P {' '.join(map(str, numbers))} {fills}")
        for account in sorted(self._balances):
            for currency, units in sorted(self._balances[account].items()):
                lines.append(f"B {account} {currency} {units}")
        return "\n".join(lines).encode()

    def load(self, data: bytes) -> None:
        """The inverse of `state_bytes`, over the same universe."""
        self._positions.clear()
        self._balances.clear()
        for line in data.decode().split("\n") if data else []:
            kind, *rest = line.split(" ")
            if kind == "B":
                self._balances[int(rest[0])][rest[1]] = int(rest[2])
                continue
            *numbers, fills = rest
            account, strategy, instrument, lots, cost, realised, fees, funding = map(int, numbers)
            p = self._book(account, strategy, instrument)
            p.lots, p.cost, p.realised, p.fees, p.funding = lots, cost, realised, fees, funding
            p.history.extend(_entry(fill) for fill in fills.split(";") if fill)


def _entry(text: str) -> Entry:
    signed_lots, price, fee, lots, cost, realised = map(int, text.split(","))
    return signed_lots, price, fee, lots, cost, realised


def _scale(currency: str) -> Fraction:
    return Fraction(money.unit(currency))

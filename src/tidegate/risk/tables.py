"""Which table of limits speaks for which scope and instrument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.errors import UserError, nearest
from tidegate.model.instrument import Instrument, Universe
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits, fraction
from tidegate.risk.scopes import Level, ScopeTable


class Tables:
    """Which tables of limits speak for a scope, and for an instrument within it, most specific first."""

    def __init__(self, universe: Universe, scopes: ScopeTable, limits: Limits) -> None:
        self.universe, self.scopes = universe, scopes
        self.general: list[list[ScopeLimits]] = [[limits.firm]]
        levels = {
            Level.DESK: (limits.desks, "desks"),
            Level.ACCOUNT: (limits.accounts, "accounts"),
            Level.STRATEGY: (limits.strategies, "strategies"),
        }
        for number in range(1, len(scopes)):
            named = levels[scopes.levels[number]][0]
            self.general.append([named[n] for n in (scopes.names[number], "*") if n in named])
        for strategy, slot in enumerate(scopes.strategies):
            if slot.slot_of:
                whole = [limits.strategies[n] for n in (slot.slot_of, "*") if n in limits.strategies]
                own = [limits.strategies[slot.name]] if slot.name in limits.strategies else []
                self.general[scopes.strategy_scope(strategy)] = own + [fraction(t, slot.part) for t in whole]
        for level, (named, where) in levels.items():
            known = {n: None for n, at in zip(scopes.names, scopes.levels, strict=True) if at is level}
            for name in named:
                if name != "*" and name not in known:
                    raise UserError(
                        f"risk.{where}: unknown {level.name.lower()} {name!r}{nearest(name, known)}"
                    )
        for table in {id(table): table for tables in self.general for table in tables}.values():
            self._check_instruments(table)

    def _check_instruments(self, table: ScopeLimits) -> None:
        for name in table.legs or ():
            if name not in self.universe.index:
                raise UserError(f"risk: unknown leg {name!r}{nearest(name, self.universe.index)}")
        for name in (*table.instruments, *(table.trade or ())):
            venue = name.removeprefix("*.")
            some = name == "*" or (
                venue != name and any(item.venue == venue for item in self.universe.instruments)
            )
            if not some and name not in self.universe.index:
                raise UserError(f"risk: unknown instrument {name!r}{nearest(name, self.universe.index)}")

    def of(self, scope: int, instrument: Instrument) -> list[InstrumentLimits]:
        """Tables for an instrument of a scope: named ones for the instrument, then those for all instruments."""
        tables = self.general[scope]
        special = [t.instruments[n] for n in (instrument.id, "*") for t in tables if n in t.instruments]
        return [*special, *tables]

    def total(self, scope: int, field: str) -> Any:
        """A limit of the scope's total, None where it is not set."""
        return next((v for t in self.general[scope] if (v := getattr(t, field)) is not None), None)


def find(tables: Sequence[InstrumentLimits], field: str) -> tuple[Any, InstrumentLimits | None]:
    """The first table that sets `field`: its value, and the table for what goes with it."""
    for table in tables:
        value = getattr(table, field)
        if value is not None:
            return value, table
    return None, None

"""The limits of the slow gate: which holds where, looked up as the documentation says."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tidegate.model.instrument import Universe
from tidegate.risk.controls import CONTROLS
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import Level, ScopeTable

ENDLESS = 1 << 62


def remember(method: Callable[..., Any]) -> Callable[..., Any]:
    """Look a thing up once for each object and arguments: configuration does not change."""

    def looked_up(self: Any, *args: Any) -> Any:
        seen = self.__dict__.setdefault(f"_{method.__name__}", {})
        if args not in seen:
            seen[args] = method(self, *args)
        return seen[args]

    return looked_up


def whole(x: float, bound: int = 1 << 60) -> int:
    return math.floor(min(max(x, float(-bound)), float(bound)) + 0.5)


class Denied(Exception):
    def __init__(self, reason: R, control: int, limit: int, value: int, scope: int) -> None:
        self.figures = [int(reason), int(limit), int(value), scope, control]


def micro(x: Decimal) -> int:
    return math.floor(x * 1_000_000) if x.is_finite() else ENDLESS


def ppm(x: Decimal) -> int:
    return math.floor(x * 1_000_000) if x < 100 else ENDLESS


def milli(x: Decimal) -> int:
    return math.floor(x * 1000) if x < 10**9 else ENDLESS


def number(x: Decimal) -> int:
    return math.floor(x) if x.is_finite() else ENDLESS


class LimitBook:
    """Which limit holds where: named table before "*", instrument before general."""

    def __init__(self, universe: Universe, scopes: ScopeTable, limits: Limits) -> None:
        self.universe, self.scopes, self.limits = universe, scopes, limits

    @remember
    def tables(self, scope: int) -> list[ScopeLimits]:
        level, name = self.scopes.levels[scope], self.scopes.names[scope]
        if level is Level.FIRM:
            return [self.limits.firm]
        where = {Level.DESK: self.limits.desks, Level.ACCOUNT: self.limits.accounts}.get(
            level, self.limits.strategies
        )
        return [where[key] for key in (name, "*") if key in where]

    @remember
    def at(self, scope: int, i: int, field: str) -> tuple[Any, InstrumentLimits | None]:
        general = self.tables(scope)
        for key in (self.universe[i].id, "*"):
            for table in general:
                if key in table.instruments and getattr(table.instruments[key], field) is not None:
                    return getattr(table.instruments[key], field), table.instruments[key]
        for table in general:
            if getattr(table, field) is not None:
                return getattr(table, field), table
        return None, None

    @remember
    def total(self, scope: int, field: str) -> Any:
        return next((getattr(t, field) for t in self.tables(scope) if getattr(t, field) is not None), None)

    def tightest_set(self, chain: tuple[int, ...], i: int, field: str) -> tuple[Any, Any, int] | None:
        """`tightest` of a limit that need not be set."""
        wide = field in ("venue_share", "clock_skew")
        if all((self.total(s, field) if wide else self.at(s, i, field)[0]) is None for s in chain):
            return None
        if wide:
            value, scope = min(
                ((v, s) for s in chain if (v := self.total(s, field)) is not None), key=lambda e: e[0]
            )
            return value, None, scope
        return self.tightest(chain, i, field)

    def tightest(self, chain: tuple[int, ...], i: int, field: str) -> tuple[Any, Any, int]:
        found = [(self.at(s, i, field), s) for s in chain]
        found = [entry for entry in found if entry[0][0] is not None]
        (value, table), scope = min(found, key=lambda entry: entry[0][0])
        return value, table, scope

    @remember
    def position(self, scope: int, i: int, end: str) -> Decimal | None:
        value = self.at(scope, i, end)[0]
        return self.at(scope, i, "position")[0] if value is None else value

    @remember
    def cap(self, scope: int, field: str) -> int:
        value = self.total(scope, field)
        if value is None:
            return ENDLESS
        return number(value) if field == "open_orders" else micro(value)

    @remember
    def room(self, scope: int, i: int, end: str) -> int:
        most = self.position(scope, i, end)
        return ENDLESS if most is None or not most.is_finite() else math.floor(most / self.universe[i].lot)

    @remember
    def bucket(self, scope: int, rate_field: str, burst_field: str) -> tuple[int, int]:
        table = next((t for t in self.tables(scope) if getattr(t, rate_field) is not None), None)
        rate = getattr(table, rate_field) if table else None
        if rate is None or not rate.is_finite():
            return 0, ENDLESS
        gap = math.ceil(Fraction(1_000_000_000) / Fraction(rate))
        return gap, gap * (max(1, getattr(table, burst_field) or math.floor(rate)) - 1)

    def lacking(self, chain: tuple[int, ...], i: int, risk_only: bool) -> tuple[int, int] | None:
        for control in CONTROLS:
            if not control.required or control.risk_only is not risk_only:
                continue
            for s in chain:
                if control.levels and self.scopes.levels[s] not in control.levels:
                    continue
                for field in control.fields:
                    if not control.levels:
                        look = (
                            (lambda s, f: self.total(s, f))
                            if field == "trade"
                            else (lambda s, f: self.at(s, i, f)[0])
                        )
                        if all(look(other, field) is None for other in chain):
                            return control.number, chain[0]
                    elif field == "position":
                        if self.position(s, i, "long") is None or self.position(s, i, "short") is None:
                            return control.number, s
                    elif self.total(s, field) is None:
                        return control.number, s
        return None

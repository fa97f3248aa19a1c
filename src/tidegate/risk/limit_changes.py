"""A change of limits, judged: what it changes, who must agree, what contradicts itself, and what is below present use.

Pure. Limits are compared as they come out at each scope (a named table before `"*"`), not as they are written: what a
deleted table falls back to is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.model.instrument import Instrument, Universe
from tidegate.risk.controls import CONTROLS
from tidegate.risk.convert import lots, micro
from tidegate.risk.exposure import Exposure
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits
from tidegate.risk.scope_name import Kind, name_of, split, text_of
from tidegate.risk.scopes import Level, ScopeTable
from tidegate.risk.tables import Tables, find

INFINITE = Decimal("Infinity")
FEWER = {"margin_buffer"}
"""Numbers of which less is looser."""
TOTALS = (
    "gross",
    "net",
    "open_value",
    "open_orders",
    "traded_value",
    "loss",
    "drawdown",
    "orders_per_second",
)
"""What a scope has in all: no scope may be given more than the one it is part of."""
LEVELS = {Kind.DESK: "desks", Kind.ACCOUNT: "accounts", Kind.STRATEGY: "strategies"}
_REQUIRED = {field: set(control.levels) for control in CONTROLS for field in control.fields}
_LONG_SHORT = ("long", "short")


class Change(NamedTuple):
    """One limit as it comes out at a scope; None: not set there. `loosened`: it needs a second person."""

    where: str
    before: Any
    after: Any
    loosened: bool

    def __str__(self) -> str:
        return f"{self.where}: {show(self.before)} → {show(self.after)}"


class BelowUse(NamedTuple):
    """A limit that is lower than what is used now."""

    scope: str
    field: str
    limit: str
    used: str

    def __str__(self) -> str:
        return f"{self.scope}: {self.field} {self.limit} is below the {self.used} in use"


def show(value: Any) -> str:
    """A limit for people."""
    if value is None:
        return "not set"
    if isinstance(value, Decimal):
        return f"{value:,f}" if value.is_finite() else "unlimited"
    if isinstance(value, bool) or not isinstance(value, int):
        return ", ".join(value) if isinstance(value, tuple) else str(value)
    return "unlimited" if value >= 1 << 62 else f"{value:,}"


def _goes_with() -> dict[str, str]:
    """Fields that always have a value, such as a window: each belongs to the limit that is written before it."""
    found, main = {}, ""
    for name in (*InstrumentLimits.__struct_fields__, *ScopeLimits.__struct_fields__):
        if getattr(ScopeLimits(), name) is None:
            main = name
        else:
            found[name] = main
    return found


_GOES_WITH = _goes_with()


def _found(tables: list[Any], field: str) -> Any:
    main = _GOES_WITH.get(field)
    if main is None:
        return find(tables, field)[0]
    _, table = find(tables, main)
    return None if table is None else getattr(table, field)


class _View:
    """Every limit of a document as it comes out: by place, its value."""

    def __init__(self, limits: Limits, universe: Universe, scopes: ScopeTable) -> None:
        tables = Tables(universe, scopes, limits)
        self.values: dict[tuple[int, int, str], Any] = {}
        own = [
            f
            for f in ScopeLimits.__struct_fields__
            if f not in ("instruments", *InstrumentLimits.__struct_fields__)
        ]
        for n in range(len(scopes)):
            for field in own:
                self.values[n, -1, field] = _found(list(tables.general[n]), field)
            for i, item in enumerate(universe.instruments):
                for field in InstrumentLimits.__struct_fields__:
                    self.values[n, i, field] = _found(tables.of(n, item), field)


def _size(value: Any, field: str, level: Level) -> Decimal:
    """How loose a number is, for comparison: not set is no limit here, or refuses where one must be set."""
    if value is None:
        needed = _REQUIRED.get("position" if field in _LONG_SHORT else field)
        return Decimal(0) if needed and level in needed and field not in _LONG_SHORT else INFINITE
    size = Decimal(value)
    if isinstance(value, int) and value >= 1 << 62:
        size = INFINITE
    if field in FEWER:
        return INFINITE if not size.is_finite() or size == 0 else 1 / size
    return size


def _loosened(field: str, before: Any, after: Any, level: Level) -> bool:
    """Whether the change is one that two people must agree to: more than twice, or unlimited."""
    if field == "self_match":
        return after is True and before is not True
    kinds = (Decimal, int)
    if isinstance(before, bool) or isinstance(after, bool):
        return False
    if isinstance(before, tuple) or isinstance(after, tuple):
        return "*" in (after or ()) and "*" not in (before or ())
    if not isinstance(before, kinds) and not isinstance(after, kinds):
        return False
    if field.endswith("_window") or field in ("dynamic_horizon", "restricted_from", "restricted_to"):
        return False
    if field in _LONG_SHORT and (before is None or after is None):
        return False  # `position` speaks for it
    was, now = _size(before, field, level), _size(after, field, level)
    return now > 2 * was if was.is_finite() else False


def changes(old: Limits, new: Limits, universe: Universe, scopes: ScopeTable) -> list[Change]:
    """Every limit that comes out differently; one that is the same for all instruments is told once."""
    before, after = _View(old, universe, scopes).values, _View(new, universe, scopes).values
    found: list[Change] = []
    told: set[tuple[int, str, str, str]] = set()
    for (n, i, field), was in before.items():
        now = after[n, i, field]
        if was == now:
            continue
        same = (n, field, repr(was), repr(now))
        if i >= 0 and same in told:
            continue
        told.add(same)
        where = name_of(n, scopes) + (
            f"@{universe[i].id}" if i >= 0 and _special(new, old, n, scopes) else ""
        )
        found.append(Change(f"{where}.{field}", was, now, _loosened(field, was, now, scopes.levels[n])))
    return found


def _special(new: Limits, old: Limits, n: int, scopes: ScopeTable) -> bool:
    """Whether any table that speaks for the scope says something of single instruments."""
    for limits in (new, old):
        level = {Level.DESK: limits.desks, Level.ACCOUNT: limits.accounts, Level.STRATEGY: limits.strategies}
        tables = (
            [limits.firm]
            if not n
            else [t for k, t in level[scopes.levels[n]].items() if k in ("*", scopes.names[n])]
        )
        if any(table.instruments for table in tables):
            return True
    return False


def touched(old: Limits, new: Limits) -> list[str]:
    """The scopes whose tables differ: who signs must reach them all. What is written for `"*"` is the firm's."""
    tables = [(text_of(Kind.FIRM), old.firm, new.firm)]
    for kind, level in LEVELS.items():
        before, after = getattr(old, level), getattr(new, level)
        for name in sorted({*before, *after}):
            scope = text_of(Kind.FIRM) if name == "*" else text_of(kind, name)
            tables.append((scope, before.get(name), after.get(name)))
    return list(dict.fromkeys(scope for scope, was, now in tables if was != now))


def people(found: list[Change]) -> int:
    """How many must sign (control 30)."""
    return 2 if any(change.loosened for change in found) else 1


def contradictions(limits: Limits, universe: Universe, scopes: ScopeTable, found: list[Change]) -> list[str]:
    """What cannot be meant of what was changed, in one line each: a part given more than the whole, a net above its
    gross. To tighten the whole below a part is no contradiction: the tighter holds. What one table says against itself
    is `risk.contradictions`' to find."""
    changed = {_field_of(change) for change in found}
    tables = Tables(universe, scopes, limits)
    lines: list[str] = []
    for n in range(len(scopes)):
        name = name_of(n, scopes)
        for m in _above(n, scopes):
            for field in TOTALS:
                mine, theirs = tables.total(n, field), tables.total(m, field)
                if f"{name}.{field}" in changed and _above_by(mine, theirs):
                    lines.append(
                        f"{name}.{field} {show(mine)} is above {name_of(m, scopes)}.{field} {show(theirs)}"
                    )
        gross, net = tables.total(n, "gross"), tables.total(n, "net")
        if f"{name}.net" in changed and _above_by(net, gross):
            lines.append(f"{name}.net {show(net)} is above its gross {show(gross)}")
    return list(dict.fromkeys(lines))


def _field_of(change: Change) -> str:
    """Scope and field of a change, whatever the instrument."""
    place, _, field = change.where.rpartition(".")
    return f"{place.partition('@')[0]}.{field}"


def _above_by(mine: Decimal | None, theirs: Decimal | None) -> bool:
    return mine is not None and theirs is not None and mine.is_finite() and mine > theirs


def _above(n: int, scopes: ScopeTable) -> Iterator[int]:
    """The scopes that a scope is wholly part of."""
    level = scopes.levels[n]
    if level is Level.FIRM:
        return
    yield 0
    if level is Level.ACCOUNT and (desk := scopes.accounts[n - scopes.account_scope(0)].desk):
        yield scopes.number(Level.DESK, desk)
    if level is Level.STRATEGY:
        accounts = scopes.strategies[n - scopes.strategy_scope(0)].accounts
        if len(accounts) == 1:
            yield scopes.number(Level.ACCOUNT, accounts[0])


def below_use(limits: Limits, exposure: Exposure) -> list[BelowUse]:
    """The limits that present use exceeds: their scopes are to be held to reducing."""
    scopes, universe = exposure.scopes, exposure.universe
    tables = Tables(universe, scopes, limits)
    exposure.value()
    found: list[BelowUse] = []
    for n in range(len(scopes)):
        name, total = name_of(n, scopes), exposure.totals[n]
        used = {
            "gross": total.gross, "net": total.net, "open_value": total.open_value,
            "traded_value": total.traded + total.open_value,
        }  # fmt: skip
        for field, amount in used.items():
            limit = tables.total(n, field)
            if limit is not None and limit.is_finite() and amount > micro(limit):
                found.append(BelowUse(name, field, show(limit), f"{amount / 1e6:,.2f}"))
        limit = tables.total(n, "open_orders")
        if limit is not None and limit.is_finite() and total.orders > int(limit):
            found.append(BelowUse(name, "open_orders", show(limit), str(total.orders)))
        for i, item in enumerate(universe.instruments):
            found += _positions(name, tables, n, i, item, exposure)
    return found


def _positions(
    name: str, tables: Tables, n: int, i: int, item: Instrument, exposure: Exposure
) -> Iterator[BelowUse]:
    cell = exposure.cells.get((n, i))
    if cell is None:
        return
    of = tables.of(n, item)
    both = find(of, "position")[0]
    for field, held in (("long", cell.lots + cell.buys), ("short", cell.sells - cell.lots)):
        own = find(of, field)[0]
        limit = both if own is None else own
        if limit is not None and limit.is_finite() and held > lots(limit, item):
            yield BelowUse(name, f"{field} position in {item.id}", show(limit), f"{item.qty(held):f}")


def edit(limits: Limits, text: str) -> Limits:
    """The document with one limit changed: `SCOPE.FIELD=VALUE`, or `SCOPE@INSTRUMENT.FIELD=VALUE`; an empty value takes
    it out. `SCOPE` is as in `risk.scope_name`, or `account:*`. Raises `UserError`."""
    left, equals, value = text.partition("=")
    place, dot, field = left.strip().rpartition(".")
    if not equals or not dot:
        raise UserError(f"limits: {text!r}: write SCOPE.FIELD=VALUE, as in account:main.gross=1000000")
    scope, _, instrument = place.partition("@")
    kind, name = split(scope)
    if kind is not Kind.FIRM and kind not in LEVELS:
        raise UserError(
            f"limits: {text!r}: limits are set for firm, desk, account and strategy; {kind} has none"
        )
    known = InstrumentLimits.__struct_fields__ if instrument else ScopeLimits.__struct_fields__
    if field not in known or field == "instruments":
        raise UserError(f"limits: {text!r}: unknown limit {field!r}{nearest(field, known)}")
    document: dict[str, Any] = msgspec.json.decode(limits.to_json())
    table = document.setdefault("firm", {}) if kind is Kind.FIRM else (
        document.setdefault(LEVELS[kind], {}).setdefault(name, {})
    )  # fmt: skip
    if instrument:
        table = table.setdefault("instruments", {}).setdefault(instrument, {})
    value = value.strip()
    if value:
        table[field] = _value(value, field)
    else:
        table.pop(field, None)
    return Limits.load(document, "limits")


def _value(text: str, field: str) -> Any:
    """A value as TOML would give it."""
    if field in ("sides", "order_types", "time_in_force", "trade"):
        return [part.strip() for part in text.split(",")]
    if text in ("true", "false"):
        return text == "true"
    plain = text.replace("_", "")
    return int(plain) if plain.lstrip("-").isdecimal() else text

"""A change of limits, judged: what it changes, who must agree, what contradicts itself, and what is below present use.

Pure. Limits are compared as they come out at each scope (a named table before `"*"`), not as they are written: what a
deleted table falls back to is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.model.instrument import Instrument, Universe
from tidegate.risk.convert import lots, micro
from tidegate.risk.exposure import Cell, Exposure
from tidegate.risk.limit_differences import Difference, Differences, differences
from tidegate.risk.limit_looseness import Chains, Place, Wants, loosened
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits
from tidegate.risk.scope_name import Kind, name_of, split, text_of
from tidegate.risk.scopes import Level, ScopeTable
from tidegate.risk.tables import Tables, find

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
_LEVEL_TABLES = {Level.DESK: "desks", Level.ACCOUNT: "accounts", Level.STRATEGY: "strategies"}
_STEP = 100
"""Scopes looked at before others have their turn."""
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


def changes(old: Limits, new: Limits, universe: Universe, scopes: ScopeTable, since: int = 0) -> list[Change]:
    """Every limit that comes out differently from `since` (ns) on; one that is the same for all instruments is told
    once."""
    return [change for step in changes_in_steps(old, new, universe, scopes, since) for change in step]


def changes_in_steps(
    old: Limits, new: Limits, universe: Universe, scopes: ScopeTable, since: int = 0
) -> Iterator[list[Change]]:
    """The same, some scopes at a time: who has other things to do does them between two."""
    judge = _Judge(Tables(universe, scopes, old), Tables(universe, scopes, new), since)
    known: dict[tuple[int, ...], Differences] = {}
    found: list[Change] = []
    for n in range(len(scopes)):
        was, now = judge.before.general[n], judge.after.general[n]
        key = (*map(id, was), 0, *map(id, now))
        if key not in known:
            same = len(was) == len(now) and all(a is b or a == b for a, b in zip(was, now, strict=True))
            known[key] = [] if same else differences(was, now, universe)
        if known[key]:
            name, special = name_of(n, scopes), _special(new, old, n, scopes)
            for one in known[key]:
                where = f"{name}@{universe[one.instrument].id}" if one.instrument >= 0 and special else name
                found.append(Change(f"{where}.{one.field}", one.before, one.after, judge.loosened(n, one)))
        if n % _STEP == _STEP - 1:
            yield found
            found = []
    yield found


class _Judge:
    """Whether a difference at a scope takes two people."""

    def __init__(self, before: Tables, after: Tables, since: int) -> None:
        self.before, self.after, self._since = before, after, since
        chains = Chains(before.scopes)
        self._lacked, self._lacks = Wants(before, chains), Wants(after, chains)

    def loosened(self, scope: int, one: Difference) -> bool:
        """A limit that was not set counts as nothing where any order may have been refused for it, one that is not set
        any more where all are."""
        level, universe = self.before.scopes.levels[scope], self.before.universe
        was = Place(one.old, level, universe, partial(self._lacked.some, scope), self._since)
        now = Place(one.new, level, universe, partial(self._lacks.all, scope), self._since)
        return loosened(one.field, was, now)


def _special(new: Limits, old: Limits, n: int, scopes: ScopeTable) -> bool:
    """Whether any table that speaks for the scope says something of single instruments."""
    for limits in (new, old):
        if not n:
            tables = [limits.firm]
        else:
            named = getattr(limits, _LEVEL_TABLES[scopes.levels[n]])
            tables = [named[name] for name in ("*", scopes.names[n]) if name in named]
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
    scopes = exposure.scopes
    tables = Tables(exposure.universe, scopes, limits)
    exposure.value()
    cells: dict[int, list[int]] = {}
    for n, i in exposure.cells:
        cells.setdefault(n, []).append(i)
    ends: dict[tuple[tuple[int, ...], int], tuple[Decimal | None, Decimal | None]] = {}
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
        speak = tuple(map(id, tables.general[n]))
        for i in sorted(cells.get(n, ())):
            if (speak, i) not in ends:
                ends[speak, i] = _ends(tables.of(n, exposure.universe[i]))
            found += _positions(name, ends[speak, i], exposure.cells[n, i], exposure.universe[i])
    return found


def _ends(tables: list[InstrumentLimits]) -> tuple[Decimal | None, Decimal | None]:
    both, long, short = (find(tables, field)[0] for field in ("position", *_LONG_SHORT))
    return both if long is None else long, both if short is None else short


def _positions(
    name: str, ends: tuple[Decimal | None, Decimal | None], cell: Cell, item: Instrument
) -> Iterator[BelowUse]:
    for field, limit, held in zip(
        _LONG_SHORT, ends, (cell.lots + cell.buys, cell.sells - cell.lots), strict=True
    ):
        if held > 0 and limit is not None and limit.is_finite() and held > lots(limit, item):
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

"""What comes out differently for a scope when its tables of limits change.

Only fields that the tables differ in are looked at, and instruments that no table names are looked at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tidegate.model.instrument import Universe
from tidegate.risk.limits import InstrumentLimits, ScopeLimits
from tidegate.risk.tables import find


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


class _Own(NamedTuple):
    """What speaks for a scope in one document."""

    tables: list[ScopeLimits]

    def named(self) -> set[str]:
        """Names that one of its tables says something of."""
        return {name for table in self.tables for name in table.instruments}

    def of(self, name: str) -> list[InstrumentLimits]:
        """The tables of an instrument, most specific first."""
        special = [t.instruments[n] for n in (name, "*") for t in self.tables if n in t.instruments]
        return [*special, *self.tables]


_OWN_FIELDS = [
    f for f in ScopeLimits.__struct_fields__ if f not in ("instruments", *InstrumentLimits.__struct_fields__)
]  # fmt: skip
_EACH_FIELDS = InstrumentLimits.__struct_fields__
Differences = list[tuple[int, str, Any, Any]]
"""(instrument or −1, field, before, after)."""


def differences(before: list[ScopeLimits], after: list[ScopeLimits], universe: Universe) -> Differences:
    """What comes out differently, in the order of instruments and fields; what is the same of many instruments is told of
    the first. Instruments that no table names are alike."""
    old, new = _Own(before), _Own(after)
    found: Differences = []
    fields = _touched_fields(before, after)
    for field in _OWN_FIELDS:
        if field in fields:
            was, now = _found(list(old.tables), field), _found(list(new.tables), field)
            if was != now:
                found.append((-1, field, was, now))
    each = [field for field in _EACH_FIELDS if field in fields]
    if not each:
        return found
    names = old.named() | new.named()
    told: set[tuple[str, str, str]] = set()
    alike = False
    for i, item in enumerate(universe.instruments):
        if item.id not in names:
            if alike:
                continue
            alike = True
        theirs, ours = old.of(item.id), new.of(item.id)
        for field in each:
            was, now = _found(theirs, field), _found(ours, field)
            same = (field, repr(was), repr(now))
            if was != now and same not in told:
                told.add(same)
                found.append((i, field, was, now))
    return found


def _touched_fields(old: list[ScopeLimits], new: list[ScopeLimits]) -> set[str]:
    """The fields that tables differ in, where as many speak as before; else all."""
    if len(old) != len(new):
        return {*_OWN_FIELDS, *_EACH_FIELDS}
    found: set[str] = set()
    for was, now in zip(old, new, strict=True):
        if was is now:
            continue
        found |= _other(was, now)
        for name in was.instruments.keys() | now.instruments.keys():
            nothing = InstrumentLimits()
            found |= _other(was.instruments.get(name, nothing), now.instruments.get(name, nothing))
    return found | {_GOES_WITH[field] for field in found & _GOES_WITH.keys()} | {
        field for field, main in _GOES_WITH.items() if main in found
    }  # fmt: skip


def _other(was: InstrumentLimits, now: InstrumentLimits) -> set[str]:
    fields = (f for f in was.__struct_fields__ if f != "instruments")
    return {f for f in fields if getattr(was, f) != getattr(now, f)}

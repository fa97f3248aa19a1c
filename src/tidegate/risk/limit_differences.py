"""What comes out differently for a scope when its tables of limits change.

Only fields that the tables differ in are looked at, and instruments that no table names are looked at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tidegate.model.instrument import Universe
from tidegate.risk.limit_looseness import depends_on
from tidegate.risk.limits import InstrumentLimits, ScopeLimits
from tidegate.risk.tables import find


def _goes_with() -> dict[str, tuple[str, ...]]:
    """Fields that always have a value, such as a window: each belongs to the limit that is written before it."""
    found: dict[str, tuple[str, ...]] = {}
    main = ""
    for name in (*InstrumentLimits.__struct_fields__, *ScopeLimits.__struct_fields__):
        if getattr(ScopeLimits(), name) is None:
            main = name
        else:
            found[name] = (main,)
    return found | {"ratio_free": ("order_ratio", "volume_ratio")}


_GOES_WITH = _goes_with()


def found(tables: Sequence[InstrumentLimits], field: str) -> Any:
    """A limit as it comes out, None where it is not set; of what goes with two of them, as text where they differ."""
    mains = _GOES_WITH.get(field)
    if mains is None:
        return find(tables, field)[0]
    beside = [table for main in mains if (table := find(tables, main)[1]) is not None]
    values = list(dict.fromkeys(getattr(table, field) for table in beside))
    return values[0] if len(values) == 1 else tuple(map(str, values)) or None


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


class Difference(NamedTuple):
    """`instrument`: −1 for a limit of the whole scope. `old` and `new` speak for it, most specific first."""

    instrument: int
    field: str
    before: Any
    after: Any
    old: list[InstrumentLimits]
    new: list[InstrumentLimits]


Differences = list[Difference]


def differences(before: list[ScopeLimits], after: list[ScopeLimits], universe: Universe) -> Differences:
    """What comes out differently, in the order of instruments and fields; what is the same of many instruments, with all
    that its looseness follows from, is told of the first. Instruments that no table names are alike."""
    old, new = _Own(before), _Own(after)
    told: Differences = []
    fields = _touched_fields(before, after)
    for field in _OWN_FIELDS:
        if field in fields:
            was, now = found(old.tables, field), found(new.tables, field)
            if was != now:
                told.append(Difference(-1, field, was, now, [*old.tables], [*new.tables]))
    each = [field for field in _EACH_FIELDS if field in fields]
    if not each:
        return told
    names = old.named() | new.named()
    known: set[tuple[str, ...]] = set()
    alike = False
    for i, item in enumerate(universe.instruments):
        if item.id not in names:
            if alike:
                continue
            alike = True
        theirs, ours = old.of(item.id), new.of(item.id)
        for field in each:
            was, now = found(theirs, field), found(ours, field)
            if was == now:
                continue
            with_it = depends_on(field)
            same = (field, *(repr(found(tables, f)) for f in (field, *with_it) for tables in (theirs, ours)))
            if same not in known:
                known.add(same)
                told.append(Difference(i, field, was, now, theirs, ours))
    return told


def _touched_fields(old: list[ScopeLimits], new: list[ScopeLimits]) -> set[str]:
    """The fields that tables differ in, where as many speak as before; else all."""
    if len(old) != len(new):
        return {*_OWN_FIELDS, *_EACH_FIELDS}
    other: set[str] = set()
    for was, now in zip(old, new, strict=True):
        if was is now:
            continue
        other |= _other(was, now)
        for name in was.instruments.keys() | now.instruments.keys():
            nothing = InstrumentLimits()
            other |= _other(was.instruments.get(name, nothing), now.instruments.get(name, nothing))
    mains = {main for field in other & _GOES_WITH.keys() for main in _GOES_WITH[field]}
    return other | mains | {field for field, mains in _GOES_WITH.items() if not other.isdisjoint(mains)}


def _other(was: InstrumentLimits, now: InstrumentLimits) -> set[str]:
    fields = (f for f in was.__struct_fields__ if f != "instruments")
    return {f for f in fields if getattr(was, f) != getattr(now, f)}

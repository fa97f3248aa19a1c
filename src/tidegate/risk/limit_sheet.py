"""What a document of limits comes to in the kernels' units, for every scope and instrument: a pure function of the
document.

Scopes with the same tables share what they come to, and so do instruments of one kind that no table names: a sheet has
*columns*, one for each kind of instrument and one for each instrument that is named. What one sheet has worked out, the
next one of the same firm goes on from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tidegate.kernel import gate_state as g
from tidegate.model.instrument import Universe
from tidegate.risk.contradictions import check
from tidegate.risk.convert import lots
from tidegate.risk.leases.fields import PLACES as FIELDS
from tidegate.risk.leases.fields import Field
from tidegate.risk.limit_frame import Frame
from tidegate.risk.limits import Limits
from tidegate.risk.own_limits import ENDS, KEEP, SCOPE_COLUMNS, WORDS, Own
from tidegate.risk.rules import PLACES, nothing, rules_of
from tidegate.risk.scopes import Level, ScopeTable
from tidegate.risk.tables import Tables, find

ROOM = 1 << 18
"""So many (chain, place, column) are worked out at once: their rows are some 90 MB."""
MARKET = ("volume", "interest", "depth")
UNKNOWN = -1
_STEP = 50


class Classes(NamedTuple):
    """`keys` are equal where rules are, in any sheet of the firm; `alike` has one chain's tables of each, `of` the class of
    every chain."""

    keys: list[tuple[object, ...]]
    alike: list[tuple[Own | None, ...]]
    of: g.Ints


class Sheet:
    """Raises `UserError` for limits of what does not exist, and for those that cannot all be meant."""

    def __init__(
        self, frame: Frame, limits: Limits, before: Sheet | None = None,
        ready: Mapping[tuple[int, ...], Own] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self.frame, self.limits = frame, limits
        self.tables = Tables(frame.universe, frame.scopes, limits)
        check(limits, before.limits if before is not None else None)
        known = before._owns if before is not None and before.frame is frame else {}
        self._owns: dict[tuple[int, ...], Own] = {}
        self.of: list[Own] = []
        """By scope."""
        levels, spread = frame.scopes.levels, frame.scopes.spread
        for scope, tables in enumerate(self.tables.general):
            over = spread.get(scope, 1)
            key = (levels[scope], over, *map(id, tables))
            own = self._owns.get(key)
            if own is None:
                # An id is the same table's while something holds that, as `known` does.
                own = known.get(key) or ready.get(key) or Own(tables, levels[scope], over, frame)
                self._owns[key] = own
            self.of.append(own)
        self.distinct = list(self._owns.values())
        number = {id(own): n for n, own in enumerate(self.distinct)}
        self.group = np.array([number[id(own)] for own in self.of], np.int64)
        """By scope: its place in `distinct`."""
        self.named = sorted({i for own in self.distinct for i in own.named})
        self.column_of = frame.kind_of.copy()
        """By instrument."""
        self.column_of[self.named] = len(frame.kinds) + np.arange(len(self.named))
        self._lacking: dict[tuple[object, ...], list[tuple[int, int, g.Ints]]] = {}
        if before is not None and before.frame is frame:
            kept = set(self.classes.keys)
            self._lacking = {key: found for key, found in before._lacking.items() if key in kept}

    @property
    def columns(self) -> int:
        """How many there are."""
        return len(self.frame.kinds) + len(self.named)

    def own(self, one: Own | None) -> g.Ints:
        """What a scope's tables come to, by column; None for no scope."""
        return nothing(self.columns) if one is None else one.over(self.frame, self.named)

    def expanded(self, one: Own) -> g.Ints:
        """The same by instrument."""
        return self.own(one)[self.column_of]

    @cached_property
    def totals(self) -> g.Ints:
        """By scope and `SCOPE_COLUMNS`."""
        return np.stack([own.totals for own in self.distinct])[self.group]

    @cached_property
    def _positions(self) -> g.Ints:
        """By group, column and side, as tables say it; `NOT_SET` for nothing."""
        found = np.empty((len(self.distinct), self.columns, 2), np.int64)
        for n, one in enumerate(self.distinct):
            found[n] = self.own(one)[:, ENDS]
        return found

    @cached_property
    def ends(self) -> g.Ints:
        """By group, column and side: the longest and the shortest position, lots."""
        found: g.Ints = np.minimum(self._positions, g.UNLIMITED)
        uncovered = np.zeros(self.columns, np.bool_)
        uncovered[self.column_of] = self.frame.uncovered[self.frame.kind_of]
        if uncovered.any():
            for n, one in enumerate(self.distinct):
                if one.level is Level.ACCOUNT and one.totals[KEEP] >= 0:
                    found[n, uncovered, 1] = 0
        return found

    def human(self, scope: int, field: int, instrument: int) -> int:
        """An additive limit as people set it."""
        if field >= Field.LONG:
            return int(self.ends[self.group[scope], self.column_of[instrument], field - Field.LONG])
        return int(self.of[scope].totals[_TOTAL[field]])

    def humans(self, scope: int, field: int) -> g.Ints:
        """By instrument: the same, of a field that is one of an instrument."""
        found: g.Ints = self.ends[self.group[scope], self.column_of, field - Field.LONG]
        return found

    def finite_limits(self, scope: int) -> Iterator[tuple[int, int, int]]:
        """Additive limits that people set of a scope: (field, instrument or −1, limit), in this order."""
        own = self.of[scope]
        for field, column in _TOTAL.items():
            if own.totals[column] < g.UNLIMITED:
                yield field, -1, int(own.totals[column])
        ends = self.ends[self.group[scope]][self.column_of]
        for side in (0, 1):
            limits = ends[:, side]
            some = np.flatnonzero(limits < g.UNLIMITED)
            field = Field.LONG + side
            yield from zip([int(field)] * len(some), some.tolist(), limits[some].tolist(), strict=True)

    # Rules.

    @cached_property
    def classes(self) -> Classes:
        """Chains whose rules are alike."""
        seen: dict[tuple[object, ...], int] = {}
        alike: list[tuple[Own | None, ...]] = []
        number = np.empty(len(self.frame.chains), np.int64)
        by_owns: dict[tuple[int, ...], int] = {}
        for p, chain in enumerate(self.frame.chains.tolist()):
            owns = tuple(self.of[s] if s >= 0 else None for s in chain)
            ids = tuple(map(id, owns))
            if ids not in by_owns:
                key = tuple(None if own is None else own.rule_key for own in owns)
                if key not in seen:
                    seen[key] = len(alike)
                    alike.append(owns)
                by_owns[ids] = seen[key]
            number[p] = by_owns[ids]
        return Classes(list(seen), alike, number)

    def rules(self, wanted: Sequence[int]) -> Iterator[tuple[int, g.Ints]]:
        """Of these classes of chains: rows of `rules` by column."""
        alike = self.classes.alike
        size = max(1, ROOM // (PLACES * self.columns))
        for first in range(0, len(wanted), size):
            some = wanted[first : first + size]
            chains = [alike[n] for n in some]
            rows: dict[int, g.Ints] = {}
            for chain in chains:
                for one in chain:
                    if id(one) not in rows:
                        rows[id(one)] = self.own(one)
            own = np.empty((len(some), PLACES, self.columns, WORDS), np.int64)
            for n, chain in enumerate(chains):
                for place, one in enumerate(chain):
                    own[n, place] = rows[id(one)]
            for n, made in zip(some, rules_of(own, chains), strict=True):
                key = self.classes.keys[n]
                if key not in self._lacking:
                    self._lacking[key] = _lacking(made, self.column_of)
                yield n, made

    def lacking(self) -> list[list[tuple[int, int, g.Ints]]]:
        """Of every class of chains: control, place of the scope that lacks its limit, and in which instruments."""
        keys = self.classes.keys
        for _ in self.rules([n for n, key in enumerate(keys) if key not in self._lacking]):
            pass  # known from then on
        return [self._lacking[key] for key in keys]

    # Of markets and margin.

    @cached_property
    def assumed(self) -> g.Ints:
        """The firm's tables' figures of the market by instrument: volume, interest, depth in lots, −1 for none."""
        if not any(getattr(t, f) is not None for t in self._firm_tables() for f in MARKET):
            return np.full((len(self.frame.universe), len(MARKET)), UNKNOWN, np.int64)
        found = []
        for item in self.frame.universe.instruments:
            values = (find(self.tables.of(0, item), field)[0] for field in MARKET)
            found.append([UNKNOWN if value is None else lots(value, item) for value in values])
        return np.array(found, np.int64)

    def _firm_tables(self) -> list[Any]:
        return [table for t in self.tables.general[0] for table in (t, *t.instruments.values())]

    @cached_property
    def reaches(self) -> list[list[tuple[int, Fraction | None]]]:
        """By column: how large a position may become in accounts that keep margin, in lots (`UNLIMITED` for any) and
        gross, without what another is larger than."""
        pairs: dict[tuple[int, int], None] = {}
        for account, desk in enumerate(self.frame.desk_of):
            scope = self.frame.scopes.account_scope(account)
            if self.of[scope].totals[KEEP] >= 0:
                pairs[int(self.group[scope]), int(self.group[desk if desk >= 0 else 0])] = None
        found: list[list[tuple[int, Fraction | None]]] = [[] for _ in range(self.columns)]
        if not pairs:
            return found
        gross = [_finite(one.total("gross")) for one in self.distinct]
        firm = int(self.group[0])
        each = [(own, above, _least(gross[own], gross[above], gross[firm])) for own, above in pairs]
        each.sort(key=lambda pair: (pair[2] is not None, -(pair[2] or 0)))
        sizes = np.minimum(self._positions.max(axis=2), g.UNLIMITED)
        size = np.minimum(sizes[[own for own, _, _ in each]], sizes[[above for _, above, _ in each]])
        size = np.minimum(size, sizes[firm])
        largest = np.maximum.accumulate(size, axis=0)
        larger = np.ones(size.shape, np.bool_)
        larger[1:] = size[1:] > largest[:-1]
        for n, column in np.argwhere(larger).tolist():
            found[column].append((int(size[n, column]), each[n][2]))
        return found


def _lacking(rows: g.Ints, column_of: g.Ints) -> list[tuple[int, int, g.Ints]]:
    found = []
    for at in (g.R_MISSING, g.R_MISSING_RISK):
        for number, place in dict.fromkeys(map(tuple, rows[:, [at, at + 1]].tolist())):
            if number:
                here = (rows[:, at] == number) & (rows[:, at + 1] == place)
                if len(instruments := np.flatnonzero(here[column_of])):
                    found.append((number, place, instruments))
    return found


def _finite(limit: Any) -> Fraction | None:
    return Fraction(limit) if limit is not None and limit.is_finite() else None


def _least(*limits: Fraction | None) -> Fraction | None:
    return min((limit for limit in limits if limit is not None), default=None)


class Sheets:
    """The sheets of one firm, one after another."""

    def __init__(self, universe: Universe, scopes: ScopeTable) -> None:
        self._frame = Frame(universe, scopes)
        self._last: Sheet | None = None
        self._ready: dict[tuple[int, ...], Own] = {}

    def of(self, limits: Limits) -> Sheet:
        """A document's. Raises `UserError` as `Sheet` does."""
        if self._last is None or self._last.limits is not limits:
            self._last = Sheet(self._frame, limits, self._last, self._ready)
            self._ready = {}
        return self._last

    def ahead(self, limits: Limits) -> Iterator[None]:
        """Work a document out that `of` will be asked about, so many tables a step. Raises `UserError`."""
        self._ready = ready = {}
        levels, spread = self._frame.scopes.levels, self._frame.scopes.spread
        last = self._last._owns if self._last is not None else {}
        for scope, tables in enumerate(Tables(self._frame.universe, self._frame.scopes, limits).general):
            key = (levels[scope], over := spread.get(scope, 1), *map(id, tables))
            if key not in last and key not in ready:
                ready[key] = own = Own(tables, levels[scope], over, self._frame)
                _ = own.rule_key
                if len(ready) % _STEP == 0:
                    yield


_TOTAL = {
    int(field): SCOPE_COLUMNS.index(place.limit)
    for field, place in FIELDS.items()
    if not field.per_instrument
}
"""Fields of a whole scope, by their column of a sheet's totals."""

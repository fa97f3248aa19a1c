"""How loose a limit is as it comes out at a scope, and whether a change of it is one that two people agree to (control 30).

Looseness is a number: more than twice as much takes two. What nobody set counts as no limit, or as nothing at all where
orders are refused for want of it. What belongs together is judged together: a number within a window by the rate that
the two allow, `position`, `long` and `short` by the ends that they come to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

from tidegate.kernel.gate_state import UNLIMITED
from tidegate.model.instrument import Universe
from tidegate.risk.controls import CONTROLS
from tidegate.risk.limits import NAMES, InstrumentLimits, ScopeLimits
from tidegate.risk.own_limits import TIGHTEST, TOTALS, UNITS
from tidegate.risk.scopes import Level, ScopeTable
from tidegate.risk.tables import Tables, find

Size = Fraction | float
INFINITE = math.inf
ENDS = ("position", "long", "short")
CLOSED = ("restricted", "restricted_from", "restricted_to")
RATES = {
    "period_drift": "period_window",
    "duplicate_orders": "duplicate_window",
    "executions": "execution_window",
}
"""So much within a window: the shorter, the looser."""
BURSTS = {
    "order_burst": "orders_per_second",
    "cancel_burst": "cancels_per_second",
    "fill_burst": "fills_per_second",
}
BESIDE = {
    "price_collar_floor": ("price_collar",),
    "dynamic_floor": ("dynamic_collar",),
    "ratio_free": ("order_ratio", "volume_ratio"),
    "leg_time": ("leg_value",),
}
"""Numbers that count where the limit they go with is a finite one."""
_MARKET = ("volume", "interest", "depth")
_READ = {field: convert for field, _, convert in TOTALS} | {
    field: UNITS[field] for field in TIGHTEST if field != "order_qty"
}
_REQUIRED = {field: c.levels for c in CONTROLS if c.required for field in c.fields}


class Chains:
    """Which scopes an order is under at once."""

    def __init__(self, scopes: ScopeTable) -> None:
        self._scopes = scopes

    @cached_property
    def others(self) -> dict[int, list[tuple[int, ...]]]:
        """By scope: the other scopes of every chain that it is part of."""
        scopes, numbers = self._scopes, {account.name: n for n, account in enumerate(self._scopes.accounts)}
        found: dict[int, dict[tuple[int, ...], None]] = {}
        for strategy, one in enumerate(scopes.strategies):
            for name in one.accounts:
                chain = scopes.chain(numbers[name], strategy).scopes
                for scope in chain:
                    found.setdefault(scope, {})[tuple(s for s in chain if s != scope)] = None
        return {scope: list(others) for scope, others in found.items()}


class Wants:
    """For want of which limits orders are refused under one document: those that nobody on their chain sets.

    Of what others set for single instruments it is not looked which those are: to ask two people where one would do is
    no harm.
    """

    def __init__(self, tables: Tables, chains: Chains) -> None:
        self._tables, self._chains = tables, chains
        self._known: dict[tuple[int, str, bool], bool] = {}

    def some(self, scope: int, field: str) -> bool:
        """Whether some orders under the scope may be refused, where it does not set the limit itself."""
        return self._ask(scope, field, False)

    def all(self, scope: int, field: str) -> bool:
        """Whether all are for sure."""
        return self._ask(scope, field, True)

    def _ask(self, scope: int, field: str, every: bool) -> bool:
        key = scope, field, every
        if key not in self._known:
            chains = self._chains.others.get(scope, [()])
            lacking = (not any(self._sets(other, field, every) for other in chain) for chain in chains)
            self._known[key] = all(lacking) if every else any(lacking)
        return self._known[key]

    def _sets(self, scope: int, field: str, anything: bool) -> bool:
        """Whether a scope sets it for all instruments, or for anything at all."""
        return any(_set_by(table, field, anything) for table in self._tables.general[scope])


def _set_by(table: ScopeLimits, field: str, anything: bool) -> bool:
    if getattr(table, field) is not None:
        return True
    named = table.instruments.values() if anything else [table.instruments.get("*")]
    return any(getattr(one, field, None) is not None for one in named)


class Place(NamedTuple):
    """A scope, or an instrument in it, under one document. `tables` speak for it, most specific first; `refused` says
    whether orders are refused for want of this limit, which must be set anywhere on their chain; `since` is from when
    on the document counts, ns."""

    tables: list[InstrumentLimits]
    level: Level
    universe: Universe
    refused: Callable[[str], bool]
    since: int

    def get(self, field: str) -> Any:
        """The value as it comes out, None where it is not set."""
        return find(self.tables, field)[0]

    def beside(self, main: str, field: str) -> Any:
        """What goes with a limit: it stands in the same table."""
        table = find(self.tables, main)[1]
        return getattr(table, field) if table is not None else None

    def unset(self, field: str) -> Size:
        """What it is that nobody set this."""
        levels = _REQUIRED.get(field)
        if field in _MARKET:
            return Fraction(0)  # a share of what is not known is nothing
        if levels is None or (levels and self.level not in levels):
            return INFINITE
        return Fraction(0) if levels or self.refused(field) else INFINITE


def loosened(field: str, before: Place, after: Place) -> bool:
    """Whether two people must agree to the change."""
    judge = _BY_KIND.get(field)
    if judge is not None:
        return judge(field, before, after)
    return any(now > 2 * was for was, now in zip(_sizes(field, before), _sizes(field, after), strict=True))


def depends_on(field: str) -> tuple[str, ...]:
    """The fields that its looseness follows from."""
    return _TOGETHER.get(field, (field,))


def _number(field: str, value: Any) -> Size:
    if not isinstance(value, int) and not value.is_finite():
        return INFINITE
    read = _READ.get(field)
    endless = read(value) if read is not None else value if isinstance(value, int) else 0
    return INFINITE if endless >= UNLIMITED else Fraction(value)


def _size(place: Place, field: str) -> Size:
    value = place.get(field)
    return place.unset(field) if value is None else _number(field, value)


def _sizes(field: str, place: Place) -> tuple[Size, ...]:
    """What of it may not more than double. As many for every document."""
    if field in ENDS:
        return _ends(place)
    if field in _WITHIN:
        main = _WITHIN[field]
        most, window = _size(place, main), place.beside(main, RATES[main])
        rate = INFINITE if window == 0 else most if window is None else most / Fraction(window)
        return (most, rate) if field == main else (rate,)
    if field in ("dynamic_collar", "dynamic_horizon"):
        band, horizon = _size(place, "dynamic_collar"), place.beside("dynamic_collar", "dynamic_horizon")
        wide = band if horizon is None or band == INFINITE else band * Fraction(horizon)
        return (band, wide) if field == "dynamic_collar" else (wide,)
    if field in BURSTS:
        return (_burst(place, field),)
    if field in BESIDE:
        return tuple(_beside(place, main, field) for main in BESIDE[field])
    if field == "margin_buffer":
        return _margin(place)
    if field == "expiry_window":
        window = place.get(field)
        return (1 / Fraction(window) if window else INFINITE,)
    return (_size(place, field),)


def _ends(place: Place) -> tuple[Size, Size]:
    """The longest and the shortest position. Where either must be set and is not, neither end is open."""
    both = place.get("position")
    ends = [both if (own := place.get(side)) is None else own for side in ("long", "short")]
    unset = place.unset("position")
    if unset == 0 and None in ends:
        return Fraction(0), Fraction(0)
    long, short = (unset if end is None else _number("position", end) for end in ends)
    return long, short


def _burst(place: Place, field: str) -> Size:
    """At once: 0 is a second's worth, and never less than one."""
    rate = _size(place, BURSTS[field])
    if rate in (0, INFINITE):
        return rate
    return Fraction(max(1, place.beside(BURSTS[field], field) or math.floor(rate)))


def _beside(place: Place, main: str, field: str) -> Size:
    size = _size(place, main)
    value = place.beside(main, field)
    if size == INFINITE or value is None:
        return size
    if not math.isfinite(value) or value >= UNLIMITED:
        return INFINITE
    return max(Fraction(0), Fraction(value))


def _margin(place: Place) -> tuple[Size, Size]:
    """What stays free may not more than halve, nor what is left of equity more than double."""
    buffer = place.get("margin_buffer")
    if buffer is None or not buffer.is_finite():
        size = place.unset("margin_buffer") if buffer is None else INFINITE
        return size, size
    return 1 / Fraction(buffer) if buffer else INFINITE, max(Fraction(0), 1 - Fraction(buffer))


# What is no number.


def _permission(field: str, before: Place, after: Place) -> bool:
    """More is new than was allowed. What lists everything may be listed no further."""
    was, now = _allowed(before, field), _allowed(after, field)
    if was is None or now is None:
        return was is not None
    return len(now - was) > len(was)


def _allowed(place: Place, field: str) -> frozenset[str] | None:
    """None for everything there is or will be."""
    value = place.get(field)
    if field != "trade":
        known = frozenset(NAMES[field])
        nothing = value is None and place.unset(field) == 0
        return known if value is None and not nothing else frozenset(name.lower() for name in value or ())
    if value is None or "*" in value:
        return frozenset() if value is None and place.unset(field) == 0 else None
    items = place.universe.instruments
    return frozenset(item.id for item in items if item.id in value or f"*.{item.venue}" in value)


def _opened(field: str, before: Place, after: Place) -> bool:
    """A time is open that was closed."""
    begins, ends = _closed(before)
    if begins >= ends:
        return False
    first, last = _closed(after)
    return not (first <= begins and ends <= last)


def _closed(place: Place) -> tuple[float, float]:
    begins, ends = place.get("restricted_from"), place.get("restricted_to")
    if place.get("restricted"):
        return place.since, INFINITE
    if begins is None and ends is None:
        return INFINITE, -INFINITE
    return max(place.since, place.since if begins is None else begins), INFINITE if ends is None else ends


def _meets(field: str, before: Place, after: Place) -> bool:
    """False keeps own orders apart whatever others say, not set where nobody lets them meet."""
    looseness = {False: 0, None: 1, True: 2}
    return looseness[after.get(field)] > looseness[before.get(field)]


def _unwatched(field: str, before: Place, after: Place) -> bool:
    """Of legs that a finite value holds together one is no leg any more."""
    return _size(before, "leg_value") != INFINITE and not set(before.get(field) or ()) <= set(
        after.get(field) or ()
    )


_BY_KIND: dict[str, Callable[[str, Place, Place], bool]] = {
    **dict.fromkeys(("trade", *NAMES), _permission), **dict.fromkeys(CLOSED, _opened), "self_match": _meets,
    "legs": _unwatched,
}  # fmt: skip
_WITHIN = {field: main for main, window in RATES.items() for field in (main, window)}
_TOGETHER: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ENDS, ENDS), **dict.fromkeys(CLOSED, CLOSED),
    **{field: (main, RATES[main]) for field, main in _WITHIN.items()},
    **dict.fromkeys(("dynamic_collar", "dynamic_horizon"), ("dynamic_collar", "dynamic_horizon")),
    **{burst: (burst, rate) for burst, rate in BURSTS.items()},
    **{field: (field, *mains) for field, mains in BESIDE.items()}, "legs": ("legs", "leg_value"),
}  # fmt: skip

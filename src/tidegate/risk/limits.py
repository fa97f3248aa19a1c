"""Limits as people write them: decimal text in human units, per firm, desk, account, strategy and instrument.

Quantities in base units, money in the firm's base currency, fractions as "5%" or 0.05, times as "1s". Every
limit may be "unlimited", which is a decision; one that is not written is not set, and then the gate refuses
(control 30). A table named "*" under desks, accounts or strategies holds for every one of them, field by field,
unless the named table says otherwise; what is said for an instrument goes before what is said for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.model.order import OrdType, Side, TimeInForce
from tidegate.model.scale import ScaleError, decimal
from tidegate.model.time import duration, iso, parse

UNLIMITED_TEXT = "unlimited"
_NOT_NUMBERS = {
    "sides", "order_types", "time_in_force", "restricted", "restricted_from", "restricted_to", "expiry_window",
    "price_collar_floor", "dynamic_horizon", "dynamic_floor", "period_window", "duplicate_window", "self_match",
    "long", "short", "trade", "ratio_free", "execution_window", "volume", "interest", "depth", "fill_burst", "legs",
    "leg_time", "order_burst", "cancel_burst", "instruments",
}  # fmt: skip
ELSEWHERE = ("breakers", "dynamic", "margin")
"""Tables of `[risk]` that are not limits of a scope: others read them."""
_Table = TypeVar("_Table", bound=msgspec.Struct)
_Limits = TypeVar("_Limits", bound="InstrumentLimits")


class Limit(Decimal):
    """A number of base units or of base currency, not below 0; `Infinity` for "unlimited"."""


class Percent(Decimal):
    """A fraction not below 0: "5%" is 0.05; `Infinity` for "unlimited"."""


class Duration(int):
    """Nanoseconds, from "250ms"; a bare integer is nanoseconds."""


class Moment(int):
    """Nanoseconds since the epoch, from ISO 8601."""


def _number(kind: type[Decimal], value: Any) -> Decimal:
    if value == UNLIMITED_TEXT:
        return kind("Infinity")
    text = str(value).strip().replace("_", "") if isinstance(value, str | int | float | Decimal) else ""
    percent = kind is Percent and text.endswith("%")
    try:
        number = decimal(text[:-1] if percent else text)
    except ScaleError as error:
        raise ValueError(f"{error}; write a number or {UNLIMITED_TEXT!r}") from None
    if number < 0:
        raise ValueError(f"{value!r} is below 0")
    return kind(number / 100 if percent else number)


def _decode_value(kind: type, value: Any) -> Any:
    """What a `Limit`, `Percent`, `Duration` or `Moment` is written as; raises `ValueError` (msgspec's `dec_hook`)."""
    if issubclass(kind, Decimal):
        return _number(kind, value)
    if value == UNLIMITED_TEXT and kind is Duration:
        return Duration(1 << 62)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{value!r} is neither text nor an integer")
    return Moment(parse(str(value))) if kind is Moment else Duration(duration(value))


class InstrumentLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits that may differ by instrument. None: not set here."""

    sides: tuple[str, ...] | None = None
    """Control 1: of buy, sell."""
    order_types: tuple[str, ...] | None = None
    """Control 1: of market, limit, stop, stop_limit, trailing_stop, iceberg, pegged."""
    time_in_force: tuple[str, ...] | None = None
    """Control 1: of day, gtc, ioc, fok, gtd."""
    restricted: bool | None = None
    """Control 2: no orders at all."""
    restricted_from: Moment | None = None
    restricted_to: Moment | None = None
    """Control 2: no orders in [from, to)."""
    expiry_window: Duration | None = None
    """Control 2: no orders in this time before expiry."""
    order_qty: Limit | None = None
    """Control 4, base units."""
    order_value: Limit | None = None
    """Control 5."""
    parent_value: Limit | None = None
    """Control 6."""
    price_collar: Percent | None = None
    """Control 7; `price_collar_floor` is a distance in price that is always allowed."""
    price_collar_floor: Limit = Limit(0)
    dynamic_collar: Limit | None = None
    """Control 8: k; of σ over `dynamic_horizon`, and at least `dynamic_floor` of the price."""
    dynamic_horizon: Duration = Duration(1_000_000_000)
    dynamic_floor: Percent = Percent("0.001")
    period_drift: Percent | None = None
    """Control 9, within `period_window`."""
    period_window: Duration = Duration(300_000_000_000)
    max_age: Duration | None = None
    """Control 10."""
    duplicate_orders: Limit | None = None
    """Control 11: so many within `duplicate_window`."""
    duplicate_window: Duration = Duration(1_000_000_000)
    self_match: bool | None = None
    """Control 12: true lets own orders meet. Not set: they are kept apart."""
    order_ratio: Limit | None = None
    """Control 14: orders ÷ trades − 1 of the account's day, by number and by volume, after `ratio_free` orders."""
    volume_ratio: Limit | None = None
    ratio_free: int = 1000
    executions: Limit | None = None
    """Control 15: so many executions on a side within `execution_window`, then none until somebody acknowledges."""
    execution_window: Duration = Duration(60_000_000_000)
    volume_share: Percent | None = None
    """Control 22: the worst-case position as a part of the market's average volume a day, and of its open interest."""
    interest_share: Percent | None = None
    depth_share: Percent | None = None
    """Control 22: an order as a part of the depth within 10 basis points on the side it would take from."""
    volume: Limit | None = None
    """What control 22 takes for the market's figures until it is told them, base units: of the firm's table."""
    interest: Limit | None = None
    depth: Limit | None = None
    position: Limit | None = None
    """Control 17, base units, long and short; `long` and `short` set the two apart."""
    long: Limit | None = None
    short: Limit | None = None


class ScopeLimits(InstrumentLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All limits of one scope: totals, and defaults for its instruments."""

    trade: tuple[str, ...] | None = None
    """Control 1: instruments that may be traded: ids, "*", or "*.VENUE"."""
    orders_per_second: Limit | None = None
    """Control 13; a burst of `order_burst` may come at once (0: one second's worth)."""
    order_burst: int = 0
    cancels_per_second: Limit | None = None
    cancel_burst: int = 0
    open_orders: Limit | None = None
    """Control 16."""
    open_value: Limit | None = None
    gross: Limit | None = None
    """Control 18."""
    net: Limit | None = None
    margin_buffer: Percent | None = None
    """Control 20: the part of equity that stays free; "unlimited" asks for no margin."""
    loss: Limit | None = None
    """Control 23: the day's loss."""
    drawdown: Limit | None = None
    traded_value: Limit | None = None
    """Control 25."""
    fills_per_second: Limit | None = None
    """Control 24, of a strategy: more than that, and `fill_burst` at once (0: one second's worth), pauses it."""
    fill_burst: int = 0
    slippage_score: Limit | None = None
    """Control 24: the slippage of a taking fill is so many deviations above the strategy's usual."""
    reject_share: Percent | None = None
    """Control 24: of the last 50 orders so many were denied here or refused by the venue."""
    venue_share: Percent | None = None
    """Control 26: equity at the instrument's venue, of all equity."""
    legs: tuple[str, ...] | None = None
    """Control 28, of a strategy: instruments that hedge each other. Together they are worth at most `leg_value`
    either way, or so again within `leg_time`."""
    leg_value: Limit | None = None
    leg_time: Duration = Duration(2_000_000_000)
    clock_skew: Duration | None = None
    """Control 29."""
    instruments: dict[str, InstrumentLimits] = {}


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of a firm and of all below it."""

    firm: ScopeLimits = ScopeLimits()
    desks: dict[str, ScopeLimits] = {}
    accounts: dict[str, ScopeLimits] = {}
    strategies: dict[str, ScopeLimits] = {}

    @classmethod
    def load(cls, data: Mapping[str, Any], where: str = "risk") -> Limits:
        """From a decoded TOML table; a mistake is a `UserError` that names the place and the nearest key."""
        _check_table(data, where)
        data = {key: value for key, value in data.items() if key not in ELSEWHERE}
        _check_keys(data, cls, where)
        scopes: dict[str, Any] = {"firm": _scope(data.get("firm", {}), f"{where}.firm")}
        for level in ("desks", "accounts", "strategies"):
            tables = data.get(level, {})
            _check_table(tables, f"{where}.{level}")
            scopes[level] = {name: _scope(table, f"{where}.{level}.{name}") for name, table in tables.items()}
        return cls(**scopes)

    def sets(self, *fields: str) -> bool:
        """Whether any table has a finite limit in one of these fields."""
        scopes = [self.firm, *self.desks.values(), *self.accounts.values(), *self.strategies.values()]
        tables = [table for scope in scopes for table in (scope, *scope.instruments.values())]
        found = [getattr(table, field, None) for table in tables for field in fields]
        return any(value is not None and value.is_finite() for value in found)

    def to_json(self) -> bytes:
        """The document as it is kept and sent: the same limits give the same bytes."""
        return msgspec.json.encode(_plain(self), order="deterministic")

    @classmethod
    def from_json(cls, data: bytes) -> Limits:
        """The inverse of `to_json`; raises `UserError`."""
        try:
            return cls(**_interned(data))
        except (UserError, ValueError, TypeError):
            pass  # said in full below
        try:
            decoded = msgspec.json.decode(data)
        except (ValueError, TypeError) as error:
            raise UserError(f"risk: the document is not JSON: {error}") from None
        _check_table(decoded, "risk")
        return cls.load(decoded)


def _interned(data: bytes) -> dict[str, Any]:
    """The tables of a document, read once for the same bytes: of two versions the tables that are alike are the same, so
    that what changes is seen at once. Any mistake raises."""
    levels = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    found: dict[str, Any] = {"firm": _table_of(bytes(levels.pop("firm", b"{}")))}
    for level in ("desks", "accounts", "strategies"):
        tables = msgspec.json.decode(levels.pop(level, b"{}"), type=dict[str, msgspec.Raw])
        found[level] = {name: _table_of(bytes(table)) for name, table in tables.items()}
    if levels:
        raise TypeError("unknown keys")
    return found


@lru_cache(maxsize=1 << 13)
def _table_of(data: bytes) -> ScopeLimits:
    own = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    tables = msgspec.json.decode(own.pop("instruments", b"{}"), type=dict[str, msgspec.Raw])
    instruments = {name: _instrument_of(bytes(table)) for name, table in tables.items()}
    plain = {name: msgspec.json.decode(value) for name, value in own.items()}
    return msgspec.structs.replace(_instrument(plain, ScopeLimits, ""), instruments=instruments)


@lru_cache(maxsize=1 << 13)
def _instrument_of(data: bytes) -> InstrumentLimits:
    return _instrument(msgspec.json.decode(data), InstrumentLimits, "")


def _plain(value: Any) -> Any:
    """What `Limits.load` reads, without what is not set."""
    if isinstance(value, msgspec.Struct):
        defaults = type(value)()
        fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return {name: _plain(held) for name, held in fields if held != getattr(defaults, name)}
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else UNLIMITED_TEXT
    if isinstance(value, Moment):
        return iso(value)
    if isinstance(value, Duration):
        return UNLIMITED_TEXT if value >= 1 << 62 else int(value)
    if isinstance(value, dict):
        return {name: _plain(held) for name, held in value.items()}
    return value


_SHARED = (
    "position", "long", "short", "open_orders", "open_value", "gross", "net", "loss", "drawdown", "traded_value",
    "orders_per_second", "cancels_per_second",
)  # fmt: skip
"""Totals: what several lanes use up together."""


def fraction(scope: ScopeLimits, part: Decimal) -> ScopeLimits:
    """The same limits with `part` (0 … 1) of every total; what is said of an order by itself stays."""
    return _part(scope, 1 / part)


def _part(scope: _Table, lanes: int | Decimal) -> _Table:
    changed: dict[str, Any] = {
        name: type(value)(value / lanes)
        for name in _SHARED
        if (value := getattr(scope, name, None)) is not None and value.is_finite()
    }
    for name in ("open_orders",):  # a count: whole ones, and never more than there are
        if name in changed:
            changed[name] = Limit(int(changed[name]))
    if isinstance(scope, ScopeLimits):
        changed["instruments"] = {key: _part(table, lanes) for key, table in scope.instruments.items()}
    return msgspec.structs.replace(scope, **changed)


def load_toml(path: Path) -> Limits:
    """Limits from a TOML file that holds them at its top level."""
    try:
        return Limits.load(msgspec.toml.decode(path.read_bytes()), str(path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


NAMES: dict[str, dict[str, int]] = {
    "sides": {side.name.lower(): side.value for side in Side},
    "order_types": {kind.name.lower(): kind.value for kind in OrdType},
    "time_in_force": {tif.name.lower(): tif.value for tif in TimeInForce},
}
"""What permissions may list, with the numbers of orders."""


def unlimited() -> Limits:
    """Every limit explicitly off: for benchmarks against systems that have no gate. Never for trading."""
    fields = [*InstrumentLimits.__struct_fields__, *ScopeLimits.__struct_fields__]
    numbers = [name for name in fields if name not in _NOT_NUMBERS]
    everything: dict[str, Any] = dict.fromkeys(numbers, UNLIMITED_TEXT)
    everything |= {field: list(names) for field, names in NAMES.items()} | {
        "trade": ["*"],
        "self_match": True,
    }
    return Limits.load({"firm": everything, "accounts": {"*": everything}, "strategies": {"*": everything}})


def bits(field: str, names: tuple[str, ...]) -> int:
    """The bit mask of `sides`, `order_types` or `time_in_force` names."""
    mask = 0
    for name in names:
        mask |= 1 << NAMES[field][name.lower()]
    return mask


def _check_table(data: Any, where: str) -> None:
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected a table, got {data!r}")


def _check_keys(data: Any, kind: type[msgspec.Struct], where: str) -> None:
    _check_table(data, where)
    for key in data:
        if key not in kind.__struct_fields__:
            raise UserError(f"{where}: unknown key {key!r}{nearest(key, kind.__struct_fields__)}")


def read_table(data: Any, kind: type[_Table], where: str) -> _Table:
    """A decoded TOML table as a struct whose fields are written as limits are; a mistake is a `UserError` that names the
    place and the nearest key."""
    _check_keys(data, kind, where)
    try:
        return msgspec.convert(data, kind, strict=False, dec_hook=_decode_value)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise UserError(f"{where}{path.rstrip('`')}: {text}") from None


def _instrument(data: Any, kind: type[_Limits], where: str) -> _Limits:
    table = read_table(data, kind, where)
    for field, known in NAMES.items():
        for name in getattr(table, field) or ():
            if name.lower() not in known:
                raise UserError(f"{where}.{field}: unknown {name!r}{nearest(name, known)}")
    return table


def _scope(data: Any, where: str) -> ScopeLimits:
    _check_table(data, where)
    own = {key: value for key, value in data.items() if key != "instruments"}
    tables = data.get("instruments", {})
    _check_table(tables, f"{where}.instruments")
    instruments = {
        name: _instrument(table, InstrumentLimits, f"{where}.instruments.{name}")
        for name, table in tables.items()
    }
    return msgspec.structs.replace(_instrument(own, ScopeLimits, where), instruments=instruments)

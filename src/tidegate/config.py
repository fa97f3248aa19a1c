"""The run's configuration: one TOML file, typed, checked, and turned into a run.

Sections: `[run]`, `[data]`, `[rates]`, `[venues.NAME]`, `[accounts.NAME]`, `[strategies.NAME]`, `[risk…]`
(`risk.limits`). An unknown key or a wrong type is one line that names the file, the place and the nearest key.
`docs/configuration.md` describes every key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from tidegate import config_live
from tidegate.access import identity_file
from tidegate.access.identity_file import AccessSection
from tidegate.config_live import CellSection, ConnectionSection, SimulatedSection, TopologySection
from tidegate.errors import UserError, nearest
from tidegate.log.section import LogSection
from tidegate.model.time import duration, parse
from tidegate.risk.limits import Limits
from tidegate.risk.margin.spot import SIDE_EFFECTS
from tidegate.risk.scopes import NEXT, Account, ScopeTable, StrategyScope
from tidegate.strategy_code import code_of, strategy_class


class RunSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[run]`: what the run is called, its base currency and how it is sampled."""

    name: str = "backtest"
    base_currency: str = "USDT"
    sample: str = "1s"
    seed: int = 1


class DataSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[data]`: the lake, the instruments (numbered in this order) and the period, ISO 8601 in UTC."""

    lake: str
    instruments: tuple[str, ...]
    start: str = ""
    end: str = ""


class VenueSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[venues.NAME]`: how the simulated venue fills and how far away it is (docs/simulation.md).

    A latency is a duration, a list of durations to draw from, or the name of a text file with one per line.
    """

    fill_model: str = "partial"
    queue_model: str = "power"
    queue_exponent: float = 2.0
    entry_latency: str | list[str] = "2ms"
    response_latency: str | list[str] = "2ms"
    extra_feed_latency: str = "0ms"
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None
    margin_tiers: str = ""
    """A file of margin tiers; without one those that come with tidegate; `none` (docs/margin.md)."""
    live: ConnectionSection | None = None


class AccountSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[accounts.NAME]`: capital in the base currency, desk, and group for self-match prevention.

    Live: `keys` by venue, `env:NAME` (NAME_KEY and NAME_SECRET) or `file:PATH`; `lane` pins the account to one. `spot`:
    `cash`, or `margin` for a cross margin account, whose orders borrow and repay as `borrow` says (docs/venues.md).
    """

    capital: Decimal
    desk: str = ""
    group: str = ""
    keys: dict[str, str] = {}
    lane: int = -1
    spot: str = "cash"
    borrow: str = "NO_SIDE_EFFECT"


class StrategySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[strategies.NAME]`: its class (a name of the library, `module:Class` or `file.py:Class`) and parameters.

    `canary`: the largest part of its limits that a new version may have while it is tried beside it ("10%"); empty: no
    version can be deployed while the system runs (docs/deploy.md).
    """

    type: str
    account: str
    params: dict[str, Any] = {}
    canary: str = ""
    cell: CellSection = CellSection()


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run, as its file says."""

    data: DataSection
    accounts: dict[str, AccountSection]
    strategies: dict[str, StrategySection]
    run: RunSection = RunSection()
    venues: dict[str, VenueSection] = {}
    rates: dict[str, str | float] = {}
    risk: dict[str, Any] = {}
    desks: tuple[str, ...] = ()
    log: LogSection = LogSection()
    topology: TopologySection = TopologySection()
    simulated: SimulatedSection | None = None
    access: AccessSection = AccessSection()


def load(path: Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read and check a configuration; `overrides` are dotted keys and values put over the file's."""
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read configuration {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    for key, value in (overrides or {}).items():
        _override(data, key, value)
    check_keys(data, Config, str(path))
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}") from None
    for name, strategy in config.strategies.items():
        if strategy.account not in config.accounts:
            hint = nearest(strategy.account, config.accounts)
            raise UserError(f"{path}: strategies.{name}.account: unknown account {strategy.account!r}{hint}")
    for name, account in config.accounts.items():
        _check_spot(account, f"{path}: accounts.{name}")
    slots_of(config, str(path))
    identity_file.check(config.access, str(path))
    config_live.check(str(path), config.log, config.topology, config.simulated, config.strategies)
    return config


def _check_spot(account: AccountSection, where: str) -> None:
    if account.spot not in ("cash", "margin"):
        raise UserError(f"{where}.spot is {account.spot!r}, must be cash or margin")
    if account.borrow not in SIDE_EFFECTS:
        raise UserError(f"{where}.borrow is {account.borrow!r}, must be one of {', '.join(SIDE_EFFECTS)}")
    if account.spot == "cash" and account.borrow != SIDE_EFFECTS[0]:
        raise UserError(f'{where}.borrow is {account.borrow!r}: only an account with spot = "margin" borrows')


def _override(data: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    here = data
    for part in path:
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            raise UserError(f"cannot set {key}: {part} is not a table")
    here[last] = value


def check_keys(data: Any, kind: Any, where: str) -> None:
    """Refuse keys that `kind` does not have, naming the nearest that it has."""
    if not isinstance(data, dict) or not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in data.items():
        if key not in fields:
            raise UserError(f"{where}: unknown key {key!r}{nearest(key, fields)}")
        inner = getattr(fields[key], "__args__", None)
        if isinstance(value, dict) and inner and getattr(fields[key], "__origin__", None) is dict:
            for name, item in value.items():
                check_keys(item, inner[1], f"{where}: {key}.{name}")
        else:
            check_keys(value, fields[key], f"{where}: {key}")


def slots_of(config: Config, where: str = "configuration") -> dict[str, Decimal]:
    """The strategies that have a slot for a candidate, and the largest part of their limits that it may have."""
    found: dict[str, Decimal] = {}
    for name, section in config.strategies.items():
        if not section.canary:
            continue
        text = section.canary.strip()
        try:
            part = Decimal(text[:-1]) / 100 if text.endswith("%") else Decimal(text)
        except InvalidOperation:
            part = Decimal(0)
        if not 0 < part < 1:
            raise UserError(
                f'{where}: strategies.{name}.canary is {section.canary!r}; write a part of its limits, as "10%"'
            )
        if name + NEXT in config.strategies:
            raise UserError(f"{where}: strategies.{name}{NEXT} is the name of {name}'s slot for new versions")
        found[name] = part
    return found


def scopes_of(config: Config) -> ScopeTable:
    """The scope table: accounts and strategies numbered in the file's order."""
    desks = dict.fromkeys([*config.desks, *(a.desk for a in config.accounts.values() if a.desk)])
    accounts = [
        Account(name=n, desk=a.desk, group=a.group, capital=a.capital) for n, a in config.accounts.items()
    ]
    strategies = [StrategyScope(name=n, accounts=(s.account,)) for n, s in config.strategies.items()]
    strategies += [
        StrategyScope(name=n + NEXT, accounts=(config.strategies[n].account,), slot_of=n, part=part)
        for n, part in slots_of(config).items()
    ]
    return ScopeTable(accounts, strategies, list(desks))


def build_strategies(config: Config, where: str, base: Path) -> Iterator[Any]:
    """The strategies with their parameters checked, numbered in the file's order."""
    accounts = list(config.accounts)
    for number, (name, section) in enumerate(config.strategies.items()):
        kind = strategy_class(section.type, base)
        at = f"{where}: strategies.{name}.params"
        check_keys(section.params, kind.Params, at)
        try:
            params = msgspec.convert(section.params, kind.Params)
        except (msgspec.ValidationError, ValueError) as error:
            raise UserError(f"{at}: {error}") from None
        yield kind(name, number, accounts.index(section.account), params)


def latencies(value: str | list[str], where: str, base: Path) -> tuple[int, ...]:
    """A latency setting as samples in ns."""
    try:
        if isinstance(value, str) and (base / value).is_file():
            value = (base / value).read_text().split()
        samples = [duration(item) for item in ([value] if isinstance(value, str) else value)]
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    if not samples or min(samples) < 0:
        raise UserError(f"{where}: needs at least one latency, none below 0")
    return tuple(samples)


def universe_of(config: Config, path: Path) -> Any:
    """The instruments of a configuration, numbered in its order, with the fees it sets (`model.instrument.Universe`)."""
    from tidegate.model.instrument import Universe
    from tidegate.risk.margin import file as margin_file
    from tidegate.store.lake import Lake

    lake = Lake(path.parent / config.data.lake)
    known = {item.id: item for item in lake.instruments()}
    instruments = []
    for name in config.data.instruments:
        if name not in known:
            raise UserError(f"{path}: data.instruments: {lake.path} holds no {name!r}{nearest(name, known)}")
        instruments.append(_with_fees(known[name], config.venues))
    names = dict.fromkeys(item.venue for item in instruments)
    for name in config.venues:
        if name not in names:
            raise UserError(f"{path}: venues.{name}: no instrument trades there{nearest(name, names)}")
    tiers = {name: section.margin_tiers for name, section in config.venues.items()}
    return Universe(margin_file.with_tiers(instruments, tiers, path.parent, str(path)))


def rates_of(config: Config, path: Path, universe: Any) -> dict[str, str | Decimal]:
    """Rates to the base currency: a number, or the instrument whose middle it is."""
    rates: dict[str, str | Decimal] = {}
    for currency, rate in config.rates.items():
        if isinstance(rate, str) and rate not in universe.index:
            hint = nearest(rate, universe.index)
            raise UserError(f"{path}: rates.{currency}: unknown instrument {rate!r}{hint}")
        rates[currency] = rate if isinstance(rate, str) else Decimal(str(rate))
    return rates


def backtest(config: Config, path: Path) -> Any:
    """The `sim.backtest.Setup` of a configuration read from `path`."""
    from tidegate.sim.backtest import Setup
    from tidegate.sim.stream import Source
    from tidegate.store.lake import FOREVER, Lake

    where, base = str(path), path.parent
    lake = Lake(base / config.data.lake)
    start, end = (
        _moment(text, f"{where}: data.{name}", default)
        for name, text, default in (("start", config.data.start, 0), ("end", config.data.end, FOREVER))
    )
    universe = universe_of(config, path)
    instruments = universe.instruments
    venues, extra = venue_models(config, path, universe)
    sources = [
        Source(
            lake.open(item.id, start, end),
            number,
            max_delay=lake.max_delay(item.id),
            extra_latency=extra[item.venue],
            expected=sum(part.info.rows for part in lake.parts(item.id)),
        )
        for number, item in enumerate(instruments)
    ]
    strategies = list(build_strategies(config, where, base))
    plain = msgspec.structs.replace(config, access=AccessSection())  # who may stop it changes no result
    data_key = [[p.path.name for p in lake.parts(item.id)] for item in instruments]
    data_key += [[repr((item.tiers, item.leverage, item.margin_price))] for item in instruments if item.tiers]
    return Setup(
        universe=universe,
        sources=sources,
        venues=venues,
        scopes=scopes_of(config),
        limits=Limits.load(config.risk, f"{where}: risk"),
        strategies=strategies,
        base_currency=config.run.base_currency,
        rates=rates_of(config, path, universe),
        sample=latencies(config.run.sample, f"{where}: run.sample", base)[0],
        seed=config.run.seed,
        name=config.run.name,
        key=repr(
            (msgspec.to_builtins(plain, str_keys=True), data_key, [code_of(type(s)) for s in strategies])
        ),
    )


def venue_models(config: Config, path: Path, universe: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """How each venue of the instruments is simulated (`kernel.replay_engine.VenueModel`), and its feed's extra latency."""
    from tidegate.kernel.queue import QUEUE_MODELS
    from tidegate.kernel.replay_engine import VenueModel

    where, base = str(path), path.parent
    venues, extra = {}, {}
    for name in dict.fromkeys(item.venue for item in universe.instruments):
        section = config.venues.get(name, VenueSection())
        at = f"{where}: venues.{name}"
        _one_of(section.fill_model, ("no_partial", "partial"), f"{at}.fill_model")
        _one_of(section.queue_model, tuple(QUEUE_MODELS), f"{at}.queue_model")
        venues[name] = VenueModel(
            fill=section.fill_model,
            queue=section.queue_model,
            queue_exponent=section.queue_exponent,
            entry_latency=latencies(section.entry_latency, f"{at}.entry_latency", base),
            response_latency=latencies(section.response_latency, f"{at}.response_latency", base),
        )
        extra[name] = latencies(section.extra_feed_latency, f"{at}.extra_feed_latency", base)[0]
    return venues, extra


def _one_of(value: str, known: tuple[str, ...], where: str) -> None:
    if value not in known:
        raise UserError(f"{where}: unknown model {value!r}{nearest(value, known)}")


def _moment(text: str, where: str, default: int) -> int:
    if not text:
        return default
    try:
        return parse(text)
    except ValueError:
        raise UserError(f"{where}: {text!r} is not a time; write 2024-08-08T23:55:00") from None


def _with_fees(item: Any, venues: dict[str, VenueSection]) -> Any:
    section = venues.get(item.venue)
    if section is None:
        return item
    changed = {n: v for n in ("maker_fee", "taker_fee") if (v := getattr(section, n)) is not None}
    return msgspec.structs.replace(item, **changed) if changed else item

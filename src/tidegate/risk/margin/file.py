"""Margin tiers and haircuts as people write them: TOML or JSON, in human units; and as Binance answers them.

    [instruments."BTCUSDT.BINANCE_USDM"]
    leverage = 20                                   # what accounts are set to; 0 or none: the most of each tier
    price = 250_000                                 # the gate's flat rate holds up to it (inverse: down to it)
    tiers = [{ to = 50_000, leverage = 125, maintenance = "0.4%" }, …]

    [collateral.BTC]
    tiers = [{ to = 1_000_000, ratio = "95%" }, { ratio = "90%" }]

A tier begins where the one before it ends; `from` may say so, and `amount` (Binance's cum) may be given: both are
checked. A JSON file may be the answer of `GET leverageBracket` as it came. A mistake is one line of `UserError`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.model.instrument import Instrument
from tidegate.model.margin_tiers import Tier, TierTable, problem
from tidegate.model.scale import ScaleError, decimal
from tidegate.risk.margin import collateral
from tidegate.risk.margin import models as margin_models
from tidegate.risk.margin.collateral import HaircutTier

NONE = "none"
_FILE = Path(__file__).with_name("tiers_binance.toml")
_INSTRUMENT = ("leverage", "price", "tiers")
_TIER = ("from", "to", "leverage", "initial", "maintenance", "amount")
_BRACKETS = {"bracket", "initialLeverage", "maintMarginRatio", "cum"}


class Margins(msgspec.Struct, frozen=True):
    """What a file says of one instrument."""

    tiers: tuple[Tier, ...]
    leverage: int = 0
    price: Decimal = Decimal(0)


class MarginFile(msgspec.Struct, frozen=True):
    """A whole file: instruments by id (`SYMBOL.VENUE`; only a symbol in an answer of Binance's), haircuts by currency."""

    instruments: dict[str, Margins]
    collateral: dict[str, tuple[HaircutTier, ...]] = {}

    def of(self, item: Instrument) -> Margins | None:
        """What it says of an instrument: by its id, its symbol, or the pair it is a contract on."""
        for name in (item.id, item.symbol, item.symbol.partition("_")[0]):
            if name in self.instruments:
                return self.instruments[name]
        return None


def load(path: Path) -> MarginFile:
    """Read and check a file; raises `UserError`."""
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"cannot read margin tiers {path}: {error.strerror}") from None
    try:
        data: Any = json.loads(text, parse_float=str) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: not valid {path.suffix.lstrip('.').upper() or 'TOML'}: {error}") from None
    return read(data, str(path))


def packaged() -> MarginFile:
    """The tables that come with tidegate."""
    return load(_FILE)


def read(data: Any, where: str) -> MarginFile:
    """From decoded TOML or JSON; raises `UserError`."""
    if isinstance(data, list):
        return MarginFile(brackets(data, where))
    _known(data, ("instruments", "collateral"), where)
    instruments = {
        name: _margins(table, f"{where}: {name}")
        for name, table in _table(data, "instruments", where).items()
    }
    haircuts = {
        name: _haircuts(table, f"{where}: collateral.{name}")
        for name, table in _table(data, "collateral", where).items()
    }
    return MarginFile(instruments, haircuts)


def apply(item: Instrument, file: MarginFile, where: str) -> Instrument:
    """The instrument with its tiers; what is no contract stays as it is. Raises `UserError` for a contract that the
    file does not speak of: an understated margin is worse than none."""
    if not margin_models.tiered(item):
        return item
    found = file.of(item)
    if found is None:
        raise UserError(f"{where}: no tiers for {item.id}{nearest(item.id, file.instruments)}")
    changed = {"tiers": found.tiers, "leverage": found.leverage, "margin_price": found.price}
    return msgspec.structs.replace(item, **changed)


def with_tiers(
    items: Sequence[Instrument], chosen: Mapping[str, str], base: Path, where: str
) -> list[Instrument]:
    """The instruments with the tiers that a configuration names by venue: a file seen from the folder `base`; "" for
    those that come with tidegate, where they have the instrument; `none` for the instrument's own two rates, whatever
    its value. Raises `UserError`."""
    files: dict[str, MarginFile] = {"": packaged()}
    made = []
    for item in items:
        name = chosen.get(item.venue, "")
        if item.tiers or name == NONE or (not name and item.id not in files[""].instruments):
            made.append(item)
            continue
        if name not in files:
            files[name] = load(base / name)
        made.append(apply(item, files[name], f"{where}: venues.{item.venue}.margin_tiers: {name}"))
    return made


def haircuts(chosen: Mapping[str, str], base: Path) -> dict[str, Mapping[str, tuple[HaircutTier, ...]]]:
    """What assets count for as collateral, by venue, where its file has a table of that; raises `UserError`."""
    made: dict[str, Mapping[str, tuple[HaircutTier, ...]]] = {}
    for venue, name in chosen.items():
        if name and name != NONE and (found := load(base / name).collateral):
            made[venue] = found
    return made


def brackets(rows: Sequence[Any], where: str) -> dict[str, Margins]:
    """The answer of `GET leverageBracket`, of USDⓈ-M or COIN-M (v1 by pair, v2 by symbol); raises `UserError`.

    `notionalCoef` multiplies the account's tiers.
    """
    made: dict[str, Margins] = {}
    for row in rows:
        name = row.get("symbol") or row.get("pair") if isinstance(row, Mapping) else None
        if not name or not isinstance(row.get("brackets"), list):
            raise UserError(
                f"{where}: expected [{{symbol, brackets}}, …] as of leverageBracket, got {_short(row)}"
            )
        times = _number(row.get("notionalCoef", 1), f"{where}: {name}: notionalCoef")
        found = sorted(
            (_bracket(b, times, f"{where}: {name}") for b in row["brackets"]), key=lambda tier: tier["floor"]
        )
        tiers = tuple(Tier(**{k: v for k, v in b.items() if k != "amount"}) for b in found)
        _check(tiers, [b["amount"] for b in found], f"{where}: {name}")
        made[name] = Margins(tiers)
    return made


def _bracket(data: Any, times: Decimal, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping) or not data.keys() >= _BRACKETS:
        raise UserError(
            f"{where}: a bracket has {', '.join(sorted(_BRACKETS))} and its ends, got {_short(data)}"
        )
    at = f"{where}: bracket {data['bracket']}"
    cap = data.get("notionalCap", data.get("qtyCap"))
    floor = data.get(
        "notionalFloor", data.get("qtyFloor", data.get("qtylFloor"))
    )  # Binance's documents have both
    if cap is None or floor is None:
        raise UserError(f"{at}: no notionalFloor and notionalCap, nor qtyFloor and qtyCap")
    return {
        "floor": _number(floor, at) * times,
        "cap": _number(cap, at) * times,
        "leverage": _number(data["initialLeverage"], at),
        "maintenance": _number(data["maintMarginRatio"], at),
        "amount": _number(data["cum"], at) * times,
    }


def _margins(data: Any, where: str) -> Margins:
    _known(data, _INSTRUMENT, where)
    rows = data.get("tiers")
    if not isinstance(rows, list):
        raise UserError(f"{where}: tiers: expected a list of tables, got {_short(rows)}")
    made: list[Tier] = []
    amounts: list[Decimal | None] = []
    for number, row in enumerate(rows, 1):
        at = f"{where}: tier {number}"
        _known(row, _TIER, at)
        values = {name: _number(row[name], f"{at}: {name}") for name in row}
        if "maintenance" not in values:
            raise UserError(f"{at}: maintenance is not given")
        below = made[-1].cap if made else Decimal(0)
        made.append(
            Tier(
                floor=values.get("from", below), cap=values.get("to", Decimal(0)), maintenance=values["maintenance"],
                leverage=values.get("leverage", Decimal(0)), initial=values.get("initial", Decimal(0)),
            )
        )  # fmt: skip
        amounts.append(values.get("amount"))
    tiers = tuple(made)
    _check(tiers, amounts, where)
    leverage = data.get("leverage", 0)
    if isinstance(leverage, bool) or not isinstance(leverage, int) or not 0 <= leverage <= 1000:
        raise UserError(f"{where}: leverage is {leverage!r}, must be a whole number from 1 on, or 0")
    price = _number(data.get("price", 0), f"{where}: price")
    if price < 0:
        raise UserError(f"{where}: price is {price:f}, must not be below 0")
    return Margins(tiers, leverage, price)


def _check(tiers: tuple[Tier, ...], amounts: Sequence[Decimal | None], where: str) -> None:
    wrong = problem(tiers)
    if wrong:
        raise UserError(f"{where}: {wrong}")
    table = TierTable(tiers, "USD")
    for number, (said, exact) in enumerate(zip(amounts, table.amounts, strict=True), 1):
        follows = exact / 10**8
        if said is not None and abs(Fraction(said) - follows) > max(Fraction(1, 10**6), follows / 10**6):
            raise UserError(
                f"{where}: tier {number}: the amount is {said:f}, which makes a step: "
                f"{float(follows):.10g} follows from the tiers below"
            )


def _haircuts(data: Any, where: str) -> tuple[HaircutTier, ...]:
    _known(data, ("ratio", "tiers"), where)
    rows = data.get("tiers", [{"ratio": data["ratio"]}] if "ratio" in data else None)
    if not isinstance(rows, list) or ("ratio" in data and "tiers" in data):
        raise UserError(f"{where}: give ratio, or a list of tiers")
    made = []
    for number, row in enumerate(rows, 1):
        at = f"{where}: tier {number}"
        _known(row, ("to", "ratio"), at)
        if "ratio" not in row:
            raise UserError(f"{at}: ratio is not given")
        values = {name: _number(row[name], f"{at}: {name}") for name in row}
        made.append(HaircutTier(ratio=values["ratio"], cap=values.get("to", Decimal(0))))
    wrong = collateral.problem(made)
    if wrong:
        raise UserError(f"{where}: {wrong}")
    return tuple(made)


def _number(value: Any, where: str) -> Decimal:
    """A number, or a percentage as text."""
    text = str(value).strip().replace("_", "") if isinstance(value, str | int | float) else ""
    percent = text.endswith("%")
    try:
        if isinstance(value, bool):
            raise ScaleError("true and false are no numbers")
        number = decimal(text.removesuffix("%"))
    except ScaleError:
        raise UserError(f"{where}: {value!r} is not a number") from None
    return number / 100 if percent else number


def _table(data: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, Mapping):
        raise UserError(f"{where}: {name}: expected a table, got {_short(table)}")
    return table


def _known(data: Any, names: Sequence[str], where: str) -> None:
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected a table, got {_short(data)}")
    for key in data:
        if key not in names:
            raise UserError(f"{where}: unknown key {key!r}{nearest(key, names)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

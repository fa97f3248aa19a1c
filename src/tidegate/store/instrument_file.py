"""Instrument definitions in a TOML file, for captures of markets that tidegate does not know."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import market_of
from tidegate.model.instrument import Instrument


class _File(msgspec.Struct, forbid_unknown_fields=True):
    instrument: list[Instrument]


def read_instruments(path: Path) -> list[Instrument]:
    """The `[[instrument]]` tables of a file; decimals are text. Raises `UserError`."""
    try:
        content = tomllib.loads(path.read_text())
        found = msgspec.convert(content, _File).instrument
        for item in found:
            market_of(item)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None
    return found

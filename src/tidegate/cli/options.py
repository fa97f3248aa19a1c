"""What many commands share: the data folder, the configuration, times, and how they end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.errors import UserError

if TYPE_CHECKING:
    from tidegate.ops.folder import DataFolder

DEFAULT_DATA = Path("runs/live")
NOT_WELL, FAILED = 1, 3
"""Exit codes: what was asked about is not well; what was started did not come up. A user's mistake is 2."""
DataOption = Annotated[Path, typer.Option("--data", help="The system's data folder.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The system's TOML file: its own identities, a log elsewhere.")
]


def folder_of(data: Path) -> DataFolder:
    """The data folder of a system that was started once; raises `UserError` where there is none."""
    from tidegate.ops.folder import DataFolder

    if not data.is_dir():
        raise UserError(f"no data folder {data}; start a system with `tidegate up`, or say --data")
    return DataFolder(data)


def since_of(text: str) -> int:
    """The time of `--since`, ns; 0 for the beginning."""
    return _time(text, "--since", "5m, 2h, or a time like 2024-08-08T23:55:00", -1)


def until_of(text: str) -> int:
    """The time of `--expires`, ns; 0 for never."""
    return _time(text, "--expires", "90d, or a time like 2027-01-31T18:00:00", 1)


def _time(text: str, option: str, example: str, towards: int) -> int:
    from tidegate.model.time import duration, parse

    if not text:
        return 0
    try:
        return time.time_ns() + towards * duration(text)
    except ValueError:
        pass
    try:
        return parse(text)
    except ValueError:
        raise UserError(f"{option} {text!r}: write {example}") from None

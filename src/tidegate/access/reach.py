"""How far an identity reaches: the scopes its commands count for, and what lies below them.

What lies below what is the system's to say (`risk.scope_name.above`); it comes in as a table, so that the same command
is judged alike wherever, and whenever, the table is the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.log import private

Above = Mapping[str, tuple[str, ...]]
"""By a scope's text: every scope that it wholly lies below, the firm aside."""
NOTHING: Above = {}
FIRM = "firm"
TEXT = re.compile(r"firm|(desk|account|strategy|instrument|venue):\S+")
"""A scope that an identity may be limited to."""


def reaches(own: Iterable[str], scope: str, above: Above) -> bool:
    """Whether who is limited to the scopes `own` (none: to nothing, the whole firm) may act on `scope`. A scope that the
    table does not know lies below the firm alone."""
    own = set(own)
    return not own or not own.isdisjoint((FIRM, scope, *above.get(scope, ())))


def known_scopes(scopes: Iterable[str], above: Above, where: str) -> None:
    """Refuse a scope that the system does not have; raises `UserError`. Of an empty table nothing is known."""
    for scope in scopes:
        if above and scope != FIRM and scope not in above:
            raise UserError(f"{where}: there is no {scope!r}{nearest(scope, above)}")


def path_of(data: Path) -> Path:
    """Where a data folder keeps the table of the system that runs on it."""
    return data / "run" / "scopes.json"


def keep(data: Path, above: Above) -> None:
    """Keep the table for commands of people, who need not say which configuration it is. Raises `OSError`."""
    path = path_of(data)
    private.folder(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(above))
    part.replace(path)


def kept(data: Path) -> Above:
    """The table of the system that ran last on a data folder; an empty one where none did."""
    try:
        return msgspec.json.decode(path_of(data).read_bytes(), type=dict[str, tuple[str, ...]])
    except (OSError, ValueError):
        return NOTHING

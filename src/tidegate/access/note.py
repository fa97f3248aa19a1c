"""How services note what people asked for: done, refused, or not believed at all."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.access.command import Signed

Note = Callable[[str, str, str, str, str, bytes], None]
"""(who, do, scope, outcome, detail, signed), as `access.audit.AuditTrail.note`."""
NOBODY = "nobody"
"""Who sent what cannot even be read."""


def unbelieved(note: Note, data: bytes | Signed, why: object, detail: str = "", do: str = "?") -> None:
    """Note a command that is not believed. Its names are what it says of itself, so it is of "NAME (not verified)";
    where it cannot be read, of nobody, and to `do`."""
    try:
        signed = Signed.decode(data) if isinstance(data, bytes) else data
        claimed = signed.command
        who, do, scope = f"{claimed.by} (not verified)", claimed.do, claimed.scope
    except ValueError:
        who, scope = NOBODY, "?"
    note(who, do, scope, f"refused: {why}", detail, data if isinstance(data, bytes) else data.encode())

"""What people must know, as an entry of the stream ALERT: the same words from every service."""

from __future__ import annotations

from typing import Any

import msgspec


def alert(ts: int, kind: str, severity: str, scope: str, text: str, **figures: Any) -> tuple[str, bytes]:
    """The subject and the bytes. `severity` is info, high or critical; `scope` says of whom; `ts` is in ns."""
    body = {"ts": ts, "kind": kind, "severity": severity, "scope": scope, "text": text, "figures": figures}
    return f"alert.{kind}", msgspec.json.encode(body, enc_hook=str)


def spoiled_text(key: str, value: bytes) -> str:
    """Of a key whose value no service of ours wrote: a user of the log can have the server write its answers there."""
    shown = value[:80].decode(errors="replace")
    return (
        f"{key} was overwritten by what is none of ours ({shown!r}): find out which user of the log does that"
    )

"""What people must know, as an entry of the stream ALERT: the same words from every service."""

from __future__ import annotations

from typing import Any

import msgspec


def alert(ts: int, kind: str, severity: str, scope: str, text: str, **figures: Any) -> tuple[str, bytes]:
    """The subject and the bytes. `severity` is info, high or critical; `scope` says of whom; `ts` is in ns."""
    body = {"ts": ts, "kind": kind, "severity": severity, "scope": scope, "text": text, "figures": figures}
    return f"alert.{kind}", msgspec.json.encode(body, enc_hook=str)

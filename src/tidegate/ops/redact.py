"""Nothing secret in a log: known values, telling keys, private keys and passwords in addresses are blotted out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegate.access.signer import PREFIX

BLOT = "[secret]"
_KEY = re.compile(
    r"secret|passw|token|api_?key|apikey|signature|signing_?key|private|credential|listen_?key", re.IGNORECASE
)
_ADDRESS = re.compile(rb"(://)[^/\s\"@]+@")
_QUERY = re.compile(rb"((?:signature|apiKey|api_key|listenKey|token|secret)=)[^&\s\"\\]+", re.IGNORECASE)
_SIGNING_KEY = re.compile(PREFIX.encode() + rb"[A-Za-z0-9+/=]+")
_SHORTEST = 6
"""A known value shorter than this is left alone: it would blot out ordinary words."""


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """The values of environment variables whose names tell that they are secret."""
    return [environ[name] for name in telling(environ)]


def telling(names: Iterable[str]) -> list[str]:
    """The names that tell of a secret."""
    return [name for name in names if _KEY.search(name)]


class Redactor:
    """Blots secrets out of lines that are about to be written."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True)
        forms = [re.escape(msgspec.json.encode(s)[1:-1]) for s in known]
        self._known = re.compile(b"|".join(forms)) if forms else None

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a line, with those of telling names blotted out, however deep."""
        return {
            key: BLOT if _KEY.search(key) else self.fields(value) if isinstance(value, dict) else value
            for key, value in fields.items()
        }

    def line(self, line: bytes) -> bytes:
        """An encoded line without known secrets, passwords in addresses and signatures in queries."""
        if self._known is not None:
            line = self._known.sub(BLOT.encode(), line)
        if PREFIX.encode() in line:
            line = _SIGNING_KEY.sub(BLOT.encode(), line)
        if b"://" in line:
            line = _ADDRESS.sub(rb"\1" + BLOT.encode() + b"@", line)
        if b"=" in line:
            line = _QUERY.sub(rb"\1" + BLOT.encode(), line)
        return line

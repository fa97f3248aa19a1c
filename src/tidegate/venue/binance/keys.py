"""An account's API key and secret: from the environment or from a file nobody else can read; never shown."""

from __future__ import annotations

import hashlib
import os
import stat
import tomllib
from pathlib import Path

from tidegate.errors import UserError

_BLOCK = 64


class Keys:
    """A key and its secret. Printing, logging or pickling it shows neither."""

    __slots__ = ("_inner", "_outer", "key")

    def __init__(self, key: str, secret: str) -> None:
        if not key.isascii() or not key.isalnum() or not secret:
            raise UserError(
                "an API key and its secret are needed: the key is letters and digits, neither is empty"
            )
        self.key = key
        raw = secret.encode()
        block = (raw if len(raw) <= _BLOCK else hashlib.sha256(raw).digest()).ljust(_BLOCK, b"\0")
        # HMAC's two keyed hashes (RFC 2104), begun once: half the price of a signature.
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    @classmethod
    def from_environment(cls, key: str, secret: str) -> Keys:
        """From the environment variables of these names."""
        missing = [name for name in (key, secret) if not os.environ.get(name)]
        if missing:
            raise UserError(
                f"environment variable {' and '.join(missing)} not set: it must hold the API key's part"
            )
        return cls(os.environ[key].strip(), os.environ[secret].strip())

    @classmethod
    def from_file(cls, path: Path) -> Keys:
        """From a TOML file with `key` and `secret` that only its owner may read (mode 0600)."""
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise UserError(f"{path}: mode {mode:04o} lets others read a secret; chmod 600 {path}")
            data = tomllib.loads(path.read_text())
        except OSError as error:
            raise UserError(f"{path}: cannot read the API key: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            # The parser's own words may quote the secret.
            raise UserError(f'{path}: not TOML; two lines are needed: key = "…" and secret = "…"') from None
        if not all(isinstance(data.get(name), str) for name in ("key", "secret")):
            raise UserError(f'{path}: two lines are needed: key = "…" and secret = "…"')
        return cls(data["key"], data["secret"])

    def sign(self, payload: bytes) -> str:
        """HMAC-SHA256 of the payload, in hexadecimal."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(payload)
        outer.update(inner.digest())
        return outer.hexdigest()

    def __repr__(self) -> str:
        return "Keys(…)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("keys are not pickled")

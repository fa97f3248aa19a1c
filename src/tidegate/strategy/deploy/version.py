"""A version of a strategy: its code and its parameters, under a name that follows from both."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from tidegate.log.base import Log
from tidegate.model.time import SECOND, duration
from tidegate.strategy.deploy import envelope as envelopes

CONFIGURED = "configured"
"""The version that the configuration says."""


class WatchRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[watch]`: how a version's behaviour is judged. `interval` is what figures are counted in; out of the soft range in
    `out` of `of` looks is a deviation. Once live, a deviation takes it back for `probation`, then it is only told."""

    interval: str = "1s"
    out: int = 3
    of: int = 5
    probation: str = "1h"

    def __post_init__(self) -> None:
        if not 1 <= self.out <= self.of <= 1000:
            raise ValueError(f"out is {self.out} and of is {self.of}: 1 ≤ out ≤ of ≤ 1000")
        if duration(self.interval) < SECOND // 10:
            raise ValueError(f"interval is {self.interval!r}, must be 100ms or more")
        duration(self.probation)


class Version(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`type` is a name of the library, or `file.py:Class`; then `sources` has that file and those it imports beside it, by
    name. `code` is tidegate's own version. `name` is the file it was made of, for people, and no part of its id."""

    type: str
    params: dict[str, Any] = {}
    watch: WatchRules = WatchRules()
    code: str = ""
    sources: dict[str, str] = {}
    name: str = ""

    @property
    def id(self) -> str:
        """Twelve hex digits over code and parameters."""
        body = [self.type, self.params, msgspec.to_builtins(self.watch), self.code, self.sources]
        return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()[:12]

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)


def decode(data: bytes) -> Version:
    """The inverse of `Version.encode`; raises `ValueError`."""
    try:
        return msgspec.json.decode(data, type=Version)
    except ValueError as error:
        raise ValueError(f"not a version: {error}") from None


class Unknown(LookupError):
    """The log holds no such version, or not what its id says."""


class Versions:
    """The versions of strategies in the log, and what was expected of them."""

    def __init__(self, log: Log) -> None:
        self._bucket = log.bucket("STATE")

    async def keep(self, strategy: str, version: Version) -> str:
        """Keep it; its id."""
        await self._bucket.put(f"version.{strategy}.{version.id}", version.encode())
        return version.id

    async def find(self, strategy: str, id: str) -> Version:
        """The version of that id; raises `Unknown`."""
        found = await self._bucket.get(f"version.{strategy}.{id}")
        if found is None or not found.value:
            raise Unknown(f"version {id} of {strategy} is not in the log")
        try:
            version = decode(found.value)
        except ValueError as error:
            raise Unknown(f"version {id} of {strategy}: {error}") from None
        if version.id != id:
            raise Unknown(f"version {id} of {strategy} was changed: what is kept is {version.id}")
        return version

    async def keep_envelope(self, strategy: str, envelope: envelopes.Envelope) -> None:
        """Keep what is expected of a version under a part of the limits."""
        await self._bucket.put(_key(strategy, envelope.version, envelope.ppm), envelope.encode())

    async def envelope(self, strategy: str, id: str, ppm: int) -> envelopes.Envelope | None:
        """What is expected of a version under `ppm` of the limits; None where nobody has measured it."""
        found = await self._bucket.get(_key(strategy, id, ppm))
        if found is None or not found.value:
            return None
        return envelopes.decode(found.value)


def _key(strategy: str, id: str, ppm: int) -> str:
    return f"envelope.{strategy}.{id}.{ppm}"

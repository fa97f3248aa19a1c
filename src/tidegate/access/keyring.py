"""The identities a service believes in, as they are now: from the configuration, the data folder, and what has been
revoked since. Works from the files alone while the log is away."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from tidegate.access.command import Signed
from tidegate.access.identity import Identities
from tidegate.access.identity_file import AccessSection, identities_of, load, path_of
from tidegate.access.reach import Above, kept
from tidegate.access.verify import Denied, Verified, Verifier
from tidegate.errors import UserError
from tidegate.log.base import KvEntry, Log, Subscription

BUCKET, PREFIX = "ACCESS", "revoked."
"""The key `revoked.NAME` holds the signed command by which an admin revoked it."""
REVOKE = "identity-revoke"
"""That command's `do`; its argument `name` says who."""
MOST = 10_000
"""Revocations that are remembered."""


class Keyring:
    """Made by `open`. `verify` judges a command by it; `verifier` is for who keeps one.

    `above` says what lies below what; by default as the system that ran last on the data folder has it.
    """

    def __init__(self, data: Path, section: AccessSection, above: Above | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._data = data
        self._configured = identities_of(section.identities, "access.identities")
        self._orders: list[Signed] = []
        self._seen: tuple[int, ...] | None = None
        self._watching: Subscription | None = None
        self._verifier = Verifier(Identities(), above=kept(data) if above is None else above)
        self._read()

    @classmethod
    async def open(
        cls, log: Log | None, data: Path, section: AccessSection, above: Above | None = None
    ) -> Keyring:
        """Know the identities, and hear of revocations from now on; raises `UserError` where they contradict."""
        ring = cls(data, section, above)
        if log is not None:
            ring.listen(log)
        return ring

    def listen(self, log: Log) -> None:
        """Hear of revocations from now on."""
        self.close()
        self._watching = log.bucket(BUCKET).watch(self._heard, PREFIX)

    def close(self) -> None:
        """Hear no more."""
        if self._watching is not None:
            self._watching.close()
            self._watching = None

    @property
    def identities(self) -> Identities:
        """All there are now."""
        return self.verifier.identities

    @property
    def verifier(self) -> Verifier:
        """Judges by what is known now; its `identities` are replaced when the data folder's change."""
        self._refresh()
        return self._verifier

    def verify(
        self, signed: Signed | bytes, now: int, people: int = 0, over: Collection[str] = ()
    ) -> Verified:
        """See `Verifier.verify`."""
        return self.verifier.verify(signed, now, people, over)

    def _refresh(self) -> None:
        """Read the data folder's file again where it is another one than last time. One that cannot be read changes
        nothing: it is counted, and those known so far go on."""
        if self._stamp() != self._seen:
            try:
                self._read()
            except UserError:
                self.counters["identities unreadable"] += 1

    def _stamp(self) -> tuple[int, ...] | None:
        """What every change of the file changes, of its mode or owner too: these decide whether it is read."""
        try:
            status = path_of(self._data).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def _read(self) -> None:
        self._seen = self._stamp()
        known = Identities(self._configured)
        for identity in load(self._data):
            known.add(identity)
        self._verifier.identities = known
        self._revoke()

    def _heard(self, entry: KvEntry) -> None:
        if entry.value is None:
            return  # a revocation is for good
        with contextlib.suppress(ValueError):
            signed = Signed.decode(entry.value)
            if entry.key == PREFIX + signed.command.args.get("name", ""):
                if signed not in self._orders:
                    self._orders = [*self._orders[-MOST:], signed]
                    self._refresh()
                    self._revoke()
                return
        self.counters["revocations unreadable"] += 1

    def _revoke(self) -> None:
        """Obey the revocations, in the order in which they were issued: who was revoked before revokes nobody."""
        refused = 0
        for signed in sorted(self._orders, key=lambda one: one.command.issued):
            command = signed.command
            target = self._verifier.identities.get(command.args.get("name", ""))
            try:
                self._verifier.verify(signed, command.issued, over=target.reach if target is not None else ())
            except Denied:
                refused += 1
                continue
            if command.do == REVOKE:
                self._verifier.identities.revoke(command.args["name"], command.issued)
        self.counters["revocations refused"] = refused

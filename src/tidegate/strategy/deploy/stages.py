"""Which version of a strategy trades live, and which is tried: a fold over the stream DEPLOY. Pure: no clock, no I/O.

none → shadow → canary → live. A step up counts only with a command that somebody signed who may (`access.policy`: shadow,
canary, rollback, live); a step may be left out. Down is by such a command too, or automatic, by the watcher. `adopt` gives
the live version what a candidate that was taken back still holds: two people's decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from tidegate.access.command import Command
from tidegate.access.verify import Denied, Verified
from tidegate.log.base import Entry
from tidegate.strategy.deploy.version import CONFIGURED

STREAM = "DEPLOY"
WHOLE = 1_000_000
_SEEN = 10_000

Check = Callable[[bytes, int], Verified]
"""Verifies a signed command at a time (ns); raises `Denied`. `access.verify.Verifier.verify` is one."""


class Stage(StrEnum):
    """How far the candidate is."""

    NONE = "none"
    SHADOW = "shadow"
    CANARY = "canary"


class DeployEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to happen with `version` of `strategy`: `do` is shadow, canary, live, rollback or adopt. `ts` in ns.

    `ppm` is the candidate's part of the limits (canary). `trigger` says which automatic one it is, `signed` is the command
    (`access.command.Signed`, encoded) where a person gave one. `figures` are what a deviation was found by.
    """

    ts: int
    strategy: str
    do: str
    version: str
    reason: str
    source: str
    ppm: int = 0
    trigger: str = ""
    signed: bytes = b""
    figures: dict[str, str] = {}

    def encode(self) -> bytes:
        """As an entry of DEPLOY."""
        return msgspec.json.encode(self)

    @property
    def subject(self) -> str:
        """Where it is appended."""
        return f"deploy.{self.strategy}"


def decode(data: bytes) -> DeployEvent:
    """The inverse of `DeployEvent.encode`; raises `ValueError`."""
    try:
        return msgspec.json.decode(data, type=DeployEvent)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not a deploy event: {error}") from None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy's versions. Times in ns, the log's. `attempt` is the place in DEPLOY where the candidate was first named:
    one deployment's number. `live_seq` is that of the entry that made the live version live (0: it is the configured)."""

    strategy: str
    live: str = CONFIGURED
    live_since: int = 0
    live_seq: int = 0
    previous: str = ""
    candidate: str = ""
    stage: Stage = Stage.NONE
    since: int = 0
    ppm: int = 0
    attempt: int = 0
    seq: int = 0
    did: str = ""
    """What happened last: shadow, canary, live or rollback."""
    last: str = ""
    """The same in one line for people."""
    by: str = ""


class Change(NamedTuple):
    """What an entry came to."""

    before: Status
    after: Status
    event: DeployEvent


class _Ignored(Exception):
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class DeployBoard:
    """Every strategy's versions. Entries are applied in the stream's order; the same entries give the same board.

    `known` gives a strategy's largest canary part in parts per million; 0 for one that has no slot.
    """

    def __init__(self, check: Check, known: Callable[[str], int]) -> None:
        self.seq = 0
        self.strategies: dict[str, Status] = {}
        self.ignored: Counter[str] = Counter()
        self.refused = ""
        """Why the last entry was not followed, in one line; empty where it was."""
        self._check, self._known = check, known
        self._ids: dict[str, None] = {}

    def status(self, strategy: str) -> Status:
        """A strategy's; of one of which nothing was said, the configured version is live."""
        return self.strategies.get(strategy) or Status(strategy=strategy)

    def apply(self, entry: Entry) -> Change | None:
        """Fold an entry; None where it changes nothing."""
        self.refused = ""
        if entry.seq <= self.seq:
            return None
        self.seq = entry.seq
        try:
            event, by = self._event(entry)
            before = self.status(event.strategy)
            after = _step(before, event, by, entry.seq, entry.ts)
        except _Ignored as why:
            self.ignored[why.code] += 1
            self.refused = f"deploy entry {entry.seq} is ignored: {why}"
            return None
        self.strategies[event.strategy] = after
        return Change(before, after, event)

    def _event(self, entry: Entry) -> tuple[DeployEvent, str]:
        """The event and who stands behind it."""
        try:
            event = decode(entry.data)
        except ValueError as error:
            raise _Ignored("malformed", str(error)) from None
        if event.subject != entry.subject:
            raise _Ignored("malformed", f"an event of {event.strategy} on {entry.subject}")
        most = self._known(event.strategy)
        if not most:
            raise _Ignored("no_slot", f"{event.strategy} has no slot for new versions")
        if not event.signed:
            if event.do != "rollback":
                raise _Ignored("unsigned", f"{event.do} of {event.strategy} needs a signed command")
            return event, event.source
        verified = self._verified(event, entry.ts)
        if event.do == "canary" and not 0 < event.ppm <= most:
            raise _Ignored(
                "too_much", f"a canary of {event.ppm / 1e4:g} % of {event.strategy}'s limits; {most / 1e4:g} % at most"
            )  # fmt: skip
        return event, ", ".join(verified.names)

    def _verified(self, event: DeployEvent, ts: int) -> Verified:
        try:
            found = self._check(event.signed, ts)
        except Denied as error:
            raise _Ignored("denied", str(error)) from None
        if said(found.command) != (event.do, event.strategy, event.version, event.ppm):
            raise _Ignored("other_command", "it says another thing than the command that was signed")
        if found.command.id in self._ids:
            raise _Ignored("repeated", "the command was followed before")
        self._ids[found.command.id] = None
        if len(self._ids) > _SEEN:
            del self._ids[next(iter(self._ids))]
        return found


def said(command: Command) -> tuple[str, str, str, int]:
    """What a command asks for: (do, strategy, version, ppm)."""
    ppm = command.args.get("ppm", "0")
    return (
        command.do,
        command.scope.removeprefix("strategy:"),
        command.args.get("version", ""),
        int(ppm) if ppm.isdecimal() else -1,
    )


def commanded(signed: bytes, command: Command, ts: int) -> DeployEvent:
    """The event of a person's command, received at `ts`."""
    do, strategy, version, ppm = said(command)
    return DeployEvent(
        ts=ts, strategy=strategy, do=do, version=version, ppm=ppm, reason=command.reason, source=command.by,
        signed=signed,
    )  # fmt: skip


def _step(s: Status, event: DeployEvent, by: str, seq: int, ts: int) -> Status:
    if not event.version:
        raise _Ignored("malformed", f"{event.do} of {s.strategy} names no version")
    if event.do in ("shadow", "canary"):
        return _tried(s, event, by, seq, ts)
    if event.do == "live":
        return _live(s, event, by, seq, ts)
    if event.do == "rollback":
        return _back(s, event, by, seq, ts)
    if event.do == "adopt":
        return _adopted(s, event, by, seq)
    raise _Ignored("malformed", f"{event.do!r} is no stage")


def _free(s: Status, event: DeployEvent) -> None:
    if s.candidate and s.candidate != event.version:
        raise _Ignored("occupied", f"{s.candidate} is {s.stage} already; roll it back first")
    if s.live == event.version:
        raise _Ignored("unchanged", f"{event.version} is live already")


def _tried(s: Status, event: DeployEvent, by: str, seq: int, ts: int) -> Status:
    _free(s, event)
    stage = Stage(event.do)
    ppm = event.ppm if stage is Stage.CANARY else 0
    if (s.stage, s.ppm) == (stage, ppm):
        raise _Ignored("unchanged", f"{s.candidate} is {stage} already")
    return msgspec.structs.replace(
        s, candidate=event.version, stage=stage, since=ts, ppm=ppm, attempt=s.attempt if s.candidate else seq, seq=seq,
        by=by, did=event.do, last=f"{event.version} {stage}: {event.reason}",
    )  # fmt: skip


def _live(s: Status, event: DeployEvent, by: str, seq: int, ts: int) -> Status:
    _free(s, event)
    return msgspec.structs.replace(
        s, live=event.version, live_since=ts, live_seq=seq, previous=s.live, candidate="", stage=Stage.NONE, since=ts,
        ppm=0, attempt=s.attempt if s.candidate else seq, seq=seq, by=by,
        did=event.do, last=f"{event.version} went live: {event.reason}",
    )  # fmt: skip


def _adopted(s: Status, event: DeployEvent, by: str, seq: int) -> Status:
    """What a candidate that is gone still holds becomes the live version's."""
    if s.candidate or event.version != s.live:
        raise _Ignored("occupied", f"{s.strategy}: {s.candidate or s.live} is in the way")
    return msgspec.structs.replace(
        s, seq=seq, by=by, did="adopt", last=f"{s.live} takes what the candidate held: {event.reason}"
    )


def _back(s: Status, event: DeployEvent, by: str, seq: int, ts: int) -> Status:
    text = f"{event.version} rolled back: {event.reason}"
    if s.candidate == event.version:
        return msgspec.structs.replace(
            s, candidate="", stage=Stage.NONE, since=ts, ppm=0, seq=seq, by=by, did=event.do, last=text
        )
    if s.live != event.version:
        raise _Ignored("stale", f"{event.version} is neither live nor tried")
    if not s.previous:
        raise _Ignored("unchanged", f"{s.live} is live and nothing came before it")
    if s.candidate == s.previous:  # what was to be tried anew is live again
        s = msgspec.structs.replace(s, candidate="", stage=Stage.NONE, ppm=0)
    return msgspec.structs.replace(
        s, live=s.previous, live_since=ts, live_seq=seq, previous="", since=ts, seq=seq, by=by, did=event.do,
        last=text,
    )  # fmt: skip

"""Halts: the state of every scope, as a fold over the stream HALT. Pure: no clock, no I/O. `docs/halts.md`.

ACTIVE → WARN → REDUCE_ONLY → CANCEL_ONLY → KILLED → RECOVERING → ACTIVE. Down may be automatic, and in one step as far
as it must. Up is only ever by people: a command `resume` that two of them have signed, that names the halt it lifts
and has not expired. RECOVERING is reduced limits for a time, and ends by time.

The *halt epoch* is the place in HALT of the event that last brought a scope down to REDUCE_ONLY or further: an order
that was checked before it is not to be sent. Kill twice is kill once: what changes nothing raises no epoch.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from tidegate.access.command import Command, Signed
from tidegate.access.verify import Denied, Verified
from tidegate.errors import UserError
from tidegate.log.base import Log
from tidegate.model.time import SECOND
from tidegate.risk.scope_name import split
from tidegate.risk.scopes import State

STREAM, SUBJECT = "HALT", "halt.event"
RECOVERING_FOR = 600 * SECOND
"""How long a scope recovers where the command does not say, ns."""
SEEN = 100_000
"""Event ids remembered: an event counts once, however often it comes."""
MANUAL, FLATTEN, RECOVERED = "manual", "flatten", "recovered"
"""Triggers that are not a breaker's: a person's command, a person's flatten, the end of a recovery."""
Check = Callable[[bytes, int], Verified]
"""Verifies a signed command at a time (ns); raises `Denied`. `access.verify.Verifier.verify` is one."""


class HaltEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scope is to change its state. `ts` is when its source says so, ns; `scope` as in `risk.scope_name`.

    `trigger` is the breaker that tripped (or `MANUAL` …), `source` the component or the person, `signed` the command
    (`access.command.Signed`, encoded) where a person gave one.
    """

    ts: int
    scope: str
    state: State
    reason: str
    trigger: str
    source: str
    signed: bytes = b""

    @property
    def id(self) -> str:
        """The same for the same event: a person's command has its own, else it follows from what is said."""
        if self.signed:
            try:
                return Signed.decode(self.signed).command.id
            except ValueError:
                pass
        return blake2b(self.encode(), digest_size=16).hexdigest()

    def encode(self) -> bytes:
        """As an entry of HALT."""
        return msgspec.json.encode(self)


def decode(data: bytes) -> HaltEvent:
    """The inverse of `HaltEvent.encode`; raises `ValueError`."""
    try:
        return msgspec.json.decode(data, type=HaltEvent)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not a halt event: {error}") from None


def entry(event: HaltEvent) -> tuple[str, bytes, str]:
    """Subject, bytes and message id, for an append. The same command under other signatures is another message: one that
    was refused for want of them does not keep the good one out."""
    signed = blake2b(event.signed, digest_size=8).hexdigest() if event.signed else ""
    return SUBJECT, event.encode(), f"halt-{event.id}{signed}"


def post(log: Log, event: HaltEvent) -> asyncio.Future[int]:
    """Append it, once: the same event again is not stored again. The future has its place in HALT, or `LogDown`."""
    subject, data, msg_id = entry(event)
    return log.append(subject, data, msg_id=msg_id)


def most_severe(states: Iterable[State]) -> State:
    """The strictest of them; ACTIVE of none."""
    return max(states, default=State.ACTIVE)


def halts(state: State) -> bool:
    """Whether orders that do not reduce are refused in this state."""
    return state >= State.REDUCE_ONLY


def cancels(state: State) -> bool:
    """Whether open orders are cancelled in this state."""
    return state >= State.CANCEL_ONLY


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A scope's state, since when (ns, the log's time), why, and by whom (two names after a resume)."""

    scope: str
    state: State = State.ACTIVE
    since: int = 0
    reason: str = ""
    trigger: str = ""
    by: tuple[str, ...] = ()
    epoch: int = 0
    """The halt epoch: of the last event that halted it, also after it was resumed; 0 where none did."""
    seq: int = 0
    """Place in HALT of the last event that changed it."""
    until: int = 0
    """RECOVERING: when it ends, ns."""
    flatten: Command | None = None
    """The command to flatten that is in force here."""


class Change(NamedTuple):
    """What an event came to."""

    before: Status
    after: Status


class Ignored(Exception):
    """An event that is not followed; `code` is a stable word."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class HaltBoard:
    """Every scope's state. Entries are applied in the order of the stream; the same entries give the same board.

    `known` says whether there is a scope of this name in the run; what has none changes nothing.
    """

    def __init__(self, check: Check, known: Callable[[str], bool] = lambda scope: True) -> None:
        self.seq = 0
        """The last entry applied."""
        self.scopes: dict[str, Status] = {}
        """By name; scopes of which nothing was ever said are not in it."""
        self.ignored: Counter[str] = Counter()
        """Events that changed nothing, by code."""
        self.refused = ""
        """Why the last event was not followed, in one line for people; empty where it was, or was an echo."""
        self._check, self._known = check, known
        self._seen: dict[str, int] = {}

    def apply(self, seq: int, ts: int, data: bytes | HaltEvent) -> list[Change]:
        """Fold entry `seq`, stored at `ts` (ns). What is not to be followed is counted and said in `refused`."""
        self.refused = ""
        if seq <= self.seq:
            return []
        self.seq = seq
        try:
            after = self._judge(seq, ts, data)
        except Ignored as why:
            self.ignored[why.code] += 1
            if why.code not in ("repeated", "unchanged"):
                self.refused = f"halt event {seq} is ignored: {why}"
            return []
        before = self.status(after.scope)
        self.scopes[after.scope] = after
        return [Change(before, after)]

    def anew(self, entries: Iterable[tuple[int, int, bytes]], first: int = 1) -> list[Change]:
        """Fold the stream again from its `first` entry, (seq, ts, data) each: some had not come in their place. What that
        changes. Of what is older only the outcome is known: a scope stays as it was, where the rest says nothing stricter.
        """
        fresh = HaltBoard(self._check, self._known)
        for entry in entries:
            fresh.apply(*entry)
        before, self.scopes = self.scopes, fresh.scopes
        if first > 1:
            for name, was in before.items():
                if was.seq < first or was.state > self.status(name).state:
                    self.scopes[name] = max(was, self.status(name), key=lambda status: status.state)
        self.seq, self._seen, self.ignored, self.refused = fresh.seq, fresh._seen, fresh.ignored, ""
        changed = [name for name in {**before, **self.scopes} if before.get(name) != self.scopes.get(name)]
        return [Change(before.get(name) or Status(scope=name), self.status(name)) for name in changed]

    def status(self, scope: str) -> Status:
        """A scope's own; that of scopes above it counts beside it (`effective`)."""
        return self.scopes.get(scope) or Status(scope=scope)

    def effective(self, chain: Iterable[str]) -> State:
        """The most severe state of these scopes (`risk.scope_name.chain_names`)."""
        return most_severe(self.scopes[name].state for name in chain if name in self.scopes)

    def epoch(self, chain: Iterable[str]) -> int:
        """The last halt epoch of these scopes."""
        return max((self.scopes[name].epoch for name in chain if name in self.scopes), default=0)

    def seen(self, event_id: str) -> bool:
        """Whether the log has brought this event."""
        return event_id in self._seen

    def recovered(self, now: int) -> list[HaltEvent]:
        """What is to be posted: recoveries whose time is over. Whoever posts one, it is the same event."""
        return [
            HaltEvent(
                ts=status.until, scope=status.scope, state=State.ACTIVE, reason="the time of recovery is over",
                trigger=RECOVERED, source=f"halt epoch {status.epoch}",
            )
            for status in self.scopes.values()
            if status.state is State.RECOVERING and now >= status.until
        ]  # fmt: skip

    def _judge(self, seq: int, ts: int, data: bytes | HaltEvent) -> Status:
        try:
            event = decode(data) if isinstance(data, bytes) else data
            split(event.scope)
        except (ValueError, UserError) as error:
            raise Ignored("malformed", str(error)) from None
        key = event.id
        if key in self._seen:
            raise Ignored("repeated", "it came before")
        verified = self._verified(event, ts)
        before = self.status(event.scope)
        if event.trigger == RECOVERED and not verified:
            return _ended(before, event, seq, ts)  # not remembered: what came too early may come again
        self._remember(key, seq)
        if not self._known(event.scope):
            raise Ignored("unknown_scope", f"there is no {event.scope} here")
        if verified is not None and verified.command.do == "resume":
            return _up(before, verified, event, seq, ts)
        late = self._late(verified, event, ts)
        after = _down(before, verified, event, seq, ts, late)
        if late:
            self.refused = f"halt event {seq} halts {event.scope} and flattens nothing: {late}"
        return after

    def _late(self, verified: Verified | None, event: HaltEvent, ts: int) -> str:
        """Why a command to flatten counts no more; empty where it does. It trades, so it must count when it is stored, and
        not only when its receiver says it had it; the halt in it counts all the same."""
        if verified is None or verified.command.do != "flatten":
            return ""
        try:
            self._check(event.signed, ts)
        except Denied as error:
            return str(error)
        return ""

    def _verified(self, event: HaltEvent, ts: int) -> Verified | None:
        """Who commanded it; None where nobody did. A command down is judged by when its receiver had it, for a gateway
        may have to wait for the log; a command up by when it was stored."""
        if not event.signed:
            return None
        up = event.state < State.REDUCE_ONLY
        try:
            command = Signed.decode(event.signed).command
            found = self._check(event.signed, ts if up or command.do == "resume" else event.ts)
        except Denied as error:
            raise Ignored("denied", str(error)) from None
        except ValueError as error:
            raise Ignored("denied", f"MALFORMED: {error}") from None
        if found.command.do not in COMMANDS:
            raise Ignored("other_command", f"the command signed is to {found.command.do}")
        if found.command.scope != event.scope or wanted(found.command) is not event.state:
            raise Ignored("other_command", "it says another thing than the command that was signed")
        return found

    def _remember(self, key: str, seq: int) -> None:
        self._seen[key] = seq
        if len(self._seen) > SEEN:
            del self._seen[next(iter(self._seen))]


COMMANDS = ("halt", "flatten", "resume")
_HALTS = (State.REDUCE_ONLY, State.CANCEL_ONLY, State.KILLED)


def wanted(command: Command) -> State:
    """The state that a command asks for: `args["state"]`, by default KILLED for a halt, RECOVERING for a resume. Raises
    `Ignored` where it asks for what it cannot have."""
    if command.do == "flatten":
        return State.REDUCE_ONLY
    text = command.args.get("state", "RECOVERING" if command.do == "resume" else "KILLED")
    allowed = (State.RECOVERING, *_HALTS[:2]) if command.do == "resume" else _HALTS
    for state in allowed:
        if state.name == text:
            return state
    raise Ignored(
        "state", f"a {command.do} asks for {text!r}: one of {', '.join(s.name for s in allowed)} is possible"
    )


def commanded(signed: bytes, command: Command, ts: int) -> HaltEvent:
    """The event of a person's command, received at `ts`; raises `Ignored` as `wanted` does."""
    trigger = FLATTEN if command.do == "flatten" else MANUAL
    return HaltEvent(
        ts=ts, scope=command.scope, state=wanted(command), reason=command.reason, trigger=trigger, source=command.by,
        signed=signed,
    )  # fmt: skip


def _down(
    before: Status, verified: Verified | None, event: HaltEvent, seq: int, ts: int, late: str = ""
) -> Status:
    """To a state at least as strict as the present one. A command to flatten that is `late` flattens nothing."""
    by = verified.names if verified else (event.source,)
    flatten = verified.command if verified and verified.command.do == "flatten" else None
    if flatten is not None and cancels(before.state):
        raise Ignored("halted", f"{event.scope} is {before.state.name}: nothing can be sent to flatten it")
    if event.state not in (State.WARN, *_HALTS):
        raise Ignored(
            "up", f"{event.scope} goes up to {event.state.name} by a resume that two people have signed"
        )
    if late:
        if event.state <= before.state:
            raise Ignored("denied", late)
        flatten = None
    if event.state <= before.state:
        if flatten is not None and event.state is before.state and before.flatten is None:
            return msgspec.structs.replace(before, flatten=flatten, seq=seq)
        if event.state < before.state and verified:
            raise Ignored("up", f"{event.scope} is {before.state.name} already; up is by resume")
        raise Ignored("unchanged", f"{event.scope} is {before.state.name} already")
    return Status(
        scope=event.scope, state=event.state, since=ts, reason=event.reason, trigger=event.trigger, by=by,
        epoch=seq if halts(event.state) else before.epoch, seq=seq, flatten=flatten,
    )  # fmt: skip


def _up(before: Status, verified: Verified, event: HaltEvent, seq: int, ts: int) -> Status:
    """By a command of two people that names the halt it lifts."""
    command = verified.command
    if len(set(verified.persons)) < 2:
        raise Ignored("denied", f"NEEDS_TWO_PEOPLE: {command.by} alone signed")
    if command.args.get("epoch") != str(before.epoch):
        raise Ignored(
            "epoch",
            f"it lifts halt {command.args.get('epoch', '?')} of {event.scope}, whose last is {before.epoch}",
        )
    if event.state >= before.state and before.state is not State.WARN:
        raise Ignored("unchanged", f"{event.scope} is {before.state.name}")
    common: dict[str, Any] = {
        "scope": event.scope, "since": ts, "reason": command.reason, "trigger": MANUAL, "by": verified.names,
        "epoch": before.epoch, "seq": seq,
    }  # fmt: skip
    if before.state is State.WARN:  # nothing was halted: there is nothing to recover from
        return Status(state=State.ACTIVE, **common)
    until = ts + recovery(command) if event.state is State.RECOVERING else 0
    return Status(state=event.state, until=until, **common)


def recovery(command: Command) -> int:
    """How long a resume has its scope recover, ns; raises `Ignored`."""
    text = command.args.get("recover", str(RECOVERING_FOR))
    if not text.isdecimal() or not 0 < int(text) < 1 << 62:
        raise Ignored("state", f"a resume recovers for {text!r} ns, which is no time")
    return int(text)


def _ended(before: Status, event: HaltEvent, seq: int, ts: int) -> Status:
    """A recovery is over, by time."""
    if event.state is not State.ACTIVE or before.state is not State.RECOVERING or event.ts != before.until:
        raise Ignored("unchanged", f"{event.scope} is {before.state.name}: no recovery ends")
    if ts < before.until:
        raise Ignored("early", f"{event.scope} recovers for {(before.until - ts) / 1e9:.0f} s more")
    return msgspec.structs.replace(
        before, state=State.ACTIVE, since=ts, reason=event.reason, trigger=RECOVERED, seq=seq, until=0
    )

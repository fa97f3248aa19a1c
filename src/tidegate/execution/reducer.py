"""Steps of margin calls, carried out in the lanes that this instance writes (`docs/margin.md`).

A step that is published (`risk.margin.step`) goes into the log of the lane that owns the account, under one id whoever
writes it; from there on the lane knows it, and so does a successor. Twice a second `reduce` says what comes next, and
that goes into the lane's log too. Nothing of it is kept here but what was told to people: each step begun, finished or
given up is an alert and a line of the audit trail.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import msgspec

from tidegate.access.note import Note
from tidegate.execution import reduce, reductions
from tidegate.execution.reduce import Look
from tidegate.execution.state import Reduction, State
from tidegate.execution.writer import Writer
from tidegate.log.alert import alert
from tidegate.log.base import Log, Subscription
from tidegate.log.outbox import Outbox
from tidegate.log.said import Said
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import MarginStep
from tidegate.model.time import SECOND
from tidegate.model.wire import MOST, pack
from tidegate.risk.halt import HaltBoard, cancels
from tidegate.risk.margin.step import REDUCE, Published, decode
from tidegate.risk.scope_name import Kind, chain_names, text_of
from tidegate.risk.scopes import ScopeTable

EVERY = 0.5
"""Seconds between two looks."""
AHEAD = 5 * SECOND
"""A step that is so far (ns) from the future is not followed: one of the clocks is wrong."""
OLD = 60 * SECOND
"""Of a step that was over so long ago nothing is said any more, ns."""


class Cut(msgspec.Struct, frozen=True):
    """How far one position of a step is: lots it is to close, that have closed, and that are on their way."""

    instrument: str
    lots: int
    done: int
    open: int


class Progress(msgspec.Struct, frozen=True):
    """The last step of an account's margin call, as its lane holds it. `state` and `why` as in `reduce.Look`."""

    lane: int
    account: str
    pool: str
    plan: int
    until: int
    state: str
    why: str
    cuts: list[Cut]


class _Told:
    """What was said of a step: its number, what it was last, and how far it was then."""

    def __init__(self, plan: int) -> None:
        self.plan = plan
        self.begun = self.over = False
        self.cuts = ""


class Reducer:
    """`counts` has what was taken and what was not."""

    def __init__(
        self, name: str, board: HaltBoard, writers: Mapping[int, Writer], scopes: ScopeTable, universe: Universe,
        log: Log, clock: Clock, note: Note,
    ) -> None:  # fmt: skip
        self.counts: Counter[str] = Counter()
        self._name, self._board, self._writers = name, board, writers
        self._scopes, self._universe, self._log, self._clock, self._note = scopes, universe, log, clock, note
        self._accounts = {account.name: n for n, account in enumerate(scopes.accounts)}
        self._outbox = Outbox(log, counts=self.counts)
        self._told: dict[tuple[int, int, str], _Told] = {}
        self._said = Said()
        self._following: Subscription | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen, and look every half second."""
        self._following = self._log.subscribe(REDUCE, lambda _, data: self._heard(data))
        self._look()

    def close(self) -> None:
        """No more."""
        if self._following is not None:
            self._following.close()
        if self._timer is not None:
            self._timer.cancel()
        self._outbox.close()

    # Steps come.

    def _heard(self, data: bytes) -> None:
        try:
            step = decode(data)
        except ValueError:
            self.counts["unreadable"] += 1
            return
        account, now = self._accounts.get(step.account), self._clock.now()
        if account is None or not step.carry_out:
            self.counts["not_for_us"] += 1
            return
        for lane, writer in self._writers.items():
            if not _owns(writer.lane.state, account):
                continue
            if why := self._untimely(step, now):
                self.counts["untimely"] += 1
                self._say(
                    "failed", "critical", step.account, step.pool, f"not carried out: {why}", "untimely"
                )
            else:
                self._take(lane, account, step, now)

    def _untimely(self, step: Published, now: int) -> str:
        if now > step.until:
            return f"it came {(now - step.until) / SECOND:.1f} s after its end; are the clocks right?"
        if step.ts > now + AHEAD:
            return f"it is {(step.ts - now) / SECOND:.1f} s ahead of this machine's clock"
        return ""

    def _take(self, lane: int, account: int, step: Published, now: int) -> None:
        """Put it into the lane's log."""
        index = self._universe.index
        try:
            cuts = tuple((index[n], lots, step.held[n], step.began[n]) for n, lots in step.cuts)
            cancel = tuple(index[n] for n in step.cancel)
        except KeyError as error:
            why = f"it names {error}, which is no instrument here"
            self._say("failed", "critical", step.account, step.pool, f"not carried out: {why}", why=why)
            return
        s = self._writers[lane].lane.state
        before = s.reductions.get((account, step.pool))
        if before is not None and before.plan < step.ts:  # how far that one came is said before it ends
            self._tell(lane, before, reduce.look(s, before, self._shut, now), now)
        message = MarginStep(
            now,
            step.ts,
            account,
            step.pool,
            step.until,
            max(1, step.participation),
            max(1, step.collar),
            cuts,
            cancel,
        )
        self.counts["taken"] += 1
        msg_id = f"margin-{lane}-{account}-{step.pool}-{step.ts}"
        future = self._log.append(f"lane.{lane}.sys", pack([message], ts=now, lane=lane), msg_id=msg_id)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # another step follows

    # They are carried out.

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._look)
        for lane, writer in self._writers.items():
            for reduction in list(writer.lane.state.reductions.values()):
                self._step(lane, writer, reduction)

    def _step(self, lane: int, writer: Writer, reduction: Reduction) -> None:
        told = self._told.get((lane, reduction.account, reduction.pool))
        if told is not None and told.over and told.plan == reduction.plan:
            return
        s, now = writer.lane.state, self._clock.now()
        found = reduce.look(s, reduction, self._shut, now)
        self._tell(lane, reduction, found, now)
        if not found.messages:
            return
        msg_id = f"margin-{lane}-{reduction.account}-{reduction.plan}-{reduction.pool}-{writer.seq}"
        data = pack(found.messages[:MOST], ts=now, lane=lane)  # the next look has the rest
        future = self._log.append(f"lane.{lane}.cmd", data, msg_id=msg_id)
        future.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # the next look tries again

    def _shut(self, account: int, strategy: int, instrument: int) -> str:
        """Why nothing may be sent there: it is halted so far, or people flatten it."""
        for name in chain_names(account, strategy, instrument, self._scopes, self._universe):
            status = self._board.status(name)
            if cancels(status.state):
                return f"{name} is {status.state.name}"
            if status.flatten is not None:
                return f"{name} is being flattened"
        return ""

    # What people are told.

    def _tell(self, lane: int, reduction: Reduction, found: Look, now: int) -> None:
        account, key = (
            self._scopes.accounts[reduction.account].name,
            (lane, reduction.account, reduction.pool),
        )
        told = self._told.get(key)
        if told is None or told.plan != reduction.plan:
            if told is not None and told.begun and not told.over:
                why = "another step follows" if reduction.cuts else "the account is back at its target"
                self._end(account, reduction.pool, told, "info", f"stopped, {why}: {told.cuts}", "done")
            told = self._told[key] = _Told(reduction.plan)
            told.over = now > reduction.until + OLD or not (reduction.cuts or reduction.cancel)
        if told.over:
            return
        told.cuts = self._shown(found)
        if found.messages and not told.begun:
            told.begun = True
            self._note(
                self._name, "reduce", text_of(Kind.ACCOUNT, account), "done", f"begun: {told.cuts}", b""
            )
            self._alert(account, reduction.pool, "begun", "high", f"is being reduced: {told.cuts}", told.plan)
        if found.state == "waits" and found.why and now - reduction.ts > SECOND:
            self._say("waits", "high", account, reduction.pool, f"waits: {found.why}", why=found.why)
        elif found.state == "done":
            self._end(account, reduction.pool, told, "info", f"done: {told.cuts}", "done")
        elif found.state == "gave up":
            text = f"given up, {found.why}: {told.cuts}"
            self._end(account, reduction.pool, told, "critical", text, f"failed: {found.why}")

    def _end(self, account: str, pool: str, told: _Told, severity: str, text: str, outcome: str) -> None:
        told.over = True
        failed = outcome != "done"
        if failed and not self._said.first(self._clock.now(), "given up", account, pool, outcome):
            return
        self._note(self._name, "reduce", text_of(Kind.ACCOUNT, account), outcome, text, b"")
        self._alert(account, pool, "failed" if failed else "done", severity, text, told.plan)

    def _say(self, what: str, severity: str, account: str, pool: str, text: str, why: str) -> None:
        """Once, and again after a time where it is still so."""
        if self._said.first(self._clock.now(), what, account, pool, why):
            self._alert(account, pool, what, severity, text, self._clock.now())

    def _alert(self, account: str, pool: str, what: str, severity: str, text: str, number: int) -> None:
        """The same from every instance: it is stored once."""
        kind = f"margin_step_{what}"
        subject, data = alert(
            self._clock.now(),
            kind,
            severity,
            text_of(Kind.ACCOUNT, account),
            f"{account} ({pool}) {text}",
            plan=number,
        )
        self._outbox.put(subject, data, f"{kind}-{account}-{pool}-{number}")

    def _shown(self, found: Look) -> str:
        names = self._universe
        shown = [
            f"{part.done}{f' (and {part.open} on their way)' if part.open else ''} of {part.lots:+} lots of "
            f"{names[part.instrument].id}"
            for part in found.parts
        ]
        return ", ".join(shown) or "orders are cancelled"

    # Questions.

    def answer(self, lane: int, writer: Writer) -> bytes:
        """How the last steps of a lane stand, JSON."""
        s, now = writer.lane.state, self._clock.now()
        found = []
        for reduction in s.reductions.values():
            seen = reduce.look(s, reduction, self._shut, now)
            cuts = [Cut(self._universe[p.instrument].id, p.lots, p.done, p.open) for p in seen.parts]
            name = self._scopes.accounts[reduction.account].name
            found.append(
                Progress(
                    lane, name, reduction.pool, reduction.plan, reduction.until, seen.state, seen.why, cuts
                )
            )
        return msgspec.json.encode(found)


def _owns(s: State, account: int) -> bool:
    """Whether the account's positions and orders are in this lane."""
    return any(order.account == account for order in s.live.values()) or reductions.held(s, account)

"""Halts at the last hop: which orders a gateway lets out, whatever lanes, risk service and log are doing.

The board is folded from HALT. A halt that came another way (a person at the socket, a breaker's quick way, a mismatch
found here) is *pending* until the log brings it: it holds at once, is in a file, and is posted until it is stored.
`docs/halts.md`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from tidegate.log.base import Entry, Log
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecType
from tidegate.risk.halt import (
    Change,
    Check,
    HaltBoard,
    HaltEvent,
    cancels,
    decode,
    entry,
    halts,
    most_severe,
)
from tidegate.risk.halt_feed import HaltFeed
from tidegate.risk.reasons import Reason
from tidegate.risk.scope_name import chain_names
from tidegate.risk.scopes import State
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.halt_file import HaltFile
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.gateway.session import Session
from tidegate.venue.gateway.sweep import Sweeper
from tidegate.venue.gateway.target import Place, Target
from tidegate.venue.port import Venue

AGAIN = 1.0
"""Seconds until what could not be cancelled is swept again, as long as the halt holds."""
BOUND = 10_000
FOLLOWED = 100
Spawn = Callable[[Coroutine[Any, Any, None], bool], None]


class Halts:
    """`judge` says whether a halt forbids a request; halts that cancel are swept at once."""

    def __init__(
        self,
        place: Place,
        check: Check,
        venue: Venue,
        session: Session,
        reports: Reports,
        sweeper: Sweeper,
        alerts: Alerts,
        log: Log,
        clock: Clock,
        counts: Counter[str],
        file: HaltFile,
        spawn: Spawn,
        alive: Callable[[], None],
        on_recovering: Callable[[str], None],
    ) -> None:
        self.place = place
        self.board = HaltBoard(check, place.known)
        self.pending: dict[str, HaltEvent] = {}
        """Halts that the log has not brought yet, by event id."""
        self.followed: OrderedDict[int, int] = OrderedDict()
        """When each of the last changes by the log held here, ns, by its place in HALT."""
        self.held: OrderedDict[str, int] = OrderedDict()
        """When each of the last halts first held here, ns, whichever way it came, by its event's id."""
        self._venue, self._session, self._sweeper = venue, session, sweeper
        self._alerts, self._clock, self._counts, self._file = alerts, clock, counts, file
        self._spawn, self._on_recovering = spawn, on_recovering
        self._feed = HaltFeed(log, self.board, self._told, self._on_gap)
        self._outbox = Outbox(log, BOUND, counts, alive)
        self._events: dict[str, HaltEvent] = {}
        """The event that brought each halted scope to its state."""
        self._views: dict[tuple[int, int], tuple[State, int, bool]] = {}
        self._sweeps: dict[Target, asyncio.Future[dict[str, Any]]] = {}
        """What is being swept, and what the attempt under way will have come to, or the next between two."""
        self._swept: OrderedDict[str, asyncio.Future[dict[str, Any]]] = OrderedDict()
        """Of each of the last events that cancel: the attempt that it began, or found under way."""
        self._early: OrderedDict[str, None] = OrderedDict()
        """Events that came the quick way, by id: they are told again until the log has them."""
        self._keeping: asyncio.TimerHandle | None = None
        self._live = False
        reports.listeners.append(self._hear)

    # Life.

    async def open(self) -> None:
        """Know every halt there is; raises `LogError`. What the file has and the log has not is posted."""
        for event in self._file.read(self._clock.now()):
            if not self.board.seen(event.id):
                self.pending.setdefault(event.id, event)
        self._live = False
        await self._feed.start()
        self._live = True
        self._views.clear()
        for event in self.pending.values():
            self._outbox.put(*entry(event))
        self._keep()

    def sweep(self) -> None:
        """Cancel what is halted and may be open all the same: the venue can be reached, or has been looked at again."""
        for scope in self._scopes():
            self._act(scope)

    def close(self) -> None:
        """Follow no longer; what is halted stays so, here and in the file. Sweeps have been cancelled, some perhaps before
        they began."""
        self._feed.close()
        for attempt in self._sweeps.values():
            attempt.cancel()
        self._sweeps.clear()
        if self._keeping is not None:
            self._keep()

    def stop(self) -> None:
        """Post no longer."""
        self._outbox.close()

    async def drained(self, timeout: float) -> bool:
        """Wait until the log has every halt of ours, at most so long."""
        return await self._outbox.drained(timeout)

    # Judging.

    def judge(self, m: SendNew | SendReplace) -> int:
        """0, or the reason why a halt forbids it. An order that was checked before the last halt of any scope over it is
        not sent; in REDUCE_ONLY one that was checked after it is: its lane let only pass what reduces. After a pending halt
        no lane has checked any, so only orders marked reduce-only are sent, which lane and venue hold to that."""
        key = m.strategy, m.instrument
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = self._view(*key)
        state, epoch, pending = view
        if not epoch and not pending:
            return 0
        if cancels(state):
            return int(Reason.GATEWAY_HALTED)
        before = m.halt_epoch < epoch or (pending and not self._session.reduces(m))
        return int(Reason.BEFORE_HALT) if before else 0

    def _view(self, strategy: int, instrument: int) -> tuple[State, int, bool]:
        """The state over both, the last halt that the log has brought, and whether another is pending."""
        place = self.place
        chain = chain_names(place.account, strategy, instrument, place.scopes, place.universe)
        waiting = [event.state for event in self.pending.values() if event.scope in chain]
        state = most_severe([self.board.effective(chain), *waiting])
        return state, self.board.epoch(chain), bool(waiting)

    def state_of(self, scope: str) -> State:
        """A scope's own state here, with what is pending."""
        waiting = [event.state for event in self.pending.values() if event.scope == scope]
        return most_severe([self.board.status(scope).state, *waiting])

    def shown(self) -> dict[str, str]:
        """What is halted here, by scope: for health."""
        why = {name: status.reason for name, status in self.board.scopes.items()}
        why |= {event.scope: event.reason for event in self.pending.values()}
        states = {scope: self.state_of(scope) for scope in sorted(why) if self._ours(scope)}
        return {
            scope: f"{state.name}: {why[scope]}"
            for scope, state in states.items()
            if state is not State.ACTIVE
        }

    def _scopes(self) -> set[str]:
        return {*self.board.scopes, *(event.scope for event in self.pending.values())}

    # What comes.

    def _on_gap(self, text: str) -> None:
        """Something of HALT has not come: what it says may be a halt, so nothing new goes out before it is known."""
        self._session.holds.pop("halts", None)
        if text:
            self._counts["halt_gaps"] += 1
            self._session.holds["halts"] = text
            self._alerts.say("log_gap", "critical", text, key="halts")

    def halt(self, event: HaltEvent) -> bool:
        """A halt that did not come by the log: it holds when this returns, is on the disk and on its way to the log.
        False where this very halt is known. Another of a scope that is halted already is kept like any: what lifts the
        first may be stored, and not have come."""
        key = event.id
        if key in self.pending or self.board.seen(key):
            return False
        self._await(event)
        self._keep()
        return True

    def early(self, event: HaltEvent, behind: float) -> bool:
        """A component's halt, before the log has it: it holds when this returns, whatever else holds, until the log has
        brought it. On the disk `behind` seconds later, so that cancels go first. False where it is known."""
        key = event.id
        if key in self._early or key in self.pending or self.board.seen(key):
            return False
        self._early[key] = None
        if len(self._early) > BOUND:
            self._early.popitem(last=False)
        self._await(event)
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().call_later(behind, self._keep)
        return True

    def _await(self, event: HaltEvent) -> None:
        """It holds, and is appended until the log has it."""
        self.pending[event.id] = event
        self._views.clear()
        self._holds(event.id)
        self._act(event.scope, event.id)
        self._outbox.put(*entry(event))

    def _holds(self, key: str) -> None:
        self.held.setdefault(key, self._clock.now())
        if len(self.held) > FOLLOWED:
            self.held.popitem(last=False)

    async def kept(self) -> None:
        """What holds is on the disk, as far as it takes it."""
        while self._keeping is not None:
            await asyncio.sleep(0.005)

    def _told(self, stored: Entry, changes: list[Change]) -> None:
        """An entry of HALT has been applied."""
        try:
            event = decode(stored.data)
        except ValueError:
            return
        was, seen = self.pending.get(event.id), self.board.seen(event.id)
        if was is not None and (seen or event == was):
            del self.pending[event.id]
            if not seen:  # nobody else follows it
                self._counts["halts_refused"] += 1
                text = f"a halt of {event.scope} by {event.source} held here and holds no more: {self.board.refused}"
                self._alerts.say("halt_ignored", "critical", text, key=event.id)
        elif not changes:  # a copy that is refused, its signatures cut off, says nothing of ours
            return
        for change in changes:
            if halts(change.after.state):
                self._events[change.after.scope] = event
            else:
                self._events.pop(change.after.scope, None)
        self._views.clear()
        if not self._live:
            return
        self._holds(event.id)
        self.followed[stored.seq] = self._clock.now()
        if len(self.followed) > FOLLOWED:
            self.followed.popitem(last=False)
        for change in changes:
            self._counts["halts_followed"] += 1
            self._act(change.after.scope, event.id)
            if change.after.state is State.RECOVERING and self._ours(change.after.scope):
                self._on_recovering(change.after.scope)
        asyncio.get_running_loop().call_soon(self._keep)  # behind the first cancels: the log has it already

    def _ours(self, scope: str) -> bool:
        return self.place.known(scope) and self.place.target(scope) is not None

    def _keep(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        try:
            self._file.write([*self._events.values(), *self.pending.values()])
        except OSError as error:
            self._counts["halts_unsaved"] += 1
            self._alerts.say("halts_unsaved", "critical", f"halts cannot be kept: {error}", key="file")

    # Cancelling.

    def _act(self, scope: str, key: str = "") -> None:
        """Sweep a scope that cancels, unless that is being done; `key` is the event that says so."""
        if not self.place.known(scope) or not cancels(self.state_of(scope)):
            return
        target = self.place.target(scope)
        if target is None:
            return
        if target not in self._sweeps:
            self._sweeps[target] = asyncio.get_running_loop().create_future()
            self._spawn(self._sweep(scope, target, bool(key)), False)
        if key:
            self._swept[key] = self._sweeps[target]
            if len(self._swept) > FOLLOWED:
                self._swept.popitem(last=False)

    def _cancelled(self, target: Target) -> bool:
        return any(cancels(self.state_of(s)) and self.place.target(s) == target for s in self._scopes())

    async def _sweep(self, scope: str, target: Target, told: bool) -> None:
        """Until the venue shows nothing open of it, or no halt holds any more. `told`: people are, also of no orders."""
        try:
            while self._cancelled(target):
                done = await self._sweeper.cancel_all(target, f"{scope} is halted")
                self._sweeps[target].set_result(done)
                self._sweeps[target] = asyncio.get_running_loop().create_future()
                if done["empty"]:
                    if told or done["orders"]:
                        text = f"{scope} is halted: its open orders were canceled"
                        self._alerts.say("control", "high", text, do="halt", by="gateway", **done)
                    return
                text = f"{scope} is halted, and not all of its orders are gone at the venue"
                failed = f": {done['failed']}" if done["failed"] else ""
                self._alerts.say("halt_not_empty", "critical", text + failed, key=scope, **done)
                await asyncio.sleep(AGAIN)
        finally:
            if target in self._sweeps:
                self._sweeps.pop(target).cancel()

    async def swept(self, event_id: str) -> dict[str, Any] | None:
        """What the sweep that a halt began or found under way came to; None where nobody knows."""
        attempt = self._swept.get(event_id)
        if attempt is None:
            return None
        await asyncio.wait({attempt})
        return None if attempt.cancelled() else attempt.result()

    def _hear(self, r: Report) -> None:
        """An order in flight when its scope was halted has come to rest."""
        if r.exec_type is not ExecType.NEW or not (self.board.scopes or self.pending):
            return
        instrument, strategy = self._session.instrument(r.cl_ord_id), self._session.strategy(r.cl_ord_id)
        if instrument >= 0 and cancels(self._view(strategy, instrument)[0]):
            self._counts["cancelled_on_ack"] += 1
            self._venue.send(SendCancel(self._clock.now(), r.cl_ord_id, self.place.account, instrument))

"""HALT for the lanes: every change of a scope's state becomes a `ScopeState` in each lane that this instance writes.

A lane is told all that was ever halted when it is taken over, too: what it knows of the halt epoch must not be less than
what the gateways know, else they drop its orders. An append that fails is followed by another with the whole board.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from tidegate.execution.flattener import Flattener
from tidegate.execution.writer import Writer
from tidegate.log.alert import alert
from tidegate.log.base import Entry, Log, Subscription
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import LogGap, Message, ScopeState
from tidegate.model.time import SECOND
from tidegate.risk.halt import STREAM, Change, Check, HaltBoard, Status, entry, most_severe
from tidegate.risk.halt_feed import BOARD, Board, HaltFeed
from tidegate.risk.reasons import Reason
from tidegate.risk.scope_name import Kind, ScopeRef, is_known, parse, text_of
from tidegate.risk.scopes import ScopeTable, State

AGAIN = 0.5
"""Seconds until a lane whose log did not take a state is told again."""
LOOK = 1.0
"""Seconds between two looks for recoveries whose time is over."""
LATE = SECOND
"""A recovery is said to be over so long (ns) after it is: the log's clock must agree."""
REFUSED = 100
"""Events that were not followed, remembered for who asks."""
_REASONS = {
    State.REDUCE_ONLY: Reason.SCOPE_REDUCE_ONLY, State.CANCEL_ONLY: Reason.SCOPE_CANCEL_ONLY,
    State.KILLED: Reason.SCOPE_KILLED,
}  # fmt: skip


class LaneHalts:
    """Follows HALT; `writers` are the lanes to tell, by number. Alerts of every change, and of what is ignored."""

    def __init__(
        self,
        scopes: ScopeTable,
        universe: Universe,
        check: Check,
        writers: Mapping[int, Writer],
        log: Log,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._scopes, self._universe, self._writers = scopes, universe, writers
        self._log, self._clock, self._changed = log, clock, changed
        self.board = HaltBoard(check, lambda scope: is_known(scope, scopes, universe))
        self.flattener = Flattener(self.board, writers, scopes, universe, log, clock, self._flatten_waits)
        self._feed = HaltFeed(log, self.board, self._told, self._on_gap)
        self._outbox = Outbox(log, counts=self.counts)
        self._served: Subscription | None = None
        self._refused: dict[str, str] = {}
        """Why the last events that were not followed were not, by their place."""
        self._live = False
        self._looking: asyncio.TimerHandle | None = None
        self._again: dict[int, asyncio.TimerHandle] = {}
        self._differed: set[tuple[int, str]] = set()
        """Lanes that held HALT for whole or not, other than we did, at the last look; and what was missing for us."""
        self._unheard: dict[int, list[Message]] = {}
        """By lane: what its log has not acknowledged. It goes with what is told next: a lane that knows of a halt knows of
        all before it, for its orders carry one epoch."""

    async def start(self) -> None:
        """Know every halt there is, then follow. Raises `LogError`."""
        await self._feed.start()
        self._live = True
        self._served = self._log.serve(BOARD, lambda _: self._board())
        self._look()
        self.flattener.start()

    def close(self) -> None:
        """Follow no longer."""
        self._live = False
        if self._served is not None:
            self._served.close()
        self._feed.close()
        self.flattener.close()
        self._outbox.close()
        for timer in (self._looking, *self._again.values()):
            if timer is not None:
                timer.cancel()

    def brief(self, lane: int) -> None:
        """Tell a lane that has just become ours of every scope that was ever halted."""
        messages = [m for status in self.board.scopes.values() for m in self._states(status)]
        self._unheard[lane] = []
        if self._feed.gap or STREAM in self._writers[lane].lane.state.gaps:
            messages.append(self._gap())
        if messages:
            self._write(lane, messages)

    def _gap(self) -> LogGap:
        return LogGap(self._clock.now(), STREAM, bool(self._feed.gap), self._feed.gap)

    def _on_gap(self, text: str) -> None:
        """Something of HALT has not come: until all is known, the lanes let nothing pass but cancels."""
        self.counts["gaps" if text else "gaps_closed"] += 1
        for lane in self._writers:
            self._write(lane, [self._gap()])

    def _states(self, status: Status) -> list[Message]:
        """What a lane has to know of a scope's state."""
        ref: ScopeRef = parse(status.scope, self._scopes, self._universe)
        now = self._clock.now()
        if ref.kind not in (Kind.INSTRUMENT, Kind.VENUE):
            reason = int(_REASONS.get(status.state, Reason.NONE))
            flatten = status.flatten is not None
            return [
                ScopeState(now, ref.number, int(status.state), reason, -1, status.epoch, status.seq, flatten)
            ]
        items = enumerate(self._universe.instruments)
        touched = [n for n, item in items if n == ref.number or (ref.number < 0 and item.venue == ref.name)]
        return [self._instrument(n, now) for n in touched]

    def _instrument(self, number: int, now: int) -> ScopeState:
        """An instrument's state, with that of its venue."""
        item = self._universe[number]
        names = (text_of(Kind.INSTRUMENT, item.id), text_of(Kind.VENUE, item.venue))
        state = most_severe(self.board.status(name).state for name in names)
        at = max(self.board.status(name).seq for name in names)
        reason = int(_REASONS.get(state, Reason.NONE))
        flatten = any(self.board.status(name).flatten is not None for name in names)
        return ScopeState(now, -1, int(state), reason, number, self.board.epoch(names), at, flatten)

    def _board(self) -> bytes:
        """The board, for who asks at `BOARD`."""
        scopes = list(self.board.scopes.values())
        return msgspec.json.encode(Board(self.board.seq, scopes, self._refused, self.flattener.waits))

    def _told(self, stored: Entry, changes: list[Change]) -> None:
        if self.board.refused:
            self._refused = dict([*self._refused.items(), (str(stored.seq), self.board.refused)][-REFUSED:])
        if not self._live:
            return
        if self.board.refused:
            self._say(stored.seq, "halt_ignored", "high", "halt", self.board.refused)
        for _, after in changes:
            self.counts["halts"] += 1
            for lane in self._writers:
                self._write(lane, self._states(after))
            by = " and ".join(after.by)
            severity = "critical" if after.state is State.KILLED else "high"
            text = f"{after.scope} is {after.state.name}: {after.reason} ({after.trigger}, by {by})"
            self._say(stored.seq, "halt", severity, after.scope, text)
        if changes:
            self._changed()

    def _say(self, seq: int, kind: str, severity: str, scope: str, text: str) -> None:
        """An alert, the same from every instance: it is stored once."""
        subject, data = alert(self._clock.now(), kind, severity, scope, text, halt=seq)
        self._outbox.put(subject, data, f"{kind}-{seq}")

    def _flatten_waits(self, severity: str, name: str, why: str) -> None:
        """An alert of this instance's: what it does not close just now."""
        now = self._clock.now()
        text = f"the flattening of {name} waits: {why}"
        self._outbox.put(
            *alert(now, "flatten_waits", severity, name.split(" ")[0], text), f"flatten_waits-{name}-{now}"
        )

    def _write(self, lane: int, messages: list[Message]) -> None:
        told = [*self._unheard.get(lane, ()), *messages]
        self._unheard[lane] = told

        def stored(future: asyncio.Future[int]) -> None:
            failed = future.cancelled() or future.exception() is not None
            if not failed:
                self._unheard[lane] = [m for m in self._unheard[lane] if m not in told]
            if failed and self._live and lane in self._writers and lane not in self._again:
                self.counts["halts_told_again"] += 1
                self._again[lane] = asyncio.get_running_loop().call_later(AGAIN, self._rewrite, lane)

        self._writers[lane].append(*told).add_done_callback(stored)

    def _rewrite(self, lane: int) -> None:
        del self._again[lane]
        if lane in self._writers:
            self.brief(lane)

    def _look(self) -> None:
        """Say which recoveries are over."""
        self._looking = asyncio.get_running_loop().call_later(LOOK, self._look)
        for event in self.board.recovered(self._clock.now() - LATE):
            self._outbox.put(*entry(event))
        self._mend_gaps()

    def _mend_gaps(self) -> None:
        """Where a lane holds HALT for whole or not, other than we know it, for more than one look, tell it again: somebody
        that stood still said so after it was replaced."""
        text = self._feed.gap
        differ = {
            (lane, text) for lane, writer in self._writers.items()
            if (STREAM in writer.lane.state.gaps) != bool(text)
        }  # fmt: skip
        for lane, _ in differ & self._differed:
            self._write(lane, [self._gap()])
        self._differed = differ

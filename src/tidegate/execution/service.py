"""The order manager as a service: writes the lanes that are its own, and answers questions about them.

Subjects: `oms.<lane>.orders` (what reconciliation compares, `lane_view`), `oms.<lane>.strategy` (what
a strategy needs to start again) and `oms.<lane>.margin` (steps of margin calls), answered by the lane's writer;
`touch.<VENUE>` brings the markets' touch, which is sampled into each lane's log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from tidegate.access.note import Note
from tidegate.access.replays import Replays
from tidegate.execution.acknowledge import First, acknowledge
from tidegate.execution.adopt_ear import adopt
from tidegate.execution.flood import FLOOD, FloodWatch
from tidegate.execution.gap_watch import GapWatch
from tidegate.execution.lane_halts import LaneHalts
from tidegate.execution.lane_log import LaneKind
from tidegate.execution.lane_view import answer_view
from tidegate.execution.ownership import Ownership
from tidegate.execution.reducer import Reducer
from tidegate.execution.state import LaneBroken
from tidegate.execution.strategy_view import strategy_view
from tidegate.execution.take_up import take_up
from tidegate.execution.writer import Request, Unusable, Writer, WriterSettings
from tidegate.log.alert import alert
from tidegate.log.base import Conflict, Log, LogDown, LogError, Subscription
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Mark
from tidegate.model.wire import Unreadable, decode
from tidegate.risk.gate import Gate
from tidegate.risk.halt import Check, HaltEvent, post
from tidegate.risk.pace import pace_of
from tidegate.risk.scope_name import Kind, text_of
from tidegate.risk.scopes import ScopeTable, State


class OmsService:
    """One order-manager instance.

    `accounts` are their names by number; requests of account `a` for an instrument of venue `V` go to the gateway at
    `gw.V.<name of a>`. `name` is the instance's, the same after a restart; `scopes` are those that may be halted, and
    `check` verifies commands that people have signed, `note` puts them on the audit trail, `first` tells whether
    one is new; `lane_of` gives an account's lane; `sample` (s) is how often
    the touch is written into the log.
    """

    def __init__(
        self,
        name: str,
        lanes: Sequence[int],
        kind: LaneKind,
        universe: Universe,
        accounts: Sequence[str],
        log: Log,
        clock: Clock,
        *,
        scopes: ScopeTable,
        check: Check,
        note: Note,
        first: First | None = None,
        lane_of: Callable[[int], int] | None = None,
        sample: float = 1.0,
        settings: WriterSettings | None = None,
        on_hop: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.name = name
        self.ident = f"{clock.now():020d}-{name}"
        self.writers: dict[int, Writer] = {}
        self.taken = 0
        """Lanes taken over so far."""
        self._kind, self._log, self._clock = kind, log, clock
        self._settings, self._sample, self._on_hop = settings, sample, on_hop
        venues = [item.venue for item in universe.instruments]
        self._venues = sorted(set(venues))
        self._subjects = {
            (a, i): f"gw.{venue}.{account}"
            for a, account in enumerate(accounts)
            for i, venue in enumerate(venues)
        }
        self._scopes, self._lane_of = scopes, lane_of
        self._touch: dict[int, Mark] = {}
        self._refused: dict[int, str] = {}
        """Lanes this instance cannot write, and why."""
        self._ownership = Ownership(
            name, self.ident, lanes, log.bucket("LEASE"), self._take, self._lose, self._not_taken
        )
        self.halts = LaneHalts(scopes, universe, check, self.writers, log, clock)
        self._gaps = GapWatch(self.writers, log, clock)
        self.reducer = Reducer(name, self.halts.board, self.writers, scopes, universe, log, clock, note)
        first = first or Replays().first
        self._ears = (
            take_up(self._ownership, self._restrict, check, note, log, clock),
            acknowledge(scopes, universe, lanes, check, first, note, log, clock),
            adopt(scopes, universe, lanes, check, first, note, log, clock),
        )
        self._served: dict[int, list[Subscription]] = {}
        self._subscriptions: list[Subscription] = []
        self._sampling: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take part in sharing out the lanes."""
        self._subscriptions = [
            self._log.subscribe(f"touch.{venue}", self._on_touch) for venue in self._venues
        ]
        await self.halts.start()
        await self._ownership.start()
        for ear in self._ears:
            ear.start()
        self._gaps.start()
        self.reducer.start()
        self._write_marks()

    async def stop(self) -> None:
        """Hand the lanes over and leave; orders stay as they are."""
        if self._sampling is not None:
            self._sampling.cancel()
        for subscription in self._subscriptions:
            subscription.close()
        for ear in self._ears:
            ear.close()
        self._gaps.close()
        self.reducer.close()
        await self._ownership.stop()
        self.halts.close()
        for task in list(self._tasks):
            task.cancel()

    def health(self) -> dict[str, Any]:
        """What people want to know of this instance."""
        lanes = {
            str(n): {
                "owner": self.name,
                "epoch": w.epoch,
                "seq": w.seq,
                "orders": w.counts.requests,
                "events": w.counts.events,
                "dead": w.counts.dead,
                "noise": w.counts.noise,
                "open": len(w.lane.state.live),
                "unknown": w.unknown(),
            }
            for n, w in sorted(self.writers.items())
        }
        broken = {n: lease.broken for n, (lease, _) in self._ownership.leases.items() if lease.broken}
        why = "another instance has this name" if self._ownership.usurped else self._ownership.ended
        why = why or "; ".join(f"lane {n} is broken: {text}" for n, text in broken.items())
        why = why or "; ".join(self._unwritten()) or self._gaps.why()
        why = why or "; ".join(
            f"lane {n} waits for leases of {w.desk.waiting} limits: is a risk service running?"
            for n, w in sorted(self.writers.items())
            if w.desk is not None and w.desk.waiting
        )
        return {"ok": not why, "why": why, "lanes": lanes, "counters": {"lanes_taken": self.taken}}

    def _unwritten(self) -> list[str]:
        """Lanes that this instance cannot write and nobody else does."""
        live, leases = self._ownership.live(), self._ownership.leases
        others = live.keys() - {self.ident}
        why = self._ownership.failures | self._refused
        return [text for n, text in sorted(why.items()) if leases[n][0].owner not in others]

    # Lanes come and go.

    async def _take(self, lane: int, epoch: int) -> None:
        writer = Writer(
            lane, epoch, self.ident, self._kind, self._route, self._log, self._clock, self._on_stop, self._settings
        )  # fmt: skip
        writer.on_hop, writer.moved = self._on_hop, self._ownership.moved
        try:
            await self._begin(writer)
        except Unusable as error:
            self._refused[lane] = str(error)
            await self._alert("lane_refused", "high", lane, str(error))
            await self._ownership.refuse(lane)
            return
        except LaneBroken as error:
            await self._alert("lane_broken", "critical", lane, str(error))
            await self._ownership.broken(lane, str(error))
            return
        except (Conflict, LogDown):
            self._ownership.mine.discard(lane)  # another was quicker, or the log is away: it is tried again
            return
        self.taken += 1
        gate = writer.lane.state.gate
        if isinstance(gate, Gate):
            writer.flood = FloodWatch(lambda strategy: pace_of(gate, strategy), self._flooded)
        self.writers[lane] = writer
        self._served[lane] = [
            self._log.serve(f"oms.{lane}.orders", lambda data: self._orders(writer, data)),
            self._log.serve(f"oms.{lane}.strategy", lambda data: self._strategy(writer, data)),
            self._log.serve(f"oms.{lane}.margin", lambda _: self.reducer.answer(lane, writer)),
        ]
        self.halts.brief(lane)
        if self._touch:
            writer.append(*self._touch.values())

    async def _begin(self, writer: Writer) -> None:
        """Have it take its lane over; what ends that unforeseen leaves nothing of it behind."""
        try:
            await writer.start()
        except (Unusable, LaneBroken):
            raise  # what was applied until then is told all the same
        except BaseException:  # a cancel too
            await writer.stop(handover=False)
            raise

    def _not_taken(self, lane: int, why: str) -> None:
        """See `Ownership`: a lane could not be taken or handed over, or (−1) none is any more."""
        self._soon(self._alert("lane_not_taken" if lane >= 0 else "lanes_not_shared", "critical", lane, why))

    def _flooded(self, strategy: int, text: str) -> None:
        """A strategy floods its lane: everybody refuses it from now on, and its cell is ended (`ops.cell_guard`)."""
        if not 0 <= strategy < len(self._scopes.strategies):
            return  # the gate refuses what nobody is
        scope = text_of(Kind.STRATEGY, self._scopes.strategies[strategy].name)
        event = HaltEvent(
            ts=self._clock.now(), scope=scope, state=State.KILLED, reason=text, trigger=FLOOD, source=self.name
        )  # fmt: skip
        future = post(self._log, event)  # lost with the log: then the flood is, too, and it is told again
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _restrict(self, lane: int, why: str) -> None:
        """Something of a lane is passed over: its accounts only reduce until people have looked."""
        for number, account in enumerate(self._scopes.accounts):
            if self._lane_of is None or self._lane_of(number) == lane:
                await post(
                    self._log,
                    HaltEvent(
                        ts=self._clock.now(), scope=text_of(Kind.ACCOUNT, account.name), state=State.REDUCE_ONLY,
                        reason=why, trigger="entry_skipped", source=self.name,
                    ),
                )  # fmt: skip

    async def _lose(self, lane: int, handover: bool) -> None:
        for served in self._served.pop(lane, []):
            served.close()
        writer = self.writers.pop(lane, None)
        if writer is not None:
            await writer.stop(handover)

    def _on_stop(self, lane: int, kind: str, why: str) -> None:
        """A writer cannot go on: see `Writer`."""
        self._soon(self._stopped(lane, kind, why))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stopped(self, lane: int, kind: str, why: str) -> None:
        await self._lose(lane, False)
        self._ownership.mine.discard(lane)
        if kind == "fenced":
            await self._alert("lane_fenced", "info", lane, why)
        elif kind == "refused":
            why = f"lane {lane} cannot be written by this instance: {why}"
            self._refused[lane] = why
            await self._alert("lane_refused", "high", lane, why)
            await self._ownership.refuse(lane)
        else:
            await self._alert("lane_broken", "critical", lane, why)
            await self._ownership.broken(lane, why)

    async def _alert(self, kind: str, severity: str, lane: int, text: str) -> None:
        with contextlib.suppress(LogError):
            scope = f"lane.{lane}" if lane >= 0 else f"oms.{self.name}"
            await self._log.append(*alert(self._clock.now(), kind, severity, scope, text))

    def _route(self, request: Request) -> str:
        return self._subjects[request.account, request.instrument]

    # The world, sampled into the log.

    def _on_touch(self, _subject: str, data: bytes) -> None:
        try:
            for mark in decode(data).messages:
                if type(mark) is Mark:
                    self._touch[mark.instrument] = mark
        except Unreadable:
            pass  # the next sample is as good

    def _write_marks(self) -> None:
        if self._touch:
            for writer in self.writers.values():
                writer.append(*self._touch.values())
            self._touch.clear()
        self._sampling = asyncio.get_running_loop().call_later(self._sample, self._write_marks)

    # Questions.

    def _orders(self, writer: Writer, data: bytes) -> bytes:
        return answer_view(writer.lane, writer.seq, data)

    async def _strategy(self, writer: Writer, data: bytes) -> bytes:
        strategy = msgspec.msgpack.decode(data, type=int)
        view = strategy_view(writer.lane, strategy)
        try:
            view.events_at = await writer.settled()
        except Conflict:
            return b""  # a zombie's: the next writer is to be asked
        return msgspec.msgpack.encode(view)

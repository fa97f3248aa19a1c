"""The role `deploy`: keeps every strategy's versions in hand. A process of its own, which needs neither the candidate's nor
the live one's.

Follows DEPLOY, HALT, `EVT_<lane>`, `touch.<venue>`, the slots' states, and while a shadow runs `shadow.<strategy>` and the
live version's commands. What it does goes through one outbox: lanes' `lane.<n>.sys`, `halt.event`, `deploy.<strategy>`,
alerts. Under `deploy.<strategy>` in the bucket STATE it keeps what people ask for: figures, ranges, the comparison.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from tidegate.access.note import Note
from tidegate.execution.lane_door import command_subject
from tidegate.execution.strategy_view import StrategyView
from tidegate.log.alert import alert
from tidegate.log.base import Entry, KvEntry, Log, LogError, Subscription
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Mark, Message, NewOrder, OrderEvent
from tidegate.model.wire import Newer, Unreadable, decode, pack
from tidegate.risk import halt
from tidegate.risk.halt_feed import HaltFeed
from tidegate.risk.scope_name import Kind, text_of
from tidegate.risk.scopes import NEXT, Slots
from tidegate.strategy.deploy import slot_state
from tidegate.strategy.deploy.board_reader import open_board
from tidegate.strategy.deploy.comparison import LIVE, SHADOW, Comparison
from tidegate.strategy.deploy.desk import Desk
from tidegate.strategy.deploy.envelope import Range, value_of
from tidegate.strategy.deploy.measure import Figures, Measure
from tidegate.strategy.deploy.stages import WHOLE, Change, Check, DeployBoard, DeployEvent, Stage
from tidegate.strategy.deploy.version import CONFIGURED, Unknown, Version, Versions
from tidegate.strategy.deploy.watched import Watched

TICK, TOLD = 0.1, 2.0
"""Seconds between two looks; between two notes of how things stand."""
_PAUSE = 0.2
Processes = Callable[[str, bool], Awaitable[bool]]
"""Starts or stops the process of a candidate's slot; whether that is done."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept for people: the version under watch, its figures beside their ranges, and the comparison."""

    ts: int
    version: str = ""
    intervals: int = 0
    judged: bool = False
    figures: list[tuple[Range, float | None]] = []
    deviation: str = ""
    comparison: Any = None


class DeployService:
    """One instance. `check` verifies signed commands, `note` writes the audit trail."""

    def __init__(
        self, slots: Mapping[str, Slots], universe: Universe, base_currency: str, rates: Mapping[str, str | Decimal],
        log: Log, clock: Clock, check: Check, note: Note, processes: Processes | None = None,
    ) -> None:  # fmt: skip
        self.board = DeployBoard(check, lambda name: slots[name].part if name in slots else 0)
        self.desks = {name: Desk(one, self, clock.now) for name, one in slots.items()}
        self._universe, self._base, self._rates = universe, base_currency, rates
        self._log, self._clock, self._note, self._processes = log, clock, note, processes
        self._halts = HaltFeed(log, halt.HaltBoard(lambda data, ts: check(data, ts)), self._on_halt)
        self._versions = Versions(log)
        self._outbox = Outbox(log)
        self._number = 0
        self._ident = f"{clock.now():020d}"
        self._by_number = {
            n: desk for desk in self.desks.values() for n in (desk.slots.live, desk.slots.candidate)
        }
        self._comparing: dict[str, Comparison] = {}
        self._recent: dict[str, list[Figures]] = {}
        self._shadows: dict[str, list[Subscription]] = {}
        self._subscriptions: list[Subscription] = []
        self._events_at: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._run: dict[str, bool] = {}
        self._told_at: dict[str, float] = {}

    # Life.

    async def start(self) -> None:
        """Learn how things stand, then follow."""
        self._subscriptions.append(await open_board(self._log, self.board, self._on_change, self._on_refused))
        with contextlib.suppress(LogError):
            await self._halts.start()
        self._subscriptions.append(
            self._log.bucket(slot_state.BUCKET).watch(self._on_slot, slot_state.PREFIX)
        )
        for venue in dict.fromkeys(item.venue for item in self._universe.instruments):
            self._subscriptions.append(self._log.subscribe(f"touch.{venue}", self._on_touch))
        for work in (self._join(), self._ticking(), self._running()):
            self._spawn(work)

    async def stop(self) -> None:
        """Leave; what was decided is stored first, if the log answers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._halts.close()
        for subscription in [*self._subscriptions, *(s for found in self._shadows.values() for s in found)]:
            subscription.close()
        await self._outbox.drained(2.0)
        self._outbox.close()

    def health(self) -> dict[str, Any]:
        """What people want to know of it."""
        found = {
            name: {"live": d.status.live, "candidate": d.status.candidate, "stage": str(d.status.stage)}
            for name, d in self.desks.items()
        }
        return {"ok": True, "why": "", "deploy": found, "counters": dict(self.board.ignored)}

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self) -> None:
        """Learn each slot's positions and orders from its lane, then follow what happens to them."""
        for number, desk in self._by_number.items():
            view = await self._view(desk.slots.lane, number)
            desk.positions[number] = {n: lots for n, lots in view.positions if lots}
            desk.open[number] = {o.event.cl_ord_id for o in view.orders if o.event.leaves_qty > 0}
            self._events_at[number] = view.events_at
        for name, desk in self.desks.items():
            desk.begin(self.board.status(name))
            await self._prepare(name)
        for lane in dict.fromkeys(desk.slots.lane for desk in self.desks.values()):
            after = min(self._events_at[n] for n, d in self._by_number.items() if d.slots.lane == lane)
            self._subscriptions.append(self._log.follow(f"EVT_{lane}", self._on_events, after=after))

    async def _view(self, lane: int, number: int) -> StrategyView:
        while True:
            with contextlib.suppress(LogError):
                answer = await self._log.request(f"oms.{lane}.strategy", msgspec.msgpack.encode(number))
                if answer:
                    return msgspec.msgpack.decode(answer, type=StrategyView)
            await asyncio.sleep(_PAUSE)

    # What comes.

    def _on_change(self, change: Change) -> None:
        name, event = change.after.strategy, change.event
        desk = self.desks.get(name)
        if desk is None:
            return
        if event.signed:
            scope = text_of(Kind.STRATEGY, name)
            self._note(change.after.by, event.do, scope, "done", change.after.last, event.signed)
        same = (change.before.candidate, change.before.stage, change.before.ppm, change.before.live) == (
            change.after.candidate, change.after.stage, change.after.ppm, change.after.live,
        )  # fmt: skip
        if not same:
            desk.watched = desk.beside = None
        desk.changed(change.after)
        self._spawn(self._prepare(name))

    def _on_refused(self, text: str) -> None:
        self.alert("deploy_refused", "high", "deploy", text, {})
        self._note("deploy", "deploy", "firm", f"refused: {text}", "", b"")

    def _on_halt(self, _entry: Entry, changes: list[halt.Change]) -> None:
        for change in changes:
            for name, desk in self.desks.items():
                if change.after.scope in (text_of(Kind.STRATEGY, name), desk.scope):
                    desk.halted(change.after.scope, change.after.state, change.after.reason)

    def _on_slot(self, entry: KvEntry) -> None:
        with contextlib.suppress(ValueError):
            if entry.value:
                state = slot_state.decode(entry.value)
                desk = self.desks.get(state.slot.removesuffix(NEXT))
                if desk is not None:
                    desk.slot(state)

    def _on_events(self, entries: list[Entry]) -> None:
        for entry in entries:
            try:
                envelope = decode(entry.data)
            except (Unreadable, Newer):
                continue
            if entry.subject != f"evt.{envelope.lane}":
                continue  # another lane's, delivered here for somebody
            for event in envelope.messages:
                if type(event) is OrderEvent:
                    desk = self._by_number.get(event.strategy)
                    if desk is not None and entry.seq > self._events_at[event.strategy]:
                        desk.event(event)

    def _on_touch(self, _subject: str, data: bytes) -> None:
        with contextlib.suppress(Unreadable, Newer):
            for mark in decode(data).messages:
                if type(mark) is Mark:
                    for desk in self.desks.values():
                        desk.mark(mark.ts, mark.instrument, mark.bid, mark.ask)

    def _on_shadow(self, name: str, data: bytes) -> None:
        desk, compared = self.desks[name], self._comparing.get(name)
        watched = desk.watched
        if watched is None or compared is None:
            return
        for m in decode(data).messages:
            if type(m) is NewOrder:
                compared.asked(SHADOW, m)
            elif type(m) is OrderEvent:
                desk.simulated(watched.event(m))
            elif type(m) is Mark:
                compared.pass_time(SHADOW, m.ts)
                desk.simulated(watched.mark(m.ts, m.instrument, m.bid, m.ask))

    def _on_commands(self, name: str, entries: list[Entry]) -> None:
        desk, compared = self.desks[name], self._comparing.get(name)
        wanted = command_subject(desk.slots.lane, desk.slots.live)
        for entry in entries:
            if compared is None or entry.subject != wanted:
                continue
            with contextlib.suppress(Unreadable, Newer):
                for m in decode(entry.data).messages:
                    if type(m) is NewOrder and m.strategy == desk.slots.live:
                        compared.asked(LIVE, m)

    # Watching.

    async def _prepare(self, name: str) -> None:
        """See that what is new is watched, and a shadow compared."""
        while True:
            try:
                return await self._watch(name)
            except LogError:
                await asyncio.sleep(_PAUSE)

    async def _watch(self, name: str) -> None:
        desk = self.desks[name]
        status = desk.status
        trying = status.stage is not Stage.NONE
        version = status.candidate if trying else status.live
        if not trying and not status.previous:
            desk.watched = desk.beside = None
            self._end_shadow(name)
            return
        if desk.watched is not None and desk.watched.version == version:
            return
        found: Version | None = None
        if version != CONFIGURED:
            try:
                found = await self._versions.find(name, version)
            except Unknown as error:
                desk.take_back(trying, "failed", str(error))
                return
        ppm = status.ppm if status.stage is Stage.CANARY else WHOLE
        envelope = await self._versions.envelope(name, version, ppm)
        if desk.status is not status:
            return  # it has changed meanwhile; that change prepares its own
        rules = found.watch if found is not None else Version(type="").watch
        desk.rules[version] = rules
        shadow = status.stage is Stage.SHADOW
        number = desk.slots.candidate if trying and not shadow else desk.slots.live
        self._recent[name] = []
        held = {} if shadow else desk.positions[number]
        interval = envelope.interval if envelope is not None else int(1e9)

        def ended(figures: Figures) -> None:
            self._recent[name] = [*self._recent[name][-300:], figures]
            if shadow and name in self._comparing:
                self._comparing[name].ended(SHADOW, figures)

        desk.watched = Watched(version, self._measure(number, interval, held), envelope, rules, ended)
        if envelope is None:
            text = f"{version} is watched for failures alone: nobody has measured a backtest of it"
            self.alert("deploy_unjudged", "high", text_of(Kind.STRATEGY, name), text, {})
        self._end_shadow(name)
        if shadow:
            self._begin_shadow(name, interval)

    def _measure(self, number: int, interval: int, held: Mapping[int, int]) -> Measure:
        return Measure(self._universe, number, interval, self._base, self._rates, held)

    def _begin_shadow(self, name: str, interval: int) -> None:
        desk = self.desks[name]
        compared = self._comparing[name] = Comparison()
        measure = self._measure(desk.slots.live, interval, desk.positions[desk.slots.live])
        desk.beside = Watched(
            desk.status.live, measure, None, desk.rules[desk.status.candidate], lambda f: compared.ended(LIVE, f)
        )  # fmt: skip
        self._shadows[name] = [
            self._log.subscribe(f"shadow.{name}", lambda _, data: self._on_shadow(name, data)),
            self._log.follow(
                f"LANE_{desk.slots.lane}", lambda entries: self._on_commands(name, entries), since=self._clock.now()
            ),
        ]  # fmt: skip

    def _end_shadow(self, name: str) -> None:
        for subscription in self._shadows.pop(name, []):
            subscription.close()

    async def _ticking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            for name, desk in self.desks.items():
                desk.tick()
                if desk.watched is not None and loop.time() - self._told_at.get(name, 0.0) >= TOLD:
                    self._told_at[name] = loop.time()
                    with contextlib.suppress(LogError):
                        await self._log.bucket("STATE").put(
                            f"deploy.{name}", msgspec.json.encode(self._seen(name))
                        )

    def _seen(self, name: str) -> Seen:
        watched, recent = self.desks[name].watched, self._recent.get(name, [])
        assert watched is not None
        ranges = watched.envelope.ranges if watched.envelope is not None else []
        figures = [
            (r, value_of(r.figure, recent[-r.horizon :]) if len(recent) >= r.horizon else None)
            for r in ranges
        ]
        deviation = ""
        if watched.deviation is not None and watched.envelope is not None:
            deviation = watched.deviation.text(watched.envelope.interval)
        compared = self._comparing.get(name)
        return Seen(
            ts=self._clock.now(), version=watched.version, intervals=watched.intervals,
            judged=watched.envelope is not None, figures=figures, deviation=deviation,
            comparison=compared.report() if compared is not None else None,
        )  # fmt: skip

    async def _running(self) -> None:
        """See that candidates' processes run, and only those."""
        done: dict[str, bool] = {}
        while self._processes is not None:
            for slot, run in list(self._run.items()):
                if done.get(slot) != run:
                    with contextlib.suppress(OSError):
                        if await self._processes(slot, run):
                            done[slot] = run
            await asyncio.sleep(TICK)

    # Acts.

    def lane(self, lane: int, messages: list[Message]) -> None:
        """See `desk.Acts`."""
        now = self._clock.now()
        self._put(f"lane.{lane}.sys", pack(messages, ts=now, lane=lane))

    def halt(self, event: halt.HaltEvent) -> None:
        """See `desk.Acts`."""
        subject, data, msg_id = halt.entry(event)
        self._outbox.put(subject, data, msg_id)

    def decide(self, event: DeployEvent) -> None:
        """See `desk.Acts`."""
        self._put(event.subject, event.encode())

    def alert(self, kind: str, severity: str, scope: str, text: str, figures: dict[str, Any]) -> None:
        """See `desk.Acts`."""
        self._put(*alert(self._clock.now(), kind, severity, scope, text, **figures))

    def note(self, do: str, scope: str, outcome: str, detail: str) -> None:
        """See `desk.Acts`."""
        self._note("deploy", do, scope, outcome, detail, b"")

    def process(self, slot: str, run: bool) -> None:
        """See `desk.Acts`."""
        self._run[slot] = run

    def _put(self, subject: str, data: bytes) -> None:
        self._number += 1
        self._outbox.put(subject, data, f"deploy-{self._ident}-{self._number}")

"""The one writer of a lane: folds the lane's log, sends what follows to gateways, and tells the order events.

A writer begins by putting its epoch into the lane's log, and folds everything up to that mark: what follows from
those entries, its predecessor may have sent, so their requests are thrown away (`core`), while events that were not
told yet are told now. What follows from entries after the mark, it alone sends. A predecessor that is still alive
reads the mark before any of those entries, and stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from tidegate.execution.core import Lane
from tidegate.execution.event_pipe import EventPipe
from tidegate.execution.flood import FloodWatch
from tidegate.execution.lane_log import (
    LaneKind,
    Step,
    epoch_of,
    epoch_subject,
    fold,
    last_letter,
    letter,
    read_again,
    skips,
)
from tidegate.execution.lane_snapshot import Unusable as Unusable
from tidegate.execution.lane_snapshot import header, load, other_config, restore, save
from tidegate.execution.lease_desk import LeaseDesk
from tidegate.execution.noise_teller import NoiseTeller
from tidegate.execution.state import LaneBroken
from tidegate.execution.writer_settings import WriterCounts
from tidegate.execution.writer_settings import WriterSettings as WriterSettings
from tidegate.log.base import Conflict, Entry, Log, LogError, Subscription
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.model.messages import (
    Funding,
    LaneEpoch,
    LeaseReport,
    Message,
    OrderEvent,
    SendCancel,
    SendNew,
    SendReplace,
    SendStatus,
    Tick,
)
from tidegate.model.order import OrdStatus
from tidegate.model.wire import MOST, Envelope, Newer, Unreadable, pack

TOLD = (OrderEvent, Funding)
"""What is told to everybody who listens, on EVT_<n>."""
Request = SendNew | SendCancel | SendReplace | SendStatus


HANDOVER = 5.0
"""Seconds a writer that hands its lane over may take to tell what is left, and to keep a snapshot."""


class Writer:
    """Writes lane `number` in one epoch.

    `route` gives the subject of the gateway for a request. `on_stop(kind, why)` is called once when the lane cannot
    be written any more: kind is "fenced" (another writes it), "refused" (not by this instance) or "broken".
    """

    def __init__(
        self,
        number: int,
        epoch: int,
        owner: str,
        kind: LaneKind,
        route: Callable[[Request], str],
        log: Log,
        clock: Clock,
        on_stop: Callable[[int, str, str], None],
        settings: WriterSettings | None = None,
    ) -> None:
        self.number, self.epoch, self.owner = number, epoch, owner
        self.seq = 0
        """Last entry of the lane's log that has been applied."""
        self.counts = WriterCounts()
        self.on_hop: Callable[[str, int, int], None] | None = None
        """Told (stage, trace, time) of entries with a trace, for measurements."""
        self.moved: Callable[[], None] = lambda: None
        """Called as `start` gets on."""
        self.flood: FloodWatch | None = None
        """Sees every entry of the lane's log, as soon as it has come."""
        self.lane: Lane
        self.desk: LeaseDesk | None = None
        """Cares for the lane's leases, where it has any."""
        self._kind, self._route, self._log, self._clock = kind, route, log, clock
        self._on_stop = on_stop
        self._settings = settings or WriterSettings()
        self._stream = f"LANE_{number}"
        self._snaps = log.bucket("SNAP")
        self._letters = Outbox(log)
        self._teller = NoiseTeller(number, epoch, self.counts, clock, self._letters.put)
        said = partial(self._teller.entries, f"evt.{number}")
        self._pipe = EventPipe(log, number, epoch, self._end, said, lambda: self.moved())
        self._ended: tuple[str, str] | None = None
        """Why the event stream stopped before we were live."""
        self._skipped: frozenset[int] = frozenset()
        """Entries that break the lane, passed over by people's word."""
        self._buried = 0
        """Last entry that is among the dead letters."""
        self._saved = 0
        self._saving: asyncio.Task[None] | None = None
        self._following: Subscription | None = None
        self._mending: asyncio.Task[None] | None = None
        self._envelope = Envelope([])
        self._ticking: asyncio.TimerHandle | None = None
        self._timed = 0
        self._live = False

    # Taking over.

    async def start(self) -> None:
        """Mark the epoch, catch up, and go on live. Raises `Unusable`; `Conflict` when another has the lane."""
        try:
            await self._take_over()
        except Newer as error:
            raise Unusable(f"lane {self.number}: {error}") from None
        if self._ended is not None:
            kind, why = self._ended
            raise {"fenced": Conflict, "refused": Unusable}.get(kind, LaneBroken)(why)
        self._live = True
        self._following = self._log.follow(self._stream, self._entries, after=self.seq)
        self._tick()

    async def _take_over(self) -> None:
        mark = await self._mark()
        self.lane, self.seq = await restore(
            self._log, self._snaps, self.number, self._kind, self._teller, lambda: self.moved()
        )
        self._saved = self.seq
        await self._pipe.open()
        buried = await last_letter(self._log, self.number, self.moved)
        self._teller.entries(f"dead.{self.number}", buried.noise)
        self._buried = buried.said.seq if buried.said else 0
        word = await skips(self._log, self.number, self.moved)
        self._teller.entries(f"lane.{self.number}.skip", word.noise)
        self._skipped = frozenset(seq for seq, _, _ in word.said.skips) if word.said else frozenset()
        async for entries in self._log.read(self._stream, self.seq, mark):
            self.moved()
            self._catch_up(entries, mark)
        if self.seq != mark:
            raise Unusable(f"lane {self.number}: the log was to end at {mark} and ended at {self.seq}")
        self.counts.folded_at_start = self.counts.entries
        if self.lane.state.shared:
            self.desk = LeaseDesk(self.lane, self.epoch, self._log, self._clock, lambda: self.seq)

    async def _mark(self) -> int:
        subject = epoch_subject(self.number)
        word = await epoch_of(self._log, self.number, self.moved)
        self._teller.entries(subject, word.noise)
        before = word.said
        if before is not None:
            if before.epoch > self.epoch:
                raise Conflict(f"{subject}: epoch {before.epoch} has begun")
            if before.config != self._kind.config:
                await self._closed(before.config)
        now = self._clock.now()
        data = pack([LaneEpoch(now, self.epoch, self.owner, self._kind.config)], ts=now, lane=self.number)
        return await self._log.append(
            subject, data, msg_id=f"m{self.number}-{self.epoch}-{self.owner}", expect=word.seq
        )

    async def _closed(self, config: str) -> None:
        """See that the writer of another configuration has closed the lane: before anything of ours is in its log,
        which would keep that configuration from it too."""
        found, last = await header(self._snaps, self.number), await self._log.last(self._stream)
        closed = found is not None and last is not None and last.seq <= found.seq
        if found is None or not closed or await load(self._snaps, self.number, found) is None:
            raise Unusable(other_config(self.number, config))

    def _catch_up(self, entries: list[Entry], mark: int) -> None:
        events: list[Message] = []
        told = self._pipe.told
        for entry in entries:
            steps = self._fold(entry)
            for step in steps:
                message = step.message
                if type(message) is LaneEpoch and entry.seq < mark and message.config != self._kind.config:
                    raise Unusable(other_config(self.number, message.config))
                if entry.seq > told:
                    events += [out for out in step.outputs if type(out) in TOLD]
            if len(events) >= 1000:
                self._pipe.put(entry.seq, events, 0, self._clock.now())
                events = []
        self._pipe.put(self.seq, events, 0, self._clock.now())

    # Live.

    def _entries(self, entries: list[Entry]) -> None:
        """Entries of the lane's log, as they are stored."""
        events: list[Message] = []
        trace = 0
        if self.flood is not None:  # all that has come, before the first of it is applied
            now = self._clock.now()
            for entry in entries:
                self.flood.saw(entry.subject, entry.data, now)
        try:
            for entry in entries:
                if not self._live:
                    break
                if entry.seq <= self.seq:
                    continue
                if entry.seq != self.seq + 1:
                    self._missed(entry.seq)
                    break
                trace = self._entry(entry, events)
        except Newer as error:
            self._end("refused", str(error))
        except LaneBroken as error:
            self._end("broken", str(error))
        except Exception as error:  # what is behind it must not be lost unseen
            self._end("broken", f"entry {entry.seq}: {error!r}")
        if events:
            self.counts.events += len(events)
            self._pipe.put(self.seq, events, trace, self._clock.now())
        if self.desk is not None and self._live:
            self.desk.look()
        due = self.seq - self._saved >= self._settings.snapshot_entries
        if due and self._saving is None:
            self._saving = asyncio.get_running_loop().create_task(self._save())

    def _missed(self, found: int) -> None:
        """Entries did not come: nothing after them is applied before they are read."""
        if self._mending is not None:
            raise LaneBroken(f"log: entry {found} follows {self.seq}")
        self.counts.gaps += 1
        if self._following is not None:
            self._following.close()
        self._mending = asyncio.get_running_loop().create_task(self._mend())

    async def _mend(self) -> None:
        """Read what is missing, and follow again; a log that lacks it for good breaks the lane."""
        await read_again(self._log, self._stream, lambda: self.seq, self._entries, self._settings.tick)
        self._mending = None
        if self._live:
            self._following = self._log.follow(self._stream, self._entries, after=self.seq)

    def _entry(self, entry: Entry, events: list[Message]) -> int:
        requests: dict[str, list[Message]] = {}
        envelope = Envelope([])
        arrived = self._clock.now() if self.on_hop else 0
        steps = self._fold(entry)
        if steps:
            envelope = self._envelope
        on_hop = self.on_hop if envelope.trace and ".cmd" in entry.subject else None
        if on_hop:  # not of reports: they carry the trace of the order's tick, long past
            on_hop("oms.in", envelope.trace, arrived)
        for message, outputs in steps:
            if type(message) is LaneEpoch and message.epoch > self.epoch:
                self._end("fenced", f"{message.owner} writes epoch {message.epoch}")
                return 0
            for out in outputs:
                if type(out) is OrderEvent:
                    events.append(out)
                    if out.reason and self.desk is not None:
                        self.desk.refused(out)
                elif type(out) is Funding:
                    events.append(out)
                elif type(out) is LeaseReport:
                    if self.desk is not None:
                        self.desk.told(out)
                else:
                    requests.setdefault(self._route(out), []).append(out)  # type: ignore[arg-type]
        for subject, batch in requests.items():
            now = self._clock.now()
            self.counts.requests += len(batch)
            for at in range(0, len(batch), MOST):  # one message of a log has an end
                data = pack(
                    batch[at : at + MOST],
                    trace=envelope.trace, ts=now, lane=self.number, epoch=self.epoch, seq=entry.seq,
                )  # fmt: skip
                self._log.send(subject, data)
            if on_hop:
                on_hop("oms.out", envelope.trace, now)
        return envelope.trace

    def _fold(self, entry: Entry) -> list[Step]:
        """The entry applied; one that cannot be read is put among the dead letters, and the lane goes on."""
        try:
            self._envelope, steps = fold(self.lane, entry, self._skipped)
        except LaneBroken as error:
            raise LaneBroken(f"entry {entry.seq}: {error}") from error
        except Unreadable as error:
            steps = []
            self.counts.dead += 1
            if entry.seq > self._buried:
                self._bury(entry, str(error))
        self.seq = entry.seq
        self.counts.entries += 1
        return steps

    def _bury(self, entry: Entry, why: str) -> None:
        self._buried = entry.seq
        self._letters.put(
            f"dead.{self.number}", letter(self._stream, entry, why), f"d{self.number}-{entry.seq}"
        )

    def _tick(self) -> None:
        """Write the time into the log while something is awaited; and in a quiet market four times in what control 29
        lets an order be ahead of it."""
        state, now = self.lane.state, self._clock.now()
        if state.waiting or state.owed or 0 < state.gate.clock_limit() <= 4 * (now - self._timed):
            self._timed = now
            self.append(Tick(now))
        if self.desk is not None:
            self.desk.look()
        self._ticking = asyncio.get_running_loop().call_later(self._settings.tick, self._tick)

    def append(self, *messages: Message) -> asyncio.Future[Any]:
        """Write what the lane must know of the world into its log. Of the world's samples one that is lost is followed by
        others; who writes what must not be lost looks at the future, which fails if anything of it is."""
        now = self._clock.now()
        pieces = [list(messages[at : at + MOST]) for at in range(0, len(messages), MOST)]
        stored = [
            self._log.append(f"lane.{self.number}.sys", pack(piece, ts=now, lane=self.number))
            for piece in pieces
        ]
        future: asyncio.Future[Any] = stored[0] if len(stored) == 1 else asyncio.gather(*stored)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def settled(self) -> int:
        """Wait until all events of what has been applied so far are stored: the sequence in EVT_<n> of the last of them.
        Raises `Conflict` where another writes the lane."""
        return await self._pipe.settled()

    def unknown(self) -> int:
        """How many orders are in an unknown state."""
        return sum(order.status is OrdStatus.UNKNOWN for order in self.lane.state.live.values())

    # Ending.

    def _end(self, kind: str, why: str) -> None:
        if self._live:
            self._halt()
            self._on_stop(self.number, kind, why)
        elif self._ended is None:
            self._ended = kind, why

    def _halt(self) -> None:
        self._live = False
        if self._following is not None:
            self._following.close()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._mending is not None and self._mending is not asyncio.current_task():
            self._mending.cancel()

    async def stop(self, handover: bool) -> None:
        """Write no more. With `handover`, first see that all is told, and keep a snapshot for the successor."""
        self._halt()
        try:
            if handover and hasattr(self, "lane"):
                with contextlib.suppress(asyncio.TimeoutError):
                    if self._saving is not None:
                        await asyncio.wait_for(self._saving, HANDOVER)
                    if self.seq > self._saved:
                        await asyncio.wait_for(self._save(), HANDOVER)
        finally:
            if self._saving is not None:
                self._saving.cancel()
            self._pipe.close()
            self._letters.close()

    async def _save(self) -> None:
        """Keep a snapshot, once all that follows from what is in it has been told: a successor tells the rest alone."""
        try:
            seq, snapshot = self.seq, self.lane.snapshot()
            await self._pipe.settled()
            await self._letters.drained()
            await save(self._snaps, self.number, snapshot, seq, self._kind.config, self._teller.key)
            self._saved = seq
            self.counts.snapshots += 1
        except LogError:
            pass  # the next one will do; a successor folds more
        finally:
            self._saving = None

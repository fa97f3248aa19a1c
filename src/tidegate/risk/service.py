"""The risk service: the whole firm's exposure, what trips, the limits that change, and the leases of those that lanes share.

Follows `EVT_<n>` of every lane, `touch.<VENUE>` and `pulse.<VENUE>`, HALT and ALERT. Breakers are judged as events
arrive; what trips is appended to HALT at once. Several may run: all fold, and the one that holds the lease `risk` acts
(posts halts, answers, keeps, lends). Should none act, gates and gateways go on with what they know, and fail closed.

Requests: `risk.query` (a scope, or nothing for all: `figures.Report` as JSON), `risk.limits` (`limit_desk`). Every second
`risk.exposure` carries the report to whoever listens; its last is under `risk.exposure` in STATE.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from tidegate.access.note import Note
from tidegate.log.base import Entry, Log, LogError, Subscription
from tidegate.log.lease import Lease
from tidegate.marketdata import pulse as pulses
from tidegate.model.clock import Clock
from tidegate.model.messages import Mark
from tidegate.model.wire import Newer, Unreadable, decode
from tidegate.risk.acting import TTL, Acting
from tidegate.risk.announce import RECENT, Announcer
from tidegate.risk.breakers.panel import Panel
from tidegate.risk.breakers.told import Alert
from tidegate.risk.breakers.trip import Trip
from tidegate.risk.dynamic_desk import DynamicDesk
from tidegate.risk.equity_desk import EquityDesk
from tidegate.risk.event_fold import EventFold
from tidegate.risk.exposure import Exposure
from tidegate.risk.failures import Failures
from tidegate.risk.figures import KEPT, Figures, Report, Standing
from tidegate.risk.funding_desk import FundingDesk
from tidegate.risk.halt import Change, HaltBoard
from tidegate.risk.halt_feed import HaltFeed
from tidegate.risk.lane_facts import LaneFacts
from tidegate.risk.leases.allocator import Allocator
from tidegate.risk.leases.lease import leased
from tidegate.risk.leases.pool import Short
from tidegate.risk.limit_changes import BelowUse, below_use
from tidegate.risk.limit_desk import LimitDesk, Verify
from tidegate.risk.limit_sheet import Sheets
from tidegate.risk.limits import Limits
from tidegate.risk.margin.book import MarginBook
from tidegate.risk.margin.call import MarginCall
from tidegate.risk.market_desk import MarketDesk
from tidegate.risk.quick import ACTING, Sockets
from tidegate.risk.scope_name import is_known, name_of
from tidegate.risk.scopes import State
from tidegate.risk.setup import RiskSetup as RiskSetup
from tidegate.risk.unset import missing

FOLD = "risk.fold"
"""The key in STATE of the fold that a successor goes on from."""
BELOW_USE = "limit_below_use"
"""The trigger of a halt because a limit was lowered below what is used."""


class RiskService:
    """One instance. `verify` judges signed commands, `first` whether one is new, `note` writes the audit trail."""

    def __init__(
        self,
        name: str,
        setup: RiskSetup,
        log: Log,
        clock: Clock,
        verify: Verify,
        first: Callable[[str, int, int], bool],
        note: Note,
        sockets: Sockets | None = None,
    ) -> None:
        self.name = name
        self._setup, self._log, self._clock = setup, log, clock
        exposure = Exposure(setup.universe, setup.scopes, base_currency=setup.base_currency, fx=setup.fx)
        self.panel = Panel(setup.breakers, exposure, setup.limits, setup.lanes)
        self.board = HaltBoard(
            lambda data, now: verify(data, now, 0, ()), lambda scope: is_known(scope, setup.scopes, setup.universe)
        )  # fmt: skip
        self.figures = Figures(exposure, setup.limits)
        self.announcer = Announcer(log, clock, name, self.board, sockets)
        self.failures = Failures(self.announcer.alert, self.announcer.counts, clock)
        self.fold = EventFold(self.panel, len(setup.lanes), self.failures)
        lanes, universe, self._sheets = len(setup.lanes), setup.universe, Sheets(setup.universe, setup.scopes)
        self.desk = LimitDesk(
            setup.limits, universe, setup.scopes, lanes, log, clock, verify, first, note, self._limits,
            self._sheets.ahead, lambda limits: missing(self._sheets.of(limits)),
            lambda limits: below_use(limits, exposure),
        )  # fmt: skip
        book = MarginBook(
            exposure, setup.limits, setup.margin, source=name, collateral=setup.collateral,
            coins=setup.breakers.depeg.coins,
        )  # fmt: skip
        facts = LaneFacts("dynamic", lanes, log, clock, name)
        self.dynamic = DynamicDesk(setup.dynamic, book, facts, log, clock)
        funding = FundingDesk(universe, lanes, book.next_funding, self.announcer.alert, log, clock, name)
        self.market = MarketDesk(setup.limits, universe, lanes, log, clock, name, funding)
        equity = EquityDesk(book, LaneFacts("equity", lanes, log, clock, name), setup.limits)
        self.margin = MarginCall(book, equity, log, clock, self.announcer, lanes)
        spoiled = partial(self.announcer.spoiled, f"LEASE {ACTING}")
        self.lease = Lease(log.bucket("LEASE"), ACTING, name, clock.now(), TTL, spoiled)
        self._turns = Acting(self.lease, self._act, self._rest, self.fold.counts, self.failures)
        self.allocator: Allocator | None = None
        self._halts = HaltFeed(log, self.board, self._on_halt)
        self._following: list[Subscription] = []
        self._served: list[Subscription] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._acting = False
        self._saved = -1
        self._told_missing = 0
        """How many order events people know to be missing."""

    # Life.

    async def start(self) -> None:
        """Fold what is there, then follow; act if no other does. Raises `LogError`."""
        await self._halts.start()
        await self._restore()
        await self._catch_up()
        log = self._log
        for lane in range(len(self._setup.lanes)):
            self._following.append(
                log.follow(f"EVT_{lane}", partial(self._on_events, lane), after=self.fold.seqs[lane])
            )
        for venue in self.panel.exposure.venues:
            self._following.append(log.subscribe(f"touch.{venue}", self._on_touch))
            self._following.append(log.subscribe(f"pulse.{venue}", self._on_pulse))
        self._following.append(log.follow("ALERT", self._on_alerts, since=self._clock.now()))
        self.margin.start()
        await self._turns.start()
        self._tasks = [asyncio.get_running_loop().create_task(self._tell())]

    async def stop(self) -> None:
        """Say what is left, keep the fold, and let another act."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscription in self._following:
            subscription.close()
        self._halts.close()
        self.margin.close()
        acting = self._acting
        await self._turns.leave(partial(self._last, acting))
        self.announcer.close()
        self.desk.close()
        self.dynamic.close()
        self.market.close()

    async def _last(self, acting: bool) -> None:
        """What the log must have before another acts."""
        await self.announcer.drained(2.0)
        with contextlib.suppress(LogError, TimeoutError):
            if acting:
                await asyncio.wait_for(self._keep(), 2.0)

    async def _restore(self) -> None:
        await self.desk.load()
        await self.dynamic.load()
        await self.market.load()
        kept = await self._log.bucket("STATE").get(FOLD)
        if kept is not None and kept.value and not self.fold.load(kept.value):
            self.fold.counts["fold_of_another_configuration"] += 1

    async def _catch_up(self) -> None:
        """What was told before this start. What tripped long ago was posted then, or people have dealt with it."""
        now = self._clock.now()
        for lane, seq in enumerate(self.fold.seqs):
            async for entries in self._log.read(f"EVT_{lane}", seq):
                for trip in self.fold.take(lane, entries):
                    if now - trip.ts < RECENT:
                        self.announcer.trips([trip])
                    else:
                        self.panel.tripped.pop((trip.scope, trip.trigger), None)

    async def _act(self) -> None:
        """Begin: the limits as they are kept, then what waits to be said."""
        await self.desk.load()
        await self.dynamic.load()
        await self.market.load()
        shared = self._setup.shared
        if shared:
            self.allocator = Allocator(
                self._log,
                self._clock,
                shared,
                self._lent(self.desk.limits),
                version=self.desk.documents.now.version,
                term=lambda: self.lease.epoch,
                name=self.name,
                on_short=self._short,
                factors=self.dynamic.told(),
                on_even=self.dynamic.say,
            )
            self.announcer.begin()  # what trips is said, however long it takes to read what is lent
            try:
                await self.allocator.start()
            except LogError:
                self.announcer.end()
                self.allocator = None
                raise
            self.dynamic.lender = self.allocator
        self._acting = True
        self.announcer.begin()
        self.margin.begin(lambda: self.lease.epoch)
        self.desk.tell()
        self.dynamic.begin(lambda: self.lease.epoch)
        self.market.begin(lambda: self.lease.epoch)
        self._told_missing = 0
        self._served = [
            self._log.serve("risk.query", self._query),
            self._log.serve("risk.limits", self.desk.answer),
        ]

    async def _rest(self) -> None:
        """Another acts, or nobody."""
        self._acting = False
        self.announcer.end()
        self.margin.end()
        self.market.end()
        for served in self._served:
            served.close()
        self._served = []
        if self.allocator is not None:
            await self.allocator.stop()
            self.allocator = self.dynamic.lender = None

    def _lent(self, limits: Limits) -> Mapping[Any, int]:
        return leased(self._sheets.of(limits), self._setup.shared)

    # What arrives.

    def _on_events(self, lane: int, entries: list[Entry]) -> None:
        if trips := self.fold.take(lane, entries):
            self.announcer.trips(trips)

    def _on_touch(self, _subject: str, data: bytes) -> None:
        now, trips = self._clock.now(), list[Trip]()
        try:
            for mark in decode(data).messages:
                if type(mark) is Mark and 0 <= mark.instrument < len(self._setup.universe):
                    trips += self.panel.touch(mark.instrument, mark.bid, mark.ask, now)
        except (Unreadable, Newer):
            self.fold.counts["unreadable"] += 1
        if trips:
            self.announcer.trips(trips)

    def _on_pulse(self, _subject: str, data: bytes) -> None:
        try:
            found = pulses.decode(data)
            self.market.pulses(found, self._clock.now(), self._acting)
            for pulse in found:
                if 0 <= pulse.instrument < len(self._setup.universe):
                    self.announcer.trips(self.panel.pulse(pulse.instrument, pulse.ts, pulse.status))
                    self.dynamic.pulse(pulse, self._clock.now(), self._acting)
        except ValueError:
            self.fold.counts["unreadable"] += 1

    def _on_alerts(self, entries: list[Entry]) -> None:
        for entry in entries:
            with contextlib.suppress(ValueError):
                self.announcer.trips(self.panel.alert(msgspec.json.decode(entry.data, type=Alert)))

    def _on_halt(self, entry: Entry, changes: list[Change]) -> None:
        if self.board.refused:
            self.announcer.alert("halt_ignored", "high", "firm", self.board.refused, seq=entry.seq)
        for before, after in changes:
            if (
                after.state < before.state and before.state is not State.RECOVERING
            ):  # that ends by time, nobody rearms
                self.panel.rearm(after.scope)
                self.margin.book.rearm(after.scope.partition(":")[2])

    # Limits.

    def _limits(self, limits: Limits, version: int) -> list[BelowUse]:
        """Others are in force."""
        self.panel.set_limits(limits)
        self.figures.set_limits(limits)
        self.margin.set_limits(limits)
        self.market.set_limits(limits)
        if self.allocator is not None:
            self.allocator.set_limits(self._lent(limits), version)
            self.dynamic.say_again()
        below = below_use(limits, self.panel.exposure)
        if self._acting:
            for one in below:
                self.announcer.only_reduces(one.scope, BELOW_USE, f"limits version {version}: {one}")
        return below

    def _short(self, short: Short) -> None:
        """A limit that lanes share was lowered below what they use."""
        scope = name_of(short.key.scope, self._setup.scopes)
        self.announcer.only_reduces(
            scope, BELOW_USE, f"a limit over several lanes is {short.limit:,}, {short.used:,} are in use"
        )

    # What is said.

    async def _tell(self) -> None:
        """Every second: what time alone brings, and the report. Each part for itself: one that fails ends no other."""
        parts: dict[str, Callable[[int], None]] = {
            "the breakers": lambda now: self.announcer.trips(self.panel.time(now)),
            "what waits to be told": lambda now: self.panel.untold(self.announcer.forget(now)),
            "margin": self.margin.tick,
            "the market's figures": self.market.time,
            "limits to come": self.desk.come_into_force,
            "what people are told": self._say,
        }
        n = 0
        while True:
            await asyncio.sleep(self._setup.publish)
            n += 1
            for name, part in parts.items():
                try:
                    part(self._clock.now())
                except Exception as error:
                    self.failures(name, error)
            try:
                await self._store(whole=n % 10 == 0)
            except LogError:
                pass  # the next is as good
            except Exception as error:
                self.failures("what is kept", error)

    def _say(self, now: int) -> None:
        near, self.panel.loss.near = self.panel.loss.near, []
        for text in near:
            self.announcer.alert("loss_near", "high", "firm", text)
        if not self._acting:
            return
        if (missing := sum(self.fold.missing.values())) > self._told_missing:
            self._told_missing = missing
            self.announcer.alert("events_missing", "critical", "firm", self._missing())
        self._log.publish("risk.exposure", self._report(self.figures.all(self.board)))

    def _missing(self) -> str:
        """Why the exposure may be wrong, for people; empty where it is whole."""
        lanes = ", ".join(f"{n:,} of lane {lane}" for lane, n in sorted(self.fold.missing.items()))
        return lanes and (
            f"the log has dropped order events that were not in the exposure yet ({lanes}): what the risk service says of "
            "positions, losses and margin may be wrong; what lanes and gateways judge is not touched"
        )

    async def _store(self, whole: bool) -> None:
        """What a successor needs: at once what was tightened, the rest now and then."""
        if self._acting:
            await self.desk.look(self.announcer.spoiled)
            await self.dynamic.keep()
            if whole:
                await self._keep()

    async def _keep(self) -> None:
        await self.dynamic.keep()
        await self.market.keep()
        bucket = self._log.bucket("STATE")
        await bucket.put(KEPT, self._report(self.figures.all(self.board, held=True)))
        if self.fold.events != self._saved:
            self._saved = self.fold.events
            await bucket.put(FOLD, self.fold.save())

    def _report(self, standing: list[Standing]) -> bytes:
        version = self.desk.documents.now.version
        return msgspec.json.encode(
            Report(
                self._clock.now(), self._setup.base_currency, version, self.name, self.lease.epoch, standing,
                self._counts(),
            )
        )  # fmt: skip

    def _query(self, data: bytes) -> bytes:
        """A scope's name, or nothing for all."""
        scope = data.decode(errors="replace").strip()
        found = self.figures.one(scope, self.board) if scope else self.figures.all(self.board)
        return self._report(found)

    def _counts(self) -> dict[str, int]:
        return {
            "events": self.fold.events,
            **self.fold.counts,
            **self.announcer.counts,
            **self.panel.marks.counts,
            **self.margin.book.counts,
        }

    def health(self) -> dict[str, Any]:
        """As in `ops.health`; `state` is `acting` or `standby`."""
        halted = {name: status.state.name for name, status in self.board.scopes.items() if status.state}
        lent = self.allocator.health() if self.allocator is not None else None
        why = self.failures.why() or self._missing() or (str(lent["why"]) if lent else "")
        figures = {
            "state": "acting" if self._acting else "standby",
            "epoch": self.lease.epoch,
            "limits_version": self.desk.documents.now.version,
            "halted": halted,
            "held_down": self.dynamic.factors(),
            "open_orders": self.panel.exposure.totals[0].orders,
        }
        return {
            "ok": not why,
            "why": why,
            "risk": figures | ({"leases": lent} if lent else {}),
            "counters": self._counts(),
            "alerts": list(self.announcer.recent),
        }

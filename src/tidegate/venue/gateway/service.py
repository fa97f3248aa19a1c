"""The gateway as a service: requests of lanes to one venue account, and its reports back. `docs/recovery.md`.

Subjects: `gw.<VENUE>.<account>` (requests), `lane.<n>.rpt` (reports), `ctl.gw.<VENUE>.<account>` (`control`),
`alert.<kind>`. Buckets: LEASE (who acts, lanes' epochs), STATE (`memory`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from tidegate.access.note import Note
from tidegate.errors import UserError
from tidegate.execution.ownership import Written
from tidegate.log.alert import spoiled_text
from tidegate.log.base import KvEntry, Log, LogError, Subscription
from tidegate.log.lease import Lease
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Report
from tidegate.risk import quick
from tidegate.risk.halt import Check, HaltEvent
from tidegate.risk.scope_name import Kind, text_of
from tidegate.risk.scopes import ScopeTable, State
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.dropcopy import DropCopy
from tidegate.venue.gateway.guard import Guard
from tidegate.venue.gateway.halt_file import HaltFile
from tidegate.venue.gateway.halts import Halts
from tidegate.venue.gateway.history import History
from tidegate.venue.gateway.holdings import HoldingsDesk
from tidegate.venue.gateway.intake import Hop, Intake
from tidegate.venue.gateway.margin import MarginCheck
from tidegate.venue.gateway.memory import Memory
from tidegate.venue.gateway.operator import Operator
from tidegate.venue.gateway.quick import Quick
from tidegate.venue.gateway.reconciler import Reconciler
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.gateway.session import Session
from tidegate.venue.gateway.settings import GatewaySettings
from tidegate.venue.gateway.sweep import Sweeper
from tidegate.venue.gateway.target import Place
from tidegate.venue.port import Venue, VenueDown, VenueRefused, between_fills

_CANCEL_AGAIN = 0.5
"""Seconds after which what was cancelled and goes on is cancelled again."""


class GatewayService:
    """One account at one venue. `account_number` is the run's, `lanes` those that may hold the account's orders.

    `check` verifies what people have signed, `note` writes the audit trail. `start` raises `UserError` where the venue refuses
    the key, `LogDown` where there is no log. `on_hop` is told of every new order that was sent.
    """

    def __init__(
        self,
        venue_name: str,
        account_name: str,
        account_number: int,
        venue: Venue,
        universe: Universe,
        log: Log,
        clock: Clock,
        lanes: Sequence[int],
        settings: GatewaySettings,
        scopes: ScopeTable,
        check: Check,
        note: Note,
        on_hop: Callable[[Hop], None] | None = None,
    ) -> None:
        self.name = f"{venue_name}.{account_name}"
        self.counts: Counter[str] = Counter()
        self._subject = f"gw.{self.name}"
        self._account, self._venue, self._log, self._clock = account_number, venue, log, clock
        self._lanes, self._settings, self._on_hop = list(lanes), settings, on_hop
        life = clock.now()
        self.session = Session(settings, self.counts)
        self.lease = Lease(
            log.bucket("LEASE"), self._subject, settings.instance, life, settings.lease_ttl, self._on_spoiled
        )
        self.memory = Memory(log.bucket("STATE"), self._subject, self._on_memory_spoiled)
        sender = f"{self._subject}-{settings.instance}-{life}"
        self.alerts = Alerts(log, clock, self.name, sender, self.counts, self._alive)
        dropcopy = DropCopy(round(settings.stream_grace * 1e9), round(settings.history_after * 1e9))
        self.reports = Reports(
            lanes, log, clock, self.session, dropcopy, self.alerts, self.counts, settings.buffer, self._alive
        )
        self.history = History(venue, self.reports, dropcopy, self.memory, self.alerts, clock, self.counts)
        self.reconciler = Reconciler(
            venue_name, account_number, lanes, venue, universe, log, clock, self.reports, self.history, self.memory,
            self.alerts, self.counts, settings, self._on_clean, self._on_mismatch, self._on_broken,
        )  # fmt: skip
        sweeper = Sweeper(
            venue, account_number, self.session, self.reports, clock, self.counts, settings.sweep_for,
            self.reconciler.owners,
        )  # fmt: skip
        place = Place(venue_name, account_number, scopes, universe)
        file = HaltFile(settings.socket.with_suffix(".halts") if settings.socket else None)
        self.halts = Halts(
            place, check, venue, self.session, self.reports, sweeper, self.alerts, log, clock, self.counts, file,
            self._spawn, self._alive, self._on_recovering,
        )  # fmt: skip
        self.quick = Quick(self._subject, self.halts, self.alerts, note, self.counts)
        self.operator = Operator(
            self._subject, check, self.halts, sweeper, self.reconciler, self.alerts, note, log, clock, settings,
            self.health, self.quick,
        )  # fmt: skip
        self.operator.doers["holdings"] = HoldingsDesk(
            venue_name, account_name, lanes, venue, universe, clock, self.reports, self.history, self.reconciler,
            settings,
        ).answer  # fmt: skip
        self.guard = Guard(
            venue, sweeper, self.session, self.lease, self.reconciler, self.alerts, self.counts, settings
        )
        self.margin = MarginCheck(
            self.name, venue, universe, log, clock, self.alerts, self.counts, settings.margin_every
        )
        self._refused = ""
        self._opened = False
        self._acting = False
        self._ready_by = float("-inf")
        """Until then (loop time) what still holds orders back is the start's."""
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._leasing: asyncio.Task[None] | None = None
        self._intake = Intake(
            account_number, venue, self.session, self.guard, self.halts, self.reports, self.alerts, self.counts, clock,
            self._spawn, on_hop,
        )  # fmt: skip

    # Life.

    async def start(self) -> None:
        """Act for the account, or stand by while another does."""
        self.session.holds = {"standby": "another gateway acts for this account"}
        self._ready_by = asyncio.get_running_loop().time() + self._settings.handover
        await self.lease.step()
        if self.lease.held:
            try:
                await self._act()
            except VenueRefused as error:
                await self._leave()
                await self.lease.release()
                raise UserError(
                    f"gateway {self.name}: the venue refuses this account's key: {error}; check the key, its "
                    f"permissions and the addresses it may be used from"
                ) from None
        self._leasing = asyncio.get_running_loop().create_task(self._keep_lease())

    async def stop(self) -> None:
        """Leave; resting orders are cancelled or kept as set, reports stored as far as the log takes them."""
        if self._leasing is not None:
            self._leasing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._leasing
        if self._acting:
            self.session.holds["stopping"] = "the gateway is being stopped"
            if self._settings.on_stop == "cancel":
                await self.operator.cancel_all("gateway", "clean stop")
            await self.guard.disarm()
            await self._leave()
        if self._opened:
            await self._venue.close()
        await self.reports.drained(2.0)
        await self.alerts.drained(2.0)
        await self.halts.drained(2.0)
        with contextlib.suppress(LogError, asyncio.TimeoutError):
            await asyncio.wait_for(self.memory.save(), 2.0)
            await self.lease.release()
        self.reports.close()
        self.alerts.close()
        self.halts.stop()

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(min(self._settings.lease_ttl, self._settings.control_age) / 4)
            try:
                held = await self.lease.step()
            except LogError:
                self.counts["lease_unanswered"] += 1
                continue
            if held and not self._acting and not self._refused:
                await self._take_over()
            elif self._acting and not held:
                self.alerts.say(
                    "gateway_replaced", "high", f"{self.lease.holder.owner!r} acts for the account now"
                )
                await self._leave()

    async def _take_over(self) -> None:
        try:
            await self._act()
        except VenueRefused as error:
            self._refuse(error)
            await self._leave()
        except LogError:
            await self._leave()  # it is tried again with the next renewal

    def _refuse(self, error: VenueRefused) -> None:
        """Only people can mend this: nothing is tried again."""
        self._refused = str(error)
        self.session.holds["refused"] = f"the venue refuses the key: {error}"
        self.alerts.say("venue_refused", "critical", f"the venue refuses the key: {error}", key="refused")

    async def _act(self) -> None:
        """Begin to act for the account."""
        loop = asyncio.get_running_loop()
        self._acting = True
        self.guard.alive(loop.time())
        self.guard.lifeline.begin(loop.time())
        await self.memory.load()
        bucket = self._log.bucket("LEASE")
        for lane in self._lanes:
            entry = await bucket.get(f"lane.{lane}")
            if entry is not None:
                self._on_lane(entry)
        self.reconciler.recall()
        self.session.since = max(self.session.since, self._clock.now())
        self.session.holds = {"reconcile": "the first reconciliation is not done"}
        await self.halts.open()
        self._subscriptions = [
            bucket.watch(self._on_lane, "lane."),
            bucket.watch(lambda entry: self.guard.lifeline.hear(entry, loop.time()), quick.ACTING),
            self._log.subscribe(quick.SUBJECT, self.quick.hear),
            self._log.subscribe(self._subject, lambda _, data: self._intake.take(data)),
        ]
        await self.operator.open()
        for work in (
            self.reconciler.run(), self._compare(), self.guard.run(), self.guard.renew(), self.memory.run(self.counts)
        ):  # fmt: skip
            self._spawn(work)
        self._spawn(self.margin.run(), vital=False)
        if not self._opened:
            try:
                await self._open()
            except VenueDown:
                self._spawn(self._open_later())

    async def _open(self) -> None:
        """Open the venue's session, once in this process: a standby that has acted keeps it, and turns deaf."""
        await self._venue.open(self._on_reports, self._on_session)
        self._opened = True
        self.halts.sweep()

    async def _open_later(self) -> None:
        """The venue could not be reached: go on trying."""
        pause = self._settings.retry
        while True:
            self.counts["venue_unreachable"] += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._settings.retry_most)
            try:
                await self._open()
                self.reconciler.want("the venue has been reached")
                return
            except VenueDown:
                continue
            except VenueRefused as error:
                self._refuse(error)
                return

    async def _leave(self) -> None:
        """Act no more; open orders stay."""
        self._acting = False
        self.session.holds.setdefault("standby", "another gateway acts for this account")
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions = []
        while self._tasks:  # a cancel that meets the end of an `asyncio.wait_for` is lost (Python 3.11)
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=_CANCEL_AGAIN)
        self.halts.close()
        await self.operator.close()

    def _spawn(self, work: Coroutine[Any, Any, None], vital: bool = True) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, vital))

    def _ended(self, task: asyncio.Task[None], vital: bool) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.counts["failed"] += 1
            if vital:
                self.session.holds["failed"] = f"{type(error).__name__}: {error}"
            text = f"a part of the gateway has failed: {error!r}"
            self.alerts.say("gateway_failed", "critical" if vital else "high", text, key=type(error).__name__)

    # What others tell.

    def _on_lane(self, entry: KvEntry) -> None:
        """A lane's lease: an owner and its epoch. What is none is counted; its owner writes it again."""
        _, _, number = entry.key.partition(".")
        if entry.value and number.isdecimal():
            try:
                self.session.learn(int(number), msgspec.json.decode(entry.value, type=Written).epoch)
            except ValueError:
                self.counts["lane_leases_spoiled"] += 1

    def _on_spoiled(self, value: bytes) -> None:
        """Our lease was overwritten."""
        self.counts["lease_spoiled"] += 1
        self.alerts.say("key_spoiled", "high", spoiled_text(f"LEASE {self._subject}", value), key="lease")

    def _on_memory_spoiled(self, value: bytes) -> None:
        """So was our memory: a gateway that starts just then does not know how far the venue's fills were read."""
        self.counts["memory_spoiled"] += 1
        self.alerts.say("key_spoiled", "high", spoiled_text(f"STATE {self._subject}", value), key="memory")

    def _on_reports(self, reports: list[Report]) -> None:
        if self._acting:
            self.reports.from_stream(reports)

    def _on_session(self, up: bool) -> None:
        """The venue's session was lost, or is back."""
        if not self._acting:
            return
        self.counts["session_back" if up else "session_lost"] += 1
        self.session.holds.setdefault("reconcile", "the venue's session was lost: not reconciled since")
        self.reconciler.want("the venue's session was lost")

    def _on_clean(self) -> None:
        """Venue and books agree: new orders may go out."""
        self.session.holds.pop("reconcile", None)
        self.halts.sweep()

    def _on_mismatch(self, text: str) -> None:
        """Until people have looked, the account only reduces."""
        self.halts.halt(
            HaltEvent(
                ts=self._clock.now(), scope=text_of(Kind.ACCOUNT, self.halts.place.account_name),
                state=State.REDUCE_ONLY, reason=text, trigger="position_mismatch", source=f"gateway {self.name}",
            )
        )  # fmt: skip

    def _on_broken(self, text: str) -> None:
        """A reconciliation, or the drop copy, failed as none should: nothing new goes out until a look is clean."""
        self.session.holds.setdefault("reconcile", f"nothing has been reconciled since this failed: {text}")
        said = f"what the venue says cannot be used: {text}"
        self.alerts.say("reconcile_failed", "critical", said, key=text)

    def _on_recovering(self, scope: str) -> None:
        """A scope comes up: what went out meanwhile must be known."""
        if self.reconciler.why or self._clock.now() - self.reconciler.reconciled > self._settings.fresh * 1e9:
            self.session.holds["reconcile"] = f"{scope} comes up: not reconciled since"
            self.reconciler.want(f"{scope} comes up")

    def _alive(self) -> None:
        self.guard.alive(asyncio.get_running_loop().time())

    # Loops.

    async def _compare(self) -> None:
        """Drop copy, while there is anything that may fill."""
        loop = asyncio.get_running_loop()
        while True:
            due = self.history.read_at + between_fills(self._venue)
            await asyncio.sleep(max(self._settings.drop_copy, due - loop.time()))
            if loop.time() < self.history.read_at + between_fills(self._venue):
                continue  # a reconciliation has just read them
            ready = self._venue.connected and "reconcile" not in self.session.holds
            if ready and not (self.reconciler.idle and self.history.idle):
                try:
                    await self.history.read(self._settings.drop_copy_overlap, expected=False)
                except VenueDown:
                    self.counts["drop_copy_unanswered"] += 1
                except Exception as error:
                    self.counts["drop_copy_failed"] += 1
                    self._on_broken(f"{type(error).__name__}: {error}")
                    self.reconciler.want("the drop copy failed")

    def health(self) -> dict[str, Any]:
        """As in `ops.health`; `state` is `acting`, `standby` or `refused`."""
        holds = self.session.why()
        standing_by = not self._acting and not self._refused
        why = "" if standing_by else "; ".join(f"{name}: {text}" for name, text in sorted(holds.items()))
        state = "refused" if self._refused else "acting" if self._acting else "standby"
        figures = {
            "state": state,
            "connected": self._venue.connected,
            "reconciled": self.reconciler.reconciled,
            "clean": not self.reconciler.why,
            "not_clean": self.reconciler.why,
            "mismatches": self.reconciler.mismatches,
            "open": self.reconciler.open_orders,
            "foreign": self.reconciler.foreign,
            "inflight": len(self.session.inflight),
            "holds": holds,
            "halts": self.halts.shown(),
            "unstored_reports": self.reports.pending,
            "cursor": self.memory.saved.cursor,
        }
        starting = bool(why) and not self._refused and asyncio.get_running_loop().time() < self._ready_by
        if self._acting and not why:
            self._ready_by = float("-inf")  # from here on whatever holds orders back is a fault
        return {
            "ok": not why,
            "why": why,
            "starting": starting,
            "gateways": {self.name: figures},
            "counters": {**self.counts, **{f"venue_{name}": n for name, n in self._venue.counters().items()}},
            "alerts": list(self.alerts.recent),
        }

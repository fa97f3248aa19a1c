"""Reconciliation carried out: the venue's view, the lanes' after it, and what `execution.reconcile` makes of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence

from tidegate.execution.lane_view import LaneView, ViewOrder, read_view, view_request
from tidegate.execution.reconcile import Looks, Plan, Rules, VenueView, answered, compare
from tidegate.log.base import Log, LogError
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Report, SendStatus
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.history import History
from tidegate.venue.gateway.memory import Memory
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.gateway.settings import GatewaySettings
from tidegate.venue.port import Venue, VenueDown, VenueOrder, between_fills

_ASK_PAUSE = 0.05


class Unfinished(Exception):
    """The look could not be finished: says why."""


class Reconciler:
    """`want` asks for a look soon; `run` takes one then, and every `reconcile_every` seconds. `clean` is called
    after each that was; `mismatch` with positions that differ, in one line: the account is to be halted; `broken` with
    what nobody reckoned with: nothing is certain until a look is clean again."""

    def __init__(
        self,
        name: str,
        account: int,
        lanes: Sequence[int],
        venue: Venue,
        universe: Universe,
        log: Log,
        clock: Clock,
        reports: Reports,
        history: History,
        memory: Memory,
        alerts: Alerts,
        counts: Counter[str],
        settings: GatewaySettings,
        clean: Callable[[], None],
        mismatch: Callable[[str], None],
        broken: Callable[[str], None],
    ) -> None:
        self.reconciled = 0
        """When the last clean look began, ns; 0 for never."""
        self.why = "not reconciled yet"
        """Why the last look was not clean; empty when it was."""
        self.open_orders = self.foreign = 0
        self._here = {n for n, item in enumerate(universe.instruments) if item.venue == name}
        self._account, self._lanes, self._venue, self._universe = account, list(lanes), venue, universe
        self._log, self._clock, self._reports, self._history = log, clock, reports, history
        self._memory, self._alerts, self._counts, self._settings = memory, alerts, counts, settings
        self._clean, self._mismatch, self._broken = clean, mismatch, broken
        self._rules = Rules(margin=round(settings.margin * 1e9), tolerance=settings.tolerance)
        self._looks = Looks()
        self._wanted = asyncio.Event()
        self._gap = True
        self._waited = False
        """Whether what moved when the session came back has had the time until a second look to settle."""
        self._looks_again = False
        self._recheck = settings.recheck
        self._quiet = -1

    @property
    def mismatches(self) -> int:
        """Positions that differ, told or not."""
        settled = sum(key[0] == "POSITION" for key in self._looks.found)
        return max(len(self._looks.positions), settled)

    @property
    def idle(self) -> bool:
        """Whether nothing rested at the last look, and nothing was sent or told since."""
        return bool(self.reconciled) and not self.open_orders and self._traffic() == self._quiet

    def _traffic(self) -> int:
        return self._counts["sent"] + self._counts["reports"]

    def recall(self) -> None:
        """Take over the differences that a predecessor told."""
        saved, index = self._memory.saved, self._universe.index
        positions = {index[name]: gap for name, gap in saved.positions.items() if name in index}
        self._looks = Looks(positions=positions, balances=dict(saved.balances))

    def want(self, why: str) -> None:
        """The session or the log was away: fills may have been missed, and nothing is certain until a look."""
        self._gap, self._waited = True, False
        self.why = why
        self._wanted.set()

    async def run(self) -> None:
        """Look again and again."""
        pause = self._settings.retry
        while True:
            self._wanted.clear()
            if await self.once():
                pause = self._settings.retry
                wait = max(self._settings.reconcile_every, between_fills(self._venue))
            elif self._looks_again:
                pause, wait = self._settings.retry, self._recheck
            else:
                wait, pause = pause, min(2 * pause, self._settings.retry_most)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), wait)

    async def once(self) -> bool:
        """One look, carried out; whether it was clean."""
        began = self._clock.now()
        self._counts["reconciliations"] += 1
        self._looks_again = False
        gap, self._gap = self._gap, False
        self._reports.moved = set()
        try:
            await self._look(began, gap)
        except (VenueDown, LogError, Unfinished) as error:
            self._gap |= gap
            self.why = f"{type(error).__name__}: {error}"
            self._counts["reconciliations_unfinished"] += 1
            return False
        except Exception as error:
            self._gap |= gap
            self.why = f"{type(error).__name__}: {error}"
            self._counts["reconciliations_failed"] += 1
            self._broken(self.why)
            return False
        finally:
            self._reports.moved = None
        if self._looks_again:
            self._gap |= gap
            self.why = "something differs and is looked at again"
            return False
        if self._wanted.is_set():
            return False  # the session was lost meanwhile
        self.why, self.reconciled = "", began
        self._clean()
        return True

    async def _look(self, began: int, gap: bool) -> None:
        if not self._venue.connected:
            raise Unfinished("the venue's session is lost")
        self._quiet = self._traffic()
        orders = await self._venue.open_orders()
        self._unread(orders)
        positions, balances = await self._venue.positions(), await self._venue.balances()
        fills = await self._history.read(self._settings.overlap, gap)
        ours = [fill for fill in fills if fill.report.cl_ord_id]
        view = VenueView(began, self._clock.now(), orders, ours, positions, balances)
        if not await self._reports.drained(self._settings.ask_for):
            raise Unfinished("reports could not be stored")
        if self._reports.lost_from is not None:
            raise Unfinished("there was no room for all reports")
        moved = self._reports.moved or set()
        lanes = await self.views(view.ids() | moved)
        known = {o.cl_ord_id: o for lane in lanes.values() if lane for o in (*lane.orders, *lane.closed)}
        view.moved = frozenset(known[key].instrument for key in moved if key in known)
        before = self._looks
        plan = compare(view, lanes, before, self._rules)
        self.open_orders, self.foreign = len(orders), sum(plan.foreign.values())
        failed = await self._carry_out(plan, before)
        self._looks = plan.looks
        self._keep()
        # What moves at a second look was sent or changed since the session is back, whose stream tells of it; under
        # load something always does.
        self._looks_again = plan.again or (gap and plan.moving and not self._waited)
        self._waited = gap and plan.moving
        self._recheck = self._settings.recheck
        if not plan.again:
            self._recheck = self._settings.margin + self._settings.retry
        silent = [str(lane) for lane, told in lanes.items() if told is None]
        if silent:
            raise Unfinished(f"no answer from lane {', '.join(silent)}")
        if failed:
            raise Unfinished(f"the venue did not answer about {failed} orders")

    def _unread(self, orders: list[VenueOrder]) -> None:
        """Tell of open orders that cannot be read. Raises `Unfinished` where one is ours: how it stands is not known."""
        unread = [order for order in orders if order.unread]
        for order in unread:
            severity = "high" if order.cl_ord_id else "warning"
            text = f"open order {order.text_id!r} of {self._universe[order.instrument].id} cannot be read: {order.unread}"
            self._alerts.say("order_unread", severity, text, key=order.text_id, cl_ord_id=order.cl_ord_id)
        if ours := [order.text_id for order in unread if order.cl_ord_id]:
            raise Unfinished(f"open orders of ours cannot be read: {', '.join(ours)}")

    # The lanes.

    async def views(self, ids: set[int]) -> dict[int, LaneView | None]:
        """What each lane holds of the account, and how it has these orders, once it has applied all that was stored."""
        question = view_request(self._account, sorted(ids))
        views = await asyncio.gather(*(self._view(lane, question) for lane in self._lanes))
        return dict(zip(self._lanes, views, strict=True))

    async def _view(self, lane: int, question: bytes) -> LaneView | None:
        """The lane's view once it has applied all that was stored; None where it does not come."""
        loop = asyncio.get_running_loop()
        until, need = loop.time() + self._settings.ask_for, self._reports.outboxes[lane].last
        while loop.time() < until:
            try:
                view = read_view(await self._log.request(f"oms.{lane}.orders", question))
            except (LogError, ValueError):
                self._counts["lane_unanswered"] += 1
                return None
            if view.seq >= need:
                return self._at_this_venue(view)
            await asyncio.sleep(_ASK_PAUSE)
        self._counts["lane_behind"] += 1
        return None

    def _at_this_venue(self, view: LaneView) -> LaneView:
        """Only what is traded here. Cash is not told apart by venue: of an account that trades at several it is not
        compared."""
        here = self._here
        view.orders = [order for order in view.orders if order.instrument in here]
        view.closed = [order for order in view.closed if order.instrument in here]
        if not view.positions.keys() <= here:
            view.balances = {}
            view.positions = {n: lots for n, lots in view.positions.items() if n in here}
        return view

    async def owners(self, ids: list[int]) -> dict[int, int]:
        """The strategy of each of these orders, as far as the lanes answer."""
        views = await self.views(set(ids))
        return {
            order.cl_ord_id: order.strategy
            for view in views.values()
            if view is not None
            for order in (*view.orders, *view.closed)
        }

    # What follows.

    async def _carry_out(self, plan: Plan, before: Looks) -> int:
        """Do what the plan says; how many orders the venue did not answer about."""
        self._count(plan)
        self._reports.deliver(plan.reports)
        for cancel in plan.cancel:
            self._venue.send(cancel)
        failed = 0
        for question, order in plan.ask:
            failed += not await self._ask(plan, before, question, order)
        for alarm in plan.alarms:
            figures = dict(alarm.figures)
            if "instrument" in figures:
                figures["instrument"] = self._universe[int(figures["instrument"])].id
            self._alerts.say(alarm.kind, alarm.severity, alarm.text, **figures)
        if plan.restrict:
            self._restrict(plan.restrict)
        if self._settings.clear_foreign:
            await self._clear(plan)
        return failed

    def _count(self, plan: Plan) -> None:
        for name, n in (
            ("adopted", len(plan.reports)),
            ("asked", len(plan.ask)),
            ("stray_cancels", len(plan.cancel)),
            ("position_mismatches", len(plan.restrict)),
        ):
            if n:
                self._counts[name] += n

    async def _ask(self, plan: Plan, before: Looks, question: SendStatus, order: ViewOrder) -> bool:
        try:
            reports: list[Report] = await self._venue.status(question)
        except VenueDown:
            self._counts["status_unanswered"] += 1
            return False
        self._reports.deliver(answered(plan, before, self._rules, order, reports))
        return True

    def _restrict(self, gaps: dict[int, int]) -> None:
        """The account only reduces until people have looked."""
        what = ", ".join(f"{self._universe[n].id} by {gap} lots" for n, gap in sorted(gaps.items()))
        self._mismatch(f"positions differ from the venue's: {what}")

    async def _clear(self, plan: Plan) -> None:
        """Cancel what others have open where none of ours is: the venue's mass cancel knows no difference."""
        ours = {order.instrument for order in await self._venue.open_orders() if order.cl_ord_id}
        for instrument in sorted(plan.foreign.keys() - ours):
            self._counts["foreign_cleared"] += 1
            await self._venue.cancel_all(instrument)

    def _keep(self) -> None:
        saved = self._memory.saved
        saved.positions = {self._universe[n].id: gap for n, gap in self._looks.positions.items()}
        saved.balances = dict(self._looks.balances)

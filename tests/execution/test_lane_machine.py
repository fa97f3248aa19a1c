"""The lane under everything a network and a venue can do to it, driven by hypothesis.

Between lane and venue stands a network that duplicates, reorders and drops both requests and reports; the process
crashes anywhere and comes back from its log, or from a snapshot and the rest of the log, with or without the
outputs of its last step. A request older than the reconciliation window is lost for good: that is what the window
means. At the end the network heals, the venue is asked about everything, and the lane must hold its truth.
"""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lane_world import MS, SETTINGS, CountingGate, SummingLedger, Venue, events, lane, new, sends, universe

from tidegate.execution.core import Lane
from tidegate.model.messages import (
    CancelAll,
    CancelOrder,
    Mark,
    Message,
    NewOrder,
    OrderEvent,
    ReplaceOrder,
    Report,
    SendStatus,
    Tick,
)
from tidegate.model.order import Contingency, ExecType, OrdStatus, Side, TimeInForce

WINDOW = SETTINGS.reconciliation_window
PICK = st.integers(0, 1 << 16)
MAX_QTY = 40


class LaneMachine(RuleBasedStateMachine):
    """Commands, a venue, a bad network, crashes."""

    tells = True

    @initialize()
    def start(self) -> None:
        self.lane = lane(max_qty=MAX_QTY)
        self.venue = Venue(self.tells)
        self.now = 1_000 * MS
        self.log: list[Message] = []
        self.snapshots: list[tuple[int, bytes]] = []
        self.requests: list[tuple[int, Message]] = []
        self.reports: list[Report] = []
        self.told: dict[int, OrderEvent] = {}
        self.filled: dict[int, int] = {}
        self.cmd = 0

    # The shell: log first, then apply, then send.

    def step(self, msg: Message, lost: bool = False) -> None:
        self.log.append(msg)
        out = self.lane.apply(msg)
        for event in events(out):
            self.listen(event)
        for request in sends(out):
            order = self.lane.order(request.cl_ord_id)
            assert order is not None, "a request for an order the lane does not hold"
            assert order.sent
            if not lost:
                self.requests.append((self.now, request))

    def listen(self, event: OrderEvent) -> None:
        """Fold order events as a strategy would: terminal is final, and fills add up."""
        if not event.cl_ord_id:
            return
        key, last = event.cl_ord_id, self.told.get(event.cl_ord_id)
        if last is not None:
            assert event.version >= last.version
            if last.status.terminal:
                assert event.status is last.status, "a terminal status changed"
        self.told[key] = event
        sign = {ExecType.TRADE: 1, ExecType.TRADE_CORRECT: 1, ExecType.TRADE_CANCEL: -1}.get(event.exec_type, 0)
        self.filled[key] = self.filled.get(key, 0) + sign * event.last_qty

    def tick(self) -> None:
        self.now += MS

    def command(self, pick: int) -> int:
        return 1 + pick % self.cmd

    # Commands.

    @rule(
        qty=st.integers(1, 50), price=st.integers(90, 110), side=st.sampled_from(Side), lost=st.booleans(),
        tif=st.sampled_from([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.GTD]),
        instrument=st.integers(0, 2), reject=st.booleans(),
    )  # fmt: skip
    def submit(self, qty, price, side, tif, instrument, lost, reject) -> None:
        self.tick()
        self.cmd += 1
        self.venue.reject_next = reject and qty % 5 == 0
        more = dict(time_in_force=tif, instrument=instrument, expire_ts=self.now + 50 * MS if tif == 6 else 0)
        self.step(new(self.cmd, qty, price, side, self.now, **more), lost)

    @precondition(lambda self: self.cmd)
    @rule(pick=PICK, qty=st.integers(1, 30), group=st.integers(0, 3), kind=st.integers(0, 2))
    def submit_linked(self, pick, qty, group, kind) -> None:
        self.tick()
        parent = 0 if kind == 0 else self.command(pick)
        oco = kind != 1
        self.cmd += 1
        more = dict(
            parent_cmd_id=parent, link_group=group + 1 if oco else 0,
            contingency=Contingency.OCO if oco else Contingency.OTO,
            time_in_force=TimeInForce.IOC if pick % 3 == 0 else TimeInForce.GTC,
        )  # fmt: skip
        self.step(new(self.cmd, qty, 105, Side.SELL, self.now, **more))

    @precondition(lambda self: self.cmd)
    @rule(pick=PICK)
    def retry(self, pick) -> None:
        """The same command again, byte for byte."""
        self.tick()
        again = [m for m in self.log if isinstance(m, NewOrder)]
        known = len(self.told)
        self.step(again[pick % len(again)])
        assert len(self.told) == known

    @precondition(lambda self: self.cmd)
    @rule(pick=PICK, lost=st.booleans())
    def cancel(self, pick, lost) -> None:
        self.tick()
        self.step(CancelOrder(self.now, self.command(pick)), lost)

    @precondition(lambda self: self.cmd)
    @rule(pick=PICK, qty=st.integers(0, 50), price=st.integers(95, 105), lost=st.booleans())
    def replace(self, pick, qty, price, lost) -> None:
        self.tick()
        self.step(ReplaceOrder(self.now, self.command(pick), qty, price), lost)

    @rule(instrument=st.integers(-1, 2))
    def cancel_all(self, instrument) -> None:
        self.tick()
        self.step(CancelAll(self.now, instrument=instrument))

    @rule(pick=st.integers(0, 4))
    def poison(self, pick) -> None:
        """Commands that cannot be: refused with a reason, and nothing changes but the count of refusals."""
        self.tick()
        bad = [
            new(1 << 40, qty=0, ts=self.now),
            new(1 << 40, qty=1.5, ts=self.now),
            new(1 << 40, instrument=99, ts=self.now),
            new(1 << 40, side=9, ts=self.now),
            CancelOrder(self.now, 1 << 41),
        ][pick]
        live = list(self.lane.state.live)
        out = self.lane.apply(bad)
        self.log.append(bad)
        assert len(out) == 1
        assert out[0].reason > 0
        assert live == list(self.lane.state.live)

    @rule(ahead=st.sampled_from([1, 60, 150, 400, 900]))
    def time(self, ahead) -> None:
        self.now += ahead * MS
        self.step(Tick(self.now))

    @rule(allowed=st.booleans(), bid=st.integers(90, 100))
    def throttle(self, allowed, bid) -> None:
        """The gate's throttle on cancels closes or opens."""
        self.tick()
        self.step(Mark(self.now, 0, bid, bid + 1 + allowed))

    # The venue.

    def at_venue(self, pick: int) -> int:
        open_ = [key for key, order in self.venue.orders.items() if order.open]
        return open_[pick % len(open_)] if open_ else 0

    @rule(pick=PICK, qty=st.integers(1, 25))
    def fill(self, pick, qty) -> None:
        self.tick()
        if key := self.at_venue(pick):
            self.reports.append(self.venue.fill(key, qty, self.now))

    @rule(pick=PICK, expire=st.booleans())
    def end(self, pick, expire) -> None:
        self.tick()
        if key := self.at_venue(pick):
            kind = ExecType.EXPIRED if expire else ExecType.CANCELED
            self.reports.append(self.venue.end(key, kind, self.now))

    @rule(pick=PICK, qty=st.integers(1, 20))
    def restate(self, pick, qty) -> None:
        self.tick()
        key = self.at_venue(pick)
        if key and qty < self.venue.orders[key].qty:
            self.reports.append(self.venue.restate(key, qty, self.now))

    @rule(pick=PICK, price=st.integers(90, 110), bust=st.booleans())
    def take_back(self, pick, price, bust) -> None:
        self.tick()
        fills = [(key, exec_id) for key, order in self.venue.orders.items() for exec_id in order.fills]
        if fills:
            key, exec_id = fills[pick % len(fills)]
            venue = self.venue
            report = venue.bust(key, exec_id, self.now) if bust else venue.correct(key, exec_id, price, self.now)
            self.reports.append(report)

    # The network.

    @precondition(lambda self: self.requests)
    @rule(pick=PICK, fate=st.sampled_from("ddddxc"))
    def request(self, pick, fate) -> None:
        """Deliver any request in flight, drop it, or deliver a status question twice."""
        self.tick()
        at = pick % len(self.requests)
        sent, request = self.requests[at]
        if fate != "c" or not isinstance(request, SendStatus):
            self.requests.pop(at)
        if fate != "x" and (self.now - sent < WINDOW or isinstance(request, SendStatus)):
            self.reports += self.venue.handle(request, self.now)

    @precondition(lambda self: self.reports)
    @rule(pick=PICK, fate=st.sampled_from("dddddxcc"))
    def report(self, pick, fate) -> None:
        """Deliver any report in flight, drop it, or deliver it and keep a copy in flight."""
        self.tick()
        at = pick % len(self.reports)
        report = self.reports[at]
        if fate != "c":
            self.reports.pop(at)
        if fate != "x":
            report.ts = self.now
            self.step(report_copy(report))

    @rule(key=st.sampled_from([0, 77, 3 << 40 | 9999]), exec_type=st.sampled_from(ExecType))
    def orphan(self, key, exec_type) -> None:
        self.tick()
        self.step(Report(self.now, key, exec_type, exec_id=1, last_qty=1, last_px=1, ref_exec_id=1))

    # Crashes.

    @rule()
    def snapshot(self) -> None:
        self.snapshots.append((len(self.log), self.lane.snapshot()))

    @rule(pick=PICK, gone=st.booleans())
    def crash(self, pick, gone) -> None:
        """Come back from the whole log, or from a snapshot and what followed: the same state, nothing sent again."""
        at, data = self.snapshots[pick % len(self.snapshots)] if self.snapshots and pick % 2 else (0, b"")
        if data:
            lane_ = Lane.restore(data, universe(), CountingGate(MAX_QTY), SummingLedger())
        else:
            lane_ = lane(max_qty=MAX_QTY)
        for msg in self.log[at:]:
            lane_.apply(msg)
        assert lane_.state_hash() == self.lane.state_hash()
        self.lane = lane_
        if gone:
            self.requests = [item for item in self.requests if item[0] != self.now]

    # What must hold.

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "lane"):
            return
        self.lane.check()
        state, gate, ledger = self.lane.state, self.lane.state.gate, self.lane.state.ledger
        charges = {
            key: max(order.leaves_qty, order.pending_qty - order.cum_qty)
            for key, order in state.live.items()
            if order.sent
        }
        assert gate.charges == {key: lots for key, lots in charges.items() if lots}
        assert gate.positions == ledger.positions
        booked = sum(ledger.fills.values())
        orders = [*state.live.values(), *state.closed.values()]
        if len(state.closed) < SETTINGS.history:
            fills = [fill for order in orders for fill in (order.fills or {}).values() if fill[0]]
            assert booked == len(fills)
            for instrument in range(3):
                total = sum((3 - 2 * o.side) * o.cum_qty for o in orders if o.instrument == instrument)
                assert total == ledger.positions.get(instrument, 0)
        for order in orders:
            assert order.cum_qty == self.filled.get(order.cl_ord_id, 0), "the events do not tell all fills"

    def teardown(self) -> None:
        if hasattr(self, "lane"):
            self.settle()
            self.agree()
            self.now += MS
            self.step(CancelAll(self.now))
            self.settle()
            assert not self.lane.state.live
            assert not self.lane.state.gate.charges
            assert not self.lane.state.waiting
            assert not self.lane.state.owed

    def settle(self) -> None:
        """The network heals: all arrives in order, time passes, and the venue is asked about every open order."""
        self.step(Mark(self.now, 0, 100, 102))
        for _ in range(4):
            for _ in range(40):
                if not self.requests and not self.reports:
                    break
                self.now += MS
                flight, self.requests = self.requests, []
                for sent, request in flight:
                    if self.now - sent < WINDOW or isinstance(request, SendStatus):
                        self.reports += self.venue.handle(request, self.now)
                arrived, self.reports = self.reports, []
                for report in arrived:
                    report.ts = self.now
                    self.step(report_copy(report))
            self.now += 2 * WINDOW
            self.step(Tick(self.now))
            for key in [*self.venue.orders, *(k for k, o in self.lane.state.live.items() if o.sent)]:
                self.requests.append((self.now, SendStatus(self.now, key)))
        assert not self.requests or all(isinstance(m, SendStatus) for _, m in self.requests)
        self.requests = []

    def agree(self) -> None:
        """The lane holds what the venue holds."""
        state = self.lane.state
        for key, truth in self.venue.orders.items():
            order = self.lane.order(key)
            if order is None:
                continue
            assert order.status.terminal == (not truth.open), (order, truth)
            assert order.cum_qty == truth.cum
            assert {k: v for k, v in (order.fills or {}).items() if v[0]} == truth.fills
            if truth.open:
                assert (order.qty, order.price) == (truth.qty, truth.price)
                assert not order.pending_qty
        for key, order in state.live.items():
            assert key in self.venue.orders or order.status is OrdStatus.CREATED
        if len(state.closed) < SETTINGS.history:
            self.covered()

    def covered(self) -> None:
        """Every child that is not over for good covers what its parent filled, as far as the gate allows."""
        state = self.lane.state
        for parent_id, links in state.links.items():
            parent = self.lane.order(parent_id)
            for link in links:
                want = link.full * parent.cum_qty // link.whole
                child = state.live.get(link.child)
                covers = link.base + (child.qty if child is not None and child.sent else 0)
                refused = link.refusal or (child is not None and link.asked >= want)
                assert covers >= want or link.over or refused, (link, parent, child)


def report_copy(report: Report) -> Report:
    """A report of its own for the log, which a later delivery of the same one must not change."""
    return Report(*(getattr(report, name) for name in Report.__struct_fields__))


class SilentVenueMachine(LaneMachine):
    """The same with a venue whose reports carry neither CumQty nor LeavesQty, nor a status with its refusals."""

    tells = False


RUNS = settings(
    max_examples=120, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLane = LaneMachine.TestCase
TestLane.settings = RUNS
TestLaneOfSilentVenue = SilentVenueMachine.TestCase
TestLaneOfSilentVenue.settings = RUNS

"""A lane, a venue, a network between them that duplicates, reorders and drops; a process that crashes.

Everything the tests can do to a lane is a method of `FaultyWorld`, and what must hold is `holds` (after every
step) and `settle_and_agree` (once the network has healed). Hypothesis drives it, and so do seeded random
runs.

A request older than the reconciliation window is lost for good: that is what the window means.
"""

from __future__ import annotations

from collections.abc import Callable

from lane_world import MS, SETTINGS, CountingGate, SummingLedger, Venue, events, new, sends, universe

from tidegate.execution.core import Lane
from tidegate.execution.ports import Gate, Ledger
from tidegate.model.messages import (
    CancelAll,
    CancelOrder,
    Mark,
    Message,
    NewOrder,
    OrderEvent,
    ReplaceOrder,
    Report,
    SendNew,
    SendStatus,
    Tick,
)
from tidegate.model.order import Contingency, ExecType, OrdStatus, Side, TimeInForce
from tidegate.risk.reasons import Reason

WINDOW = SETTINGS.reconciliation_window
MAX_QTY = 40
Parts = Callable[[], tuple[Gate, Ledger]]


def counting_parts() -> tuple[Gate, Ledger]:
    """A gate that counts and a ledger that sums."""
    return CountingGate(MAX_QTY), SummingLedger()


class FaultyWorld:
    """Commands, a venue, a bad network, crashes. `pick` chooses among what there is, modulo how much there
    is.
    """

    def __init__(self, tells: bool = True, parts: Parts = counting_parts) -> None:
        self.parts = parts
        self.lane = Lane(3, universe(), *parts(), SETTINGS)
        self.venue = Venue(tells)
        self.now = 1_000 * MS
        self.log: list[Message] = []
        self.snapshots: list[tuple[int, bytes]] = []
        self.requests: list[tuple[int, Message]] = []
        self.reports: list[Report] = []
        self.told: dict[int, OrderEvent] = {}
        self.filled: dict[int, int] = {}
        self.intents: set[int] = set()
        self.cmd = 0
        for n in range(3):
            self.step(Mark(self.now, n, 100, 102))

    # The shell: log first, then apply, then send.

    def step(self, msg: Message, lost: bool = False) -> list[Message]:
        """Log and apply one message; `lost`: the process dies before its requests leave."""
        self.log.append(msg)
        out = self.lane.apply(msg)
        for event in events(out):
            self.listen(event)
        for request in sends(out):
            order = self.lane.order(request.cl_ord_id)
            assert order is not None, "a request for an order the lane does not hold"
            if isinstance(request, SendNew):
                assert request.cl_ord_id not in self.intents, "one intent is sent twice"
                assert order.status is OrdStatus.PENDING_NEW
                self.intents.add(request.cl_ord_id)
            if not lost:
                self.requests.append((self.now, request))
        return out

    def listen(self, event: OrderEvent) -> None:
        """Fold order events as a strategy would: terminal is final, and fills add up."""
        if (
            not event.cl_ord_id
            or not event.cmd_id
            or event.reason in (Reason.ORPHAN_REPORT, Reason.MALFORMED_REPORT)
        ):
            return  # of no order the lane holds, and not applied
        key, last = event.cl_ord_id, self.told.get(event.cl_ord_id)
        if last is not None:
            assert event.version >= last.version
            if last.status.terminal:
                assert event.status is last.status, "a terminal status changed"
        self.told[key] = event
        sign = {ExecType.TRADE: 1, ExecType.TRADE_CORRECT: 1, ExecType.TRADE_CANCEL: -1}.get(
            event.exec_type, 0
        )
        self.filled[key] = self.filled.get(key, 0) + sign * event.last_qty

    def tick(self) -> None:
        self.now += MS

    def command(self, pick: int) -> int:
        return 1 + pick % self.cmd

    # Commands.

    def submit(
        self, qty: int, price: int, side: Side, tif: TimeInForce, instrument: int, lost: bool, reject: bool
    ) -> None:
        """A new order; it may get lost on its way, or the venue refuse it."""
        self.tick()
        self.cmd += 1
        self.venue.reject_next = reject
        expire = self.now + 50 * MS if tif is TimeInForce.GTD else 0
        more = {"time_in_force": tif, "instrument": instrument, "expire_ts": expire}
        self.step(new(self.cmd, qty, price, side, self.now, **more), lost)

    def submit_linked(self, pick: int, qty: int, group: int, kind: int) -> None:
        """An OCO order (0), a child (1), or a child that is OCO with others (2)."""
        self.tick()
        parent = self.command(pick) if kind and self.cmd else 0
        oco = kind != 1
        self.cmd += 1
        more = {
            "parent_cmd_id": parent, "link_group": group + 1 if oco else 0,
            "contingency": Contingency.OCO if oco else Contingency.OTO,
            "time_in_force": TimeInForce.IOC if pick % 3 == 0 else TimeInForce.GTC,
        }  # fmt: skip
        self.step(new(self.cmd, qty, 105, Side.SELL, self.now, **more))

    def bracket(self, qty: int, first: int) -> None:
        """An entry, its take-profit and its stop, as a strategy sends them; the venue fills a first part."""
        self.submit(qty, 100, Side.BUY, TimeInForce.GTC, 0, False, False)
        entry = self.cmd
        group = 100 + entry
        for price in (105, 95):
            self.cmd += 1
            more = {"parent_cmd_id": entry, "link_group": group, "contingency": Contingency.OCO}
            self.step(new(self.cmd, qty, price, Side.SELL, self.now, **more))
        if self.requests and first:
            self.request(len(self.requests) - 1, "d")
            self.fill(-1, first)

    def retry(self, pick: int) -> None:
        """An earlier NewOrder again: no second order."""
        self.tick()
        again = [m for m in self.log if isinstance(m, NewOrder)]
        if again:
            seq = self.lane.state.seq
            self.step(again[pick % len(again)])
            assert self.lane.state.seq == seq

    def cancel(self, pick: int, lost: bool) -> None:
        self.tick()
        if self.cmd:
            self.step(CancelOrder(self.now, self.command(pick)), lost)

    def replace(self, pick: int, qty: int, price: int, lost: bool) -> None:
        self.tick()
        if self.cmd:
            self.step(ReplaceOrder(self.now, self.command(pick), qty, price), lost)

    def cancel_all(self, instrument: int) -> None:
        self.tick()
        self.step(CancelAll(self.now, instrument=instrument))

    def poison(self, pick: int) -> None:
        """Commands that cannot be: refused with a reason, and no order changes."""
        self.tick()
        bad = [
            new(1 << 40, qty=0, ts=self.now),
            new(1 << 40, qty=1.5, ts=self.now),
            new(1 << 40, instrument=99, ts=self.now),
            new(1 << 40, side=9, ts=self.now),
            CancelOrder(self.now, 1 << 41),
        ][pick % 5]
        before = [msg_bytes(order) for order in self.lane.open_orders()]
        out = self.step(bad)
        assert len(out) == 1
        assert out[0].reason > 0
        assert before == [msg_bytes(order) for order in self.lane.open_orders()]

    def time(self, ahead: int) -> None:
        """Time passes, in ms, and the log is told."""
        self.now += ahead * MS
        self.step(Tick(self.now))

    def throttle(self, closed: bool) -> None:
        """The gate's throttle on cancels closes or opens."""
        self.tick()
        self.step(Mark(self.now, 0, 100, 101 if closed else 102))

    # The venue.

    def at_venue(self, pick: int) -> int:
        open_ = [key for key, order in self.venue.orders.items() if order.open]
        return open_[pick % len(open_)] if open_ else 0

    def fill(self, pick: int, qty: int) -> None:
        self.tick()
        if key := self.at_venue(pick):
            self.reports.append(self.venue.fill(key, qty, self.now))

    def end(self, pick: int, expire: bool) -> None:
        """The venue ends an order unasked."""
        self.tick()
        if key := self.at_venue(pick):
            kind = ExecType.EXPIRED if expire else ExecType.CANCELED
            self.reports.append(self.venue.end(key, kind, self.now))

    def restate(self, pick: int, qty: int) -> None:
        """The venue cuts an order unasked."""
        self.tick()
        key = self.at_venue(pick)
        if key and qty < self.venue.orders[key].qty:
            self.reports.append(self.venue.restate(key, qty, self.now))

    def take_back(self, pick: int, price: int, bust: bool) -> None:
        """The venue busts or corrects a fill."""
        self.tick()
        fills = [(key, exec_id) for key, order in self.venue.orders.items() for exec_id in order.fills]
        if fills:
            key, exec_id = fills[pick % len(fills)]
            venue = self.venue
            report = (
                venue.bust(key, exec_id, self.now) if bust else venue.correct(key, exec_id, price, self.now)
            )
            self.reports.append(report)

    # The network: d delivers, x drops, c delivers and keeps a copy in flight.

    def request(self, pick: int, fate: str) -> None:
        """The fate of one request in flight."""
        self.tick()
        if not self.requests:
            return
        at = pick % len(self.requests)
        sent, request = self.requests[at]
        if fate != "c" or isinstance(request, SendNew):
            self.requests.pop(at)
        if fate != "x" and (self.now - sent < WINDOW or isinstance(request, SendStatus)):
            self.reports += self.venue.handle(request, self.now)

    def report(self, pick: int, fate: str) -> None:
        """The fate of one report in flight."""
        self.tick()
        if not self.reports:
            return
        at = pick % len(self.reports)
        report = self.reports[at]
        if fate != "c":
            self.reports.pop(at)
        if fate != "x":
            self.step(arrived(report, self.now))

    def network(self, fates: list[tuple[int, str]]) -> None:
        """Many fates: requests and reports in turn."""
        for pick, fate in fates:
            self.request(pick, fate)
            self.report(pick, fate)

    def orphan(self, key: int, exec_type: ExecType) -> None:
        """A report for an order that was never sent."""
        self.tick()
        self.step(Report(self.now, key, exec_type, exec_id=1, last_qty=1, last_px=1, ref_exec_id=1))

    # Crashes.

    def snapshot(self) -> None:
        self.snapshots.append((len(self.log), self.lane.snapshot()))

    def crash(self, pick: int, gone: bool) -> None:
        """Come back from the whole log, or from a snapshot and what followed: the same, nothing sent again.

        `gone`: what the last step sent did not leave the process.
        """
        at = 0
        lane = Lane(3, universe(), *self.parts(), SETTINGS)
        if self.snapshots and pick % 2:
            at, data = self.snapshots[pick % len(self.snapshots)]
            lane = Lane.restore(data, universe(), *self.parts())
        for msg in self.log[at:]:
            lane.apply(msg)
        assert lane.state_hash() == self.lane.state_hash()
        self.lane = lane
        if gone:
            self.requests = [item for item in self.requests if item[0] != self.now]

    # What must hold.

    def holds(self) -> None:
        """After every step."""
        self.lane.check()
        state = self.lane.state
        gate, ledger = state.gate, state.ledger
        orders = [*state.live.values(), *state.closed.values()]
        for order in orders:
            assert order.cum_qty == self.filled.get(order.cl_ord_id, 0), "the events do not tell all fills"
        if isinstance(gate, CountingGate) and isinstance(ledger, SummingLedger):
            charges = {
                key: max(order.leaves_qty, order.pending_qty - order.cum_qty)
                for key, order in state.live.items()
                if order.sent
            }
            assert gate.charges == {key: lots for key, lots in charges.items() if lots}
            assert gate.positions == ledger.positions
            if len(state.closed) < SETTINGS.history:
                fills = [fill for order in orders for fill in (order.fills or {}).values() if fill[0]]
                assert sum(ledger.fills.values()) == len(fills)
                for n in range(3):
                    total = sum((3 - 2 * o.side) * o.cum_qty for o in orders if o.instrument == n)
                    assert total == ledger.positions.get(n, 0)

    def settle_and_agree(self) -> None:
        """The network heals: the lane comes to hold the venue's truth, and lets go of everything when told
        to.
        """
        self.settle()
        self.agree()
        self.now += MS
        self.step(CancelAll(self.now))
        self.settle()
        state = self.lane.state
        assert not state.live
        assert not state.waiting
        assert not state.owed
        if isinstance(state.gate, CountingGate):
            assert not state.gate.charges

    def settle(self) -> None:
        """All arrives in order, time passes, and the venue is asked about every order."""
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
                reports, self.reports = self.reports, []
                for report in reports:
                    self.step(arrived(report, self.now))
            self.now += 2 * WINDOW
            self.step(Tick(self.now))
            for key in [*self.venue.orders, *(k for k, o in self.lane.state.live.items() if o.sent)]:
                self.requests.append((self.now, SendStatus(self.now, key)))
        self.requests = []

    def agree(self) -> None:
        """The lane holds what the venue holds."""
        state = self.lane.state
        for key, truth in self.venue.orders.items():
            order = self.lane.order(key)
            if order is None:
                continue
            assert order.status.terminal == (not truth.open), (order, truth)
            assert order.cum_qty == truth.cum, (order, truth)
            assert {k: v for k, v in (order.fills or {}).items() if v[0]} == truth.fills
            if truth.open:
                assert (order.qty, order.price) == (truth.qty, truth.price)
                assert not order.pending_qty
        for key, order in state.live.items():
            assert key in self.venue.orders or order.status is OrdStatus.CREATED
        if len(state.closed) < SETTINGS.history:
            self.covered()

    def covered(self) -> None:
        """Every child that is not over for good covers what its parent filled, as far as gate and venue
        allow.
        """
        state = self.lane.state
        for parent_id, links in state.links.items():
            parent = self.lane.order(parent_id)
            for link in links:
                want = link.full * parent.cum_qty // link.whole
                child = state.live.get(link.child)
                covers = link.base + (child.qty if child is not None and child.sent else 0)
                refused = link.refusal or (child is not None and link.asked >= want)
                assert covers >= want or link.over or refused, (link, parent, child)


def arrived(report: Report, now: int) -> Report:
    """The report as the log gets it: stamped with the time it reached us, and nobody else's to change."""
    fields = [getattr(report, name) for name in Report.__struct_fields__]
    copy = Report(*fields)
    copy.ts = now
    return copy


def msg_bytes(order: object) -> str:
    return repr(order)

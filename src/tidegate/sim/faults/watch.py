"""What must hold, checked with every entry that is stored and every request that is sent.

A second fold of each lane runs along with the log: the truth of what must follow from it. Whatever a writer sends, and
whatever it tells in EVT_<n>, must be exactly that, once, and by the writer whose epoch it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping

import msgspec

from tidegate.execution import invariants
from tidegate.execution.core import Lane
from tidegate.execution.lane_log import DeadLetter, fold
from tidegate.execution.state import LaneBroken
from tidegate.execution.writer import Request
from tidegate.log.base import Entry
from tidegate.log.memory import MemoryServer
from tidegate.model.messages import (
    LaneEpoch,
    LeaseReport,
    Message,
    OrderEvent,
    ScopeState,
    SendNew,
    SendReplace,
)
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.wire import Unreadable, decode
from tidegate.risk.gate import Gate
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State
from tidegate.sim.faults.exchange import Exchange
from tidegate.sim.faults.halt_watch import HaltWatch, key_of
from tidegate.sim.faults.lease_watch import LeaseWatch
from tidegate.sim.faults.people import Intent
from tidegate.sim.faults.plant import ACCOUNTS, POSITION, Plant

KEPT = 4000
"""Entries of a lane whose requests may still be sent: a zombie's are not older."""
_SIGN = {ExecType.TRADE: 1, ExecType.TRADE_CORRECT: 1, ExecType.TRADE_CANCEL: -1}


def _state(lane: Lane, m: ScopeState) -> State:
    gate = lane.state.gate
    assert isinstance(gate, Gate)
    return gate.scope_state(m.scope) if m.instrument < 0 else gate.instrument_state(m.instrument)


class LaneWatch:
    """One lane as it must be."""

    def __init__(self, number: int, lane: Lane) -> None:
        self.number, self.lane = number, lane
        self.seq = 0
        self.epochs: list[tuple[int, int, str]] = []
        """(entry, epoch, owner) of every mark."""
        self.requests: dict[int, list[Request]] = {}
        """What each entry asks gateways for."""
        self.sent: set[tuple[int, str]] = set()
        """Entries whose requests have been sent, each to which gateway."""
        self.untold: deque[tuple[int, OrderEvent]] = deque()
        """Events that must still come to EVT_<n>, with their entry."""
        self.told = (0, 0)
        """Entry up to which all events have come, and how many of those after it."""
        self.intents: dict[int, SendNew] = {}
        self.judged: dict[object, int] = {}
        """The entry that each new order or replace follows from (`key_of`)."""
        self.status: dict[int, OrdStatus] = {}
        self.fills: dict[tuple[int, int], tuple[int, int, int]] = {}
        """(quantity, price, fee) by (ClOrdID, ExecID), as events tell them."""
        self.unreadable: set[int] = set()
        self.buried: set[int] = set()

    def writer_of(self, seq: int) -> tuple[int, str]:
        """(epoch, owner) in force at an entry."""
        return next(((epoch, owner) for at, epoch, owner in reversed(self.epochs) if at < seq), (0, ""))


class Watch:
    """Watches all lanes; `failed` is set with the first thing that does not hold, which `violations` names."""

    def __init__(
        self,
        server: MemoryServer,
        exchange: Exchange,
        plant: Plant,
        now: Callable[[], float],
        intents: Mapping[str, Intent],
    ) -> None:
        self.violations: list[str] = []
        self.failed = asyncio.Event()
        self.counts: Counter[str] = Counter()
        self.lanes = {n: LaneWatch(n, plant.kind.make(n)) for n in range(plant.lanes)}
        lanes = {n: w.lane for n, w in self.lanes.items()}
        self.leases = LeaseWatch(plant, lanes, exchange.excused, self.fail)
        self.halts = HaltWatch(plant, intents, exchange, self._judged, self.fail, now)
        self._server, self._exchange, self._now = server, exchange, now
        server.appended.append(self._appended)

    def fail(self, text: str) -> None:
        """Something does not hold."""
        self.violations.append(f"at {self._now():.3f} s: {text}")
        self.failed.set()

    # The log.

    def _appended(self, stream: str, seq: int) -> None:
        kind, _, number = stream.partition("_")
        entry = self._server.streams[stream].get(seq)
        assert entry is not None
        if kind == "LANE":
            self._lane(self.lanes[int(number)], entry)
        elif kind == "EVT":
            self._told(self.lanes[int(number)], entry)
        elif stream == "DEAD":
            letter = msgspec.msgpack.decode(entry.data, type=DeadLetter)
            self.lanes[int(letter.stream.partition("_")[2])].buried.add(letter.seq)
        elif stream == "LEASES":
            self.leases.entry(entry)
        elif stream == "HALT":
            self.halts.entry(entry)
        else:
            self.counts[entry.subject] += 1

    def _lane(self, w: LaneWatch, entry: Entry) -> None:
        w.seq = entry.seq
        self.counts["entries"] += 1
        try:
            _, steps = fold(w.lane, entry)
        except Unreadable:
            w.unreadable.add(entry.seq)
            return
        except LaneBroken as error:
            self.fail(f"lane {w.number} breaks at entry {entry.seq}: {error}")
            return
        requests: list[Request] = []
        for message, outputs in steps:
            if type(message) is LaneEpoch:
                if w.epochs and message.epoch <= w.epochs[-1][1]:
                    self.fail(f"lane {w.number}: epoch {message.epoch} was marked after {w.epochs[-1][1]}")
                w.epochs.append((entry.seq, message.epoch, message.owner))
            elif type(message) is ScopeState:
                self.halts.lane(w.number, entry.seq, message, _state(w.lane, message))
            for out in outputs:
                if type(out) is OrderEvent:
                    w.untold.append((entry.seq, out))
                    self._event(w, out)
                elif type(out) is not LeaseReport:
                    requests.append(out)  # type: ignore[arg-type]
                    if type(out) is SendNew:
                        w.intents[out.cl_ord_id] = out
                        self.counts["orders"] += 1
                    if type(out) in (SendNew, SendReplace):
                        w.judged[key_of(out)] = entry.seq  # type: ignore[arg-type]
        if requests:
            w.requests[entry.seq] = requests
            if len(w.requests) > KEPT:
                del w.requests[next(iter(w.requests))]
        try:
            invariants.check(w.lane.state)
        except LaneBroken as error:
            self.fail(f"lane {w.number} after entry {entry.seq}: {error}")
        self.leases.lane(w.number)

    def _event(self, w: LaneWatch, event: OrderEvent) -> None:
        """Fold events as a listener would."""
        if not event.cl_ord_id or event.reason in (Reason.ORPHAN_REPORT, Reason.MALFORMED_REPORT):
            return
        self.counts["events"] += 1
        before = w.status.get(event.cl_ord_id)
        if before is not None and before.terminal and event.status is not before:
            self.fail(f"order {event.cl_ord_id} was {before.name} and is told as {event.status.name}")
        w.status[event.cl_ord_id] = event.status
        sign = _SIGN.get(event.exec_type, 0) if event.exec_type is not None else 0
        key = (event.cl_ord_id, event.exec_id)
        if sign > 0:
            if key in w.fills:
                self.fail(f"fill {event.exec_id} of order {event.cl_ord_id} is told twice")
            w.fills[key] = (event.last_qty, event.last_px, event.fee)
            self.counts["fills"] += 1
        elif sign < 0 and w.fills.pop(key, None) is None:
            self.fail(f"fill {event.exec_id} of order {event.cl_ord_id} is taken back and was never told")

    def _told(self, w: LaneWatch, entry: Entry) -> None:
        """An entry of EVT_<n>: exactly the events that follow from the lane's log since the one before."""
        envelope = decode(entry.data)
        due: list[Message] = []
        while w.untold and w.untold[0][0] <= envelope.seq:
            due.append(w.untold.popleft()[1])
        seq, part = w.told
        more = envelope.part - (part if seq == envelope.seq else 0)
        due += [w.untold.popleft()[1] for _ in range(min(more, len(w.untold)))]
        w.told = envelope.seq, envelope.part
        if due != envelope.messages:
            said = f"{len(envelope.messages)} events up to lane entry {envelope.seq}, {len(due)} were due"
            self.fail(f"EVT_{w.number} entry {entry.seq}: {said}")

    # Requests.

    def _judged(self, m: SendNew | SendReplace) -> int:
        """The entry of its lane that a request follows from; 0 where there is none."""
        w = self.lanes.get(m.cl_ord_id >> 40)
        return w.judged.get(key_of(m), 0) if w is not None else 0

    def sent(self, name: str, subject: str, data: bytes) -> None:
        """A request leaves a process for a gateway."""
        if not subject.startswith("gw."):
            return
        envelope = decode(data)
        w = self.lanes[envelope.lane]
        self.counts["requests"] += len(envelope.messages)
        where = f"{name}'s request of lane {w.number} for entry {envelope.seq}"
        epoch, owner = w.writer_of(envelope.seq)
        if envelope.epoch != epoch or not owner.endswith(f"-{name}"):
            self.fail(f"{where} is of epoch {envelope.epoch}; epoch {epoch} of {owner} is in force there")
        if (envelope.seq, subject) in w.sent:
            self.fail(f"{where} is sent a second time")
        w.sent.add((envelope.seq, subject))
        due = w.requests.get(envelope.seq, [])
        if [
            request for request in due if subject.endswith(f".{ACCOUNTS[request.account]}")
        ] != envelope.messages:
            self.fail(f"{where} is not what follows from that entry")

    def placed(self, request: SendNew) -> None:
        """A new order reaches the venue."""
        lane = request.cl_ord_id >> 40
        intent = self.lanes[lane].intents.get(request.cl_ord_id) if lane in self.lanes else None
        if intent != request:
            self.fail(f"order {request.cl_ord_id} reaches the venue without an intent in the log")
        if request.cl_ord_id in self._exchange.orders:
            self.fail(f"order {request.cl_ord_id} is placed a second time")

    # Limits.

    def limits(self) -> None:
        """No account holds more than it may, but for what the venue did by itself."""
        for place, lots in self._exchange.positions.items():
            most = POSITION + self._exchange.excused.get(place, 0)
            if abs(lots) > most:
                self.fail(f"account {place[0]} holds {lots} lots of instrument {place[1]}, {most} allowed")

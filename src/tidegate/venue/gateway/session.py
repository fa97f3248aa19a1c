"""Which requests may leave: the fencing of lanes' epochs, requests sent before, requests too old, holds."""

from __future__ import annotations

from collections import Counter, OrderedDict

import msgspec

from tidegate.model.messages import SendNew, SendReplace
from tidegate.model.order import ExecInst
from tidegate.risk.reasons import Reason
from tidegate.venue.gateway.settings import GatewaySettings
from tidegate.venue.gateway.target import Target

SEND, DROP = 0, -1
"""Verdicts on a request; any other is the reason it is refused with."""
INFLIGHT = 10_000


class Sent(msgspec.Struct):
    """What is remembered of a request: the trace it carried, when its envelope was written, whose it is."""

    trace: int
    ts: int
    instrument: int
    strategy: int
    reduces: bool


class Session:
    """Pure: the service tells it of epochs, holds and the time."""

    def __init__(self, settings: GatewaySettings, counts: Counter[str]) -> None:
        self.counts = counts
        self.epochs: dict[int, int] = {}
        self.holds: dict[str, str] = {"start": "not started"}
        """Why no new order goes out now, by who says so."""
        self.brakes: dict[str, str] = {}
        """Why nothing that may add risk goes out now, by who says so."""
        self.sweeps: dict[object, tuple[Target, str]] = {}
        """What is being cancelled now, and why: no new order of it goes out meanwhile."""
        self.since = 0
        """Requests written before this may have been sent by a predecessor, or been forgotten."""
        self.inflight: OrderedDict[int, SendNew] = OrderedDict()
        """New orders sent of which the venue has not spoken yet; bounded."""
        self._sent: OrderedDict[object, Sent] = OrderedDict()
        self._max_age = round(settings.max_age * 1e9)
        self._remember = settings.remember

    def learn(self, lane: int, epoch: int) -> None:
        """A lane has been written in this epoch."""
        if epoch > self.epochs.get(lane, 0):
            self.epochs[lane] = epoch

    def admits(self, lane: int, epoch: int, requests: int) -> bool:
        """Whether an envelope is of its lane's present writer, as far as is known."""
        known = self.epochs.get(lane, 0)
        if epoch < known:
            self.counts["stale_epoch"] += requests
            return False
        if epoch > known:
            self.epochs[lane] = epoch
        return True

    def judge(self, m: SendNew | SendReplace, trace: int, ts: int, now: int, halted: int = 0) -> int:
        """The verdict on a request of an envelope written at `ts`. It is remembered, whatever the verdict.

        `halted` is the reason why a halt forbids it, 0 where none does.
        """
        key = m.cl_ord_id if type(m) is SendNew else (m.cl_ord_id, m.ts, m.qty, m.price)
        if key in self._sent:
            self.counts["duplicate_request"] += 1
            return DROP
        if ts < self.since:
            self.counts["request_before_us"] += 1
            return DROP
        reduces = self.reduces(m)
        self._sent[key] = Sent(trace, ts, m.instrument, m.strategy, reduces)
        if len(self._sent) > self._remember:
            self.since = max(self.since, self._sent.popitem(last=False)[1].ts + 1)
        if halted:
            self.counts["request_halted"] += 1
            return halted
        if now - ts > self._max_age:
            self.counts["request_expired"] += 1
            return int(Reason.REQUEST_EXPIRED)
        if self.holds or (self.brakes and not reduces) or self._swept(m):
            self.counts["request_held"] += 1
            return int(Reason.GATEWAY_HELD)
        if type(m) is SendNew:
            self.inflight[m.cl_ord_id] = m
            if len(self.inflight) > INFLIGHT:
                self.inflight.popitem(last=False)
        return SEND

    def reduces(self, m: SendNew | SendReplace) -> bool:
        """Whether a request can only reduce: its order is marked so, and its lane has judged that it does."""
        if type(m) is SendNew:
            return bool(m.exec_inst & ExecInst.REDUCE_ONLY)
        sent = self._sent.get(m.cl_ord_id)
        return sent is not None and sent.reduces

    def _swept(self, m: SendNew | SendReplace) -> bool:
        return any(target.covers(m.strategy, m.instrument) for target, _ in self.sweeps.values())

    def why(self) -> dict[str, str]:
        """All that holds new orders back, by who says so."""
        return (
            self.holds | self.brakes | {f"cancel_all {target}": text for target, text in self.sweeps.values()}
        )

    def trace(self, cl_ord_id: int) -> int:
        """The trace the order was sent with; 0 for none."""
        sent = self._sent.get(cl_ord_id)
        return sent.trace if sent else 0

    def instrument(self, cl_ord_id: int) -> int:
        """The instrument of an order that was sent; −1 where that is not remembered."""
        sent = self._sent.get(cl_ord_id)
        return sent.instrument if sent else -1

    def strategy(self, cl_ord_id: int) -> int:
        """The strategy of an order that was sent; −1 where that is not remembered."""
        sent = self._sent.get(cl_ord_id)
        return sent.strategy if sent else -1

"""Requests of lanes as they come in: read, fenced, judged by session and halts, and put on the venue's wire or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from tidegate.model.clock import Clock
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace, SendStatus
from tidegate.model.order import ExecType
from tidegate.model.wire import Envelope, Newer, Unreadable, decode
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.asker import Asker
from tidegate.venue.gateway.guard import Guard
from tidegate.venue.gateway.halts import Halts
from tidegate.venue.gateway.reports import Reports
from tidegate.venue.gateway.session import SEND, Session
from tidegate.venue.port import Venue

Hop = tuple[int, int, int, int, int]
"""(trace, when the envelope was written, when it was received, when the order was on the wire, its ClOrdID); ns."""


class Spawn(Protocol):
    """Runs work beside the gateway's own."""

    def __call__(self, work: Coroutine[Any, Any, None], vital: bool = True) -> None: ...


class Intake:
    """Of one account: `account` is its number. `on_hop` is told of every new order that was sent."""

    def __init__(
        self,
        account: int,
        venue: Venue,
        session: Session,
        guard: Guard,
        halts: Halts,
        reports: Reports,
        alerts: Alerts,
        counts: Counter[str],
        clock: Clock,
        spawn: Spawn,
        on_hop: Callable[[Hop], None] | None,
    ) -> None:
        self._account, self._venue, self._session, self._guard = account, venue, session, guard
        self._halts, self._reports, self._alerts, self._counts = halts, reports, alerts, counts
        self._clock, self._spawn, self._on_hop = clock, spawn, on_hop
        self._asker = Asker(venue, reports, counts)

    def take(self, data: bytes) -> None:
        """One envelope."""
        received = self._clock.now()
        try:
            envelope = decode(data)
        except (Unreadable, Newer) as error:
            self._counts["unreadable"] += 1
            text = f"a request cannot be read: {error}"
            self._alerts.say("unreadable_request", "high", text, key="unreadable")
            return
        if not self._session.admits(envelope.lane, envelope.epoch, len(envelope.messages)):
            return
        self._guard.check()
        for m in envelope.messages:
            if type(m) is SendCancel:
                self._send(m)
            elif type(m) is SendNew or type(m) is SendReplace:
                self._enter(m, envelope, received)
            elif type(m) is SendStatus:
                if self._asker.new(m):
                    self._spawn(self._asker.ask(m), vital=False)
            else:
                self._counts["no_request"] += 1

    def _enter(self, m: SendNew | SendReplace, envelope: Envelope, received: int) -> None:
        if m.account != self._account:
            self._counts["misrouted"] += 1
            text = f"a request for account {m.account} came here"
            self._alerts.say("misrouted", "high", text, key=m.account)
            return
        verdict = self._session.judge(m, envelope.trace, envelope.ts, received, self._halts.judge(m))
        if verdict == SEND:
            self._send(m)
            if self._on_hop is not None and type(m) is SendNew:
                self._on_hop((envelope.trace, envelope.ts, received, self._clock.now(), m.cl_ord_id))
        elif verdict > 0:
            kind, qty, price = ExecType.REJECTED, 0, 0
            if type(m) is SendReplace:
                kind, qty, price = ExecType.CANCEL_REJECTED, m.qty, m.price
            self._reports.deliver([Report(received, m.cl_ord_id, kind, qty=qty, price=price, reason=verdict)])

    def _send(self, m: SendNew | SendCancel | SendReplace) -> None:
        try:
            self._venue.send(m)
            self._counts["sent"] += 1
        except Exception as error:  # the order's fate is unknown; the lane will ask
            self._counts["send_failed"] += 1
            self._alerts.say("send_failed", "high", f"a request could not be written: {error!r}", key="send")

"""What others found out: a position that differs from the venue's, clocks that differ, a venue that halts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from tidegate.model.event import Status
from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType
from tidegate.model.time import SECOND
from tidegate.risk.breakers.settings import ClockRule, Rule, VenueRule
from tidegate.risk.breakers.trip import Trip
from tidegate.risk.reasons import Reason

MISMATCH, CLOCK, VENUE_HALT = "position_mismatch", "clock_skew", "venue_halt"
_HALTED = (Reason.VENUE_HALTED, Reason.VENUE_CLOSED)


class Alert(msgspec.Struct, frozen=True):
    """What breakers read of an entry of ALERT."""

    ts: int
    kind: str
    scope: str = ""
    text: str = ""


class MismatchBreaker:
    """A reconciliation that found another position at the venue (`ALERT position_mismatch`)."""

    def __init__(self, rule: Rule, account_of: Callable[[str], str]) -> None:
        self.rule, self._account_of = rule, account_of

    def apply(self, alert: Alert) -> Trip | None:
        """One alert."""
        if alert.kind != MISMATCH:
            return None
        scope = self._account_of(alert.scope)
        return Trip(alert.ts, scope, self.rule.to, MISMATCH, f"{alert.scope}: {alert.text}", 0.0, 1.0)


class ClockBreaker:
    """The times of a lane's writer and of the log's server; `names` are each lane's accounts."""

    def __init__(self, rule: ClockRule, names: Sequence[Sequence[str]]) -> None:
        self.rule, self.names = rule, names
        self._ahead: list[deque[int]] = [deque(maxlen=rule.of) for _ in names]

    def apply(self, lane: int, written: int, stored: int) -> list[Trip]:
        """An entry of a lane's events: when its writer and when the log's server say it was."""
        last, limit = self._ahead[lane], self.rule.limit
        last.append(written - stored)
        if len(last) < self.rule.of or not (min(last) > limit or max(last) < -limit):
            return []
        off = min(last, key=abs) / SECOND
        text = f"the clock of lane {lane}'s writer is {off:+.2f} s from the log's; {limit / SECOND:g} s trip"
        last.clear()
        return [
            Trip(stored, name, self.rule.to, CLOCK, text, limit / SECOND, abs(off))
            for name in self.names[lane]
        ]


class VenueBreaker:
    """A venue that halts an instrument: by its status, or by refusing an order for it. `names`: instruments' scopes."""

    def __init__(self, rule: VenueRule, names: Sequence[str]) -> None:
        self.rule, self.names = rule, list(names)

    def order(self, e: OrderEvent) -> Trip | None:
        """An order event."""
        if e.reason not in _HALTED or e.exec_type != ExecType.REJECTED:
            return None
        return self._trip(e.instrument, e.ts, "the venue refuses orders: trading is halted")

    def status(self, i: int, status: int, ts: int) -> Trip | None:
        """The venue's word on an instrument (`model.event.Status`)."""
        if status == Status.TRADING:
            return None
        return self._trip(i, ts, f"the venue says {Status(status).name}")

    def _trip(self, i: int, ts: int, text: str) -> Trip:
        return Trip(ts, self.names[i], self.rule.to, VENUE_HALT, f"{self.names[i]}: {text}", 0.0, 1.0)

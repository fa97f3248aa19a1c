"""What the risk service has to say, in order and until the log has it: halts, and alerts to people. Halts go the quick way
to gateways as well (`risk.quick`).

A service that stands by keeps what trips for `RECENT`: should it take over, it posts what its predecessor did not.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from tidegate.log.alert import alert, spoiled_text
from tidegate.log.base import Log
from tidegate.log.outbox import Outbox
from tidegate.log.said import Said
from tidegate.model.clock import Clock
from tidegate.model.time import SECOND
from tidegate.risk.breakers.trip import Trip
from tidegate.risk.halt import HaltBoard, HaltEvent, entry, halts
from tidegate.risk.quick import Sockets, Teller
from tidegate.risk.scopes import State

RECENT = 10 * SECOND
"""What tripped longer ago is past: it was posted, or people have dealt with it."""
_KEPT = 20


class Announcer:
    """Posts trips of `source` while `acting`; `recent` is what was told last, for people."""

    def __init__(
        self, log: Log, clock: Clock, source: str, board: HaltBoard, sockets: Sockets | None = None
    ) -> None:
        self.acting = False
        self.counts: Counter[str] = Counter()
        self.recent: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._clock, self._source, self._board = clock, source, board
        self._halts = Outbox(log, counts=self.counts)
        self._quick = Teller(log, self._halts, sockets, self.counts)
        self._alerts = Outbox(log, 10_000, self.counts)
        self._waiting: deque[Trip] = deque()
        self._life, self._number = clock.now(), 0
        self._said = Said()

    def trips(self, trips: list[Trip]) -> None:
        """Breakers have tripped."""
        if not self.acting:
            self._waiting.extend(trips)
            return
        for trip in trips:
            self.counts["trips"] += 1
            self.halt(trip.event(self._source))
            self.alert(
                "breaker", "critical", trip.scope, f"{trip.trigger}: {trip.reason}", trigger=trip.trigger,
                state=trip.state.name, limit=trip.limit, value=trip.value,
            )  # fmt: skip

    def halt(self, event: HaltEvent) -> None:
        """Append to HALT, and tell every gateway at once unless one as strict is on its way; nothing where the scope was
        halted for the very same. Halted for another reason it may have been let up, and that not have come here."""
        status = self._board.status(event.scope)
        if status.state >= event.state and (status.trigger, status.reason) == (event.trigger, event.reason):
            self.counts["halted_already"] += 1
            return
        if halts(event.state) and self._quick.waits(event.scope) < event.state:
            self._quick.tell(event)
        self._halts.put(*entry(event))

    def only_reduces(self, scope: str, trigger: str, text: str) -> None:
        """Tell people, and bring the scope to REDUCE_ONLY."""
        self.alert(trigger, "high", scope, f"{text}: it only reduces")
        self.halt(
            HaltEvent(
                ts=self._clock.now(), scope=scope, state=State.REDUCE_ONLY, reason=text, trigger=trigger,
                source=self._source,
            )
        )  # fmt: skip

    def alert(self, kind: str, severe: str, scope: str, text: str, **figures: Any) -> None:
        """Tell people; only who acts does."""
        if not self.acting:
            return
        ts = self._clock.now()
        self._number += 1
        self.recent.append({"ts": ts, "severity": severe, "text": f"{scope}: {text}"})
        subject, data = alert(ts, kind, severe, scope, text, **figures)
        if not self._alerts.put(subject, data, f"{self._source}-{self._life}-{self._number}"):
            self.counts["alerts_dropped"] += 1

    def spoiled(self, key: str, value: bytes) -> None:
        """What stands at a key of the log is none of ours (`docs/security.md`): counted, and told once a minute."""
        self.counts["keys_spoiled"] += 1
        if self.acting and self._said.first(self._clock.now(), key):
            self.alert("key_spoiled", "high", "firm", spoiled_text(key, value))

    def begin(self) -> None:
        """Act from here on: what tripped a moment ago, and may not have been told, is told."""
        self.acting = True
        waiting, self._waiting = self._waiting, deque()
        self.trips([*waiting])

    def end(self) -> None:
        """Another acts now."""
        self.acting = False

    def forget(self, now: int) -> list[Trip]:
        """What stands by drops what is past. Those are returned of which nobody has halted anything: their breakers may
        trip again."""
        past = []
        while self._waiting and now - self._waiting[0].ts >= RECENT:
            past.append(self._waiting.popleft())
        return [trip for trip in past if self._board.status(trip.scope).state < trip.state]

    async def drained(self, timeout: float) -> bool:
        """Wait until the log has all, at most so long."""
        return await self._halts.drained(timeout) and await self._alerts.drained(timeout)

    def close(self) -> None:
        """Try no longer."""
        self._quick.close()
        self._halts.close()
        self._alerts.close()

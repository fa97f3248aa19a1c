"""Facts of the risk service's for every lane's log: stored in order, each once, however long the log is away."""

from __future__ import annotations

from tidegate.log.base import Log
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.model.messages import Message
from tidegate.model.wire import MOST, pack


class LaneFacts:
    """`kind` and the service's `name` make the message ids of this one's entries its own; `lanes` is how many there are."""

    def __init__(self, kind: str, lanes: int, log: Log, clock: Clock, name: str) -> None:
        self._lanes, self._clock = lanes, clock
        self._outbox = Outbox(log)
        self._sender, self._number = f"{kind}-{name}-{clock.now()}", 0

    def tell(self, messages: list[Message]) -> None:
        """Append them to each lane's log, as one entry where it takes so many."""
        now = self._clock.now()
        for at in range(0, len(messages), MOST):
            self._number += 1
            for lane in range(self._lanes):
                data = pack(messages[at : at + MOST], ts=now, lane=lane)
                self._outbox.put(f"lane.{lane}.sys", data, f"{self._sender}-{self._number}-{lane}")

    @property
    def stored(self) -> bool:
        """Whether the lanes' logs have all that was told."""
        return not self._outbox.pending

    def drop(self) -> None:
        """What waits is not told any more: another says what holds. What is under way may still be stored."""
        self._outbox.drop()

    def close(self) -> None:
        """Tell nothing more."""
        self._outbox.close()

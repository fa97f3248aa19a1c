"""What stands in a lane's streams and keys and no order manager wrote (`log.noise`): counted, and people are told."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.execution.writer_settings import WriterCounts
from tidegate.log.alert import alert, spoiled_text
from tidegate.log.said import Said
from tidegate.model.clock import Clock


class NoiseTeller:
    """Of one lane in one epoch. `put(subject, data, msg_id)` stores an alert."""

    def __init__(
        self,
        lane: int,
        epoch: int,
        counts: WriterCounts,
        clock: Clock,
        put: Callable[[str, bytes, str], object],
    ) -> None:
        self._lane, self._epoch, self._counts, self._clock, self._put = lane, epoch, counts, clock, put
        self._said = Said()

    def entries(self, subject: str, count: int) -> None:
        """So many entries were stepped over."""
        if count:
            self._counts.noise += count
            text = f"{count} entries on {subject} are none of ours and were stepped over"
            self._say("log_spoiled", subject, f"{text}: find out which user of the log writes them")

    def key(self, key: str, value: bytes) -> None:
        """A key was overwritten."""
        self._counts.noise += 1
        self._say("key_spoiled", key, spoiled_text(key, value))

    def snapshot(self, text: str) -> None:
        """A snapshot is not whole: what is used instead."""
        self._say("snapshot_spoiled", "SNAP", text)

    def _say(self, kind: str, where: str, text: str) -> None:
        """To people; of each place once a minute at most."""
        now = self._clock.now()
        if self._said.first(now, where):
            said = alert(now, kind, "high", f"lane.{self._lane}", text)
            self._put(*said, f"n{self._lane}-{self._epoch}-{where}-{now}")

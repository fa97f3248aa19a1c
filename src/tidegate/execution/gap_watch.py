"""People hear of every gap in what lanes follow for risk, and of its end; missing limits are asked for again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from tidegate.execution.gaps import LIMITS
from tidegate.execution.writer import Writer
from tidegate.log.alert import alert
from tidegate.log.base import Log, LogError
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.risk.limit_desk import TELL

EVERY = 1.0
"""Seconds between two looks."""


class GapWatch:
    """Over the lanes that this instance writes."""

    def __init__(self, writers: Mapping[int, Writer], log: Log, clock: Clock) -> None:
        self._writers, self._log, self._clock = writers, log, clock
        self._outbox = Outbox(log)
        self._told: dict[tuple[int, str], str] = {}
        self._holes: dict[int, int] = {}
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look every second."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()
        self._outbox.close()

    def why(self) -> str:
        """What is missing now, in one line; empty where nothing is."""
        return "; ".join(
            f"lane {n} lets nothing pass: {stream}: {text}"
            for n, writer in sorted(self._writers.items())
            for stream, text in sorted(writer.lane.state.gaps.items())
        )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            found = {
                (n, stream): text for n, writer in self._writers.items()
                for stream, text in writer.lane.state.gaps.items()
            }  # fmt: skip
            for place in {**self._told, **found}:
                self._compare(place, self._told.get(place, ""), found.get(place, ""))
            self._told = found
            for n, writer in self._writers.items():
                holes = writer.counts.gaps
                if holes > self._holes.get(n, 0):
                    self._say(
                        "log_gap", "high", n, "entries of the lane's log did not come: they are read again"
                    )
                self._holes[n] = holes
            if any(stream == LIMITS for _, stream in found):
                with contextlib.suppress(LogError):  # it is asked again
                    await self._log.request("risk.limits", TELL)

    def _compare(self, place: tuple[int, str], before: str, now: str) -> None:
        lane, stream = place
        if now and now != before:
            self._say("log_gap", "critical", lane, f"{stream}: {now}: nothing passes but cancels")
        elif before and not now and lane in self._writers:
            self._say("log_whole", "info", lane, f"{stream}: nothing is missing any more")

    def _say(self, kind: str, severity: str, lane: int, text: str) -> None:
        now = self._clock.now()
        subject, data = alert(now, kind, severity, f"lane.{lane}", text)
        self._outbox.put(subject, data, f"{kind}-{lane}-{now}")

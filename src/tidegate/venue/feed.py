"""The feed role: what venues' feeds hand on, published by instrument; the present book for those who come later.

Every read of a venue's socket becomes one message an instrument on `md.<VENUE>.<SYMBOL>`: the bytes of its EVENT
records, in order, instrument numbers of the run's universe. Nothing is sent one tick at a time where many arrived
together.

**Under pressure** (more than `pressure` records of an instrument in one read, which is what a socket holds when we are
behind it) quotes conflate: of the read's quotes only the last is published, and the rest are counted. Trades and book
deltas are never dropped.

**A book from the start.** A snapshot and the diffs that follow it come first, and again after every rebuild. Who
subscribes later asks `snap.<VENUE>.<SYMBOL>` and is answered with the local book as SNAPSHOT_BEGIN, DELTAs and
SNAPSHOT_END, all with the sequence it stands at; or with nothing while there is no usable book: the next one is
published. To join: subscribe, ask, apply the answer, drop the deltas received that are not above its sequence.

**The pulse.** Once a second `pulse.<VENUE>` says of each instrument when its last record came, its trading status, depth
near the middle, volume, and of contracts open interest and funding (`marketdata.pulse`): what the risk service watches
over markets by.

**The touch.** Best bid and ask of the instruments in which they changed are published on `touch.<VENUE>` ten times a
second (Marks in an envelope): what the lanes sample into their logs. One that stands is told once a second, while records
of its market come: who hears nothing for seconds is right to take the price for stale.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from tidegate.log.base import Log, Subscription
from tidegate.marketdata import pulse
from tidegate.model.clock import Clock
from tidegate.model.event import KIND_SHIFT, META, Kind, Words
from tidegate.model.instrument import Universe
from tidegate.model.messages import Mark, Message
from tidegate.model.time import MS, SECOND
from tidegate.model.wire import pack
from tidegate.venue.levels import Levels

PRESSURE = 512
SNAPSHOT_DEPTH = 5_000
"""Levels a side of an answer to `snap.…`: 640 kB at most."""
TOUCH = 0.1
"""Seconds between two messages on `touch.…`."""
_PIECE = 16_384
"""Records in one message: 1 MiB."""


class Feed(Protocol):
    """One venue's market data."""

    @property
    def numbers(self) -> Sequence[int]:
        """The universe's numbers of the instruments it brings."""

    @property
    def status(self) -> Mapping[int, int]:
        """The venue's word on each instrument's trading (`model.event.Status`), as far as it is known."""

    async def start(self, on_rows: Callable[[int, Words], None]) -> None:
        """Connect and stay connected; hand on each instrument's new events, as rows that live until the call returns."""

    async def stop(self) -> None:
        """Leave."""

    def health(self) -> dict[str, Any]:
        """How it stands."""


class ContractFacts(NamedTuple):
    """What a venue says of a contract beside its market: see `marketdata.pulse.Pulse`."""

    interest: int = -1
    rate: int = 0
    funding_at: int = 0
    mark: int = 0
    paid: tuple[tuple[int, int, int], ...] = ()


NO_FACTS = ContractFacts()


@runtime_checkable
class ContractFeed(Protocol):
    """A feed that also asks what no stream of it tells."""

    def facts(self, number: int) -> ContractFacts:
        """Of an instrument, as it is known now."""


class FeedService:
    """Publishes what feeds bring."""

    def __init__(
        self, universe: Universe, feeds: Sequence[Feed], log: Log, clock: Clock, pressure: int = PRESSURE
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._universe = universe
        self._feeds = list(feeds)
        self._log = log
        self._clock = clock
        self._pressure = pressure
        numbers = [number for feed in self._feeds for number in feed.numbers]
        self._subjects = {n: f"md.{universe[n].venue}.{universe[n].symbol}" for n in numbers}
        self._levels = {n: Levels(n) for n in numbers}
        self._last = dict.fromkeys(numbers, 0)
        self._touch = dict.fromkeys(numbers, (0, 0))
        self._told = dict.fromkeys(numbers, 0)
        self._touching: asyncio.TimerHandle | None = None
        self._pulsing: asyncio.TimerHandle | None = None
        self._served: list[Subscription] = []

    async def start(self) -> None:
        """Serve snapshots and start the feeds."""
        for number, levels in self._levels.items():
            item = self._universe[number]
            self._served.append(self._log.serve(f"snap.{item.venue}.{item.symbol}", self._answer(levels)))
        for feed in self._feeds:
            await feed.start(self._publish)
        self._tell_touch()
        self._tell_pulse()

    async def stop(self) -> None:
        """Stop the feeds; publish nothing more."""
        for timer in (self._touching, self._pulsing):
            if timer is not None:
                timer.cancel()
        for feed in self._feeds:
            await feed.stop()
        for served in self._served:
            served.close()
        self._served = []

    def health(self) -> dict[str, Any]:
        """How it stands: of each instrument whether its book is usable and the age of its last record, ms."""
        now = self._clock.now()
        return {
            "instruments": {
                self._universe[n].id: {
                    "book": levels.usable,
                    "age_ms": (now - self._last[n]) // MS if self._last[n] else None,
                }
                for n, levels in self._levels.items()
            },
            "feeds": [feed.health() for feed in self._feeds],
            **self.counts,
        }

    def _answer(self, levels: Levels) -> Callable[[bytes], bytes]:
        def answer(request: bytes) -> bytes:
            self.counts["snapshots served"] += 1
            return levels.snapshot(SNAPSHOT_DEPTH).tobytes()

        return answer

    def _tell_touch(self) -> None:
        """Publish the touches that have changed, and those that still stand a second later."""
        now = self._clock.now()
        changed: dict[str, list[Message]] = {}
        for number, levels in self._levels.items():
            touch = levels.touch
            stands = touch != (0, 0) and self._last[number] - self._told[number] >= SECOND
            if touch != self._touch[number] or stands:
                self._touch[number], self._told[number] = touch, self._last[number]
                mark = Mark(self._last[number], number, *touch)
                changed.setdefault(self._universe[number].venue, []).append(mark)
        for venue, marks in changed.items():
            self._log.publish(f"touch.{venue}", pack(marks, ts=now))
        self._touching = asyncio.get_running_loop().call_later(TOUCH, self._tell_touch)

    def _tell_pulse(self) -> None:
        """Publish how each market is."""
        told: dict[str, list[pulse.Pulse]] = {}
        for feed in self._feeds:
            for number in feed.numbers:
                levels, status = self._levels[number], int(feed.status.get(number, 0))
                fields = (*levels.touch, *levels.depth(pulse.BAND), levels.traded)
                facts = feed.facts(number) if isinstance(feed, ContractFeed) else NO_FACTS
                one = pulse.Pulse(number, self._last[number], status, *fields, *facts)
                told.setdefault(self._universe[number].venue, []).append(one)
        for venue, pulses in told.items():
            self._log.publish(f"pulse.{venue}", pulse.encode(pulses))
        self._pulsing = asyncio.get_running_loop().call_later(pulse.PULSE, self._tell_pulse)

    def _publish(self, number: int, rows: Words) -> None:
        whole = rows
        if len(rows) > self._pressure:
            rows = self._conflate(rows)
        self.counts["messages"] += 1
        subject = self._subjects[number]
        for start in range(0, len(rows), _PIECE):
            self._log.publish(subject, rows[start : start + _PIECE].tobytes())
        self._levels[number].apply(whole)
        self._last[number] = self._clock.now()

    def _conflate(self, rows: Words) -> Words:
        quotes = np.flatnonzero((rows[:, META] >> KIND_SHIFT) & 0xFF == Kind.QUOTE)
        if len(quotes) < 2:
            return rows
        self.counts["quotes conflated"] += len(quotes) - 1
        keep = np.ones(len(rows), bool)
        keep[quotes[:-1]] = False
        return rows[keep]

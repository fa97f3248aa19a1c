"""Funding as the risk service knows it: what is paid is told to every lane, what is due next is taken off equity.

Feeds say of each contract, again and again, what was paid last and what is due (`marketdata.pulse`). A payment is told
once the feed knows it, in the order in which they were due; lanes book each time once, so telling it twice does no harm,
and each position pays on what it is when its lane books it. What was due before this firm first looked is nobody's. One
that is told late is said: what has filled since it was due has moved the position that pays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import msgspec

from tidegate.log.base import Log
from tidegate.marketdata.pulse import Pulse
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Funding, Message
from tidegate.model.time import MINUTE
from tidegate.risk.kept import Kept
from tidegate.risk.lane_facts import LaneFacts

KEY = "risk.funding"
LATE = MINUTE
Say = Callable[[str, str, str, str], None]
"""Tells people: (kind, severity, scope, text)."""


class FundingDesk:
    """Of every contract of the universe; `due` is where the next payments are put: (rate, mark) by instrument."""

    def __init__(
        self, universe: Universe, lanes: int, due: dict[int, tuple[int, int]], say: Say, log: Log, clock: Clock,
        name: str,
    ) -> None:  # fmt: skip
        self.last: dict[int, int] = {}
        """When the last payment that was told was due, ns, by instrument."""
        self._universe, self._due, self._say = universe, due, say
        self._kept = Kept(log, KEY)
        self._facts = LaneFacts("funding", lanes, log, clock, name)
        self._began = clock.now()

    async def load(self) -> None:
        """Go on from what was told last; raises `LogError`."""
        found = await self._kept.load()
        if not found:
            return
        with contextlib.suppress(ValueError):
            told = msgspec.json.decode(found, type=dict[str, int])
            for number, item in enumerate(self._universe.instruments):
                if told.get(item.id, 0) > self.last.get(number, 0):
                    self.last[number] = told[item.id]

    def pulses(self, pulses: Sequence[Pulse], now: int, acting: bool) -> None:
        """Markets have been looked at."""
        said: list[Message] = []
        for pulse in pulses:
            if not 0 <= pulse.instrument < len(self._universe):
                continue
            if pulse.funding_at > now and pulse.mark > 0:
                self._due[pulse.instrument] = pulse.rate, pulse.mark
            else:
                self._due.pop(pulse.instrument, None)
            if acting:
                said += self._paid(pulse, now)
        if said:
            self._facts.tell(said)

    def _paid(self, pulse: Pulse, now: int) -> list[Message]:
        """What is to be told of an instrument."""
        said: list[Message] = []
        for due, rate, mark in pulse.paid:
            last = self.last.get(pulse.instrument, self._began)
            if due <= last or mark <= 0:
                continue
            self.last[pulse.instrument] = due
            self._kept.changed = True
            said.append(Funding(now, pulse.instrument, rate, mark, due))
            if now - due > LATE:
                item = self._universe[pulse.instrument].id
                text = f"a funding of {item} is booked {(now - due) / 1e9:.0f} s late, on the positions as they are now"
                self._say("funding_late", "high", f"instrument:{item}", text)
        if pulse.paid and pulse.instrument not in self.last:  # from before we came: nobody's here
            self.last[pulse.instrument] = max(pulse.paid[-1][0], 0)
            self._kept.changed = True
        return said

    async def keep(self) -> None:
        """Keep what was told, where it has changed, once the lanes' logs have it: a successor does not tell it again.
        Raises `LogError`."""
        if self._facts.stored:
            await self._kept.keep(self._encoded)

    def _encoded(self) -> bytes:
        return msgspec.json.encode({self._universe[n].id: due for n, due in self.last.items()})

    def close(self) -> None:
        """Tell nothing more."""
        self._facts.close()

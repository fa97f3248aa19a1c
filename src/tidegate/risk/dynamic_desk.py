"""Dynamic limits as the risk service keeps them: a factor an instrument, from its market's pulse, told to every lane.

At most once a second, and only when it moves by a step. What was told last is kept, so that a service that takes over
does not loosen at once what its predecessor had tightened.

Each word has a number above all before it, whoever said them: lanes pass over one that comes late, or from a service
that was replaced. With a factor goes what lanes are to withhold of their leases for it (`Allocator.hold`); when they
have given back what they held beyond it, the word is said again, with nothing to withhold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from tidegate.log.base import Log
from tidegate.marketdata.pulse import Pulse
from tidegate.model.clock import Clock
from tidegate.model.messages import DynamicLimit, Message
from tidegate.model.time import SECOND
from tidegate.risk.dynamic import WHOLE, DynamicSettings, Look, Tightening
from tidegate.risk.kept import Kept
from tidegate.risk.lane_facts import LaneFacts
from tidegate.risk.margin.account import MarginAccount
from tidegate.risk.margin.book import MarginBook
from tidegate.risk.numbers import Numbers

KEY = "risk.dynamic"
FIRST = 1 << 62
"""All numbers are above it: earlier versions counted epochs from 1 and shifted them further."""
FRESH = SECOND // 2
"""Uses of margin are worked out anew after so long, ns."""
MOST = 500
"""Words in an entry, at most."""
Withheld = tuple[tuple[int, int, int], ...]


class Lender(Protocol):
    """Lends the limits that lanes share (`risk.leases.lease.allocator.Allocator`)."""

    def hold(self, instrument: int, ppm: int) -> Withheld | None: ...
    def over(self) -> Collection[int]: ...


class DynamicDesk:
    """Of every instrument of the book's universe. `lender` is who lends limits, while this service acts."""

    def __init__(
        self, settings: DynamicSettings, book: MarginBook, facts: LaneFacts, log: Log, clock: Clock
    ) -> None:
        self._items = book.exposure.universe.instruments
        self.each = [Tightening(settings) for _ in self._items]
        self.lender: Lender | None = None
        self._settings, self._book, self._facts, self._clock = settings, book, facts, clock
        self._kept = Kept(log, KEY)
        self._numbers = Numbers(FIRST)
        self._uses: dict[int, float] = {}
        """The largest use of margin among the accounts that hold an instrument."""
        self._used_at = -FRESH

    async def load(self) -> None:
        """Go on from what was told last, where it is tighter than what this service finds itself; raises `LogError`."""
        found = await self._kept.load()
        if not found:
            return
        with contextlib.suppress(ValueError):
            told = msgspec.json.decode(found, type=dict[str, int])
            for item, one in zip(self._items, self.each, strict=True):
                if told.get(item.id, WHOLE) < one.told:
                    one.resume(told[item.id])

    def pulse(self, pulse: Pulse, now: int, acting: bool) -> None:
        """A market has been looked at."""
        depth = min(pulse.bid_lots, pulse.ask_lots)
        look = Look(now, pulse.bid, pulse.ask, depth, pulse.traded, self._margin(pulse.instrument, now))
        factor = self.each[pulse.instrument].look(look)
        if factor is not None and acting:
            self._kept.changed = True
            self.say(pulse.instrument)

    def begin(self, epoch: Callable[[], int]) -> None:
        """Act from here on, in an epoch above all before it, which may rise: tell the lanes what holds now. Where another
        may have acted before, of every instrument: so nothing that it still says counts."""
        self._numbers.begin(epoch)
        others = epoch() > 1 and self._settings.floor < 1
        self._say([i for i, one in enumerate(self.each) if others or one.told != WHOLE])

    def say(self, instrument: int) -> None:
        """Tell the lanes an instrument's factor, and what they are to withhold for it."""
        self._say([instrument])

    def say_again(self) -> None:
        """People's limits have changed, and with them what a factor leaves, or what lanes hold beyond them."""
        over = self.lender.over() if self.lender is not None else ()
        self._say([i for i, one in enumerate(self.each) if one.told != WHOLE or i in over])

    async def keep(self) -> None:
        """Keep what was told, where it has changed; raises `LogError`."""
        await self._kept.keep(self._encoded)

    def _encoded(self) -> bytes:
        return msgspec.json.encode(
            {item.id: one.told for item, one in zip(self._items, self.each, strict=True)}
        )

    def close(self) -> None:
        """Tell nothing more."""
        self._facts.close()

    def factors(self) -> dict[str, str]:
        """What is held down now, and by what, for people."""
        return {
            item.id: f"{one.told / WHOLE:.0%} {one.why}".rstrip()
            for item, one in zip(self._items, self.each, strict=True)
            if one.told != WHOLE
        }

    def told(self) -> dict[int, int]:
        """What is held down now: parts per million, by instrument."""
        return {i: one.told for i, one in enumerate(self.each) if one.told != WHOLE}

    def _say(self, instruments: list[int]) -> None:
        now, words = self._clock.now(), list[Message]()
        for i in instruments:
            factor = self.each[i].told
            withheld = self.lender.hold(i, factor) if self.lender is not None else ()
            if withheld is None:
                return  # another lends now, and says what holds
            words.append(DynamicLimit(now, i, factor, self._numbers.next(), withheld))
        for at in range(0, len(words), MOST):
            self._facts.tell(words[at : at + MOST])

    def _margin(self, instrument: int, now: int) -> float:
        """The largest use of margin among the accounts that hold the instrument: initial margin at worst ÷ equity, by
        the tiers in force at their size."""
        if now - self._used_at >= FRESH:
            self._used_at, self._uses = now, {}
            for _, account in self._book.accounts(now):
                self._look_at(account)
        return self._uses.get(instrument, 0.0)

    def _look_at(self, account: MarginAccount) -> None:
        needed, equity = account.initial, account.equity
        use = needed / equity if equity > 0 else 1.0 if needed else 0.0
        for pool in account.pools:
            for holding in pool.holdings:
                if holding.worst_value:
                    n = holding.contract.number
                    self._uses[n] = max(use, self._uses.get(n, 0.0))

"""What no public stream of ours tells of a contract, asked by REST at a polite pace: open interest, and funding.

Every `FUNDING_EVERY` seconds the mark and the next funding of each contract, every `INTEREST_EVERY` its open interest,
one after another and spread over that time: 8 of a minute's weight a contract at most, for marks of many are asked for
all at once. Once a funding was due, what was paid is asked for until it is there, with pauses that double: its rate and,
on USDⓈ-M, its own mark; COIN-M tells none, so there it is the first mark that was seen after it was due. Open interest that
is older than `OLD` is not known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.scale import round_half_even
from tidegate.model.time import MINUTE, MS, SECOND
from tidegate.venue.binance.errors import VenueError
from tidegate.venue.binance.limits import POLLS
from tidegate.venue.binance.products import Product
from tidegate.venue.binance.rest import Rest
from tidegate.venue.feed import ContractFacts
from tidegate.venue.port import VenueDown, VenueRefused

log = logging.getLogger("tidegate.venue.binance")
FUNDING_EVERY = 10.0
INTEREST_EVERY = 30.0
OLD = 3 * MINUTE
KEPT = 3
"""Fundings that were paid, told again and again: who was away for a while misses none."""
SHORTLY = 2 * SECOND
"""Before and after a funding is due the mark is asked for more often."""
GIVEN_UP = 15 * MINUTE
"""So long after it was due a funding is asked for that the venue does not list."""
ALL_AT_ONCE = 10
"""The weight of asking for the marks of all symbols."""
LONGEST_PAUSE = MINUTE
"""Between two questions for a funding that the venue does not list yet: it lets an address ask 500 times in 5 minutes."""
_LEAST = 0.1
"""Seconds between two questions of one kind, at least."""
_E8 = 10**8
Json = Mapping[str, Any]


class _Known:
    """One contract."""

    __slots__ = (
        "again",
        "at",
        "interest",
        "interest_ts",
        "mark",
        "mark_ts",
        "paid",
        "pause",
        "rate",
        "wanted",
    )

    def __init__(self) -> None:
        self.interest, self.interest_ts = -1, 0
        self.rate = self.at = self.mark = self.mark_ts = 0
        self.paid: dict[int, tuple[int, int]] = {}
        """(rate, mark) by the time they were due, oldest first."""
        self.wanted: dict[int, int] = {}
        """Fundings that were due and are not known to be paid, and the first mark after each."""
        self.again = self.pause = 0
        """When they are asked for next, ns, and how long after the last question that is."""


class ContractPoll:
    """Asks about these instruments, in turn. `counts` has what went wrong."""

    def __init__(
        self, product: Product, rest: Rest, universe: Universe, numbers: list[int], clock: Clock,
        funding_every: float = FUNDING_EVERY, interest_every: float = INTEREST_EVERY,
    ) -> None:  # fmt: skip
        self.counts: Counter[str] = Counter()
        self._product, self._rest, self._universe, self._clock = product, rest, universe, clock
        self._known = {n: _Known() for n in numbers} if product.open_interest else {}
        many = len(self._known) * product.premium_weight > ALL_AT_ONCE
        self._together = [[*self._known]] if many else [[n] for n in self._known]
        """Contracts whose marks are asked for in one question."""
        self._numbers = {universe[n].symbol: n for n in self._known}
        self._paces = (funding_every, interest_every)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Ask again and again."""
        if self._known:
            loop = asyncio.get_running_loop()
            loops = (
                self._ask_marks(self._paces[0]), self._ask_interest(self._paces[1]), self._ask_funding()
            )  # fmt: skip
            self._tasks = [loop.create_task(work) for work in loops]
            for task in self._tasks:
                task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.counts["contract polls failed"] += 1
            log.error(
                "%s: contracts are not asked about any more", self._product.venue, exc_info=task.exception()
            )

    def facts(self, number: int) -> ContractFacts:
        """See `venue.feed.ContractFeed`."""
        known = self._known.get(number)
        if known is None:
            return ContractFacts()
        fresh = self._clock.now() - known.interest_ts <= OLD
        paid = tuple((due, *what) for due, what in known.paid.items())
        return ContractFacts(known.interest if fresh else -1, known.rate, known.at, known.mark, paid)

    # Asking.

    async def _ask_interest(self, every: float) -> None:
        while True:
            for number, known in self._known.items():
                said = await self._get(self._product.open_interest, {"symbol": self._universe[number].symbol})
                with contextlib.suppress(KeyError, ArithmeticError, TypeError, ValueError):
                    if said is not None:
                        amount = Fraction(Decimal(said["openInterest"])) / Fraction(
                            self._universe[number].lot
                        )
                        known.interest, known.interest_ts = int(amount), self._clock.now()
                await asyncio.sleep(max(_LEAST, every / len(self._known)))

    async def _ask_funding(self) -> None:
        """What was paid before we came, then whatever was due since."""
        for number, known in self._known.items():
            await self._paid(number, known)
        while True:
            await asyncio.sleep(_LEAST)
            for number, known in self._known.items():
                now = self._rest.venue_now()
                if known.wanted and now >= known.again:
                    known.pause = min(2 * known.pause or SECOND, LONGEST_PAUSE)
                    known.again = now + known.pause
                    await self._paid(number, known)

    async def _ask_marks(self, every: float) -> None:
        while True:
            for numbers in self._together:
                await self._marks(numbers)
                await asyncio.sleep(self._pause(every))

    def _pause(self, every: float) -> float:
        """Shorter while a funding is about to be due, or has just been."""
        now, parts = self._rest.venue_now(), len(self._together)
        near = any(-SHORTLY < known.at - now < SHORTLY for known in self._known.values() if known.at)
        return max(_LEAST, min(every, 1.0 if near else every) / parts)

    async def _marks(self, numbers: list[int]) -> None:
        product = self._product
        if len(numbers) == 1:
            asked = {"symbol": self._universe[numbers[0]].symbol}
            said = await self._get(product.premium, asked, product.premium_weight)
        else:
            said = await self._get(product.premium, {}, ALL_AT_ONCE)
        for row in said if isinstance(said, list) else [said]:
            number = self._numbers.get(row.get("symbol", "")) if isinstance(row, dict) else None
            if number is not None:
                self._mark(number, self._known[number], row)

    def _mark(self, number: int, known: _Known, row: Json) -> None:
        with contextlib.suppress(KeyError, ArithmeticError, TypeError, ValueError):
            at, now = int(row["nextFundingTime"]) * MS, int(row["time"]) * MS
            known.mark, known.mark_ts = self._ticks(number, row["markPrice"]), now
            if known.at and now >= known.at and known.at not in (*known.paid, *known.wanted):
                known.wanted[known.at] = known.mark
                known.again = known.pause = 0
            known.rate, known.at = _rate(row["lastFundingRate"]) if at else 0, at

    async def _paid(self, number: int, known: _Known) -> None:
        params = {"symbol": self._universe[number].symbol, "limit": KEPT}
        said = await self._get(self._product.funding, params)
        with contextlib.suppress(KeyError, ArithmeticError, TypeError, ValueError, AttributeError):
            for row in said or ():
                due = _whole(int(row["fundingTime"]) * MS)
                if due in known.paid:
                    continue
                mark = (
                    self._ticks(number, row["markPrice"])
                    if row.get("markPrice")
                    else known.wanted.get(due, 0)
                )
                if mark:
                    known.paid[due] = _rate(row["fundingRate"]), mark
            known.paid = dict(sorted(known.paid.items())[-KEPT:])
            last, now = max(known.paid, default=0), self._rest.venue_now()
            known.wanted = {due: m for due, m in known.wanted.items() if due > last and now - due < GIVEN_UP}

    def _ticks(self, number: int, price: str) -> int:
        exact = Fraction(Decimal(price)) / Fraction(self._universe[number].tick)
        return round_half_even(exact.numerator, exact.denominator)

    async def _get(self, path: str, params: Mapping[str, Any], weight: int = 1) -> Any:
        try:
            return await self._rest.public(path, params, weight, POLLS)
        except (VenueDown, VenueError, VenueRefused):
            self.counts["contract facts unanswered"] += 1
            return None


def _rate(text: str) -> int:
    exact = Fraction(Decimal(text)) * _E8
    return round_half_even(exact.numerator, exact.denominator)


def _whole(due: int) -> int:
    """The venue stamps a funding some milliseconds after the full second that it was due at."""
    return due - due % SECOND

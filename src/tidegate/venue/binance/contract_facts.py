"""What no public stream of ours tells of a contract, asked by REST at a polite pace: open interest, and funding.

Every `FUNDING_EVERY` seconds the mark and the next funding of each contract, every `INTEREST_EVERY` its open interest,
one after another and spread over that time: some 10 of a minute's weight a contract. Once a funding was due, what was
paid is asked for until it is there: its rate and, on USDⓈ-M, its own mark; COIN-M tells none, so there it is the first mark that
was seen after it was due. Open interest that is older than `OLD` is not known.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from tidegate.venue.binance.products import Product
from tidegate.venue.binance.rest import Rest
from tidegate.venue.feed import ContractFacts
from tidegate.venue.port import VenueDown, VenueRefused

FUNDING_EVERY = 10.0
INTEREST_EVERY = 30.0
OLD = 3 * MINUTE
KEPT = 3
"""Fundings that were paid, told again and again: who was away for a while misses none."""
SHORTLY = 2 * SECOND
"""Before and after a funding is due the mark is asked for more often."""
GIVEN_UP = 15 * MINUTE
"""So long after it was due a funding is asked for that the venue does not list."""
_LEAST = 0.1
"""Seconds between two questions of one kind, at least."""
_E8 = 10**8
Json = Mapping[str, Any]


class _Known:
    """One contract."""

    __slots__ = ("at", "interest", "interest_ts", "mark", "mark_ts", "paid", "rate", "wanted")

    def __init__(self) -> None:
        self.interest, self.interest_ts = -1, 0
        self.rate = self.at = self.mark = self.mark_ts = 0
        self.paid: dict[int, tuple[int, int]] = {}
        """(rate, mark) by the time they were due, oldest first."""
        self.wanted: dict[int, int] = {}
        """Fundings that were due and are not known to be paid, and the first mark after each."""


class ContractPoll:
    """Asks about these instruments, in turn. `counts` has what went wrong."""

    def __init__(
        self, product: Product, rest: Rest, universe: Universe, numbers: list[int], clock: Clock,
        funding_every: float = FUNDING_EVERY, interest_every: float = INTEREST_EVERY,
    ) -> None:  # fmt: skip
        self.counts: Counter[str] = Counter()
        self._product, self._rest, self._universe, self._clock = product, rest, universe, clock
        self._known = {n: _Known() for n in numbers} if product.open_interest else {}
        self._paces = (funding_every, interest_every)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Ask again and again."""
        if self._known:
            loop = asyncio.get_running_loop()
            loops = (self._ask_funding(self._paces[0]), self._ask_interest(self._paces[1]))
            self._tasks = [loop.create_task(work) for work in loops]

    async def stop(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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

    async def _ask_funding(self, every: float) -> None:
        for number, known in self._known.items():
            await self._paid(number, known)  # what was paid before we came
        while True:
            for number, known in self._known.items():
                await self._premium(number, known)
                if known.wanted:
                    await self._paid(number, known)
                await asyncio.sleep(self._pause(every / len(self._known)))

    def _pause(self, usual: float) -> float:
        """Shorter while a funding is about to be due, or has been and is not known to be paid."""
        now = self._rest.venue_now()
        near = any(
            known.wanted or -SHORTLY < known.at - now < SHORTLY for known in self._known.values() if known.at
        )
        return max(_LEAST, min(usual, 1.0 / len(self._known)) if near else usual)

    async def _premium(self, number: int, known: _Known) -> None:
        said = await self._get(self._product.premium, {"symbol": self._universe[number].symbol})
        rows = said if isinstance(said, list) else [said]  # COIN-M answers a list of one
        with contextlib.suppress(KeyError, ArithmeticError, TypeError, ValueError, IndexError):
            row: Json = rows[0]
            at, now = int(row["nextFundingTime"]) * MS, int(row["time"]) * MS
            known.mark, known.mark_ts = self._ticks(number, row["markPrice"]), now
            if known.at and now >= known.at and known.at not in known.paid:
                known.wanted.setdefault(known.at, known.mark)
            known.rate, known.at = _rate(row["lastFundingRate"]) if at else 0, at

    async def _paid(self, number: int, known: _Known) -> None:
        params = {"symbol": self._universe[number].symbol, "limit": KEPT}
        said = await self._get(self._product.funding, params)
        with contextlib.suppress(KeyError, ArithmeticError, TypeError, ValueError):
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

    async def _get(self, path: str, params: Mapping[str, Any]) -> Any:
        try:
            return await self._rest.public(path, params, 1)
        except (VenueDown, VenueError, VenueRefused):
            self.counts["contract facts unanswered"] += 1
            return None


def _rate(text: str) -> int:
    exact = Fraction(Decimal(text)) * _E8
    return round_half_even(exact.numerator, exact.denominator)


def _whole(due: int) -> int:
    """The venue stamps a funding some milliseconds after the full second that it was due at."""
    return due - due % SECOND

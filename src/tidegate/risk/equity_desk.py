"""Control 26's figures as the risk service keeps them: the equity at each venue, from its statements, told to every lane.

Told once every venue of the run has stated its wallets: until then nobody knows what all equity is, and the control does
not speak. Then a venue is told when its equity has moved by a hundredth, and only while a limit compares with it. A
wallet of an asset that has no mark counts for nothing, and is said once; what is more than a gate can reckon with counts
as the most it can. In a run of one venue there is no share to judge.
"""

from __future__ import annotations

from collections.abc import Callable

from tidegate.kernel.gate_state import MAX_MONEY
from tidegate.model.messages import Message, VenueEquity
from tidegate.risk.lane_facts import LaneFacts
from tidegate.risk.limits import Limits
from tidegate.risk.margin.book import MarginBook
from tidegate.risk.numbers import Numbers

STEP = 100
"""Equity is told when it has moved by more than this part of it."""


class EquityDesk:
    """Of all venues of the book's universe, in the order of their first instruments, as lanes number them."""

    def __init__(self, book: MarginBook, facts: LaneFacts, limits: Limits) -> None:
        self._book, self._facts = book, facts
        self._venues = list(dict.fromkeys(item.venue for item in book.exposure.universe.instruments))
        self._told: dict[int, int] = {}
        self._said: set[tuple[str, str]] = set()
        self._wanted = False
        self._numbers = Numbers()
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Limits have changed: whether any compares with equity."""
        self._wanted = limits.sets("venue_share")

    def begin(self, epoch: Callable[[], int]) -> None:
        """Act from here on, in an epoch above all before it: what another has told is not known, so all is told anew."""
        self._numbers.begin(epoch)
        self._told.clear()

    def end(self) -> None:
        """Another acts now, and says what holds."""
        self._facts.drop()

    def tick(self, now: int) -> None:
        """Tell what has moved; once a second."""
        if not self._wanted:
            return
        found = [self._book.equity(venue, now) for venue in self._venues]
        said: list[Message] = []
        for venue, equity in enumerate(found):
            if equity is None:
                return
            equity = max(-MAX_MONEY, min(equity, MAX_MONEY))
            before = self._told.get(venue)
            if before is None or abs(equity - before) * STEP > abs(before):
                said.append(VenueEquity(now, venue, equity, self._numbers.next()))
        if said:
            self._told |= {m.venue: m.equity for m in said if isinstance(m, VenueEquity)}
            self._facts.tell(said)

    def unpriced(self, now: int) -> list[tuple[str, str]]:
        """(venue, line for people) of wallets that count for nothing since the last call."""
        missing = set(self._book.worth.missing(now))
        fresh, self._said = missing - self._said, missing
        return [
            (venue, f"what is held of {asset} at {venue} counts for nothing: no mark says what it is worth")
            for venue, asset in sorted(fresh)
        ]

    def close(self) -> None:
        """Tell nothing more."""
        self._facts.close()

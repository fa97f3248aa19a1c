"""One limit: what each lane holds of it and uses, as far as is known, and what follows from that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.model.time import MS, SECOND

UNDER_WAY = 1 << 62
"""A recall that is not in the lane's log yet."""
NOT_LENT = -1
"""Instead of a version: of a lane that has not said that the limit is lent there, or has said that it is not."""


@dataclass(frozen=True)
class PoolPolicy:
    """`share` of what nobody uses is spread over the lanes, the rest stays in the pool. Times in ns."""

    share: float = 0.75
    pause: int = 50 * MS
    """Least time between two recalls from one lane; doubles, up to `longest`, while they bring nothing."""
    longest: int = 4 * SECOND

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"lease share is {self.share}, must be above 0 and at most 1")


@dataclass(slots=True)
class Holding:
    """One lane's part of one limit, as far as is known here."""

    granted: int = 0
    """In all; the lane may not know of the last of it yet."""
    confirmed: int = 0
    """What the lane has said it was granted."""
    returned: int = 0
    used: int = 0
    wanted: int = 0
    """What it wants beyond all that was granted."""
    refused: int = 0
    """What of that an order lacked that was refused."""
    seq: int = 0
    """Entry of the lane's log after which it used and wanted that."""
    version: int = NOT_LENT
    """Of the limits that the lane then judged by."""
    recall: int = 0
    """Entry of the lane's log that asks it to return something, unanswered; 0 for none."""
    before: int = 0
    """What it had returned when that was asked."""
    recalled_at: int = 0
    pause: int = 0
    answered: bool = True
    """Whether it has said what it uses since the limit was lowered."""

    @property
    def outstanding(self) -> int:
        return self.granted - self.returned

    @property
    def unused(self) -> int:
        """What it holds and did not use when last heard of."""
        return max(0, self.outstanding - max(0, self.used))

    @property
    def over(self) -> int:
        """What it used beyond what it holds."""
        return max(0, self.used - self.outstanding)


class LimitPool:
    """One limit."""

    def __init__(self, limit: int, lanes: Iterable[int]) -> None:
        self.people = limit
        """As people set it."""
        self.limit = limit
        """What is lent of that: less while the instrument's factor holds it down."""
        self.deciding = 0
        """What is being granted: decided, and not yet known to be in the allocator's log."""
        self.leased = True
        """Whether it is lent now; what is outstanding is kept either way."""
        self.since = 0
        """The version of the limits with which it began, or a later one."""
        self.lowered = False
        """Began, or was lowered by people, and what lanes hold and use has not fitted since."""
        self.holdings = {lane: Holding() for lane in sorted(lanes)}
        self._sharing = tuple(self.holdings.values())

    @property
    def outstanding(self) -> int:
        return sum(h.outstanding for h in self.holdings.values())

    @property
    def free(self) -> int:
        """What may be granted; below 0 a debt."""
        return self.limit - self.outstanding

    @property
    def over(self) -> int:
        """What lanes use beyond what they hold."""
        return sum(h.over for h in self.holdings.values())

    @property
    def balance(self) -> int:
        """What may be granted for new orders; below 0 a debt, too."""
        return self.free - self.over

    @property
    def known(self) -> bool:
        """Whether every lane has said what it uses since the limit began."""
        return all(h.version >= self.since for h in self._sharing)

    @property
    def beyond(self) -> int:
        """What lanes may hold or use beyond the limit, at most."""
        return max(0, self.deciding - self.balance)

    @property
    def used(self) -> int:
        """What lanes use in all, as last heard."""
        return sum(max(0, h.used) for h in self.holdings.values())

    @property
    def spare(self) -> int:
        """What nobody uses, in the pool or with a lane."""
        return max(0, self.balance) + sum(h.unused for h in self.holdings.values())

    def size(self, policy: PoolPolicy) -> int:
        """What a lane should have unused, now: a share of what nobody uses, so less as the limit is used up."""
        return max(1, int(self.spare * policy.share) // len(self.holdings))

"""A lane's side of its leases: when to ask for more, when to give back, what to report.

Looked at after orders, never before one: an order that finds too little is refused, and more is asked for at once. A
lease is asked for when what is left of it falls below a part of what was left when it last changed (low water), and
returned, down to that, when much more is left (high water). All limits are looked at together, as arrays.

No clock and no I/O, and nothing here decides what a lane may do: a holder may be lost at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tidegate.model.time import MS, SECOND
from tidegate.risk.leases.lease import Key

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HolderPolicy:
    """`low` and `high` are parts of what was left of a lease when it last changed. Times in ns."""

    low: float = 0.5
    high: float = 2.0
    keep: int = 64
    """At least one part in so many of the lease counts as what was left."""
    repeat: int = 250 * MS
    """An ask without an answer is repeated after so long, then after twice as long, up to `longest`."""
    longest: int = 8 * SECOND

    def __post_init__(self) -> None:
        if not 0 <= self.low < 1 <= self.high:
            raise ValueError(f"low water {self.low} and high water {self.high}: 0 ≤ low < 1 ≤ high is needed")


class Wish(NamedTuple):
    """What is to be told of one limit, by its number: `wanted` more, or nothing; `refused` of it an order lacked."""

    number: int
    wanted: int
    refused: int


class Surplus(NamedTuple):
    """What is to be given back of one limit, by its number."""

    number: int
    amount: int


class LeaseHolder:
    """Watches the leases of `keys`, which are numbered in this order."""

    def __init__(self, keys: Sequence[Key], policy: HolderPolicy | None = None) -> None:
        self.keys = list(keys)
        self.number = {key: n for n, key in enumerate(self.keys)}
        self._policy = policy or HolderPolicy()
        size = len(self.keys)
        self._lease: Ints = np.full(size, -1, np.int64)
        self._mark: Ints = np.zeros(size, np.int64)
        """What was left when the lease last changed."""
        self._short: Ints = np.zeros(size, np.int64)
        """What a refused order lacked, since the lease last changed."""
        self._wanted: Ints = np.zeros(size, np.int64)
        """What was asked for last."""
        self._due: Ints = np.zeros(size, np.int64)
        """When to ask again."""
        self._pause: Ints = np.full(size, self._policy.repeat, np.int64)
        self._told: Ints = np.zeros(size, np.int64)
        """What was used when it was last told: much less is worth a word, for others may want it."""
        self._offered = np.zeros(size, np.bool_)
        """A return is on its way through the lane's log."""
        self._untold = np.ones(size, np.bool_)

    def refused(self, key: Key, lacking: int) -> None:
        """An order was refused for `lacking` more of this limit than was left."""
        n = self.number.get(key, -1)
        if n >= 0 and lacking > self._short[n]:
            self._short[n] = lacking
            self._due[n] = 0

    def tell(self, key: Key) -> None:
        """Something happened to this lease that the allocator must hear of."""
        n = self.number.get(key, -1)
        if n >= 0:
            self._untold[n], self._offered[n] = True, False

    def lost(self, number: int) -> None:
        """A report, or a return, was not stored."""
        self._untold[number], self._offered[number] = True, False

    @property
    def waiting(self) -> bool:
        """Whether something asked for has not come."""
        return bool(self._wanted.any())

    def look(self, now: int, lease: Ints, used: Ints) -> tuple[list[Wish], list[Surplus]]:
        """What to tell and what to give back at `now` (ns), with what is leased and used of each limit."""
        policy = self._policy
        left = lease - np.maximum(used, 0)
        changed = lease != self._lease
        if changed.any():
            self._changed(changed, lease, left)
        mark = np.maximum(self._mark, lease // policy.keep)
        low = (left <= mark * policy.low) | (self._short > 0)
        ask = low & (now >= self._due)
        eased = (self._told - used) * 2 > np.maximum(mark, 1)
        tell = self._untold | ask | (~low & (self._wanted > 0)) | eased
        give = (left > np.maximum(mark, 1) * policy.high) & ~self._offered & ~low
        wishes, surplus = [], []
        for n in np.flatnonzero(tell).tolist():
            self._told[n] = used[n]
            self._wanted[n] = max(int(self._short[n]), int(mark[n] - left[n]), 1) if low[n] else 0
            wishes.append(Wish(n, int(self._wanted[n]), int(self._short[n])))
            if ask[n]:
                self._due[n] = now + self._pause[n]
                self._pause[n] = min(2 * int(self._pause[n]), policy.longest)
                if self._pause[n] > 8 * policy.repeat:
                    self._short[n] = 0  # whoever sent that order has stopped waiting for it
        self._untold[:] = False
        for n in np.flatnonzero(give).tolist():
            self._offered[n] = True
            surplus.append(Surplus(n, int(left[n] - mark[n])))
        return wishes, surplus

    def _changed(self, changed: npt.NDArray[np.bool_], lease: Ints, left: Ints) -> None:
        """A lease has grown or shrunk: measure from here."""
        more = changed & (lease > self._lease)
        self._short[more] = np.maximum(0, self._short[more] - (lease - self._lease)[more])
        self._lease[changed] = lease[changed]
        self._mark[changed] = np.maximum(0, left[changed])
        self._due[changed] = 0
        self._pause[changed] = self._policy.repeat
        self._offered[changed] = False
        self._untold |= changed

"""Lanes, allocators and their logs in little, over the real cores: whoever moves a message decides what is lost.

Nothing here is timed: an entry is in a log or it is not, and any message that was sent may come at any time, again, or
never. Zombies are second folds that stand still: of a lane, at an older entry; of the allocator, with an older end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tidegate.kernel.gate_state import PPM
from tidegate.model.messages import LeaseReport
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.holding import NOT_LENT, PoolPolicy
from tidegate.risk.leases.lease import Key, Lease, held
from tidegate.risk.leases.pool import LeasePool

FIRM, DESK = Key(0, int(Field.LONG), 0), Key(1, int(Field.LONG), 0)
OPEN = Key(0, int(Field.ORDERS))
"""A limit that ends and begins again: without it, its use is not bounded."""
LANES = {0: (0, 1, 2), 1: (0, 1)}
"""The firm lies over all lanes, the desk over two."""


def keys_of(lane):
    return [FIRM, DESK, OPEN] if lane < 2 else [FIRM, OPEN]


@dataclass
class Fold:
    """A lane's state after `at` entries of its log."""

    lane: int
    at: int = 0
    leases: dict[Key, Lease] = field(default_factory=dict)
    used: dict[Key, int] = field(default_factory=dict)
    refused: int = 0
    word: int = 0
    """The number of the last word on the factor."""
    withheld: dict[Key, int] = field(default_factory=dict)
    version: int = 0
    """Of the limits in force."""
    lent: dict[Key, bool] = field(default_factory=dict)
    """Whether they have each limit."""

    def __post_init__(self):
        self.leases = {key: Lease() for key in keys_of(self.lane)}
        self.used = dict.fromkeys(self.leases, 0)
        self.lent = dict.fromkeys(self.leases, True)

    def apply(self, entry):
        """An entry: the messages that follow from it."""
        self.at += 1
        what, *more = entry
        if what == "order":
            (need,) = more
            if all(not self.lent[key] or self.used[key] + need <= self.most(key) for key in self.leases):
                for key in self.leases:
                    self.used[key] += need
            else:
                self.refused += 1
            return []
        if what == "release":
            for key in self.leases:
                self.used[key] -= min(more[0], self.used[key])
            return []
        if what == "limits":
            self.version, self.lent[OPEN] = more
            return [self.report(key, 0) for key in self.leases]
        if what == "word":
            number, withheld = more
            if number > self.word:
                self.word, self.withheld = number, withheld
            return []
        key, number = more
        if what == "grant":
            self.leases[key].grant(number)
        else:
            self.leases[key].give_back(number, self.used[key] if self.lent[key] else 0)
        return [self.report(key, 0)]

    def most(self, key):
        """What it may use."""
        return max(0, self.leases[key].amount - self.withheld.get(key, 0))

    def report(self, key, wanted, refused=0):
        """(report, entry it speaks of)."""
        lease, lent = self.leases[key], self.lent[key]
        used, version = (self.used[key], self.version) if lent else (0, NOT_LENT)
        said = LeaseReport(
            0, self.lane, *key, lease.granted, lease.returned, used, wanted, refused, version
        )  # fmt: skip
        return said, self.at


class LaneLog:
    """A lane's log, and the fold of all of it."""

    def __init__(self, lane):
        self.lane, self.entries, self.truth = lane, [], Fold(lane)

    def append(self, entry):
        self.entries.append(entry)
        return self.truth.apply(entry)

    def fold(self, until=None):
        """A successor's, or a zombie's that came so far."""
        fold = Fold(self.lane)
        for entry in self.entries[:until]:
            fold.apply(entry)
        return fold


class Leases:
    """The stream LEASES: reports by anybody, grants by who knows the last one."""

    def __init__(self):
        self.entries = []
        self.last_grant = 0

    def report(self, report, seq):
        self.entries.append(("report", report, seq))

    def grant(self, grants, expect):
        """The place of the entry; None is a conflict."""
        if expect != self.last_grant:
            return None
        self.entries.append(("grants", grants))
        self.last_grant = len(self.entries)
        return self.last_grant


class Alloc:
    """An allocator: folds LEASES, and decides."""

    def __init__(self, leases, limits, ppm=PPM, epoch=1, version=0):
        self.leases, self.pool, self.at, self.now = leases, LeasePool(LANES, PoolPolicy()), 0, 0
        self.number, self.limits, self.ppm, self.owing = epoch << 40, dict(limits), ppm, set()
        self.read()
        taken = leases.grant(
            [], leases.last_grant
        )  # its epoch: what its predecessor decided stands before it
        assert taken is not None
        self.last = taken
        self.pool.set_factor(0, ppm)
        self.pool.set_limits(limits, version)

    def say(self):
        """A word on the factor: its number, what lanes withhold, and what is in force by it."""
        self.number += 1
        beyond = dict(self.pool.beyond(0))
        self.owing = set(beyond)
        bound = {key: held(limit, self.ppm) for key, limit in self.limits.items() if key.instrument >= 0}
        return self.number, beyond, bound

    def even(self):
        """Whether lanes have given back what they held beyond some limit, and are to be told."""
        return bool(self.owing - dict(self.pool.beyond(0)).keys())

    def read(self):
        for kind, *more in self.leases.entries[self.at :]:
            if kind == "report":
                self.pool.report(*more)
            else:
                for grant in more[0]:
                    self.pool.granted(*grant)
        self.at = len(self.leases.entries)

    def decide(self):
        """(grants in the log, recalls); None where another allocator acts."""
        self.now += 10_000_000_000  # all pauses have passed
        found = self.pool.decide(self.now)
        if found.grants:
            place = self.leases.grant(found.grants, self.last)
            if place is None:
                return None
            self.last = place
            for grant in found.grants:
                self.pool.granted(*grant)
        return found

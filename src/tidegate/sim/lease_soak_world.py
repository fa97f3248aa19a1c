"""Lanes and allocators of the lease soak: the real cores over logs that are lists."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.model.messages import LeaseReport
from tidegate.risk.leases.fields import NO_INSTRUMENT, Field
from tidegate.risk.leases.holder import HolderPolicy, LeaseHolder
from tidegate.risk.leases.holding import PoolPolicy
from tidegate.risk.leases.lease import Key, Lease
from tidegate.risk.leases.pool import Decision, Grant, LeasePool
from tidegate.sim import lease_soak_kernel as k

Ints = npt.NDArray[np.int64]
INSTRUMENTS = 2
FIELDS = k.LONG + 2 * INSTRUMENTS
FAR = 1 << 60
Entry = tuple[Any, ...]
"""("orders", steps, demand, span), ("grant", key, total) or ("return", key, amount)."""


def keys_of(scope: int) -> list[Key]:
    """A scope's limits, in the kernel's order."""
    found = [Key(scope, int(Field.ORDERS)), Key(scope, int(Field.OPEN_VALUE))]
    for instrument in range(INSTRUMENTS):
        found += [Key(scope, int(field), instrument) for field in (Field.LONG, Field.SHORT)]
    assert found[0].instrument == NO_INSTRUMENT
    return found


class Truth:
    """What all lanes use, and what they may, by scope and field."""

    def __init__(self, scopes: int) -> None:
        self.totals: Ints = np.zeros((scopes, FIELDS), np.int64)
        self.limits: Ints = np.full((scopes, FIELDS), FAR, np.int64)
        self.ceilings: Ints = np.full((scopes, FIELDS), FAR, np.int64)


class SoakLane:
    """A lane: a fold over its log. `scopes` are the firm's and its desk's numbers."""

    def __init__(self, number: int, desk: int, seed: int) -> None:
        self.number, self.scopes = number, (0, desk)
        self.keys = [key for scope in self.scopes for key in keys_of(scope)]
        self.place = {key: divmod(n, FIELDS) for n, key in enumerate(self.keys)}
        self.held = [Lease() for _ in self.keys]
        self.counts: Ints = np.zeros(k.COUNTS, np.int64)
        self.rng = k.seeded(seed * 1000 + number)
        self.used: Ints = np.zeros(FIELDS, np.int64)
        self.leases: Ints = np.zeros((2, FIELDS), np.int64)
        self.rows: Ints = np.zeros((k.CAPACITY, 4), np.int64)
        self.lacking: Ints = np.zeros((2, FIELDS), np.int64)
        self.at = 0
        """Entries folded so far."""

    def copy(self) -> SoakLane:
        """The same, to go on by itself."""
        return copy.deepcopy(self)

    def fold(self, entry: Entry, truth: Truth | None = None) -> tuple[Key | None, int]:
        """Apply an entry: the limit whose lease it touched, and the step at which something was overshot (−1).

        Without `truth` nothing is counted together: it is a replay.
        """
        self.at += 1
        kind, *more = entry
        if kind == "orders":
            return None, self._orders(truth or Truth(1 + max(self.scopes)), *more)
        key, amount = more
        s, field = self.place[key]
        lease = self.held[s * FIELDS + field]
        if kind == "grant":
            lease.grant(amount)
        else:
            lease.give_back(amount, int(self.used[field]))
        self.leases[s, field] = lease.amount
        return key, -1

    def _orders(self, truth: Truth, steps: int, demand: int, span: int) -> int:
        mine = list(self.scopes)
        totals = truth.totals[mine]
        bad = k.play(
            self.counts, self.rng, self.used, self.leases, self.rows, totals, truth.limits[mine],
            truth.ceilings[mine], self.lacking, steps, demand, span,
        )  # fmt: skip
        truth.totals[mine] = totals
        return int(bad)

    def report(self, key: Key, wanted: int = 0, refused: int = 0) -> LeaseReport:
        """How it stands with a limit, after `at` entries."""
        s, field = self.place[key]
        lease = self.held[s * FIELDS + field]
        return LeaseReport(
            0, self.number, *key, lease.granted, lease.returned, int(self.used[field]), wanted, refused
        )

    def state(self) -> bytes:
        """All of it, for comparison."""
        arrays = (self.counts[: k.FALSELY], self.rng, self.used, self.leases, self.rows)
        return b"".join(array.tobytes() for array in arrays)


class Writer:
    """Who writes a lane now: its fold, and its care for the leases."""

    def __init__(self, lane: SoakLane, policy: HolderPolicy) -> None:
        self.lane = lane
        self.holder = LeaseHolder(lane.keys, policy)

    def told(self, key: Key) -> None:
        """A lease was touched."""
        self.holder.tell(key)

    def look(self, now: int) -> tuple[list[tuple[LeaseReport, int]], list[tuple[Key, int]]]:
        """Reports, each with the entry it speaks of, and what to give back."""
        lane, holder = self.lane, self.holder
        if lane.lacking.any():
            for s, field in np.argwhere(lane.lacking):
                holder.refused(lane.keys[s * FIELDS + field], int(lane.lacking[s, field]))
            lane.lacking[:] = 0
        used = np.concatenate((lane.used, lane.used))
        wishes, surplus = holder.look(now, lane.leases.reshape(-1), used)
        reports = [(lane.report(lane.keys[w.number], w.wanted, w.refused), lane.at) for w in wishes]
        return reports, [(lane.keys[some.number], some.amount) for some in surplus]


class LeaseStream:
    """The stream LEASES: reports by anybody, grants by who knows the last of them."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.grants = 0
        """The last entry of grants."""
        self.granted: dict[tuple[Key, int], int] = {}
        self.returned: dict[tuple[Key, int], int] = {}

    def report(self, report: LeaseReport, seq: int) -> None:
        """Store a report."""
        self.entries.append((report, seq))
        place = (Key(report.scope, report.field, report.instrument), report.lane)
        self.returned[place] = max(self.returned.get(place, 0), report.returned)

    def grant(self, grants: Sequence[Grant], expect: int) -> bool:
        """Store grants; False where another has stored some since `expect`."""
        if expect != self.grants:
            return False
        self.entries.append((grants,))
        self.grants = len(self.entries)
        for grant in grants:
            place = (grant.key, grant.lane)
            self.granted[place] = max(self.granted.get(place, 0), grant.total)
        return True

    def outstanding(self, key: Key, lanes: int) -> int:
        """What is lent of a limit."""
        places = [(key, lane) for lane in range(lanes)]
        return sum(self.granted.get(p, 0) - self.returned.get(p, 0) for p in places)


class SoakAllocator:
    """An allocator in its life: folds LEASES from the start, puts its epoch there, decides."""

    def __init__(
        self,
        stream: LeaseStream,
        shared: Mapping[int, Sequence[int]],
        limits: Mapping[Key, int],
        policy: PoolPolicy,
    ) -> None:
        self.stream, self.pool, self.at = stream, LeasePool(shared, policy), 0
        self.read()
        if not stream.grant([], stream.grants):
            raise AssertionError("nobody else can grant meanwhile")
        self.last = stream.grants
        self.pool.set_limits(limits)

    def read(self) -> None:
        """Fold what has come."""
        entries = self.stream.entries
        for n in range(self.at, len(entries)):
            entry = entries[n]
            if len(entry) == 2:
                self.pool.report(*entry)
            else:
                for grant in entry[0]:
                    self.pool.granted(*grant)
        self.at = len(entries)

    def decide(self, now: int) -> Decision | None:
        """What was decided and is in LEASES; None where another allocator acts."""
        found = self.pool.decide(now)
        if found.grants:
            if not self.stream.grant(found.grants, self.last):
                return None
            self.last = self.stream.grants
            for grant in found.grants:
                self.pool.granted(*grant)
        return found

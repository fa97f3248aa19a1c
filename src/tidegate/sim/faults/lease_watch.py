"""Leases as they must be, checked with every entry: of the lanes' logs, and of the allocator's.

Nobody lends more than there is, a lane has nothing that was not lent, and what all lanes use together is never more
than the limit; but for what the venue did by itself (late fills, busts).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from tidegate.execution.core import Lane
from tidegate.execution.leases import used
from tidegate.log.base import Entry
from tidegate.model.messages import LeaseGrant, LeaseReport
from tidegate.model.wire import decode
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.lease import Key, Lease, leased
from tidegate.sim.faults.plant import Plant


class LeaseWatch:
    """Watches the limits that `lanes` share; `fail` is told what does not hold, `excused` says how many lots of an
    account's position in an instrument the venue gave unasked."""

    def __init__(
        self,
        plant: Plant,
        lanes: Mapping[int, Lane],
        excused: Mapping[tuple[int, int], int],
        fail: Callable[[str], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.limits = leased(plant.gate(), plant.shared)
        self.granted: dict[tuple[int, Key], int] = {}
        """What the allocator's log says was granted, by lane."""
        self._returned: dict[tuple[int, Key], int] = {}
        self._lanes, self._excused, self._fail = lanes, excused, fail
        self._epoch = 0

    def entry(self, entry: Entry) -> None:
        """An entry of LEASES."""
        envelope = decode(entry.data)
        if entry.subject == "lease.grant":
            if envelope.epoch < self._epoch:
                self._fail(
                    f"LEASES entry {entry.seq}: epoch {envelope.epoch} grants after {self._epoch} began"
                )
            self.counts["lease epochs"] += envelope.epoch > self._epoch
            self._epoch = envelope.epoch
        for m in envelope.messages:
            if type(m) is LeaseGrant:
                place = (m.lane, Key(m.scope, m.field, m.instrument))
                self.granted[place] = max(self.granted.get(place, 0), m.granted)
                self.counts["leases granted"] += 1
            elif type(m) is LeaseReport:
                self._reported(m, entry.seq)
        for key, limit in self.limits.items():
            lent = sum(
                self.granted.get((lane, key), 0) - self._returned.get((lane, key), 0) for lane in self._lanes
            )
            if lent > limit:
                self._fail(f"LEASES entry {entry.seq}: {lent} of {key} are lent, {limit} are there")

    def _reported(self, m: LeaseReport, seq: int) -> None:
        key = Key(m.scope, m.field, m.instrument)
        place, lease = (m.lane, key), self._lanes[m.lane].state.leases.get(key) or Lease()
        if m.returned > lease.returned or m.granted > lease.granted:
            self._fail(
                f"LEASES entry {seq}: lane {m.lane} is said to stand with {key} as its log does not say"
            )
        self._returned[place] = max(self._returned.get(place, 0), m.returned)
        self.counts["lease reports"] += 1

    def lane(self, number: int) -> None:
        """A lane has folded an entry."""
        state = self._lanes[number].state
        for key, limit in self.limits.items():
            lease = state.leases.get(key) or Lease()
            if lease.granted > self.granted.get((number, key), 0):
                self._fail(f"lane {number} was granted {lease.granted} of {key} by nobody")
            grace = self._grace(key)
            if used(state, key) > lease.amount + grace:
                self._fail(f"lane {number} uses {used(state, key)} of {key} and has {lease.amount}")
            total = sum(max(0, used(lane.state, key)) for lane in self._lanes.values())
            if total > limit + grace:
                self._fail(f"{total} of {key} are used, {limit} allowed")

    def _grace(self, key: Key) -> int:
        """Lots that came unasked."""
        if not Field(key.field).per_instrument:
            return 0
        return sum(lots for (_, instrument), lots in self._excused.items() if instrument == key.instrument)

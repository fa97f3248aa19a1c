"""The allocator's core: how much of each limit lies where, and who is to be given or asked for what.

For every limit: `free + Σ outstanding = limit`, where what is outstanding to a lane is what it was granted less what it
has reported returned. A limit that is lowered below what is outstanding leaves `free` below 0, a debt: nothing is
granted, and lanes are asked to return what they do not use. A lane's silence changes nothing; what it holds may have
filled.

A lane may use more than it was lent: the limit began while it was in use, or marks and late fills moved its use. That is
nobody else's to have: what others may be granted is `balance = free − Σ max(0, used − outstanding)`. So of a limit that
begins nothing is granted before every lane has said what it uses under it.

No clock and no I/O: what is decided changes nothing here before it is folded back from the allocator's log.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tidegate.kernel.gate_state import PPM
from tidegate.model.messages import LeaseReport
from tidegate.risk.leases.holding import NOT_LENT, UNDER_WAY, Holding, LimitPool, PoolPolicy
from tidegate.risk.leases.lease import Key, held

CRUMB = 4
"""Who only would like more is not given less than one part in so many of it: it would soon ask again."""


class Grant(NamedTuple):
    """To grant a lane `total` in all."""

    lane: int
    key: Key
    total: int


class Recall(NamedTuple):
    """To ask a lane to return up to `amount`."""

    lane: int
    key: Key
    amount: int


class Short(NamedTuple):
    """More is in use than a lowered limit allows."""

    key: Key
    limit: int
    used: int


@dataclass
class Decision:
    """What is to be done now."""

    grants: list[Grant] = field(default_factory=list)
    recalls: list[Recall] = field(default_factory=list)
    short: list[Short] = field(default_factory=list)


class LeasePool:
    """All leased limits. `lanes` says which lanes share each scope's limits (`leases.lanes_of`)."""

    def __init__(self, lanes: Mapping[int, Iterable[int]], policy: PoolPolicy | None = None) -> None:
        self.pools: dict[Key, LimitPool] = {}
        self._lanes = {scope: tuple(over) for scope, over in lanes.items()}
        self._policy = policy or PoolPolicy()
        self._stirred: dict[Key, None] = {}
        """Limits that may want something done."""
        self._factors: dict[int, int] = {}
        """By instrument, in parts per million: what is lent of its limits."""
        self._of: dict[int, list[Key]] = {}
        """The limits of an instrument."""
        self.rows: list[tuple[Key, int]] = []
        """Every limit and lane, in the order in which they came."""
        self._version = -1
        """Of the limits; −1 before the first are set."""
        self.owing: set[Key] = set()
        """Limits that were lowered, and of which lanes held or used more than is there when last decided on."""
        self.unknown: set[Key] = set()
        """Limits that begin, of which some lane had not said what it uses."""
        self._unconfirmed: dict[tuple[int, Key], None] = {}
        self._deciding: list[LimitPool] = []

    # What is known.

    def set_limits(self, limits: Mapping[Key, int], version: int = 0) -> None:
        """The limits from here on, and their version. More is there at once; less counts as lanes return the difference;
        one that begins is granted once every lane has said what it uses by this version or a later one."""
        first, skipped = self._version < 0, version > self._version + 1  # between, a limit may have ended
        self._version = version
        for key, limit in limits.items():
            pool = self._pool(key)
            begins, before, pool.people, pool.leased = not pool.leased, pool.people, limit, True
            if begins or skipped:
                pool.since = version
            pool.lowered |= not first and (begins or limit < before)
            self._lend(key, pool, begins)
        for key, pool in self.pools.items():
            if pool.leased and key not in limits:
                pool.leased, pool.people, pool.limit = False, 0, 0
                self.owing.discard(key)
                self.unknown.discard(key)
                self._stirred[key] = None

    def set_factor(self, instrument: int, ppm: int) -> None:
        """Lend no more of an instrument's limits than so many parts per million from here on."""
        self._factors[instrument] = ppm
        for key in self._of.get(instrument, ()):
            self._lend(key, self.pools[key])

    def beyond(self, instrument: int) -> list[tuple[Key, int]]:
        """An instrument's limits of which lanes may hold more than is there, and how much more."""
        pools = ((key, self.pools[key]) for key in self._of.get(instrument, ()))
        return [(key, pool.beyond) for key, pool in pools if pool.leased and pool.beyond]

    def over(self) -> set[int]:
        """The instruments of whose limits lanes may hold more than is there."""
        return {
            key.instrument for key, pool in self.pools.items()
            if key.instrument >= 0 and pool.leased and pool.beyond
        }  # fmt: skip

    def _lend(self, key: Key, pool: LimitPool, begins: bool = False) -> None:
        limit = held(pool.people, self._factors.get(key.instrument, PPM))
        if limit < pool.limit or begins:
            for holding in pool.holdings.values():
                holding.answered = not holding.outstanding
                holding.recalled_at = holding.pause = 0
        pool.limit = limit
        self._stirred[key] = None

    def _pool(self, key: Key) -> LimitPool:
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = LimitPool(0, self._lanes.get(key.scope, ()))
            pool.leased = False
            self._of.setdefault(key.instrument, []).append(key)
            self.rows += [(key, lane) for lane in pool.holdings]
        return pool

    def _holding(self, key: Key, lane: int) -> Holding:
        holdings = self._pool(key).holdings
        found = holdings.get(lane)
        if found is None:
            found = holdings[lane] = Holding()
            self.rows.append((key, lane))
        return found

    def _know(self, key: Key, lane: int, holding: Holding) -> None:
        if holding.granted > holding.confirmed:
            self._unconfirmed[lane, key] = None
        else:
            self._unconfirmed.pop((lane, key), None)

    def granted(self, lane: int, key: Key, total: int) -> None:
        """Fold a grant: it is in the allocator's log."""
        holding = self._holding(key, lane)
        if total > holding.granted:
            more = total - holding.granted
            holding.wanted, holding.refused = max(0, holding.wanted - more), max(0, holding.refused - more)
            holding.granted = total
            self._know(key, lane, holding)

    def deciding(self, grants: Iterable[Grant]) -> None:
        """Those are about to be put into the allocator's log: till `decided`, lanes may come to hold that much more."""
        for lane, key, total in grants:
            pool = self.pools[key]
            pool.deciding += max(0, total - pool.holdings[lane].granted)
            self._deciding.append(pool)

    def decided(self) -> None:
        """They are there, and folded."""
        for pool in self._deciding:
            pool.deciding = 0
        self._deciding = []

    def report(self, m: LeaseReport, seq: int) -> None:
        """Fold a lane's report, which speaks of it after entry `seq` of its log."""
        key = Key(m.scope, m.field, m.instrument)
        holding = self._holding(key, m.lane)
        holding.confirmed = max(holding.confirmed, m.granted)
        holding.granted = max(holding.granted, m.granted)
        holding.returned = max(holding.returned, m.returned)
        self._know(key, m.lane, holding)
        self._stirred[key] = None
        if seq < holding.seq:
            return
        holding.seq, holding.used, holding.version = seq, m.used, m.version
        under_way = holding.granted - m.granted
        holding.wanted, holding.refused = max(0, m.wanted - under_way), max(0, m.refused - under_way)
        self._look_whether_answered(holding)

    def recalled(self, lane: int, key: Key, seq: int, now: int) -> None:
        """A recall is under way (`UNDER_WAY`), stands in the lane's log at `seq`, or was not stored (0)."""
        holding = self._holding(key, lane)
        holding.recall, holding.recalled_at = seq, now
        self._stirred[key] = None
        if seq == UNDER_WAY:
            holding.before = holding.returned
        elif not seq:
            holding.pause = max(holding.pause, self._policy.pause)
        # The lane may have been quicker than the word that it was stored.
        self._look_whether_answered(holding)

    def _look_whether_answered(self, holding: Holding) -> None:
        """Whether the lane has spoken since it was asked to return something."""
        if not 0 < holding.recall <= holding.seq:
            return
        brought = holding.returned > holding.before
        holding.pause = 0 if brought else min(2 * holding.pause or self._policy.pause, self._policy.longest)
        holding.recall, holding.answered = 0, True

    def unconfirmed(self) -> list[Grant]:
        """Grants that their lanes have not said they know of."""
        return [Grant(lane, key, self.pools[key].holdings[lane].granted) for lane, key in self._unconfirmed]

    # What is to be done.

    @property
    def stirred(self) -> int:
        """Of how many limits there may be something to decide."""
        return len(self._stirred)

    def decide(self, now: int, most: int | None = None) -> Decision:
        """What is to be done at `now` (ns), of `most` limits at a time. The same again, until grants are folded and
        recalls are told."""
        found = Decision()
        for key in list(itertools.islice(self._stirred, most)):
            pool = self.pools[key]
            del self._stirred[key]
            settle = self._settle if pool.leased else self._fetch
            if not settle(key, pool, now, found):
                self._stirred[key] = None  # behind those that were not looked at
        return found

    def _fetch(self, key: Key, pool: LimitPool, now: int, found: Decision) -> bool:
        """Of a limit that is lent no more everything comes back: nothing old is spent should it begin again. Lanes that
        have said so only; one that has not heard of it yet judges by what it has."""
        there = {n: h for n, h in pool.holdings.items() if h.outstanding > 0 and h.version == NOT_LENT}
        for lane, h in there.items():
            if not h.recall and now >= h.recalled_at + h.pause:
                found.recalls.append(Recall(lane, key, h.outstanding))
        return not there

    def _settle(self, key: Key, pool: LimitPool, now: int, found: Decision) -> bool:
        """Decide on one limit; whether nothing more is to be done before somebody speaks."""
        free, known = pool.balance, pool.known
        (self.unknown.discard if known else self.unknown.add)(key)
        lowered = free < 0 and (pool.lowered or pool.free < 0)  # and not moved past the limit by marks, say
        (self.owing.add if lowered else self.owing.discard)(key)
        if free < 0:
            answered = known and all(h.answered for h in pool.holdings.values())
            if lowered and answered and pool.used > pool.people:
                found.short.append(Short(key, pool.people, pool.used))
            self._recall(key, pool, -free, 0, now, found, deep=lowered)
            return False
        pool.lowered &= not known
        if not known:
            return True  # what they use may be all there is
        spare, size, waiting = pool.spare, pool.size(self._policy), []
        for lane, h in pool.holdings.items():
            if h.wanted > 0:
                lacked = max(0, h.refused - h.over)
                need = lacked if lacked <= spare else 0  # what no recall can bring is not tried
                waiting.append((max(need, size - h.unused, 1), need, lane, h))
            elif h.over:
                found.grants.append(Grant(lane, key, h.granted + h.over))
        waiting.sort(key=lambda item: item[:3])
        lacking = missing = 0
        for n, (wish, need, lane, holding) in enumerate(waiting):
            given = min(wish, free // (len(waiting) - n))
            if not need and given < wish // CRUMB:
                given = 0
            free -= given
            lacking += max(0, need - given)
            missing += max(0, wish - given)
            if given + holding.over > 0:  # what it uses already comes first
                found.grants.append(Grant(lane, key, holding.granted + holding.over + given))
        if missing:
            self._recall(key, pool, missing, size, now, found, deep=lacking > 0)
        return not waiting and not any(h.over for h in pool.holdings.values())

    def _recall(
        self, key: Key, pool: LimitPool, need: int, keep: int, now: int, found: Decision, deep: bool = False
    ) -> None:
        """Ask lanes for `need` in all: those that have more than `keep` unused, for all they have more: it will be wanted.

        `deep`: for an order that was refused; then others go halves. So lanes that would only like to have more cannot
        take the last of each other back and forth. For a debt, `deep` asks those too that had nothing left.
        """
        debt = pool.balance < 0
        asked = {
            lane: h
            for lane, h in pool.holdings.items()
            if h.outstanding > 0
            and (debt or not h.refused)
            and not h.recall
            and now >= h.recalled_at + h.pause
        }
        surplus = {lane: max(0, h.unused - keep) for lane, h in asked.items()}
        total = sum(surplus.values())
        if total < need and not debt and any(h.recall for h in pool.holdings.values()):
            return  # what has been asked for may be enough
        for lane, holding in asked.items():
            amount = surplus[lane]
            if debt and total >= need:
                amount = -(-need * surplus[lane] // total)
            elif debt and deep:
                amount = need  # what it uses may have become less since it spoke
            elif deep and total < need:
                # What it has unused may have become more since it spoke: it is asked for its part in any case.
                amount = max(amount, -(-holding.unused // 2), -(-need // len(asked)))
            if amount > 0:
                found.recalls.append(Recall(lane, key, amount))

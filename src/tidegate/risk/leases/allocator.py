"""The allocator of leases: follows what lanes say, grants and recalls, and keeps it all in the stream LEASES.

`lease.report` lanes' reports, by any writer of the lane; `lease.grant` what the allocator decided. Its state is a fold
of both. A grant counts once it is in LEASES, appended with the sequence of the grant before it, one entry at a time;
only then it is written into the lane's log, and again until the lane has said that it knows of it. An allocator begins
with an entry under an epoch of its own, so the appends of one that it replaces are refused. The epoch is within the
`term` of its service's lease, and nobody takes over from a later term: so the service that holds the lease has the last
word, however late one that has lost it notices. Each entry carries some of
the table of all that is known (`risk.leases.table`), and says after which entry a successor is to begin to read.

When no allocator acts, lanes go on within their leases, run dry, and then refuse what does not reduce risk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tidegate.log.base import Conflict, Entry, Log, LogDown, LogError, Subscription
from tidegate.model.clock import Clock
from tidegate.model.messages import LeaseGrant, LeaseReport, LeaseReturn, Message
from tidegate.model.wire import Envelope, Unreadable, decode, pack
from tidegate.risk.leases.holding import UNDER_WAY, PoolPolicy
from tidegate.risk.leases.lease import Key
from tidegate.risk.leases.pool import Grant, LeasePool, Recall, Short
from tidegate.risk.leases.table import LeaseTable
from tidegate.risk.numbers import BITS

STREAM, GRANTS = "LEASES", "lease.grant"
BEAT = 0.05
"""Seconds between two looks at what waits for time to pass."""
REPEAT = (1.0, 30.0)
"""A grant that its lane has not confirmed is told again after so many seconds, doubling."""
BATCH = 1_000
"""Grants in an entry, at most, and limits decided on before others have their turn."""
BACK = 100_000
"""Entries that a successor would have to read, at which rows of the table are written though nothing is granted."""
_PAUSE = 0.1
_ANSWER = 1.0


class Allocator:
    """Part of the risk service. Of several that run, the last to start in the latest term acts; the others are `fenced`.

    `lanes` are the scopes over several lanes and their lanes (`leases.lanes_of`), `limits` what people set of those
    scopes (`leases.leased` of a gate built from the configuration) in their `version`; later ones by `set_limits`. `term`
    is the epoch of the service's lease: it rises, and no other service ever has the same. `on_short` is called when
    a limit was lowered below what is in use, once for each: the service lets the scope only reduce. With one lane there
    is nothing to lend: it starts, and does nothing. `factors` are by instrument, in parts per million (`hold`); `on_even`
    is told an instrument when lanes have given back what they held beyond one of its limits.
    """

    def __init__(
        self,
        log: Log,
        clock: Clock,
        lanes: Mapping[int, Iterable[int]],
        limits: Mapping[Key, int],
        *,
        version: int = 0,
        term: Callable[[], int] = lambda: 0,
        name: str = "risk",
        policy: PoolPolicy | None = None,
        on_short: Callable[[Short], None] = lambda short: None,
        factors: Mapping[int, int] | None = None,
        on_even: Callable[[int], None] = lambda instrument: None,
    ) -> None:
        self.ident = f"{clock.now():020d}-{name}"
        self.epoch = 0
        self.fenced = False
        """Another allocator has begun."""
        self.counts: Counter[str] = Counter()
        self._log, self._clock, self._on_short = log, clock, on_short
        self._lanes = {scope: tuple(over) for scope, over in lanes.items()}
        self._limits, self._version, self._term, self._policy = dict(limits), version, term, policy
        self.pool = LeasePool(self._lanes, policy)
        self._factors, self._on_even = dict(factors or {}), on_even
        self._owing: dict[int, set[Key]] = {}
        """By instrument, the limits of which lanes were told to withhold something."""
        self._acting = False
        self._refused = ""
        """Why the log does not take what was decided."""
        self._last = 0
        """The last entry on `lease.grant`."""
        self._read = 0
        self._table = LeaseTable(self.pool, 0)
        self._told: set[Short] = set()
        self._again: dict[tuple[int, Key], tuple[int, float, float]] = {}
        """Of an unconfirmed grant: its total, when to tell it again, and the pause after that."""
        self._repeat_at = 0.0
        self._following: Subscription | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None

    # Beginning and ending.

    async def start(self) -> None:
        """Take over: read the log, and begin an epoch of our own. Raises `Conflict` where one of a later term has begun,
        and `LogError`."""
        if not self._lanes:
            return
        while not await self._take_over():
            pass
        for instrument, ppm in self._factors.items():
            self.pool.set_factor(instrument, ppm)
        self.pool.set_limits(self._limits, self._version)
        self._acting = True
        self._following = self._log.follow(STREAM, self._entries, after=self._read)
        self._beat()

    async def stop(self) -> None:
        """Grant nothing more. Lanes go on with what they have."""
        self._rest()
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work

    def set_limits(self, limits: Mapping[Key, int], version: int) -> None:
        """What people have set, from here on: all of it, and its version."""
        self._limits, self._version = dict(limits), version
        self._told.clear()
        if self._acting:
            self.pool.set_limits(self._limits, version)
            self._stir()

    def hold(self, instrument: int, ppm: int) -> tuple[tuple[int, int, int], ...] | None:
        """Lend no more than so many parts per million of an instrument's limits from here on.

        Gives what every lane is to withhold of its leases for that, (scope, field, amount): as much as lanes may hold
        beyond it in all. When they have given it back, `on_even` says so. None where another allocator acts.
        """
        if not self._lanes:
            return ()
        if not self._acting:
            return None
        self.pool.set_factor(instrument, ppm)
        self._stir()
        beyond = self.pool.beyond(instrument)
        self._owing.pop(instrument, None)
        if beyond:
            self._owing[instrument] = {key for key, _ in beyond}
        return tuple((key.scope, key.field, amount) for key, amount in beyond)

    def over(self) -> set[int]:
        """The instruments of whose limits lanes may hold more than is lent."""
        return self.pool.over()

    def health(self) -> dict[str, Any]:
        """What people want to know of it."""
        why = "another allocator has taken over" if self.fenced else self._refused
        if self._acting:
            owing, unknown = len(self.pool.owing), len(self.pool.unknown)
            waits = [f"{owing} lowered limits wait for lanes to return the difference"] if owing else []
            if unknown:
                waits.append(f"{unknown} limits wait for lanes to say what they use")
            why = self._refused or "; ".join(waits)
        return {
            "ok": not self.fenced,
            "why": why,
            "epoch": self.epoch >> BITS,
            "limits": sum(pool.leased for pool in self.pool.pools.values()),
            "counters": dict(self.counts),
        }

    async def _take_over(self) -> bool:
        """Whether the epoch is ours; another may have been quicker."""
        last = await self._log.last(STREAM, GRANTS)
        head, term = decode(last.data) if last else Envelope([]), self._term()
        if head.epoch >> BITS > term:
            raise Conflict(f"a risk service lends in term {head.epoch >> BITS}, this one's is {term}")
        self.pool = LeasePool(self._lanes, self._policy)
        self._read = head.seq
        async for entries in self._log.read(STREAM, head.seq):
            self._fold(entries)
        self.epoch, self._table = max(head.epoch, term << BITS) + 1, LeaseTable(self.pool, head.seq)
        self._last = last.seq if last else 0
        try:
            await self._append([], f"t{self.ident}-{self.epoch}")
        except Conflict:
            return False
        return True

    def _rest(self) -> None:
        self._acting = False
        if self._following is not None:
            self._following.close()
        if self._timer is not None:
            self._timer.cancel()

    def _fence(self) -> None:
        self.fenced = True
        self._rest()

    # What is known.

    def _entries(self, entries: list[Entry]) -> None:
        self._fold(entries)
        self._look_who_owes()
        self._stir()

    def _look_who_owes(self) -> None:
        even = [
            i
            for i, keys in self._owing.items()
            if self._acting and not keys <= dict(self.pool.beyond(i)).keys()
        ]
        for instrument in even:
            self._on_even(instrument)

    def _fold(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._read = max(self._read, entry.seq)
            try:
                envelope = decode(entry.data)
            except Unreadable:
                self.counts["unreadable"] += 1
                continue
            if entry.subject == GRANTS and envelope.epoch > self.epoch and self._acting:
                self._fence()
                return
            for m in envelope.messages:
                if type(m) is LeaseGrant:
                    self.pool.granted(m.lane, Key(m.scope, m.field, m.instrument), m.granted)
                elif type(m) is LeaseReport:
                    self.pool.report(m, m.at if entry.subject == GRANTS else envelope.seq)

    # Acting.

    def _beat(self) -> None:
        self._stir()
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def _stir(self) -> None:
        if self._acting and self._work is None and (self.pool.stirred or self._again):
            self._work = asyncio.get_running_loop().create_task(self._act())

    async def _act(self) -> None:
        """Decide, until there is nothing to do before somebody speaks or time passes."""
        try:
            while self._acting and await self._decide():
                pass
            if self._acting and self._read - self._table.since > BACK:
                await self._append(
                    self._table.rows(self._read, self._clock.now()), f"g{self.ident}-{self._last}"
                )
            self._repeat()
            self._refused = ""
        except Conflict:
            self._fence()
        except LogDown:
            pass  # it is decided again with the next beat
        except LogError as error:  # full, say: so too, but people have to know
            self.counts["refused"] += 1
            self._refused = f"the log refuses grants: {error}"
        finally:
            self._work = None

    async def _decide(self) -> bool:
        """Decide once on every limit of which there may be something to decide; whether anything was granted."""
        left, granted = self.pool.stirred, False
        while self._acting and left > 0:
            found = self.pool.decide(self._clock.now(), BATCH)
            left -= BATCH
            for short in found.short:
                if short._replace(used=0) not in self._told:
                    self._told.add(short._replace(used=0))
                    self.counts["short"] += 1
                    self._on_short(short)
            for recall in found.recalls:
                self._recall(recall)
            if found.grants:
                granted = True
                await self._grant(found.grants)
            elif left > 0:
                await asyncio.sleep(0)  # there is more to do in this process than this
        return granted

    async def _grant(self, grants: list[Grant]) -> None:
        self.pool.deciding(grants)
        try:
            for at in range(0, len(grants), BATCH):
                await self._grant_some(grants[at : at + BATCH])
        finally:
            self.pool.decided()
        self._look_who_owes()

    async def _grant_some(self, grants: list[Grant]) -> None:
        now = self._clock.now()
        messages = self._table.rows(self._read, now)
        messages += [LeaseGrant(now, *g.key, g.total, g.lane) for g in grants]
        await self._append(messages, f"g{self.ident}-{self._last}")
        self.counts["grants"] += len(grants)
        for grant in grants:
            self.pool.granted(*grant)
        self._tell(grants)

    async def _append(self, messages: list[Message], msg_id: str) -> None:
        """Store what was decided; raises `Conflict` where another has decided something."""
        data = pack(messages, ts=self._clock.now(), epoch=self.epoch, seq=self._table.since)
        while True:
            try:
                self._last = await self._log.append(
                    GRANTS, data, msg_id=msg_id, expect=self._last, timeout=_ANSWER
                )
                return
            except LogDown:
                await asyncio.sleep(_PAUSE)  # stored or not: under the same id it is stored once
            except Conflict:
                last = await self._log.last(STREAM, GRANTS)
                if last is None or last.data != data:
                    raise
                self._last = last.seq  # it was stored, so long ago that its id is forgotten
                return

    def _tell(self, grants: list[Grant]) -> None:
        """Write grants into their lanes' logs."""
        now, due = self._clock.now(), asyncio.get_running_loop().time() + REPEAT[0]
        by_lane: dict[int, list[Message]] = defaultdict(list)
        for grant in grants:
            by_lane[grant.lane].append(LeaseGrant(now, *grant.key, grant.total, grant.lane))
            known = self._again.get((grant.lane, grant.key))
            pause = min(2 * known[2], REPEAT[1]) if known and known[0] == grant.total else REPEAT[0]
            self._again[grant.lane, grant.key] = (grant.total, due - REPEAT[0] + pause, pause)
        for lane, messages in by_lane.items():
            for at in range(0, len(messages), BATCH):
                data = pack(messages[at : at + BATCH], ts=now, lane=lane)
                self._log.append(f"lane.{lane}.sys", data).add_done_callback(_heard)

    def _repeat(self) -> None:
        """Tell again what is not confirmed: what was lost, or what a predecessor decided and did not tell."""
        now = asyncio.get_running_loop().time()
        if now < self._repeat_at:
            return
        self._repeat_at = now + REPEAT[0] / 4
        open_grants = {(g.lane, g.key): g for g in self.pool.unconfirmed()}
        self._again = {place: state for place, state in self._again.items() if place in open_grants}
        due = [
            g for place, g in open_grants.items() if place not in self._again or self._again[place][1] <= now
        ]
        if due:
            self.counts["told again"] += len(due)
            self._tell(due)

    def _recall(self, recall: Recall) -> None:
        self.counts["recalls"] += 1
        now, lane, key = self._clock.now(), recall.lane, recall.key
        self.pool.recalled(lane, key, UNDER_WAY, now)
        data = pack([LeaseReturn(now, *key, recall.amount)], ts=now, lane=lane)

        def stored(done: asyncio.Future[int]) -> None:
            failed = done.cancelled() or done.exception() is not None
            self.pool.recalled(lane, key, 0 if failed else done.result(), self._clock.now())

        self._log.append(f"lane.{lane}.sys", data).add_done_callback(stored)


def _heard(done: asyncio.Future[int]) -> None:
    """What was lost is told again: nobody need know."""
    if not done.cancelled():
        done.exception()

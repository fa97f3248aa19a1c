"""The log in one process, for simulation and tests: several clients of one server, and faults drawn from a seed.

Everything happens by callbacks of asyncio's loop and one seeded generator, so that on a loop with virtual time the
same seed gives the same run. What is stored is never lost nor reordered; everything on the way to and from the server
may be. `MemoryServer` is the server and the network, `memory_client.MemoryLog` one client.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from tidegate.log.base import Conflict, Entry, KvEntry, LogDown, LogError
from tidegate.log.streams import Declared, declared, stream_of
from tidegate.model.clock import Clock, SystemClock

if TYPE_CHECKING:
    from tidegate.log.memory_client import MemoryLog


@dataclass
class Faults:
    """What one client's network does; may be changed while running. Chances are from 0 to 1, times in seconds."""

    delay: tuple[float, float] = (0.0, 0.0)
    """One way, drawn evenly; what follows on the same way never overtakes."""
    drop: float = 0.0
    """Chance that an ephemeral message (publish, send, request, reply) is lost."""
    duplicate: float = 0.0
    """Chance that an ephemeral message comes twice."""
    reorder: float = 0.0
    """Chance that an ephemeral message is held for up to `hold`, while those of other senders overtake it."""
    hold: float = 0.05
    lose: float = 0.0
    """Chance that an append or a change in a bucket is lost before it is stored."""
    skip: float = 0.0
    """Chance that an entry is kept from a follower for good, which no log should do."""
    lose_ack: float = 0.0
    """Chance that its acknowledgement is lost, although it is stored."""


class Link:
    """One direction between two: what enters leaves in the same order, later."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._due = 0.0

    def carry(self, delay: float, act: Callable[..., object], *args: Any) -> None:
        """Call `act` after `delay` seconds, or when all that entered earlier has left."""
        now = self._loop.time()
        self._due = max(self._due, now + delay)
        self._waiting.append((act, args))
        # Timers of one time fire in any order: each takes whatever is first, so the order holds.
        if self._due <= now:
            self._loop.call_soon(self._next)
        else:
            self._loop.call_at(self._due, self._next)

    def _next(self) -> None:
        act, args = self._waiting.popleft()
        act(*args)


class Stream:
    """One stream: its entries, what is last on each subject, and the message ids it remembers."""

    def __init__(self, name: str, window: int) -> None:
        self.name = name
        self.entries: list[Entry] = []
        self.trimmed = 0
        """How many of the oldest were dropped."""
        self.last_on: dict[str, int] = {}
        self._ids: dict[str, tuple[int, int]] = {}
        self._window = window

    @property
    def last(self) -> int:
        """The last sequence; 0 where there was none."""
        return self.trimmed + len(self.entries)

    def append(self, ts: int, subject: str, data: bytes, msg_id: str, expect: int | None) -> tuple[int, bool]:
        """Store it: its sequence, and whether it is new; raises `Conflict`."""
        for known, (_, then) in list(self._ids.items()):
            if ts - then <= self._window:
                break
            del self._ids[known]
        if msg_id in self._ids:
            return self._ids[msg_id][0], False
        last = self.last_on.get(subject, 0)
        if expect is not None and expect != last:
            raise Conflict(f"{subject}: its last sequence is {last}, not {expect}")
        seq = self.last + 1
        self.entries.append(Entry(seq, ts, subject, data))
        self.last_on[subject] = seq
        if msg_id:
            self._ids[msg_id] = (seq, ts)
        return seq, True

    def between(self, after: int, until: int) -> list[Entry]:
        """Entries with after < seq ≤ until that are kept."""
        return self.entries[max(after - self.trimmed, 0) : max(until - self.trimmed, 0)]

    def get(self, seq: int) -> Entry | None:
        """One entry; None where it is not kept."""
        found = self.between(seq - 1, seq)
        return found[0] if found else None

    def next(self, seq: int, subject: str) -> Entry | None:
        """The first at or after `seq`, of those on `subject` if it is given."""
        entries = islice(self.entries, max(seq - self.trimmed - 1, 0), None)
        return next((entry for entry in entries if subject in ("", entry.subject)), None)

    def since(self, ts: int) -> int:
        """The sequence before the first entry stored at or after `ts`."""
        return self.trimmed + bisect_left(self.entries, ts, key=lambda entry: entry.ts)


class BucketState:
    """A bucket's keys and who watches them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.revision = 0
        self.entries: dict[str, KvEntry] = {}
        self.watchers: list[Callable[[KvEntry], None]] = []

    def write(self, key: str, value: bytes | None, revision: int | None) -> int:
        """Set or remove (None) a key, if `revision` is its last; the new revision; raises `Conflict`."""
        present = self.entries.get(key)
        alive = present is not None and present.value is not None
        last = present.revision if present is not None and alive else 0
        if revision is not None and revision != last:
            raise Conflict(f"{self.name} {key}: its revision is {last}, not {revision}")
        if value is None and not alive:
            return last
        self.revision += 1
        entry = KvEntry(key, value, self.revision)
        self.entries[key] = entry
        for told in list(self.watchers):
            told(entry)
        return self.revision


class MemoryServer:
    """The server and the network between it and its clients. Make it on the loop that it is to run on."""

    def __init__(self, seed: int = 0, *, clock: Clock | None = None, log: Declared | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = clock or SystemClock()
        self.rng = random.Random(seed)
        self.declared = log or declared(lanes=8)
        self.streams = {
            spec.name: Stream(spec.name, int(spec.duplicate_window * 1e9)) for spec in self.declared.streams
        }
        self.buckets = {spec.name: BucketState(spec.name) for spec in self.declared.buckets}
        self.clients: dict[str, MemoryLog] = {}
        self.appended: list[Callable[[str, int], None]] = []
        """Told (stream, sequence) of all that is stored: followers, and whoever checks invariants."""
        self.counts: Counter[str] = Counter()
        """What faults did, by name."""
        self._links: dict[tuple[object, object], Link] = {}
        self._outage = False

    def client(self, name: str, faults: Faults | None = None) -> MemoryLog:
        """A new client, in the place of any older one of that name."""
        from tidegate.log.memory_client import MemoryLog

        client = MemoryLog(self, name, faults or Faults())
        self.clients[name] = client
        return client

    # Faults.

    def outage(self, on: bool) -> None:
        """The durable part is away, as in a cluster without a leader: half of what is asked is refused at once, half
        is never answered. Ephemeral messages go on."""
        self._outage = on
        if not on:
            for client in list(self.clients.values()):
                client.told_anew()

    def partition(self, name: str) -> None:
        """Nothing reaches the client nor comes from it; what was on the way is lost."""
        self.clients[name].cut()

    def heal(self, name: str) -> None:
        """End a partition: followers go on where they were, watchers are told anew."""
        self.clients[name].mend()

    def pause(self, name: str) -> None:
        """As SIGSTOP: what comes to the client, and what it would send, waits."""
        self.clients[name].hold()

    def resume(self, name: str) -> None:
        """As SIGCONT: what waited comes, in order."""
        self.clients[name].release()

    def kill(self, name: str) -> None:
        """As SIGKILL: the client's subscriptions and futures end without a word; what it had sent arrives."""
        self.clients.pop(name).die()

    def trim(self, stream: str, before: int) -> None:
        """Drop entries with seq < `before`, as a stream's limits do."""
        kept = self.streams[stream]
        drop = min(before - 1, kept.last) - kept.trimmed
        if drop > 0:
            del kept.entries[:drop]
            kept.trimmed += drop
            kept.last_on = {subject: seq for subject, seq in kept.last_on.items() if seq > kept.trimmed}

    # For clients.

    @property
    def away(self) -> bool:
        """Whether the durable part is away."""
        return self._outage

    def link(self, source: object, target: object) -> Link:
        """The way from one to another."""
        found = self._links.get((source, target))
        if found is None:
            found = self._links[source, target] = Link(self.loop)
        return found

    def unlink(self, end: object) -> None:
        """Forget the ways from and to one; what is on them arrives all the same."""
        self._links = {pair: link for pair, link in self._links.items() if end not in pair}

    def delay(self, faults: Faults) -> float:
        """One way's time now."""
        low, high = faults.delay
        return low if low >= high else self.rng.uniform(low, high)

    def chance(self, probability: float, name: str) -> bool:
        """Whether a fault happens now; counted if it does."""
        if probability <= 0.0 or self.rng.random() >= probability:
            return False
        self.counts[name] += 1
        return True

    def stream(self, name: str) -> Stream:
        """A stream by name; raises `LogError`."""
        found = self.streams.get(name)
        if found is None:
            raise LogError(f"no stream {name!r}")
        return found

    def store(self, subject: str, data: bytes, msg_id: str, expect: int | None) -> int:
        """Append to the stream of the subject; raises `Conflict`."""
        stream = self.stream(stream_of(subject) or subject)
        seq, new = stream.append(self.clock.now(), subject, data, msg_id, expect)
        if new:
            for told in list(self.appended):
                told(stream.name, seq)
        return seq

    def route(self, sender: MemoryLog, subject: str, data: bytes) -> None:
        """Carry an ephemeral message to every other client that listens to it."""
        for client in list(self.clients.values()):
            if client is not sender and client.listeners.find(subject):
                self.carry(sender, client, client.heard, subject, data)

    def carry(
        self,
        sender: MemoryLog,
        target: MemoryLog,
        act: Callable[..., object],
        *args: Any,
        doubled: bool = True,
    ) -> None:
        """Carry one ephemeral message from client to client, through the faults of both."""
        for end in (sender, target):
            if self.chance(end.faults.drop, "dropped"):
                return
        if sender.is_cut or target.is_cut:
            self.counts["cut off"] += 1
            return
        delay = self.delay(sender.faults) + self.delay(target.faults)
        if self.chance(sender.faults.reorder, "held"):
            delay += self.rng.uniform(0.0, sender.faults.hold)
        times = 2 if doubled and self.chance(sender.faults.duplicate, "duplicated") else 1
        lives = (sender.life, target.life)
        for _ in range(times):
            self.link(sender, target).carry(delay, self._arrive, sender, target, lives, act, args)

    def _arrive(
        self,
        sender: MemoryLog,
        target: MemoryLog,
        lives: tuple[int, int],
        act: Callable[..., object],
        args: tuple[Any, ...],
    ) -> None:
        if (sender.life, target.life) != lives:
            self.counts["cut off"] += 1
            return
        target.deliver(act, *args)


def refusal(rng: random.Random) -> LogDown | None:
    """What a log without a leader answers: a refusal, or nothing."""
    return LogDown("the log has no leader") if rng.random() < 0.5 else None

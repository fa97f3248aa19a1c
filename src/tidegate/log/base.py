"""The event log as services see it. `memory` and `nats` fill it in; both pass tests/log/test_contract.py.

Handlers are called on the event loop, never from within the call that caused them, one after another and in
order; they must not block. One client is one member: roles that share a process share one client, and what it
appends or publishes itself reaches its own handlers without crossing the wire, once it is as durable as its stream
asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One durable message."""

    seq: int
    """Its place in the stream: 1, 2, 3 … without holes, unless old ones were dropped by the stream's limits."""
    ts: int
    """When the log stored it, ns since the epoch. Of an entry that came straight from this client's own append it is
    this client's time of the acknowledgement: no state may follow from it."""
    subject: str
    data: bytes


class KvEntry(NamedTuple):
    """One key's value. `revision` rises with every change in the bucket; `value` is None when deleted."""

    key: str
    value: bytes | None
    revision: int


class LogError(Exception):
    """Base of what the log refuses or cannot do."""


class LogDown(LogError):
    """The log did not answer in time, or is not there. Whether an append was stored is not known."""


class Conflict(LogError):
    """An append or key-value update expected another state than the log holds; nothing was stored."""


class TooLarge(LogError):
    """More bytes than the log takes in one message; nothing was stored."""


class Full(LogError):
    """The stream holds as much as it may (`streams`); nothing was stored."""


EntryHandler = Callable[[list[Entry]], None]
"""Called with everything that has arrived, in order: one entry, or thousands while catching up."""
MessageHandler = Callable[[str, bytes], None]
"""Called with (subject, data)."""
Server = Callable[[bytes], bytes | Awaitable[bytes]]
WatchHandler = Callable[[KvEntry], None]


class Subscription(Protocol):
    """Something that is being delivered until it is closed."""

    def close(self) -> None:
        """Deliver nothing more."""


class Bucket(Protocol):
    """Keys and values with compare-and-set. Keys are of `[A-Za-z0-9_=.-]`."""

    async def get(self, key: str) -> KvEntry | None:
        """The key's present value; None where it has none."""

    async def put(self, key: str, value: bytes) -> int:
        """Set it, whatever it was; the new revision."""

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set it if its last revision is this one (0: it has no value); else `Conflict`."""

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Remove it; with `revision`, only if that is its last."""

    async def keys(self) -> list[str]:
        """All keys that have a value, sorted."""

    def watch(self, handler: WatchHandler, prefix: str = "") -> Subscription:
        """Call with the present value of every key that begins with `prefix`, then with every change; of several to
        one key in quick succession perhaps only with the last.

        After a reconnect the present values come again: a handler must not mind."""


class Log(Protocol):
    """A client of the log. Streams are those of `streams.STREAMS`; a subject belongs to one at most."""

    @property
    def connected(self) -> bool:
        """Whether the server can be reached now."""

    async def close(self) -> None:
        """End all subscriptions and leave."""

    # Durable.

    def append(
        self, subject: str, data: bytes, *, msg_id: str = "", expect: int | None = None, timeout: float = 5.0
    ) -> asyncio.Future[int]:
        """Store a message; the future has its sequence once it is as durable as its stream asks.

        Appends of one client are stored in the order they were made, as long as the connection holds. A second one
        with the same `msg_id` within the stream's window is not stored again: its future has the first one's
        sequence. `expect` is the sequence of the last message on this very subject (0 for none): `Conflict` where
        it is another. `LogDown` when no answer came in `timeout` seconds: it may have been stored all the same.
        """

    async def last(self, stream: str, subject: str = "") -> Entry | None:
        """The stream's last entry, or the last on `subject`; None where there is none."""

    async def next(self, stream: str, seq: int, subject: str = "") -> Entry | None:
        """The first entry at or after `seq`, of those on `subject` if it is given; None where there is none."""

    async def first(self, stream: str) -> int:
        """Sequence of the oldest entry kept; one more than the last's when the stream is empty."""

    def read(self, stream: str, after: int = 0, until: int | None = None) -> AsyncIterator[list[Entry]]:
        """Entries with after < seq ≤ `until` (None: the last there is when the call is made), in batches, to the end."""

    def follow(
        self, stream: str, handler: EntryHandler, *, after: int = 0, since: int | None = None
    ) -> Subscription:
        """Deliver every entry with seq > `after` (or stored at or after `since`, ns), each once, in order,
        forever. Goes on by itself after a reconnect. A hole in the sequence can only be what limits dropped."""

    def consume(
        self, stream: str, name: str, handler: Callable[[list[Entry]], Awaitable[None]]
    ) -> Subscription:
        """A durable consumer: the log remembers under `name` how far it came. A batch counts as done when the
        handler's awaitable has ended well, else it comes again: at least once, in order."""

    # Ephemeral: to whoever listens now, at most once.

    def publish(self, subject: str, data: bytes) -> None:
        """To every subscriber of the subject, in this process and elsewhere."""

    def send(self, subject: str, data: bytes) -> None:
        """To one receiver: the subscriber in this process where there is one, else whoever listens elsewhere."""

    def subscribe(self, subject: str, handler: MessageHandler) -> Subscription:
        """Deliver what is published or sent on `subject` (`*` one token, `>` the rest)."""

    async def request(self, subject: str, data: bytes, timeout: float = 2.0) -> bytes:
        """Ask whoever serves the subject; `LogDown` when nobody answers in time."""

    def serve(self, subject: str, handler: Server) -> Subscription:
        """Answer requests on `subject`."""

    def bucket(self, name: str) -> Bucket:
        """A key-value bucket of `streams.BUCKETS`."""

"""One client of the in-process log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from tidegate.log.base import (
    Bucket,
    Entry,
    EntryHandler,
    LogDown,
    LogError,
    MessageHandler,
    Server,
    Subscription,
    TooLarge,
)
from tidegate.log.consumer import Consumer
from tidegate.log.memory import Faults, MemoryServer, refusal
from tidegate.log.memory_subs import BATCH, Follow, MemoryBucket
from tidegate.log.streams import MAX_PAYLOAD, stream_of
from tidegate.log.subjects import Listeners

T = TypeVar("T")
TIMEOUT = 5.0
DETECT = 2.0
"""Seconds until a client notices that it is cut off."""


class MemoryLog:
    """A client of a `MemoryServer`; see `base.Log`. `faults` may be changed at any time."""

    def __init__(self, server: MemoryServer, name: str, faults: Faults) -> None:
        self.server, self.name, self.faults = server, name, faults
        self.loop = server.loop
        self.listeners: Listeners[MessageHandler] = Listeners()
        self.servers: Listeners[Server] = Listeners()
        self.follows: list[Follow] = []
        self.retold: dict[object, Callable[[], None]] = {}
        """Who must be told anew after a reconnect."""
        self.is_cut = False
        self.dead = False
        self.life = 0
        """Rises when the connection is lost: what was on the way belongs to an earlier life."""
        self._cut_at = 0.0
        self._closed = False
        self._held: list[tuple[Callable[..., object], tuple[Any, ...]]] | None = None
        self._awake = asyncio.Event()
        self._awake.set()
        self._tasks: dict[asyncio.Task[None], None] = {}  # not sets: their order would differ from run to run
        self._futures: dict[asyncio.Future[Any], None] = {}
        self._consumers: list[Consumer] = []
        self._counts: Counter[str] = Counter()

    @property
    def connected(self) -> bool:
        """See `base.Log.connected`: a partition is noticed after `DETECT` seconds."""
        return not self._closed and not (self.is_cut and self.loop.time() >= self._cut_at + DETECT)

    def counters(self) -> dict[str, int]:
        """What went wrong so far, by name."""
        return dict(self._counts)

    async def close(self) -> None:
        """See `base.Log.close`."""
        if self._closed:
            return
        self.die()
        self._closed = True
        self.server.clients = {n: c for n, c in self.server.clients.items() if c is not self}
        for future in list(self._futures):
            if not future.done():
                future.set_exception(LogDown("the log was closed"))

    # Faults, as the server's operator sets them.

    def cut(self) -> None:
        """Lose the connection."""
        if not self.is_cut:
            self.is_cut, self._cut_at = True, self.loop.time()
            self.life += 1

    def mend(self) -> None:
        """Reconnect."""
        if self.is_cut:
            self.is_cut = False
            self.told_anew()

    def told_anew(self) -> None:
        """Bring followers and watchers up to now."""
        for told in list(self.retold.values()):
            told()

    def hold(self) -> None:
        """Stop: nothing is handled nor sent."""
        if self._held is None:
            self._held = []
            self._awake.clear()

    def release(self) -> None:
        """Go on: handle and send all that waited."""
        held, self._held = self._held, None
        self._awake.set()
        for act, args in held or ():
            self.loop.call_soon(self.deliver, act, *args)

    def die(self) -> None:
        """End without a word."""
        self.dead = True
        for follow in list(self.follows):
            follow.close()
        self.retold.clear()
        self.listeners.close()
        self.servers.close()
        for consumer in self._consumers:
            consumer.close()
        for task in list(self._tasks):
            task.cancel()
        self.server.unlink(self)

    def deliver(self, act: Callable[..., object], *args: Any) -> None:
        """Something happens in the client: now, when it goes on, or never."""
        if self.dead:
            return
        if self._held is not None:
            self._held.append((act, args))
            return
        try:
            act(*args)
        except Exception as error:
            self.failed(error)

    async def awake(self) -> None:
        """Wait while the client is paused."""
        await self._awake.wait()

    def count(self, name: str) -> None:
        """Count something that went wrong."""
        self._counts[name] += 1

    # Asking the server.

    def call(
        self, act: Callable[[], T], timeout: float = TIMEOUT, *, writes: bool = False
    ) -> asyncio.Future[T]:
        """Have the server do something and answer."""
        future: asyncio.Future[T] = self.loop.create_future()
        if self._closed:
            future.set_exception(LogDown("the log was closed"))
            return future
        if self.dead:
            return future
        self._futures[future] = None
        timer = self.loop.call_later(timeout, self.deliver, _fail, future, LogDown("the log did not answer"))

        def done(_: object) -> None:
            timer.cancel()
            self._futures.pop(future, None)

        future.add_done_callback(done)
        self.deliver(self._ask, act, future, writes)
        return future

    def _ask(self, act: Callable[[], T], future: asyncio.Future[T], writes: bool) -> None:
        if self.is_cut:
            return
        way = self.server.link(self, self.server)
        way.carry(self.server.delay(self.faults), self._asked, self.life, act, future, writes)

    def _asked(self, life: int, act: Callable[[], T], future: asyncio.Future[T], writes: bool) -> None:
        """The request has come to the server."""
        if life != self.life:
            return
        server = self.server
        if server.away:
            refused = refusal(server.rng)
            if refused is not None:
                self._answer(_fail, future, refused)
            return
        if writes and server.chance(self.faults.lose, "lost"):
            return
        try:
            result = act()
        except LogError as error:
            self._answer(_fail, future, error)
            return
        if not (writes and server.chance(self.faults.lose_ack, "acknowledgements lost")):
            self._answer(_succeed, future, result)

    def _answer(self, act: Callable[..., object], *args: Any) -> None:
        if self.dead:
            return
        self.server.link(self.server, self).carry(
            self.server.delay(self.faults), self._answered, self.life, act, args
        )

    def _answered(self, life: int, act: Callable[..., object], args: tuple[Any, ...]) -> None:
        if life == self.life:
            self.deliver(act, *args)

    # Durable.

    def append(
        self, subject: str, data: bytes, *, msg_id: str = "", expect: int | None = None, timeout: float = 5.0
    ) -> asyncio.Future[int]:
        """See `base.Log.append`."""
        if len(data) > MAX_PAYLOAD:
            refused: asyncio.Future[int] = self.loop.create_future()
            refused.set_exception(TooLarge(f"{subject}: {len(data)} bytes, more than {MAX_PAYLOAD}"))
            return refused
        future = self.call(lambda: self.server.store(subject, data, msg_id, expect), timeout, writes=True)
        stream = stream_of(subject)
        if any(follow.stream.name == stream for follow in self.follows):
            future.add_done_callback(lambda done: self._stored(stream, done))
        return future

    def _stored(self, stream: str, future: asyncio.Future[int]) -> None:
        """Own appends reach own followers upon the acknowledgement."""
        if not future.cancelled() and future.exception() is None:
            for follow in self.follows:
                if follow.stream.name == stream:
                    self.deliver(follow.own, future.result())

    async def last(self, stream: str, subject: str = "") -> Entry | None:
        """See `base.Log.last`."""
        kept = self.server.stream(stream)
        return await self.call(lambda: kept.get(kept.last_on.get(subject, 0) if subject else kept.last))

    async def next(self, stream: str, seq: int, subject: str = "") -> Entry | None:
        """See `base.Log.next`."""
        kept = self.server.stream(stream)
        return await self.call(lambda: kept.next(seq, subject))

    async def first(self, stream: str) -> int:
        """See `base.Log.first`."""
        kept = self.server.stream(stream)
        return await self.call(lambda: kept.trimmed + 1)

    async def read(self, stream: str, after: int = 0, until: int | None = None) -> AsyncIterator[list[Entry]]:
        """See `base.Log.read`."""
        kept = self.server.stream(stream)
        end = await self.call(lambda: kept.last if until is None else min(until, kept.last))
        while after < end:
            upto = min(max(after, kept.trimmed) + BATCH, end)
            batch = await self.call(lambda after=after, upto=upto: kept.between(after, upto))  # type: ignore[misc]
            if batch:
                yield batch
            after = upto

    def follow(
        self, stream: str, handler: EntryHandler, *, after: int = 0, since: int | None = None
    ) -> Subscription:
        """See `base.Log.follow`."""
        kept = self.server.stream(stream)
        return Follow(self, kept, handler, after if since is None else kept.since(since))

    def consume(
        self, stream: str, name: str, handler: Callable[[list[Entry]], Awaitable[None]]
    ) -> Subscription:
        """See `base.Log.consume`."""
        self.server.stream(stream)
        consumer = Consumer(self, stream, name, handler, spawn=self.spawn, failed=self.failed)
        self._consumers.append(consumer)
        return consumer

    def failed(self, error: Exception) -> None:
        """A handler raised: what comes next must be handled all the same."""
        self.count("handlers failed")
        self.loop.call_exception_handler({"message": "a handler of the log failed", "exception": error})

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """A task that ends with the client."""
        task: asyncio.Task[None] = self.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    # Ephemeral.

    def publish(self, subject: str, data: bytes) -> None:
        """See `base.Log.publish`."""
        _check(subject, data)
        self.deliver(self._out, subject, data, False)

    def send(self, subject: str, data: bytes) -> None:
        """See `base.Log.send`."""
        _check(subject, data)
        self.deliver(self._out, subject, data, True)

    def _out(self, subject: str, data: bytes, one: bool) -> None:
        local = self.listeners.find(subject)
        for listener in local[:1] if one else local:
            self.loop.call_soon(self.deliver, _hear, listener, subject, data)
        if not (one and local):
            self.server.route(self, subject, data)

    def heard(self, subject: str, data: bytes) -> None:
        """A message has come from elsewhere."""
        for listener in list(self.listeners.find(subject)):
            _hear(listener, subject, data)

    def subscribe(self, subject: str, handler: MessageHandler) -> Subscription:
        """See `base.Log.subscribe`."""
        return self.listeners.add(subject, handler)

    async def request(self, subject: str, data: bytes, timeout: float = 2.0) -> bytes:
        """See `base.Log.request`."""
        _check(subject, data)
        await self.awake()
        future: asyncio.Future[bytes] = self.loop.create_future()
        if self.dead and not self._closed:
            return await future
        if self.servers.find(subject):
            self.loop.call_soon(self.deliver, self.serve_one, subject, data, self, future)
        else:
            others = [c for c in self.server.clients.values() if c is not self and c.servers.find(subject)]
            if not others or self._closed:
                raise LogDown(f"{subject}: nobody answers")
            chosen = others[0] if len(others) == 1 else self.server.rng.choice(others)
            self.server.carry(self, chosen, chosen.serve_one, subject, data, self, future)
        timer = self.loop.call_later(timeout, self.deliver, _fail, future, LogDown(f"{subject}: no answer"))
        try:
            return await future
        finally:
            timer.cancel()

    def serve_one(self, subject: str, data: bytes, asker: MemoryLog, future: asyncio.Future[bytes]) -> None:
        """A request has come: answer it."""
        for listener in self.servers.find(subject)[:1]:
            self.spawn(self._serve(listener.target, data, asker, future))

    async def _serve(
        self, server: Server, data: bytes, asker: MemoryLog, future: asyncio.Future[bytes]
    ) -> None:
        try:
            answer = server(data)
            reply = answer if isinstance(answer, bytes) else await answer
        except Exception as error:
            self.failed(error)
            return
        await self.awake()
        if asker is self:
            self.deliver(_succeed, future, reply)
        else:
            self.server.carry(self, asker, _succeed, future, reply, doubled=False)

    def serve(self, subject: str, handler: Server) -> Subscription:
        """See `base.Log.serve`."""
        return self.servers.add(subject, handler)

    def bucket(self, name: str) -> Bucket:
        """See `base.Log.bucket`."""
        if name not in self.server.buckets:
            raise LogError(f"no bucket {name!r}")
        return MemoryBucket(self, self.server.buckets[name])


def _check(subject: str, data: bytes) -> None:
    if len(data) > MAX_PAYLOAD:
        raise TooLarge(f"{subject}: {len(data)} bytes, more than {MAX_PAYLOAD}")


def _hear(listener: Any, subject: str, data: bytes) -> None:
    if not listener.closed:
        listener.target(subject, data)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)

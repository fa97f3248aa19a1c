"""The log on NATS JetStream: one server for a laptop, three for a firm. `connect` gives a client."""

from __future__ import annotations

import asyncio
import base64
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from tidegate.errors import UserError
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
from tidegate.log.nats_bucket import NatsBucket
from tidegate.log.nats_calls import NOT_FOUND, Calls, Refused
from tidegate.log.nats_pull import pull
from tidegate.log.nats_push import SILENCE, Follow, Push
from tidegate.log.nats_setup import reconcile
from tidegate.log.streams import Declared, stream_of
from tidegate.log.subjects import Listener, Listeners
from tidegate.log.wire import BACKLOG, Wire
from tidegate.model.clock import Clock, SystemClock
from tidegate.model.time import parse

__all__ = ["NatsLog", "connect", "reconcile"]

OLDEST = (2, 12)
"""The oldest server that will do."""
_SUBJECT = re.compile(r"[!-~]+")
_QUEUE = "tidegate"


class NatsLog:
    """A client of a NATS server; see `base.Log`. Made by `connect`."""

    def __init__(self, declared: Declared, clock: Clock, address: str, user: str = "") -> None:
        self.declared, self.clock, self.address = declared, clock, address
        self.wire = Wire(self._turn_ended, self._forbidden)
        self.calls = Calls(self.wire, self._own, self.spawn, user)
        self.up = asyncio.Event()
        """Set while connected."""
        self.pushes: list[Push] = []
        self.ready: list[Follow] = []
        """Followers to which this turn brought something."""
        self._loop = asyncio.get_running_loop()
        self._listeners: Listeners[MessageHandler] = Listeners()
        self._servers: Listeners[Server] = Listeners()
        self._consumers: list[Consumer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: dict[str, str] = {}
        self._texts: dict[bytes, str] = {}
        self._counts: Counter[str] = Counter()
        self._watchdog: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """See `base.Log.connected`."""
        return self.wire.is_connected

    async def close(self) -> None:
        """See `base.Log.close`."""
        if self._closed:
            return
        self._closed = True
        for consumer in self._consumers:
            consumer.close()
        for push in list(self.pushes):
            push.close()
        if self._watchdog is not None:
            self._watchdog.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.connected:
            await asyncio.sleep(0)  # what was written in this turn
        await self.wire.close()
        self.up.clear()
        self.calls.down("the log was closed")

    def counters(self) -> dict[str, int]:
        """What went wrong so far, by name. A server drops a client that is too slow: that is a reconnect here."""
        counts = Counter(self._counts)
        counts["handlers failed"] += self.wire.handlers_failed
        counts["credentials refused"] += self.wire.refusals
        return {name: n for name, n in counts.items() if n}

    # For the parts of this client.

    def opened(self) -> None:
        """The connection is there."""
        self.calls.open()
        self.up.set()
        self._watchdog = self._loop.call_later(SILENCE, self._watch)

    async def lost(self) -> None:
        """The connection is gone; the wire reconnects."""
        self.up.clear()
        self.count("disconnects")
        self.calls.down("the connection to the log was lost")
        for push in list(self.pushes):
            push.restart()

    async def back(self) -> None:
        """The connection is there again."""
        self.count("reconnects")
        self.up.set()

    def count(self, name: str, n: int = 1) -> None:
        """Count something that went wrong."""
        self._counts[name] += n

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that ends with the client."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def text(self, subject: bytes) -> str:
        """A subject as text; there are few, so they are remembered."""
        found = self._texts.get(subject)
        if found is None:
            if len(self._texts) > 10_000:
                self._texts.clear()
            found = self._texts[subject] = subject.decode()
        return found

    def _own(self, stream: str, seq: int, subject: str, data: bytes) -> None:
        for push in self.pushes:
            if push.stream == stream and isinstance(push, Follow):
                push.own(seq, subject, data)

    def _forbidden(self, act: str, subject: str) -> None:
        """Our user may not do what we asked the server for: a mistake of its rights, or of ours."""
        name = f"not permitted: {act} {subject}"
        if not self._counts[name]:
            text = f"the log's server refuses this user a {act} on {subject}"
            self._loop.call_exception_handler({"message": text})
        self.count(name)
        if act == "publish":
            self.calls.forbidden(subject)

    def _turn_ended(self) -> None:
        """Hand followers what has come."""
        while self.ready:
            ready, self.ready = self.ready, []
            for follow in ready:
                try:
                    follow.flush()
                except Exception as error:
                    self.wire.failed(error)

    def _watch(self) -> None:
        """Make consumers again that have fallen silent."""
        self._watchdog = self._loop.call_later(SILENCE, self._watch)
        for push in list(self.pushes):
            if not push.heard and self.connected:
                push.restart("heartbeats missed")
            push.heard = False

    def _known(self, stream: str) -> str:
        if all(spec.name != stream for spec in self.declared.streams):
            raise LogError(f"no stream {stream!r}")
        return stream

    # Durable.

    def append(
        self, subject: str, data: bytes, *, msg_id: str = "", expect: int | None = None, timeout: float = 5.0
    ) -> asyncio.Future[int]:
        """See `base.Log.append`."""
        stream = self._streams.get(subject)
        if stream is None:
            try:
                stream = self._streams[subject] = self._known(stream_of(_checked(subject)) or subject)
            except LogError as error:
                refused: asyncio.Future[int] = self._loop.create_future()
                refused.set_exception(error)
                return refused
        headers, fence = "", None
        if msg_id:
            headers = f"Nats-Msg-Id: {msg_id}\r\n"
            if len(headers.splitlines()) != 1:
                raise ValueError(f"{msg_id!r} is no message id")
        if expect is not None:
            headers += f"Nats-Expected-Last-Subject-Sequence: {expect}\r\n"
            fence = (msg_id, expect) if msg_id else None
        return self.calls.append(subject, data, headers, timeout, stream, fence)

    async def last(self, stream: str, subject: str = "") -> Entry | None:
        """See `base.Log.last`."""
        return await self._message(stream, {"last_by_subj": subject or ">"})

    async def next(self, stream: str, seq: int, subject: str = "") -> Entry | None:
        """See `base.Log.next`."""
        return await self._message(stream, {"seq": seq, "next_by_subj": subject or ">"})

    async def _message(self, stream: str, request: dict[str, Any]) -> Entry | None:
        try:
            found = (await self.calls.api(f"STREAM.MSG.GET.{self._known(stream)}", request))["message"]
        except Refused as error:
            if error.code in NOT_FOUND:
                return None
            raise
        data = base64.b64decode(found.get("data", ""))
        return Entry(found["seq"], parse(found["time"]), found["subject"], data)

    async def first(self, stream: str) -> int:
        """See `base.Log.first`."""
        state = (await self.calls.api(f"STREAM.INFO.{self._known(stream)}"))["state"]
        return int(state["first_seq"] if state["messages"] else state["last_seq"] + 1)

    async def read(self, stream: str, after: int = 0, until: int | None = None) -> AsyncIterator[list[Entry]]:
        """See `base.Log.read`."""
        last = await self.last(stream)
        end = 0 if last is None else last.seq if until is None else min(until, last.seq)
        if end <= after:
            return
        where = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        async for batch in pull(self.calls, self.wire, stream, end, **where):
            entries = [
                Entry(m.seq, m.ts, self.text(m.subject), m.data) for m in batch if after < m.seq <= end
            ]
            if entries:
                after = entries[-1].seq
                yield entries

    def follow(
        self, stream: str, handler: EntryHandler, *, after: int = 0, since: int | None = None
    ) -> Subscription:
        """See `base.Log.follow`."""
        return Follow(self, self._known(stream), handler, after, since)

    def consume(
        self, stream: str, name: str, handler: Callable[[list[Entry]], Awaitable[None]]
    ) -> Subscription:
        """See `base.Log.consume`."""
        self._known(stream)
        consumer = Consumer(self, stream, name, handler, spawn=self.spawn, failed=self.wire.failed)
        self._consumers.append(consumer)
        return consumer

    # Ephemeral.

    def publish(self, subject: str, data: bytes) -> None:
        """See `base.Log.publish`."""
        for listener in self._listeners.find(subject):
            self._loop.call_soon(_hear, listener, subject, data)
        self._post(subject, data, last=True)

    def send(self, subject: str, data: bytes) -> None:
        """See `base.Log.send`."""
        local = self._listeners.find(subject)
        if local:
            self._loop.call_soon(_hear, local[0], subject, data)
        else:
            self._post(subject, data)

    def _post(self, subject: str, data: bytes, last: bool = False) -> None:
        wire = self.wire
        if len(data) > wire.max_payload:
            raise TooLarge(f"{subject}: {len(data)} bytes; the log takes {wire.max_payload} in a message")
        if not wire.is_connected:
            self.count("ephemeral dropped, not connected")
        elif wire.backlog > BACKLOG:
            self.count("ephemeral dropped, socket too slow")
        else:
            wire.post(f"PUB {subject} {len(data)}\r\n".encode(), data, b"\r\n", last=last)

    def subscribe(self, subject: str, handler: MessageHandler) -> Subscription:
        """See `base.Log.subscribe`."""

        def heard(name: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
            if (
                reply or headers
            ):  # no publisher's word, but what the server was asked to deliver here by somebody
                self.count("ephemeral refused, not published")
            else:
                handler(self.text(name), data)

        number = self.wire.listen(_checked(subject), heard)
        return self._listeners.add(subject, handler, lambda _: self.wire.unlisten(number))

    async def request(self, subject: str, data: bytes, timeout: float = 2.0) -> bytes:
        """See `base.Log.request`."""
        local = self._servers.find(_checked(subject))
        if not local:
            if len(data) > self.wire.max_payload:
                raise TooLarge(f"{subject}: {len(data)} bytes, more than {self.wire.max_payload}")
            return await self.calls.ask(subject, data, timeout)
        await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(_answer(local[0].target, data), timeout)
        except Exception as error:
            if not isinstance(error, TimeoutError):
                self.wire.failed(error)
            raise LogDown(f"{subject}: no answer") from None

    def serve(self, subject: str, handler: Server) -> Subscription:
        """See `base.Log.serve`."""

        def asked(name: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
            answer = handler(data)
            if isinstance(answer, bytes):
                self._reply(reply, answer)
            else:
                self.spawn(later(answer, reply))

        async def later(answer: Awaitable[bytes], reply: bytes) -> None:
            try:
                self._reply(reply, await answer)
            except Exception as error:
                self.wire.failed(error)

        number = self.wire.listen(_checked(subject), asked, _QUEUE)
        return self._servers.add(subject, handler, lambda _: self.wire.unlisten(number))

    def _reply(self, reply: bytes, answer: bytes) -> None:
        if not reply:
            return
        self._post(reply.decode(), answer)

    def bucket(self, name: str) -> Bucket:
        """See `base.Log.bucket`."""
        if all(spec.name != name for spec in self.declared.buckets):
            raise LogError(f"no bucket {name!r}")
        return NatsBucket(self, name)


def _checked(subject: str) -> str:
    """The subject, which must not break the protocol's lines."""
    if not _SUBJECT.fullmatch(subject):
        raise ValueError(f"{subject!r} is no subject")
    return subject


def _hear(listener: Listener[MessageHandler], subject: str, data: bytes) -> None:
    if not listener.closed:
        listener.target(subject, data)


async def _answer(server: Server, data: bytes) -> bytes:
    answer = server(data)
    return answer if isinstance(answer, bytes) else await answer


async def connect(
    url: str | list[str],
    *,
    name: str,
    declared: Declared,
    user: str = "",
    password: str = "",
    credentials: str = "",
    tls: Any = None,
    clock: Clock | None = None,
    timeout: float = 5.0,
    setup: bool = True,
) -> NatsLog:
    """A client of the server (or servers of one cluster) at `nats://host:port`, whose streams are as declared; with
    `setup` False they are somebody else's to see to.

    `credentials` is the path of a file of NATS credentials (a JWT and its seed), `tls` an `ssl.SSLContext`. Raises
    `NotYet` where no server answers within `timeout` seconds, `UserError` where it will not have us, or is too old.
    """
    urls = [url] if isinstance(url, str) else list(url)
    for one in urls:
        if "://" in one and not one.startswith(("nats://", "tls://")):
            raise UserError(f"log: {one!r} is no address of a NATS server; write nats://HOST:PORT")
    options: dict[str, Any] = {}
    if user:
        options.update(user=user, password=password)
    if credentials:
        options.update(user_credentials=credentials)
    if tls is not None:
        options.update(tls=tls)
    address = ", ".join(one.rpartition("@")[2].removeprefix("nats://") for one in urls)
    log = NatsLog(declared, clock or SystemClock(), address, user)
    await log.wire.open(urls, name=name, timeout=timeout, lost=log.lost, back=log.back, **options)
    log.opened()
    try:
        version, jetstream = log.wire.server()
        if version < OLDEST:
            shown = ".".join(map(str, OLDEST))
            raise UserError(
                f"log at {address}: nats-server {'.'.join(map(str, version))}; at least {shown} is needed"
            )
        if not jetstream:
            raise UserError(f"log at {address}: JetStream is off; start nats-server with --jetstream")
        if setup:
            await reconcile(log, declared)
    except BaseException:
        await log.close()
        raise
    return log

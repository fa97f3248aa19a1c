"""Following streams and watching buckets: push consumers that are made again whenever their chain breaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from tidegate.log.base import Entry, EntryHandler, KvEntry, LogDown, WatchHandler
from tidegate.log.nats_calls import Refused
from tidegate.model.time import iso

if TYPE_CHECKING:
    from tidegate.log.nats import NatsLog

HEARTBEAT = 0.5
"""Seconds between the server's signs of life on an idle consumer."""
ANSWER = 1.5
"""Seconds for an answer about a consumer, which is then asked for under another name: a stream that is between two
leaders answers nothing, and following must go on soon after it has one."""
SILENCE = 2.0
"""Seconds without any after which it is made again."""
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0
_LAST_CONSUMER = b"Nats-Last-Consumer: "
_STALLED = b"Nats-Consumer-Stalled: "


class Place(NamedTuple):
    """Where a delivered message stands: in its stream, in its consumer, in time (ns); how many are still to come."""

    stream: int
    consumer: int
    ts: int
    pending: int


def place(reply: bytes) -> Place:
    """What a delivered message's reply subject says: `$JS.ACK.[domain.account.]stream.consumer.n.s.c.ts.pending`."""
    words = reply.split(b".")
    at = 5 if len(words) == 9 else 7
    return Place(int(words[at]), int(words[at + 1]), int(words[at + 2]), int(words[at + 3]))


class Push:
    """One push consumer without acknowledgements. It is ephemeral: the server forgets it soon after we are gone."""

    def __init__(self, log: NatsLog, stream: str) -> None:
        self.log, self.stream = log, stream
        self.closed = False
        self.heard = True
        """Whether anything came since the watchdog last looked."""
        self._number = 0
        """Of the present consumer's subscription; 0 where there is none."""
        self._name = ""
        self._last = 0
        self._renew = asyncio.Event()
        log.pushes.append(self)
        self._task = log.spawn(self._run())

    def close(self) -> None:
        """See `base.Subscription.close`."""
        if not self.closed:
            self.closed = True
            self.log.pushes.remove(self)
            self._task.cancel()
            self._leave()

    def restart(self, why: str = "") -> None:
        """Make the consumer again, from where we are; `why` is counted."""
        if self._number:
            if why:
                self.log.count(why)
            self._leave()
            self._renew.set()

    def _leave(self) -> None:
        """What the present consumer may still deliver is not ours any more."""
        if self._number:
            self.log.wire.unlisten(self._number)
            self._number = 0
            if self.log.connected:
                self.log.wire.post(
                    f"PUB $JS.API.CONSUMER.DELETE.{self.stream}.{self._name} 0\r\n\r\n".encode()
                )

    async def _run(self) -> None:
        wait, again = _FIRST_RETRY, False
        while True:
            await self.log.up.wait()
            self._renew.clear()
            try:
                await self._create(again)
            except (LogDown, Refused):
                self._leave()
                self.log.count("follow retries")
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LAST_RETRY)
                continue
            wait, again = _FIRST_RETRY, True
            await self._renew.wait()

    async def _create(self, again: bool) -> None:
        calls = self.log.calls
        if again:
            await self.check()
        self._name = calls.name()
        # The server sees interest in exactly this subject only: the inbox's wildcard would not do.
        deliver = calls.place("_DELIVER", self._name)
        self._last = 0
        self.heard = True
        self._number = self.log.wire.listen(deliver, self._arrived)
        self.begin()
        config = {
            "name": self._name,
            "deliver_subject": deliver,
            "ack_policy": "none",
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT * 1e9),
            "mem_storage": True,
            "num_replicas": 1,
            **self.config(),
        }
        request = {"stream_name": self.stream, "config": config}
        made = await calls.api(f"CONSUMER.CREATE.{self.stream}.{self._name}", request, ANSWER)
        self.began(made["delivered"]["stream_seq"] + 1)

    def _arrived(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self.heard = True
        if headers and not data and headers.startswith(b"NATS/1.0 1"):
            self._control(reply, headers)
            return
        words = reply.split(b".")
        at = 5 if len(words) == 9 else 7
        last = int(words[at + 1])
        if last != self._last + 1:
            self.restart("follow gaps")
            return
        self._last = last
        self.entry(int(words[at]), int(words[at + 2]), subject, data, headers)

    def _control(self, reply: bytes, headers: bytes) -> None:
        """A heartbeat, which names the consumer's last message, or a request to say that we keep up."""
        stalled = _header(headers, _STALLED)
        for answer in (reply, stalled):
            if answer:
                self.log.wire.post(b"PUB " + answer + b" 0\r\n\r\n")
        last = _header(headers, _LAST_CONSUMER)
        if last and int(last) > self._last:
            self.restart("follow gaps")

    # What followers and watchers do differently.

    def config(self) -> dict[str, Any]:
        """Where the consumer begins, and what it delivers."""
        raise NotImplementedError

    def begin(self) -> None:
        """A consumer is about to begin."""

    def began(self, first: int) -> None:
        """It has begun, with this sequence or later."""

    async def check(self) -> None:
        """Before a consumer is made again."""

    def entry(self, seq: int, ts: int, subject: bytes, data: bytes, headers: bytes) -> None:
        """A message."""
        raise NotImplementedError


class Follow(Push):
    """A follower of a stream: each entry once, collected until the turn ends."""

    def __init__(
        self, log: NatsLog, stream: str, handler: EntryHandler, after: int, since: int | None
    ) -> None:
        self._handler = handler
        self._since = since
        self._next = 0 if since is not None else after + 1
        """The sequence that is due; 0 where only a time is known yet."""
        self._batch: list[Entry] = []
        super().__init__(log, stream)

    def config(self) -> dict[str, Any]:
        """See `Push`."""
        if not self._next and self._since is not None:
            return {"deliver_policy": "by_start_time", "opt_start_time": iso(self._since)}
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": self._next}

    def began(self, first: int) -> None:
        """See `Push`."""
        self._next = self._next or first

    async def check(self) -> None:
        """A log that holds less than it gave us has lost acknowledged entries: that must not pass in silence."""
        state = (await self.log.calls.api(f"STREAM.INFO.{self.stream}", None, ANSWER))["state"]
        if state["last_seq"] < self._next - 1:
            self.log.count("log went back")

    def entry(self, seq: int, ts: int, subject: bytes, data: bytes, headers: bytes) -> None:
        """See `Push`; what came straight from our own append is skipped."""
        due = self._next
        if seq < due:
            return
        if self._since is not None:
            if ts < self._since:  # a copy of the stream that is behind begins with what comes next on it
                self._next = seq + 1
                return
            self._since = None
        if seq > due and due:
            self.log.count("dropped by limits", seq - due)
        self._next = seq + 1
        if not self._batch:
            self.log.ready.append(self)
        self._batch.append(Entry(seq, ts, self.log.text(subject), data))

    def own(self, seq: int, subject: str, data: bytes) -> None:
        """Our own append was acknowledged: take it at once if it is due."""
        if seq == self._next:
            self._next = seq + 1
            if not self._batch:
                self.log.ready.append(self)
            self._batch.append(Entry(seq, self.log.clock.now(), subject, data))

    def flush(self) -> None:
        """Hand over what has arrived."""
        batch, self._batch = self._batch, []
        if batch and not self.closed:
            self._handler(batch)


class Watch(Push):
    """A watcher of a bucket. It knows which keys it was told of, so that it learns of their deletion, and only that."""

    def __init__(self, log: NatsLog, bucket: str, handler: WatchHandler, prefix: str) -> None:
        self._handler, self._prefix = handler, prefix
        self._filter = f"$KV.{bucket}.{prefix}>" if prefix.endswith(".") else f"$KV.{bucket}.>"
        self._skip = len(f"$KV.{bucket}.")
        self._told: set[str] = set()
        super().__init__(log, f"KV_{bucket}")

    def config(self) -> dict[str, Any]:
        """See `Push`: the last of every key, then all that follows."""
        return {"deliver_policy": "last_per_subject", "filter_subject": self._filter}

    def entry(self, seq: int, ts: int, subject: bytes, data: bytes, headers: bytes) -> None:
        """See `Push`."""
        key = subject[self._skip :].decode()
        if not key.startswith(self._prefix):
            return
        if not is_deletion(headers):
            self._told.add(key)
            self._handler(KvEntry(key, data, seq))
        elif key in self._told:
            self._told.discard(key)
            self._handler(KvEntry(key, None, seq))


def is_deletion(headers: bytes) -> bool:
    """Whether a bucket's message removes its key."""
    return b"KV-Operation: " in headers


def _header(headers: bytes, name: bytes) -> bytes:
    at = headers.find(name)
    if at < 0:
        return b""
    at += len(name)
    return headers[at : headers.find(b"\r\n", at)]

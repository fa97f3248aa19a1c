"""Reading what a stream holds now: an ephemeral pull consumer, a batch at a time, so that the reader sets the pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from tidegate.log.base import LogDown
from tidegate.log.nats_calls import NOT_FOUND, Calls, Refused
from tidegate.log.nats_push import ANSWER, place
from tidegate.log.wire import Wire

BATCH = 2000
MOST_BYTES = 32 << 20
TIMEOUT = 5.0
TRIES = 4
BEHIND = 0.1
"""Seconds before another copy is asked than the one that was behind."""
TRIES_BEHIND = 50


class Found(NamedTuple):
    """One message as it is stored."""

    seq: int
    ts: int
    subject: bytes
    data: bytes
    headers: bytes


async def pull(calls: Calls, wire: Wire, stream: str, end: int, **config: Any) -> AsyncIterator[list[Found]]:
    """Everything that a consumer of this configuration delivers now, at least up to the sequence `end`, which the
    stream's leader has named; raises `LogDown` or `Refused`.

    The server puts a consumer on any copy of the stream, also on one that was just started and is behind, and from there
    it looks as if that were all. Where `end` does not come, another is asked from there on; entries may then come that
    were before the start, or, of a consumer without one, again.
    """
    seen = config.get("opt_start_seq", 1) - 1
    for _ in range(TRIES_BEHIND):
        async for batch in _pull_once(calls, wire, stream, config):
            yield batch
            seen = max(seen, batch[-1].seq)
            if seen >= end:
                return
        if not await _holds_more(calls, stream, seen):
            return
        if "opt_start_seq" in config:
            config["opt_start_seq"] = seen + 1
        await asyncio.sleep(BEHIND)
    raise LogDown(f"{stream}: the copies of the log that answer are behind: entry {end} is not on them")


async def _holds_more(calls: Calls, stream: str, seen: int) -> bool:
    """Whether the leader has anything after what was seen; its limits may have dropped it."""
    try:
        await calls.api(f"STREAM.MSG.GET.{stream}", {"seq": seen + 1, "next_by_subj": ">"})
    except Refused as error:
        if error.code in NOT_FOUND:
            return False
        raise
    return True


async def _pull_once(
    calls: Calls, wire: Wire, stream: str, config: dict[str, Any]
) -> AsyncIterator[list[Found]]:
    """What one consumer delivers, as far as the copy that it is on knows, and as long as it is there."""
    name, left = await _made(calls, stream, config)
    batches = _Batches(wire, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", calls.place("_PULL", name))
    try:
        while left:
            batch, left = await batches.next()
            if batch:
                yield batch
    finally:
        batches.close()
        if wire.is_connected:
            wire.post(f"PUB $JS.API.CONSUMER.DELETE.{stream}.{name} 0\r\n\r\n".encode())


async def _made(calls: Calls, stream: str, wanted: dict[str, Any]) -> tuple[str, int]:
    """A consumer's name and how much it has to deliver. One that the cluster has put on a node it does not know to be
    dead yet is never answered: another name may be put elsewhere."""
    for tried in range(1, TRIES + 1):
        name = calls.name()
        config = {"name": name, "ack_policy": "none", "mem_storage": True, "num_replicas": 1, **wanted}
        config["inactive_threshold"] = 30 * 10**9
        request = {"stream_name": stream, "config": config}
        try:
            made = await calls.api(f"CONSUMER.CREATE.{stream}.{name}", request, ANSWER)
        except LogDown:
            if tried == TRIES:
                raise
            continue
        return name, made["num_pending"]
    raise AssertionError("not reached")


class _Batches:
    """Asks for one batch after another."""

    def __init__(self, wire: Wire, subject: str, inbox: str) -> None:
        self._wire = wire
        self._request = b'{"batch":%d,"no_wait":true,"max_bytes":%d}' % (BATCH, MOST_BYTES)
        self._head = f"PUB {subject} {inbox} {len(self._request)}\r\n".encode()
        self._batch: list[Found] = []
        self._left = 0
        self._done: asyncio.Future[None] | None = None
        self._number = wire.listen(inbox, self._arrived)

    def close(self) -> None:
        """Listen no more."""
        self._wire.unlisten(self._number)

    async def next(self) -> tuple[list[Found], int]:
        """The next batch, and how many messages are left after it."""
        if not self._wire.is_connected:
            raise LogDown("the log is not connected")
        self._batch, self._left = [], 0
        self._done = asyncio.get_running_loop().create_future()
        self._wire.post(self._head, self._request, b"\r\n")
        try:
            await asyncio.wait_for(self._done, TIMEOUT)
        except TimeoutError:
            raise LogDown("the log did not answer in time") from None
        return self._batch, self._left

    def _arrived(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        done = self._done
        if done is None or done.done():
            return
        if not reply.startswith(b"$JS.ACK."):  # a status: there is no more for this request
            done.set_result(None)
            return
        at = place(reply)
        self._left = at.pending
        self._batch.append(Found(at.stream, at.ts, subject, data, headers))
        if len(self._batch) == BATCH or not at.pending:
            done.set_result(None)

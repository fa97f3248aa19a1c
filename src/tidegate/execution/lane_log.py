"""A lane and its log: folding entries, snapshots, dead letters. What a writer and a reader of a lane share."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Container
from typing import NamedTuple

import msgspec

from tidegate.execution.core import Lane
from tidegate.execution.lane_door import refusal
from tidegate.log.base import Bucket, Entry, EntryHandler, Log, LogError
from tidegate.model.messages import LaneEpoch, LaneSkip, Message
from tidegate.model.wire import Envelope, Unreadable, decode
from tidegate.risk.reasons import Reason

SNAPSHOT = 1
"""Format of the snapshot's header."""
_OWN = (LaneEpoch, LaneSkip)
"""What is said of the log itself."""
PART = 512 * 1024
"""Bytes of a snapshot in one key."""


class LaneKind(NamedTuple):
    """How to make a lane of one configuration: `config` is the hash of all its decisions depend on."""

    config: str
    make: Callable[[int], Lane]
    restore: Callable[[bytes], Lane]


class Header(msgspec.Struct, frozen=True):
    """What is known of a lane's last snapshot: `seq` is the last entry in it, `parts` how many keys hold it."""

    seq: int
    parts: int
    config: str
    format: int = SNAPSHOT


class DeadLetter(msgspec.Struct, frozen=True):
    """An entry that could not be read: where it stands, and why."""

    stream: str
    seq: int
    subject: str
    reason: str
    data: bytes


class Step(NamedTuple):
    """What one message of an entry came to."""

    message: Message
    outputs: list[Message]


async def skips(log: Log, number: int) -> tuple[int, tuple[tuple[int, str, str], ...]]:
    """What people have said to pass over in a lane's log (`LaneSkip`), and where they said it last; 0: never."""
    last = await log.last(f"LANE_{number}", skip_subject(number))
    if last is None:
        return 0, ()
    said = decode(last.data).messages[0]
    assert type(said) is LaneSkip
    return last.seq, said.skips


def skip_subject(number: int) -> str:
    """Where entries to be passed over are named."""
    return f"lane.{number}.skip"


def fold(lane: Lane, entry: Entry, skipped: Container[int] = ()) -> tuple[Envelope, list[Step]]:
    """Apply one entry's messages in order. Raises `wire.Unreadable`, `wire.Newer` or `LaneBroken`.

    An entry that its writer had no right to write is unreadable as a whole, and counted. One of `skipped` is counted
    and nothing else."""
    if entry.seq in skipped:
        lane.state.count(Reason.ENTRY_SKIPPED)
        return Envelope([]), []
    envelope = decode(entry.data)
    if why := refusal(lane.state, entry.subject, envelope.messages):
        lane.state.count(Reason.FOREIGN_COMMAND)
        raise Unreadable(why)
    steps = [
        Step(message, [] if type(message) in _OWN else lane.apply(message)) for message in envelope.messages
    ]
    return envelope, steps


async def read_again(
    log: Log, stream: str, after: Callable[[], int], apply: EntryHandler, pause: float
) -> None:
    """Read what did not come, up to the stream's end; again after `pause` seconds where the log is away."""
    while True:
        try:
            async for entries in log.read(stream, after()):
                apply(entries)
            return
        except LogError:
            await asyncio.sleep(pause)


async def save(bucket: Bucket, number: int, snapshot: bytes, seq: int, config: str) -> Header:
    """Keep the lane's snapshot after entry `seq`; the one before it is removed once this one is whole.

    Two writers may be at it, one of them a zombie: parts are named by `seq`, for the state after an entry is one and
    the same; and raises `Conflict` where another snapshot was kept meanwhile.
    """
    entry = await bucket.get(_key(number))
    before = msgspec.json.decode(entry.value, type=Header) if entry and entry.value else None
    if before and before.seq >= seq:
        return before
    data = zlib.compress(snapshot, 1)
    pieces = [data[at : at + PART] for at in range(0, len(data), PART)]
    for n, piece in enumerate(pieces):
        await bucket.put(_part(number, seq, n), piece)
    now = Header(seq, len(pieces), config)
    await bucket.update(_key(number), msgspec.json.encode(now), entry.revision if entry else 0)
    if before:
        for n in range(before.parts):
            await bucket.delete(_part(number, before.seq, n))
    return now


async def header(bucket: Bucket, number: int) -> Header | None:
    """What is known of the lane's last snapshot; None before the first."""
    entry = await bucket.get(_key(number))
    return msgspec.json.decode(entry.value, type=Header) if entry and entry.value else None


async def load(bucket: Bucket, number: int, found: Header) -> bytes | None:
    """The snapshot's bytes; None where parts are missing (another writer replaced it meanwhile)."""
    pieces = [await bucket.get(_part(number, found.seq, n)) for n in range(found.parts)]
    if any(piece is None or piece.value is None for piece in pieces):
        return None
    return zlib.decompress(b"".join(piece.value for piece in pieces if piece and piece.value))


def _key(number: int) -> str:
    return f"lane.{number}"


def _part(number: int, seq: int, n: int) -> str:
    return f"lane.{number}.{seq}.{n}"

"""A lane and its log: folding entries, marks, dead letters. What a writer and a reader of a lane share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from typing import NamedTuple, TypeVar

import msgspec

from tidegate.execution.core import Lane
from tidegate.execution.lane_door import refusal
from tidegate.log.base import Entry, EntryHandler, Log, LogError
from tidegate.log.noise import Word, last_word
from tidegate.model.messages import LaneEpoch, LaneSkip, Message
from tidegate.model.wire import Envelope, Unreadable, decode
from tidegate.risk.reasons import Reason

M = TypeVar("M", bound=Message)
Moved = Callable[[], None]
"""Called as a search gets on."""
_OWN = (LaneEpoch, LaneSkip)
"""What is said of the log itself."""
LETTER = 1 << 20
"""Bytes of an entry in a dead letter, at most: the entry itself stays where it is."""


class LaneKind(NamedTuple):
    """How to make a lane of one configuration: `config` is the hash of all its decisions depend on."""

    config: str
    make: Callable[[int], Lane]
    restore: Callable[[bytes], Lane]


class DeadLetter(msgspec.Struct, frozen=True):
    """An entry that could not be read: where it stands, and why. Of a large one, `data` is the beginning."""

    stream: str
    seq: int
    subject: str
    reason: str
    data: bytes


class Step(NamedTuple):
    """What one message of an entry came to."""

    message: Message
    outputs: list[Message]


def letter(stream: str, entry: Entry, why: str) -> bytes:
    """The dead letter of an entry; the log takes it, however large the entry is."""
    short = f"{why} (the first {LETTER} of {len(entry.data)} bytes)" if len(entry.data) > LETTER else why
    return msgspec.msgpack.encode(DeadLetter(stream, entry.seq, entry.subject, short, entry.data[:LETTER]))


async def skips(log: Log, number: int, moved: Moved = lambda: None) -> Word[LaneSkip]:
    """What people have said to pass over in a lane's log, and where."""
    return await last_word(log, f"LANE_{number}", skip_subject(number), _one(LaneSkip), moved)


async def epoch_of(log: Log, number: int, moved: Moved = lambda: None) -> Word[LaneEpoch]:
    """Who has begun to write a lane last, and where."""
    return await last_word(log, f"LANE_{number}", epoch_subject(number), _one(LaneEpoch), moved)


async def last_letter(log: Log, number: int, moved: Moved = lambda: None) -> Word[DeadLetter]:
    """The last dead letter of a lane."""

    def read(entry: Entry) -> DeadLetter | None:
        try:
            return msgspec.msgpack.decode(entry.data, type=DeadLetter)
        except ValueError:
            return None

    return await last_word(log, "DEAD", f"dead.{number}", read, moved)


def _one(kind: type[M]) -> Callable[[Entry], M | None]:
    """Reads entries of one message of this kind."""

    def read(entry: Entry) -> M | None:
        try:
            messages = decode(entry.data).messages
        except Unreadable:
            return None
        return messages[0] if len(messages) == 1 and type(messages[0]) is kind else None

    return read


def epoch_subject(number: int) -> str:
    """Where a writer says that it begins."""
    return f"lane.{number}.epoch"


def skip_subject(number: int) -> str:
    """Where entries to be passed over are named."""
    return f"lane.{number}.skip"


def fold(lane: Lane, entry: Entry, skipped: Container[int] = ()) -> tuple[Envelope, list[Step]]:
    """Apply one entry's messages in order. Raises `wire.Unreadable`, `wire.Newer` or `LaneBroken`.

    An entry that its writer had no right to write, or that is too large, is unreadable as a whole, and counted. One of
    `skipped` is counted and nothing else."""
    if entry.seq in skipped:
        lane.state.count(Reason.ENTRY_SKIPPED)
        return Envelope([]), []
    envelope = decode(entry.data)
    reason, why = refusal(lane.state, entry.subject, envelope.messages)
    if reason:
        lane.state.count(reason)
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

"""A lane's snapshots: the last two are kept, each in pieces, under one header and a copy of it.

What stands under these keys and is none of ours (`log.noise`) keeps no lane from being written: the other snapshot, or
the whole log, does as well.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable

import msgspec

from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind, epoch_subject
from tidegate.execution.noise_teller import NoiseTeller
from tidegate.log.base import Bucket, Log
from tidegate.model.messages import LaneEpoch
from tidegate.model.wire import Unreadable, decode

Spoiled = Callable[[str, bytes], None]
"""(key, what stands there and is none of ours)."""
SNAPSHOT = 1
"""Format of the snapshot's header."""
PART = 512 * 1024
"""Bytes of a snapshot in one key."""


class Unusable(Exception):
    """This instance cannot write the lane; another may. Says why."""


class Header(msgspec.Struct, frozen=True):
    """What is known of a lane's last snapshot: `seq` is the last entry in it, `parts` how many keys hold it. The one
    before it is kept as well."""

    seq: int
    parts: int
    config: str
    format: int = SNAPSHOT
    before: Header | None = None


async def save(
    bucket: Bucket,
    number: int,
    snapshot: bytes,
    seq: int,
    config: str,
    spoiled: Spoiled = lambda key, value: None,
) -> Header:
    """Keep the lane's snapshot after entry `seq`. The one before it stays; older ones are removed once this is whole.

    Two writers may be at it, one of them a zombie: parts are named by `seq`, for the state after an entry is one and
    the same; and raises `Conflict` where another snapshot was kept meanwhile.
    """
    entry = await bucket.get(_key(number))
    kept = await headers(bucket, number, spoiled)
    if kept and kept[0].seq >= seq:
        return kept[0]
    data = zlib.compress(snapshot, 1)
    pieces = [data[at : at + PART] for at in range(0, len(data), PART)]
    for n, piece in enumerate(pieces):
        await bucket.put(_part(number, seq, n), piece)
    before = msgspec.structs.replace(kept[0], before=None) if kept else None
    now = Header(seq, len(pieces), config, before=before)
    value = msgspec.json.encode(now)
    await bucket.update(_key(number), value, entry.revision if entry else 0)
    await bucket.put(_copy(number), value)
    for old in kept[1:]:
        for n in range(old.parts):
            await bucket.delete(_part(number, old.seq, n))
    return now


async def headers(
    bucket: Bucket, number: int, spoiled: Spoiled = lambda key, value: None
) -> tuple[Header, ...]:
    """The lane's snapshots, the latest first. Where their key was overwritten by what is no header, its copy tells."""
    for key in (_key(number), _copy(number)):
        entry = await bucket.get(key)
        if entry is None or entry.value is None:
            continue
        try:
            found = msgspec.json.decode(entry.value, type=Header)
        except ValueError:
            spoiled(f"SNAP {key}", entry.value)
            continue
        return (found, found.before) if found.before else (found,)
    return ()


async def header(bucket: Bucket, number: int) -> Header | None:
    """What is known of the lane's last snapshot; None before the first."""
    return next(iter(await headers(bucket, number)), None)


async def load(bucket: Bucket, number: int, found: Header) -> bytes | None:
    """The snapshot's bytes; None where they are not whole (another writer replaced it meanwhile, or they are not ours)."""
    pieces = [await bucket.get(_part(number, found.seq, n)) for n in range(found.parts)]
    if any(piece is None or piece.value is None for piece in pieces):
        return None
    try:
        return zlib.decompress(b"".join(piece.value for piece in pieces if piece and piece.value))
    except zlib.error:
        return None


def _key(number: int) -> str:
    return f"lane.{number}"


def _copy(number: int) -> str:
    return f"lane.{number}.copy"


def _part(number: int, seq: int, n: int) -> str:
    return f"lane.{number}.{seq}.{n}"


async def restore(
    log: Log, bucket: Bucket, number: int, kind: LaneKind, teller: NoiseTeller, moved: Callable[[], None]
) -> tuple[Lane, int]:
    """The lane of its last snapshot that is whole, and the last entry in it; an empty lane where its log is whole.
    Raises `Unusable`. `moved` is called as it gets on."""
    tried: list[Header] = []
    while True:  # another may be kept while we read
        kept = await headers(bucket, number, teller.key)
        found = next((one for one in kept if all(one.seq != known.seq for known in tried)), None)
        moved()
        if found is None:
            break
        tried.append(found)
        data = await load(bucket, number, found)
        if data is None:
            continue
        if found.config != kind.config and not await _follows(log, number, found.seq, kind.config):
            raise Unusable(other_config(number, found.config))
        try:
            lane = kind.restore(data)
        except ValueError as error:
            raise Unusable(f"lane {number}: its snapshot does not fit this configuration: {error}") from None
        if found is not tried[0]:
            teller.snapshot(
                f"its snapshot after entry {tried[0].seq} is not whole: that after {found.seq} is used",
            )
        return lane, found.seq
    seqs = ", ".join(str(one.seq) for one in tried)
    first = await log.first(f"LANE_{number}")
    if first > 1:
        what = f"no snapshot is whole (after entries {seqs})" if tried else "there is no snapshot"
        raise Unusable(f"lane {number}: {what}, and its log begins at entry {first}")
    if tried:
        teller.snapshot(f"its snapshots (after entries {seqs}) are not whole: all of its log is folded")
    return kind.make(number), 0


async def _follows(log: Log, number: int, seq: int, config: str) -> bool:
    """Whether a writer of this configuration begins right after an entry: the lane was closed there."""
    entry = await log.next(f"LANE_{number}", seq + 1)
    if entry is None or entry.subject != epoch_subject(number):
        return False
    with contextlib.suppress(Unreadable):
        return [m.config for m in decode(entry.data).messages if type(m) is LaneEpoch] == [config]
    return False


def other_config(lane: int, config: str) -> str:
    return (
        f"lane {lane} was written under another configuration ({config[:12]}) and not closed: its orders would be "
        f"judged by other limits than they were; start once with that configuration, stop it, then change it"
    )

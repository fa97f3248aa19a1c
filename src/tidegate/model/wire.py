"""How messages travel: batches in an envelope, as msgpack arrays.

One envelope is one entry of a log or one ephemeral message. `trace` is carried from a tick to the fill it led to.
"""

from __future__ import annotations

import msgspec

from tidegate.model.messages import (
    Acknowledge,
    Adopt,
    CancelAll,
    CancelOrder,
    DynamicLimit,
    Funding,
    HandOver,
    LaneEpoch,
    LaneSkip,
    LeaseGrant,
    LeaseReport,
    LeaseReturn,
    LimitsChange,
    LogGap,
    MarginStep,
    Mark,
    MarketReference,
    Message,
    NewOrder,
    OrderEvent,
    ReplaceOrder,
    Report,
    ScopeState,
    SendCancel,
    SendNew,
    SendReplace,
    SendStatus,
    SlotShare,
    Tick,
    VenueEquity,
)

VERSION = 1
"""Raised when an entry's meaning changes. Fields may be added at an end, and kinds of messages, without it."""
MOST = 4_000
"""Messages in an envelope. An entry of a lane is applied in one go, while everything else of the process waits: so many
commands take about a tenth of a second, well below what its signs of life may be late. And so many events, of some 300
bytes each, are well below what the log takes in a message."""

Carried = (
    NewOrder | CancelOrder | ReplaceOrder | CancelAll | Report | Mark | Tick | Funding | ScopeState | LaneEpoch
    | LeaseGrant | LeaseReturn | LeaseReport | LimitsChange | DynamicLimit
    | SlotShare | HandOver | MarketReference | VenueEquity | Acknowledge | Adopt | LaneSkip | LogGap | MarginStep
    | SendNew | SendCancel | SendReplace | SendStatus | OrderEvent
)  # fmt: skip


class Envelope(msgspec.Struct, array_like=True, gc=False):
    """A batch of messages of one kind of traffic, with what all have in common.

    `ts` is when it was written (ns). `lane`, `epoch` and `seq` say, of requests to gateways and of order events,
    which lane's writer sent them, of which epoch, and the sequence of the entry of the lane's log they follow from.
    """

    messages: list[Carried]
    trace: int = 0
    """Receive time (ns) of the tick that led to this; 0 where none did."""
    ts: int = 0
    lane: int = 0
    epoch: int = 0
    seq: int = 0
    version: int = VERSION
    part: int = 0
    """Of order events: so many of those that follow from entries after `seq` have been told as well."""


class _Head(msgspec.Struct, array_like=True, gc=False):
    messages: msgspec.Raw
    trace: int = 0
    ts: int = 0
    lane: int = 0
    epoch: int = 0
    seq: int = 0
    version: int = VERSION


class Unreadable(ValueError):
    """The bytes are no envelope: says why."""


class Newer(ValueError):
    """The envelope was written by a later version of tidegate, which must read it."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)
_head = msgspec.msgpack.Decoder(_Head)


def encode(envelope: Envelope) -> bytes:
    """The envelope as bytes."""
    return _encoder.encode(envelope)


def decode(data: bytes) -> Envelope:
    """The inverse of `encode`; raises `Newer` or `Unreadable`."""
    try:
        envelope = _decoder.decode(data)
    except ValueError as error:  # of msgspec, or of text that is no UTF-8
        try:
            version = _head.decode(data).version
        except ValueError:
            version = 0
        if version > VERSION:
            raise Newer(f"written by version {version} of the wire format, this is {VERSION}") from None
        raise Unreadable(str(error)) from None
    if envelope.version > VERSION:
        raise Newer(f"written by version {envelope.version} of the wire format, this is {VERSION}")
    return envelope


def pack(messages: list[Message], **head: int) -> bytes:
    """An envelope of these messages as bytes; `head` as in `Envelope`."""
    return _encoder.encode(Envelope(messages, **head))  # type: ignore[arg-type]


def peek(data: bytes) -> tuple[int, int]:
    """How many messages an envelope holds, and when it was written (ns), without reading them; raises `Unreadable`."""
    try:
        head = _head.decode(data)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    raw = memoryview(head.messages)
    first = raw[0]
    if first == 0xDC:
        return int.from_bytes(raw[1:3], "big"), head.ts
    if first == 0xDD:
        return int.from_bytes(raw[1:5], "big"), head.ts
    if first & 0xF0 != 0x90:
        raise Unreadable("the messages are no array")
    return first & 0x0F, head.ts

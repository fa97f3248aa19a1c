"""A market's pulse: what whoever watches over it wants to know once a second, without following every record."""

from __future__ import annotations

import msgspec

PULSE = 1.0
"""Seconds between two messages on `pulse.<VENUE>`."""
BAND = 1_000
"""Depth is counted within so many parts per million of the middle: ten basis points."""


class Pulse(msgspec.Struct, array_like=True, frozen=True):
    """One instrument. `ts` is when its last record came (ns), `status` the venue's word (`model.event.Status`), touch in
    ticks, `bid_lots` and `ask_lots` the depth within `BAND`, `traded` the lots traded since the feed began."""

    instrument: int
    ts: int
    status: int
    bid: int
    ask: int
    bid_lots: int
    ask_lots: int
    traded: int


def encode(pulses: list[Pulse]) -> bytes:
    """As one message."""
    return msgspec.msgpack.encode(pulses)


def decode(data: bytes) -> list[Pulse]:
    """The inverse of `encode`; raises `ValueError`."""
    try:
        return msgspec.msgpack.decode(data, type=list[Pulse])
    except msgspec.MsgspecError as error:
        raise ValueError(f"no pulse: {error}") from None

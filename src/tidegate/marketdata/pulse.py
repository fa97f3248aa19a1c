"""A market's pulse: what whoever watches over it wants to know once a second, without following every record."""

from __future__ import annotations

import msgspec

PULSE = 1.0
"""Seconds between two messages on `pulse.<VENUE>`."""
BAND = 1_000
"""Depth is counted within so many parts per million of the middle: ten basis points."""


class Pulse(msgspec.Struct, array_like=True, frozen=True):
    """One instrument. `ts` is when its last record came (ns), `status` the venue's word (`model.event.Status`), touch in
    ticks, `bid_lots` and `ask_lots` the depth within `BAND`, `traded` the lots traded since the feed began.

    Of contracts: `interest` is the open interest in lots, −1 where it is not known or old; `funding_at` (ns) is when the
    next funding is due, 0 where none is known, `rate` (1e-8) what it would be and `mark` (ticks) what it would be paid on;
    `paid` are the last that were, (time due, rate, mark) each, oldest first."""

    instrument: int
    ts: int
    status: int
    bid: int
    ask: int
    bid_lots: int
    ask_lots: int
    traded: int
    interest: int = -1
    rate: int = 0
    funding_at: int = 0
    mark: int = 0
    paid: tuple[tuple[int, int, int], ...] = ()


def encode(pulses: list[Pulse]) -> bytes:
    """As one message."""
    return msgspec.msgpack.encode(pulses)


def decode(data: bytes) -> list[Pulse]:
    """The inverse of `encode`; raises `ValueError`."""
    try:
        return msgspec.msgpack.decode(data, type=list[Pulse])
    except ValueError as error:
        raise ValueError(f"no pulse: {error}") from None

"""What the process of a slot says of itself: the key `slot.<slot>` of the bucket LEASE."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tidegate.log.base import Bucket

BUCKET, PREFIX = "LEASE", "slot."
REMEMBERED = 8
"""Starts remembered."""


class Life(StrEnum):
    """Where a slot's version is."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"
    """With its process, cleanly."""


class SlotState(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ns. `attempt` as in `stages.Status`. `starts` are those since the last clean end, of this version in this
    attempt: more than one means that its process died."""

    slot: str
    version: str = ""
    stage: str = ""
    attempt: int = 0
    life: Life = Life.IDLE
    why: str = ""
    ts: int = 0
    starts: list[int] = []

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)


def decode(data: bytes) -> SlotState:
    """The inverse of `SlotState.encode`; raises `ValueError`."""
    try:
        return msgspec.json.decode(data, type=SlotState)
    except ValueError as error:
        raise ValueError(f"not a slot's state: {error}") from None


async def read(bucket: Bucket, slot: str) -> SlotState:
    """A slot's state as it was written last."""
    found = await bucket.get(PREFIX + slot)
    return decode(found.value) if found is not None and found.value else SlotState(slot=slot)

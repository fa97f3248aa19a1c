"""`tidegate data verify`: every part read again and proven, nothing believed.

Of each part: the file can be read, its rows hash to what its footer says, and the footer's counts, times and
delays are those of its rows. Of each instrument's stream over all its parts: order, whole messages, possible
values; the book rebuilt from its depth records is never crossed, and its touch equals the quote wherever both
carry one update id. Gaps that the import flagged are reported, not faults.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa

from tidegate.errors import UserError
from tidegate.marketdata.order_audit import OrderAudit
from tidegate.marketdata.touch_audit import TouchAudit
from tidegate.model.event import words
from tidegate.model.time import day, iso
from tidegate.store.lake import Lake, Part
from tidegate.store.part import PartInfo, Tally, read_groups

_COUNTED = (
    "rows", "kinds", "first_recv", "last_recv", "first_event", "last_event", "min_delay", "max_delay", "gaps",
    "snapshots", "sha256",
)  # fmt: skip


class StreamProof(msgspec.Struct, kw_only=True):
    """What verification found of one instrument."""

    instrument: str
    parts: int = 0
    rows: int = 0
    gaps: int = 0
    books: int = 0
    """Depth messages after which the book was looked at."""
    compared: int = 0
    """Of those, how many a quote of the same update id could be held against."""
    faults: list[str] = []

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


def verify(lake: Lake, instrument_ids: list[str] | None = None) -> list[StreamProof]:
    """Prove the lake, or some instruments of it."""
    return [_verify(lake.parts(name), name) for name in instrument_ids or sorted(lake.manifest)]


def _verify(parts: list[Part], instrument_id: str) -> StreamProof:
    proof = StreamProof(instrument=instrument_id, parts=len(parts))
    order, touch = OrderAudit(), TouchAudit()
    for part in parts:
        proof.faults += [f"{_name(part.path)}: {fault}" for fault in _verify_part(part, order, touch)]
        proof.rows += part.info.rows
    proof.gaps, proof.books, proof.compared = touch.gaps, touch.books, touch.compared
    proof.faults += [f"{count} × {name}" for name, count in order.faults().items()]
    if touch.crossed:
        seq, ts = touch.first_crossed
        proof.faults.append(
            f"book crossed after {touch.crossed} messages, first after update {seq} at {iso(ts)}"
        )
    if touch.different:
        proof.faults.append(
            f"book and quote of one update differ {touch.different} times, first at {touch.first_different}"
        )
    return proof


def _verify_part(part: Part, order: OrderAudit, touch: TouchAudit) -> list[str]:
    said, faults = part.info, list[str]()
    tally = Tally(PartInfo(instrument=said.instrument, day=said.day))
    try:
        for events in read_groups(part.path):
            tally.add(words(events))
            order.feed(events)
            touch.feed(events)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{part.path} cannot be read ({error}); delete it and import again") from None
    found = tally.close()
    for field in _COUNTED:
        if getattr(found, field) != getattr(said, field):
            faults.append(
                f"{field} is {getattr(found, field)!s:.80}, its footer says {getattr(said, field)!s:.80}"
            )
    folders = part.path.parent.parent.name, part.path.parent.name
    if folders != (f"instrument={said.instrument.id}", f"day={said.day}"):
        faults.append(f"lies in {'/'.join(folders)}, its footer says {said.instrument.id} and {said.day}")
    if found.rows and {day(found.first_recv), day(found.last_recv)} != {said.day}:
        faults.append(
            f"holds events from {iso(found.first_recv)} to {iso(found.last_recv)}, not of {said.day}"
        )
    return faults


def _name(path: Path) -> str:
    return "/".join(path.parts[-3:])

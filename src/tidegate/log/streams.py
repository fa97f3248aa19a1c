"""What the log holds, declared once: streams, buckets, how long they keep, and how durable they are.

A stream that is full refuses (`Full`), so that nothing is dropped in silence; the streams of notes (`ALERT`, `DEAD`)
drop their oldest instead. Age is retention, chosen here: the recorder has what is older.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from tidegate.errors import UserError, nearest

MAX_PAYLOAD = 8 << 20
"""Most bytes in one message."""
DUPLICATE_WINDOW = 120.0
"""Seconds for which a stream remembers message ids."""
DURABILITY = ("process", "machine", "replicated")
MOST_LANES = 1024

_DAY = 86_400.0
_GIB = 1 << 30


class StreamSpec(NamedTuple):
    """One durable stream. `max_age` in seconds, `full` says what happens at `max_bytes`."""

    name: str
    subjects: tuple[str, ...]
    max_age: float
    max_bytes: int
    full: Literal["refuse", "drop oldest"]
    duplicate_window: float
    replicas: int


class BucketSpec(NamedTuple):
    """One key-value bucket; it keeps the last value of every key, and refuses when it is full."""

    name: str
    max_bytes: int
    replicas: int


class Declared(NamedTuple):
    """All of a log. What `durability` survives, once an append is acknowledged:

    - `process`: the death of any process, the log's server included; not a power cut (page cache).
    - `machine`: a power cut as well (synced to disk before the acknowledgement); not the loss of the disk.
    - `replicated`: the loss of any one of three machines.
    """

    lanes: int
    durability: str
    streams: tuple[StreamSpec, ...]
    buckets: tuple[BucketSpec, ...]

    def stream(self, name: str) -> StreamSpec:
        """The stream of that name; raises `UserError`."""
        for spec in self.streams:
            if spec.name == name:
                return spec
        raise UserError(f"log: no stream {name!r}{nearest(name, [spec.name for spec in self.streams])}")

    def bucket(self, name: str) -> BucketSpec:
        """The bucket of that name; raises `UserError`."""
        for spec in self.buckets:
            if spec.name == name:
                return spec
        raise UserError(f"log: no bucket {name!r}{nearest(name, [spec.name for spec in self.buckets])}")


BUCKETS = {"LEASE": 64 << 20, "SNAP": 4 * _GIB, "STATE": _GIB, "ACCESS": 64 << 20}
"""The buckets and the most bytes each holds: owners of lanes and live instances; lanes' snapshots; saved states;
identities."""


def declared(lanes: int, durability: str = "process") -> Declared:
    """What a log of `lanes` lanes holds; raises `UserError`."""
    if durability not in DURABILITY:
        raise UserError(f"log: unknown durability {durability!r}{nearest(durability, DURABILITY)}")
    if not 1 <= lanes <= MOST_LANES:
        raise UserError(f"log: {lanes} lanes; from 1 to {MOST_LANES} are possible")
    copies = 3 if durability == "replicated" else 1
    streams: list[StreamSpec] = []
    for n in range(lanes):
        for name, subject in ((f"LANE_{n}", f"lane.{n}.>"), (f"EVT_{n}", f"evt.{n}")):
            streams.append(
                StreamSpec(name, (subject,), 14 * _DAY, 16 * _GIB, "refuse", DUPLICATE_WINDOW, copies)
            )
    for name in ("HALT", "LEASES", "AUDIT", "DEPLOY"):
        age = 3650 * _DAY if name in ("HALT", "AUDIT", "DEPLOY") else 365 * _DAY
        subjects = (f"{_FIRST[name]}.>",)
        streams.append(StreamSpec(name, subjects, age, 4 * _GIB, "refuse", DUPLICATE_WINDOW, copies))
    for name, subject in (("DEAD", "dead.>"), ("ALERT", "alert.>")):
        streams.append(StreamSpec(name, (subject,), 90 * _DAY, _GIB, "drop oldest", DUPLICATE_WINDOW, copies))
    buckets = tuple(BucketSpec(name, size, copies) for name, size in BUCKETS.items())
    return Declared(lanes, durability, tuple(streams), buckets)


_KINDS = {"lane": "LANE_", "evt": "EVT_"}
_NAMES = {
    "dead": "DEAD",
    "alert": "ALERT",
    "halt": "HALT",
    "lease": "LEASES",
    "audit": "AUDIT",
    "deploy": "DEPLOY",
}
_FIRST = {name: first for first, name in _NAMES.items()}


def stream_of(subject: str) -> str:
    """The stream that keeps what is appended on a subject; empty where none does."""
    first, _, rest = subject.partition(".")
    if first in _NAMES:
        return _NAMES[first] if rest else ""
    second, _, more = rest.partition(".")
    if first not in _KINDS or not second.isdigit() or bool(more) is (first == "evt"):
        return ""
    return _KINDS[first] + second


_KEY = re.compile(r"[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)*")


def checked_key(key: str) -> str:
    """The key itself; raises `ValueError` where a bucket cannot hold it."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key: letters, digits, `_`, `=`, `-`, and single dots between them")
    return key

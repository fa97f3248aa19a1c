"""How a lane's writer works, and what it has done so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WriterSettings:
    """Times in seconds."""

    tick: float = 0.1
    """How often time is written into the log while an answer is awaited; the least time between two such entries."""
    snapshot_entries: int = 20_000
    """Entries after which a snapshot is kept: what a successor has to fold at most, about."""


@dataclass
class WriterCounts:
    """What happened so far."""

    entries: int = 0
    requests: int = 0
    events: int = 0
    dead: int = 0
    snapshots: int = 0
    folded_at_start: int = 0
    noise: int = 0
    """Entries and keys of the order managers' that none of them wrote."""
    gaps: int = 0
    """Holes in what came of the lane's log, each read again."""

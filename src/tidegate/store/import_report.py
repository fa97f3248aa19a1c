"""What an import found and did, as data: the command line prints it, `--json` gives it whole."""

from __future__ import annotations

import msgspec


class Refusals(msgspec.Struct):
    """Frames of one file refused for one reason."""

    reason: str
    count: int
    first: list[str]
    """The first few: line number and detail."""


class SourceReport(msgspec.Struct, kw_only=True):
    """One capture file."""

    name: str
    sha256: str
    size: int
    lines: int
    instruments: list[str]
    refusals: list[Refusals] = []
    skipped: dict[str, int] = {}
    """Frames that carry no market data, by rule."""
    slow: int = 0
    """Lines the compiled scan left to the slow reader."""
    off_lot: int = 0
    """Book sizes floored to whole lots."""
    damage: str = ""
    """Why it could not be read to its end."""
    quarantine: str = ""
    """The file in the lake that holds the refused lines."""


class ClockReport(msgspec.Struct, kw_only=True):
    """One session: files that one recorder's clock stamped."""

    sources: list[str]
    offset: int
    """Recorder's time less the exchange's, ns, in the middle of the session."""
    drift_ppm: float
    floor: int
    rejected: int
    """Seconds whose least lag was left out as a wrong stamp."""
    windows: int


class GapReport(msgspec.Struct):
    """A break of the depth chain."""

    source: str
    line: int
    ts_recv: int
    expected: int
    found: int


class StreamReport(msgspec.Struct, kw_only=True):
    """What was written of one instrument."""

    instrument: str
    days: list[str]
    rows: dict[str, int]
    """By kind."""
    size: int
    """Bytes on disk."""
    first_recv: int
    last_recv: int
    gaps: list[GapReport]
    dropped: dict[str, int]
    """Depth diffs and snapshots left out, by the rule that says so."""
    backwards: int
    """Messages received before the one they follow; their receive time was held."""
    backwards_most: int
    future: int
    """Messages stamped later than they were received."""
    late_quotes: int
    late_trades: int
    missing_trades: int
    """Trade ids that were skipped."""
    snapshots: int
    books: int
    """Depth messages after which the book was complete and looked at."""
    crossed: int
    first_crossed: tuple[int, int]
    """(update id, receive time)."""
    compared: int
    """Books that a quote of the same update id could be held against."""
    different: int
    delays: dict[str, dict[str, int]]
    """Latency by stream, ns: count, min, quantiles, max."""

    @property
    def total(self) -> int:
        """Rows of all kinds."""
        return sum(self.rows.values())


class ImportReport(msgspec.Struct, kw_only=True):
    """One `tidegate data import`."""

    lake: str
    sources: list[SourceReport]
    clocks: list[ClockReport]
    streams: list[StreamReport]
    seconds: float
    replaced: list[str] = []
    """Parts of earlier imports that these took the place of."""

    @property
    def lines(self) -> int:
        """Lines read."""
        return sum(source.lines for source in self.sources)

    @property
    def complete(self) -> bool:
        """Every file was read to its end and every frame in it taken."""
        return not any(source.damage or source.refusals for source in self.sources)

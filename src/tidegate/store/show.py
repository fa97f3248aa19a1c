"""Reports of the lake as text for people: rich tables on standard output."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.model.time import SECOND, iso
from tidegate.store.describe import Description, Listing
from tidegate.store.import_report import ImportReport, SourceReport, StreamReport
from tidegate.store.verify import StreamProof

_EXAMPLES = 10
_BAR = 40


def ms(ns: int) -> str:
    """Nanoseconds as milliseconds."""
    return f"{ns / 1e6:,.2f}"


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"


def _table(*columns: str, text: int = 1) -> Table:
    """A plain table: the first `text` columns are words, the others figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < text else "right", no_wrap=True)
    return table


def _console() -> Console:
    console = Console(highlight=False)
    # Piped into a file or another program nothing is cut to a terminal's width.
    return console if console.is_terminal else Console(highlight=False, width=200)


def show_import(report: ImportReport) -> None:
    """What `import` did."""
    console = _console()
    rows, disk = sum(stream.total for stream in report.streams), sum(stream.size for stream in report.streams)
    console.print(
        f"{report.lines:,} lines of {len(report.sources)} files → {rows:,} events of {len(report.streams)} "
        f"instruments in {report.seconds:.2f} s ({report.lines / report.seconds:,.0f} lines/s), "
        f"{size(disk)} in {escape(report.lake)} ({disk / max(rows, 1):.1f} bytes a row)"
    )
    for clock in report.clocks:
        way = "behind" if clock.offset < 0 else "ahead of"
        console.print(
            f"recorder's clock {ms(abs(clock.offset))} ms {way} the exchange's, "
            f"drift {clock.drift_ppm:+.2f} ppm, taken out; smallest latency assumed {ms(clock.floor)} ms"
            + (f"; {clock.rejected} seconds with wrong stamps left out" if clock.rejected else "")
        )
    table = _table("instrument", "events", "depth", "quotes", "trades", "gaps", "crossed", "touch = quote")
    for stream in report.streams:
        table.add_row(
            stream.instrument, f"{stream.total:,}", f"{stream.books:,}", f"{stream.rows.get('QUOTE', 0):,}",
            f"{stream.rows.get('TRADE', 0):,}", str(len(stream.gaps)), str(stream.crossed),
            f"{stream.compared - stream.different:,} of {stream.compared:,}",
        )  # fmt: skip
    console.print(table)
    _show_delays(console, {stream.instrument: stream.delays for stream in report.streams})
    for stream in report.streams:
        _show_findings(console, stream)
    for source in report.sources:
        _show_source(console, source)
    for name in report.replaced:
        console.print(f"replaced {escape(name)}")
    if not report.complete:
        console.print("[bold]incomplete:[/] some input could not be read (see above); the rest is imported")


def _show_delays(console: Console, delays: dict[str, dict[str, dict[str, int]]]) -> None:
    table = _table("latency, ms", "stream", "messages", "min", "p1", "p50", "p99", "max", text=2)
    for instrument, streams in delays.items():
        for stream, found in streams.items():
            if stream != "snapshot":
                figures = (ms(found[key]) for key in ("min", "p1", "p50", "p99", "max"))
                table.add_row(instrument, stream, f"{found['count']:,}", *figures)
    console.print(table)


def _show_findings(console: Console, stream: StreamReport) -> None:
    for gap in stream.gaps[:_EXAMPLES]:
        console.print(
            f"[bold]gap[/] {stream.instrument} {escape(gap.source)} line {gap.line} at {iso(gap.ts_recv)}: "
            f"expected update {gap.expected}, found {gap.found}; the book is unusable until the next snapshot"
        )
    if len(stream.gaps) > _EXAMPLES:
        console.print(f"… and {len(stream.gaps) - _EXAMPLES} more gaps of {stream.instrument}")
    if stream.crossed:
        seq, ts = stream.first_crossed
        console.print(
            f"[bold]crossed[/] {stream.instrument}: after {stream.crossed} messages, "
            f"first update {seq} at {iso(ts)}"
        )
    if stream.different:
        console.print(f"[bold]touch[/] {stream.instrument}: {stream.different} books differ from their quote")
    notes = [f"{count:,} depth messages {rule}" for rule, count in stream.dropped.items()]
    if "DELTA" in stream.rows and not stream.snapshots:
        notes.append("no snapshot: the book can never be used")
    if stream.backwards:
        notes.append(
            f"{stream.backwards:,} received before the one they follow, "
            f"by up to {ms(stream.backwards_most)} ms"
        )
    for what, count in (
        ("stamped later than received", stream.future), ("quotes out of order", stream.late_quotes),
        ("trades out of order", stream.late_trades), ("trade ids missing", stream.missing_trades),
    ):  # fmt: skip
        if count:
            notes.append(f"{count:,} {what}")
    if notes:
        console.print(f"{stream.instrument}: {'; '.join(notes)}")


def _show_source(console: Console, source: SourceReport) -> None:
    name = escape(source.name)
    if source.damage:
        console.print(
            f"[bold]damaged[/] {name}: {escape(source.damage)}; {source.lines:,} lines were read before that"
        )
    for refusal in source.refusals:
        console.print(
            f"[bold]quarantined[/] {name}: {refusal.count:,} × {refusal.reason}, "
            f"in {escape(source.quarantine)}"
        )
        for example in refusal.first:
            console.print(f"    {escape(example)}")
    notes = [f"{count:,} × {what} skipped" for what, count in source.skipped.items()]
    if source.off_lot:
        notes.append(f"{source.off_lot:,} book sizes finer than a lot, floored")
    if notes:
        console.print(f"{name}: {'; '.join(notes)}")


def show_listing(found: list[Listing]) -> None:
    """What `ls` lists."""
    kinds = [kind for kind in ("DELTA", "QUOTE", "TRADE", "BAR", "STATUS", "FUNDING", "MARK")
             if any(kind in item.rows for item in found)]  # fmt: skip
    table = _table(
        "instrument",
        "kind",
        "days",
        *(kind.lower() + "s" for kind in kinds),
        "gaps",
        "size",
        "bytes a row",
        text=3,
    )
    for item in found:
        days = item.days[0] if len(item.days) == 1 else f"{item.days[0]} … {item.days[-1]} ({len(item.days)})"
        counts = (f"{item.rows.get(kind, 0):,}" for kind in kinds)
        table.add_row(
            item.instrument, item.kind, days, *counts, str(item.gaps), size(item.size),
            f"{item.size / max(item.total, 1):.2f}",
        )  # fmt: skip
    _console().print(table if found else "the lake is empty")


def show_description(found: Description) -> None:
    """What `describe` says of an instrument."""
    console, line = _console(), found.listing
    console.print(f"[bold]{line.instrument}[/], {line.kind}: {line.total:,} events, {size(line.size)}")
    span = (line.last_recv - line.first_recv) / SECOND
    console.print(f"received {iso(line.first_recv)} … {iso(line.last_recv)} ({span:,.1f} s)")
    console.print(
        f"{found.messages_per_second:,.0f} messages/s, {found.levels_per_message:.1f} levels a message of "
        f"depth; {len(found.snapshots)} snapshots, {len(found.gaps)} gaps"
        + (f", {found.estimated:,} exchange times estimated" if found.estimated else "")
    )
    for ts in found.gaps[:_EXAMPLES]:
        console.print(f"gap at {iso(ts)}")
    for source in found.sources:
        console.print(f"from {escape(source.name)}, {source.lines:,} lines, sha256 {source.sha256}")
    if found.clock:
        console.print(
            f"recorder's clock: {ms(found.clock.offset)} ms, drift {found.clock.drift_ppm:+.2f} ppm, "
            f"taken out; smallest latency assumed {ms(found.clock.floor)} ms"
        )
    if found.spread:
        s = found.spread
        console.print(
            f"spread by time, ticks: mean {s.mean:.2f}, median {s.median}, p99 {s.p99}, widest {s.widest:,}; "
            f"one tick {s.one_tick:.1%} of it"
        )
    if found.trading:
        t = found.trading
        console.print(
            f"trades: {t.count:,}, quantity {t.quantity} ({t.bought:.1%} bought), largest {t.largest}, "
            f"first {t.first}, high {t.high}, low {t.low}, last {t.last}, vwap {t.vwap:,.4f}"
        )
    _show_delays(console, {line.instrument: found.delays})
    for stream, histogram in found.histograms.items():
        console.print(f"\nlatency of {stream}")
        most = max((share for _, share in histogram), default=1.0)
        for limit, share in histogram:
            name = f"≤ {limit / 1e6:g} ms" if limit < 10 * SECOND else "above"
            console.print(f"{name:>12} {'█' * round(_BAR * share / most):<{_BAR}} {share:7.2%}")


def show_proofs(proofs: list[StreamProof]) -> None:
    """What `verify` found."""
    console = _console()
    table = _table("instrument", "parts", "rows", "books", "touch = quote", "gaps", "verdict")
    for proof in proofs:
        verdict = "sound" if proof.sound else f"{len(proof.faults)} faults"
        table.add_row(
            proof.instrument, str(proof.parts), f"{proof.rows:,}", f"{proof.books:,}", f"{proof.compared:,}",
            str(proof.gaps), verdict,
        )  # fmt: skip
    console.print(table)
    for proof in proofs:
        for fault in proof.faults:
            console.print(f"[bold]wrong[/] {proof.instrument}: {escape(fault)}")

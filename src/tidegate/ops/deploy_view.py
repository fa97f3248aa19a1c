"""What people see of versions: which is live, which is tried, how it does beside what was expected of it."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidegate.log.base import Log
from tidegate.model.time import iso
from tidegate.risk.scopes import NEXT
from tidegate.strategy.deploy import slot_state
from tidegate.strategy.deploy.comparison import Report
from tidegate.strategy.deploy.envelope import Range
from tidegate.strategy.deploy.slot_state import SlotState
from tidegate.strategy.deploy.stages import DeployBoard, Status


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """As in `strategy.deploy.service.Seen`, read back."""

    ts: int = 0
    version: str = ""
    intervals: int = 0
    judged: bool = False
    figures: list[tuple[Range, float | None]] = []
    deviation: str = ""
    comparison: Report | None = None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """All about one strategy's versions."""

    status: Status
    live: SlotState
    candidate: SlotState
    seen: Seen


async def found(log: Log, board: DeployBoard, name: str = "") -> list[Shown]:
    """What the log holds of this strategy, or of all of which something was deployed."""
    shown = []
    leases, states = log.bucket(slot_state.BUCKET), log.bucket("STATE")
    for status in board.strategies.values():
        if name in ("", status.strategy):
            kept = await states.get(f"deploy.{status.strategy}")
            seen = msgspec.json.decode(kept.value, type=Seen) if kept is not None and kept.value else Seen()
            shown.append(
                Shown(
                    status=status, live=await slot_state.read(leases, status.strategy),
                    candidate=await slot_state.read(leases, status.strategy + NEXT), seen=seen,
                )
            )  # fmt: skip
    return shown


def screen(shown: Shown) -> RenderableType:
    """One strategy."""
    s, seen = shown.status, shown.seen
    lines: list[RenderableType] = [_versions(shown)]
    watched = s.candidate or (s.live if s.previous else "")
    if watched and seen.version == watched:
        lines.append(_figures(seen))
        if seen.comparison is not None and s.stage == "shadow":
            lines.append(_comparison(seen.comparison))
    if seen.deviation:
        lines.append(Text(f"{seen.version}: {seen.deviation}", style="red"))
    return Panel(Group(*lines), title=s.strategy, title_align="left", box=ROUNDED)


def _versions(shown: Shown) -> Table:
    s = shown.status
    table = Table(box=None, pad_edge=False, show_header=False)
    since = iso(s.live_since)[:19] if s.live_since else "the start"
    table.add_row(
        "live",
        s.live,
        shown.live.life,
        f"since {since}" + (f", before it {s.previous}" if s.previous else ""),
    )
    if s.candidate:
        part = f"{s.ppm / 1e4:g} % of the limits, " if s.ppm else ""
        table.add_row(str(s.stage), s.candidate, shown.candidate.life, f"{part}since {iso(s.since)[:19]}")
        if shown.candidate.why:
            table.add_row("", "", "", shown.candidate.why)
    table.add_row("last", Text(f"{s.last} ({s.by})"))
    return table


def _figures(seen: Seen) -> RenderableType:
    if not seen.judged:
        return Text("no backtest of it was measured: it is watched for failures alone", style="yellow")
    table = Table(box=None, pad_edge=False, title=f"{seen.intervals} intervals", title_justify="left")
    for head in ("Figure", "Intervals", "Now", "Expected", "At once beyond"):
        table.add_column(head, justify="left" if head == "Figure" else "right")
    for wanted, value in seen.figures:
        hard = wanted.hard_high if wanted.hard_high is not None else wanted.hard_low
        out = value is not None and wanted.outside(value)
        now = Text("–" if value is None else f"{value:.5g}", style="red" if out else "")
        table.add_row(
            wanted.figure, str(wanted.horizon), now, wanted.text(), "" if hard is None else f"{hard:.4g}"
        )
    return table


def _comparison(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, title="beside the live version", title_justify="left")
    for head in ("", "Live", "Shadow"):
        table.add_column(head, justify="right" if head else "left")
    table.add_row("orders", *map(str, report.orders))
    table.add_row("  without the other's", *map(str, report.alone))
    table.add_row("fills", *map(str, report.fills))
    table.add_row("profit", *(f"{value:.2f}" for value in report.pnl))
    last: Any = report.path[-1] if report.path else None
    if last is not None:
        table.add_row("inventory", f"{last.live_inventory:.0f}", f"{last.shadow_inventory:.0f}")
    median, most = report.apart_ms
    table.caption = (
        f"{report.matched} orders belong together, {report.same_price} of them alike, "
        f"{median:.0f} ms apart (95 %: {most:.0f} ms)"
    )
    table.caption_justify = "left"
    return table

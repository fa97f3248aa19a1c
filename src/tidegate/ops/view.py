"""What a running system looks like on a terminal: one screen of tables, or one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidegate.model.time import SECOND
from tidegate.ops.snapshot import Row, Snapshot
from tidegate.report.format import NONE, clock, count, duration, money_decimals, number, percent

STATES = {
    "healthy": "green", "done": "green", "starting": "cyan", "restarting": "yellow", "degraded": "yellow",
    "stopping": "cyan", "stopped": "dim", "waiting": "dim", "dead": "bold red", "gone": "bold red",
    "orphan": "bold red",
}  # fmt: skip
WIDE = 96
"""Columns from which on two tables stand side by side."""
Cell = Callable[[Row], Text]


def screen(shot: Snapshot, title: str, width: int) -> Group:
    """The whole."""
    pairs = [(_strategies(shot), None), (_lanes(shot), _latency(shot)), (_gateways(shot), _feeds(shot))]
    parts: list[RenderableType] = [headline(shot, title), processes(shot)]
    if shot.alerts:  # before what a small terminal may have no room for
        parts.append(_panel("Alerts", Group(*[alert(row) for row in shot.alerts])))
    for left, right in pairs:
        both = [part for part in (left, right) if part is not None]
        if len(both) == 2 and width >= WIDE:
            grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
            grid.add_column(ratio=1)
            grid.add_column(ratio=1)
            grid.add_row(*both)
            parts.append(grid)
        else:
            parts += both
    return Group(*parts)


def headline(shot: Snapshot, title: str) -> Text:
    """What it is, how it is, what it costs."""
    text = Text(" ")
    text.append(title or "tidegate", style="bold")
    good = shot.healthy == len(shot.processes)
    text.append(
        f"   {shot.healthy} of {len(shot.processes)} healthy", style="green" if good else "bold yellow"
    )
    cpu, memory = shot.total(shot.processes, "cpu"), shot.total(shot.processes, "memory")
    text.append(f"   CPU {percent(cpu, 0)}   memory {_size(memory)}", style="dim")
    text.append(f"   {clock(shot.ts)[:8]} UTC", style="dim")
    return text


def line(shot: Snapshot) -> str:
    """The whole in one line, for a pipe."""
    parts = [f"{shot.healthy} of {len(shot.processes)} healthy"]
    bad = [
        f"{row['name']} {row['state']}" for row in shot.processes if row["state"] not in ("healthy", "done")
    ]
    if bad:
        parts[0] += f" ({', '.join(bad)})"
    rate, events = shot.total(shot.lanes, "orders_s"), shot.total(shot.feeds, "events_s")
    if events is not None:
        parts.append(f"{number(events, 0)} events/s")
    if rate is not None:
        parts.append(f"{number(rate, 1)} orders/s")
    for key in ("open", "unknown"):
        if (total := shot.total(shot.lanes, key)) is not None:
            parts.append(f"{number(total, 0)} {key}")
    _, figures = shot.tick_to_order()
    if figures:
        parts.append(f"tick to order p50 {_ns(figures.get('p50'))} p99 {_ns(figures.get('p99'))}")
    parts.append(f"CPU {percent(shot.total(shot.processes, 'cpu'), 0)}")
    parts.append(f"memory {_size(shot.total(shot.processes, 'memory'))}")
    return " · ".join(parts)


def processes(shot: Snapshot) -> Panel:
    """The table of processes."""
    table = _table("Process", "State", ">PID", ">Up", ">Restarts", ">CPU", ">Memory", "Note")
    table.columns[-1].ratio = 1
    table.columns[-1].no_wrap = True
    table.columns[-1].overflow = "ellipsis"
    for row in shot.processes:
        style = STATES.get(row["state"], "")
        restarts = row["restarts"]
        table.add_row(
            Text(row["name"]),
            Text(f"● {row['state']}", style=style),
            Text(str(row["pid"] or NONE), style="dim"),
            Text(_ago(row["age"] * SECOND if row["age"] is not None else None)),
            Text(count(restarts), style="yellow" if restarts else "dim"),
            Text(percent(row["cpu"], 0)),
            Text(_size(row["memory"])),
            Text(row["why"] or row.get("cell", ""), style=style if row["state"] != "healthy" else "dim"),
        )
    return _panel("Processes", table)


def alert(row: Row) -> Text:
    """One alert."""
    severity = str(row.get("severity", "warning"))
    style = "bold red" if severity in ("error", "critical", "high") else "yellow"
    text = Text()
    text.append(clock(int(row["ts"]))[:8] if row.get("ts") else NONE, style="dim")
    text.append(f"  {row.get('scope') or row.get('process') or ''}  ", style="cyan")
    text.append(str(row.get("text") or row.get("kind") or ""), style=style)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _lanes(shot: Snapshot) -> Panel | None:
    heads = ("Lane", "Owner", ">Epoch", ">Seq", ">Orders", ">/s", ">Open", ">Unknown")
    table = _table(*heads)
    for row in shot.lanes:
        table.add_row(
            row["lane"], str(row["owner"]), _int(row, "epoch"), _int(row, "seq"), _int(row, "orders"),
            number(row["orders_s"], 1), _int(row, "open"), _bad(row, "unknown"),
        )  # fmt: skip
    return _panel("Lanes", table) if shot.lanes else None


def _gateways(shot: Snapshot) -> Panel | None:
    table = _table("Gateway", "Session", ">Reconciled", ">Differ")
    for row in shot.gateways:
        at = _first(row, "reconciled", "last_reconciliation", "reconciled_ts")
        ago = f"{_ago(shot.ts - at)} ago" if isinstance(at, int) and at > 0 else NONE
        table.add_row(str(row["gateway"]), _session(row), ago, _bad(row, "mismatches"))
    return _panel("Gateways", table) if shot.gateways else None


def _strategies(shot: Snapshot) -> Panel | None:
    table = _table("Strategy", "Position", ">P&L", ">Open", ">Orders", ">Fills")
    table.columns[1].no_wrap = False
    places = money_decimals(r["pnl"] for r in shot.strategies if isinstance(r.get("pnl"), int | float))
    for row in shot.strategies:
        pnl = row.get("pnl")
        pnl = float(pnl) if isinstance(pnl, int | float) else None
        table.add_row(
            str(row["strategy"]), _positions(row), Text(number(pnl, places), style="red" if pnl and pnl < 0 else ""),
            _int(row, "open"), _int(row, "orders"), _int(row, "fills"),
        )  # fmt: skip
    return _panel("Strategies", table) if shot.strategies else None


def _feeds(shot: Snapshot) -> Panel | None:
    table = _table("Feed", "Session", ">Events/s", ">Gaps", ">Quarantined")
    for row in shot.feeds:
        table.add_row(
            str(row["feed"]), _session(row), number(row["events_s"], 0), _bad(row, "gaps"),
            _bad(row, "quarantined"),
        )  # fmt: skip
    return _panel("Feeds", table) if shot.feeds else None


def _latency(shot: Snapshot) -> Panel | None:
    table = _table("Tick to", ">p50", ">p99", ">p99.9", ">Count")
    best, _ = shot.tick_to_order()
    rows = sorted(shot.latency.items(), key=lambda item: item[1].get("p50", 0))
    for hop, row in rows:
        table.add_row(
            Text(hop, style="bold" if hop == best else ""), _ns(row.get("p50")), _ns(row.get("p99")),
            _ns(row.get("p999")), _int(row, "count"),
        )  # fmt: skip
    return _panel("Latency", table) if rows else None


def _panel(title: str, inner: RenderableType) -> Panel:
    return Panel(
        inner, title=title, title_align="left", box=ROUNDED, border_style="bright_black", padding=(0, 1)
    )


def _table(*heads: str) -> Table:
    """Heads that begin with > are of figures, right-aligned."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head.lstrip(">"), justify="right" if head[0] == ">" else "left", no_wrap=True)
    return table


def _positions(row: Row) -> Text:
    held = _first(row, "positions", "position")
    if isinstance(held, dict):
        held = ", ".join(f"{number(lots, 0, plus=True)} {name}" for name, lots in held.items()) or "flat"
    elif isinstance(held, int | float):
        held = number(held, 0, plus=True) if held else "flat"
    return Text(str(held) if held is not None else NONE)


def _session(row: Row) -> Text:
    """Whether it is connected; of a gateway also whether it stands by, is refused, or holds orders back and why."""
    state, holds, connected = row.get("state"), row.get("holds"), row.get("connected")
    if state == "standby":
        return Text("○ standby", style="dim")
    if state == "refused" or connected is False:
        return Text(f"● {state if state == 'refused' else 'down'}", style="bold red")
    if isinstance(holds, dict) and holds:
        return Text(f"● held: {', '.join(map(str, holds))}", style="yellow")
    return Text("● connected", style="green") if connected else Text(NONE)


def _bad(row: Row, key: str) -> Text:
    """A count that should be 0."""
    return Text(_int(row, key), style="yellow" if row.get(key) else "")


def _int(row: Row, key: str) -> str:
    value = row.get(key)
    return number(value, 0) if isinstance(value, int | float) else NONE


def _ns(value: Any) -> str:
    return duration(value) if isinstance(value, int | float) else NONE


def _ago(ns: float | None) -> str:
    """A time gone by, to the second."""
    if ns is None:
        return NONE
    return duration(ns // SECOND * SECOND) if ns >= SECOND else "0 s"


def _size(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{number(value / 2**30, 1)} GB" if value >= 2**30 else f"{number(value / 2**20, 0)} MB"


def _first(row: Row, *keys: str) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


__all__ = ["alert", "headline", "line", "processes", "screen"]

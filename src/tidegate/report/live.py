"""What only a live run has: its processes, how long a tick took to each place, what was killed and how it came back.

The figures are `summary["live"]`, as `ops.drill` and `sim.live_run` give them.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from tidegate.report.format import count, duration, moment
from tidegate.report.markup import Cell, empty, label, section, table

HOPS = {
    "strategy.in": "at the strategy",
    "strategy.out": "command written",
    "oms.in": "stored and read by the lane",
    "oms.out": "request sent to the gateway",
    "gateway.in": "at the gateway",
    "gateway.out": "on the venue's socket",
}
"""The way of a tick to its order, in order."""


def print_live(live: dict[str, Any], console: Console) -> None:
    """Hops and kills, for the terminal."""
    hops = _hops(live)
    if hops:
        shown = Table(box=None, pad_edge=False, header_style="dim")
        shown.add_column("From the tick's receipt", no_wrap=True)
        for head in ("p50", "p99", "p99.9", "ticks"):
            shown.add_column(head, justify="right")
        for row in hops:
            shown.add_row(*row)
        console.print(shown)
    for kill in live.get("kills", []):
        console.print(_kill(kill))


def live_section(info: dict[str, Any]) -> str:
    """The page's section; empty for a backtest."""
    live = info.get("live")
    if live is None:
        return ""
    kills: list[list[str | Cell]] = [
        [
            label(k["name"]), moment(int(k["at"])), _after(k, "healthy"), _after(k, "trading"),
        ]
        for k in live.get("kills", [])
    ]  # fmt: skip
    writers: list[list[str | Cell]] = [
        [moment(int(ts)), str(lane), str(epoch), label(owner.partition("-")[2] or owner)]
        for ts, lane, epoch, owner in live.get("takeovers", [])
    ]
    processes: list[list[str | Cell]] = [
        [
            label(p["name"]), str(p["state"]), count(int(p["restarts"] or 0)), duration(float(p["cpu"] or 0.0) * 1e9),
            f"{(p['memory'] or 0) / 1e6:.0f} MB",
        ]
        for p in live.get("processes", [])
    ]  # fmt: skip
    return section(
        "live", "Live", "How the services ran: from tick to order, who wrote the lanes, what was killed.",
        "<h3>From the tick's receipt</h3>",
        table(["Tick", "p50", "p99", "p99.9", "Ticks"], [[label(r[0]), *r[1:]] for r in _hops(live)])
        if _hops(live) else empty("No tick led to an order while it was measured."),
        "<h3>Killed, and back</h3>",
        table(["Process", "Killed, UTC", "Healthy after", "Trading after"], kills)
        if kills else empty("Nothing was killed."),
        "<h3>Writers of the lanes</h3>",
        table(["From, UTC", "Lane", "Epoch", Cell("Writer", "text")], writers) if writers else empty("No lane was written."),
        "<h3>Processes</h3>",
        table([Cell("Process", "text"), "State", "Restarts", "CPU", "Memory"], processes)
        if processes else empty("The run was not watched."),
    )  # fmt: skip


def _hops(live: dict[str, Any]) -> list[list[str]]:
    found = live.get("hops") or {}
    return [
        [
            text,
            *(duration(float(found[hop][p])) for p in ("p50", "p99", "p999")),
            count(int(found[hop]["count"])),
        ]
        for hop, text in HOPS.items()
        if hop in found
    ]


def _after(kill: dict[str, Any], what: str) -> str:
    return duration(float(kill[what] - kill["at"])) if kill.get(what) else "–"


def _kill(kill: dict[str, Any]) -> str:
    back = f"healthy after {_after(kill, 'healthy')}" if kill.get("healthy") else "not back within the run"
    again = f", first new order accepted after {_after(kill, 'trading')}" if kill.get("trading") else ""
    return f"killed {kill['name']} (kill -9): {back}{again}"

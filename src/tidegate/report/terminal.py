"""The run's summary in a terminal: one screen, the same figures as the page."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.analytics.markouts import Markout
from tidegate.analytics.performance import LEAST_RETURNS
from tidegate.analytics.run_summary import RunSummary, StrategyRow, summarise
from tidegate.analytics.tables import RunTables
from tidegate.model.time import SECOND
from tidegate.report.format import NONE, count, duration, money_decimals, number, percent, plural, window
from tidegate.report.sections_result import sharpe_is_meaningful, unit

_DENIALS = 5


def print_summary(tables: RunTables, console: Console) -> None:
    """Print the run's summary: what it was, what each strategy made, what to look at."""
    summary, _ = summarise(tables)
    info = tables.summary
    if info.get("error"):
        first = str(info["error"]).strip().splitlines()[0]
        console.print(Text(f"This run ended early: {first}", style="bold red"))
    console.print(_head(summary, info))
    if summary.strategies:
        console.print(_table(summary))
    for line in _notes(summary, info):
        console.print(line)


def _head(summary: RunSummary, info: dict[str, Any]) -> Text:
    text = Text()
    text.append(str(info.get("config") or "Backtest"), style="bold")
    if summary.end:
        text.append(f"  {window(summary.start, summary.end)}  {duration(summary.end - summary.start)}")
    if info.get("events"):
        text.append(f"  {count(int(info['events']))} events")
        if info.get("wall_s"):
            text.append(f" in {duration(float(info['wall_s']) * SECOND)}")
    for key, word in (("run_id", "run id"), ("state_hash", "state hash")):
        if info.get(key):
            text.append(f"\n{word} ", style="dim")
            text.append(str(info[key]))
    return text


def _table(summary: RunSummary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=False)
    table.add_column("Strategy", no_wrap=True)
    heads = ("Net P&L", "Fees", "Max DD", "Fills", "Maker", "vs mid", "1 s after", "Orders", "Denied")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    places = money_decimals(v for row in (*summary.strategies, summary.total) for v in (row.net, row.fees))
    for row in summary.strategies:
        table.add_row(*_cells(summary, row, row.name, places))
    table.add_section()
    table.add_row(*_cells(summary, summary.total, None, places), style="bold")
    return table


def _cells(summary: RunSummary, row: StrategyRow, name: str | None, places: int) -> list[Text]:
    groups = [g for g in summary.cost_groups if name in (None, g.strategy)]
    sent = summary.orders.total.sent if name is None else dict(summary.orders.by_strategy).get(name)
    orders = sent if isinstance(sent, int) else sent.sent if sent is not None else 0
    denied = sum(d.count for d in summary.denials if name in (None, d.strategy))
    costs = summary.costs if name is None else dict(summary.costs_by_strategy).get(name)
    after = _pooled([m for g in groups for m in g.markouts if m.horizon == SECOND])
    return [
        Text(row.name),
        Text(number(row.net, places), style="red" if row.net < 0 else ""),
        Text(number(row.fees, places)),
        Text(number(row.drawdown.depth, places) if row.drawdown else NONE),
        Text(count(row.fills)),
        Text(percent(row.maker_share, 0)),
        Text(number(costs.mid_bps if costs else None, 3)),
        Text(number(after, 3)),
        Text(count(orders)),
        Text(count(denied), style="yellow" if denied else ""),
    ]


def _pooled(markouts: list[Markout]) -> float | None:
    """The mean over several groups of fills."""
    known = [(m.bps, m.weight) for m in markouts if m.bps is not None]
    total = sum(weight for _, weight in known)
    return sum(bps * weight for bps, weight in known) / total if total else None


def _notes(summary: RunSummary, info: dict[str, Any]) -> list[Text]:
    base = unit(summary)
    lines = [Text(f"Amounts in {base}; vs mid and 1 s after in bps (cost, markout).", style="dim")]
    ratio = summary.total.sharpe
    if ratio is not None:
        interval = f"{number(ratio.low, 1)} to {number(ratio.high, 1)} at 95 %"
        text = f"Sharpe ratio, annual: {number(ratio.annual, 2)} ({interval})"
        if not sharpe_is_meaningful(summary):
            text += f": {duration(summary.end - summary.start)} of data, not meaningful"
        lines.append(Text(text, style="dim"))
    elif summary.strategies:
        lines.append(
            Text(f"Sharpe ratio: fewer than {LEAST_RETURNS} returns, or none that moved.", style="dim")
        )
    lines += _denials(summary)
    lines += [
        Text(f"Check failed: {check.name}: {check.first_break}", style="bold yellow")
        for check in summary.checks
        if not check.ok
    ]
    counters = _counters(info.get("counters") or {})
    if counters:
        lines.append(Text(f"Counters: {counters}", style="dim"))
    return lines


def _denials(summary: RunSummary) -> list[Text]:
    reasons: dict[str, int] = {}
    for row in summary.denials:
        reasons[row.reason] = reasons.get(row.reason, 0) + row.count
    if not reasons:
        return []
    most = sorted(reasons.items(), key=lambda item: -item[1])
    text = ", ".join(f"{count(n)} {reason}" for reason, n in most[:_DENIALS])
    rest = sum(n for _, n in most[_DENIALS:])
    more = f", {count(rest)} for {plural(len(most) - _DENIALS, 'other reason')}" if rest else ""
    return [Text(f"Denied: {text}{more}", style="yellow")]


def _counters(counters: dict[str, Any]) -> str:
    """The counters that are not zero; nested ones as `instrument.name`."""
    flat: dict[str, Any] = {}
    for name, value in counters.items():
        inner = {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        flat.update(inner)
    return ", ".join(f"{name} {value:,}" for name, value in flat.items() if isinstance(value, int) and value)

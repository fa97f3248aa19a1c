"""What people see of risk: every scope with what it uses of its limits, and one scope with what it holds."""

from __future__ import annotations

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidegate.report.format import NONE, clock, number
from tidegate.risk.figures import Figure, Report, Standing

STYLES = {
    "ACTIVE": "green", "WARN": "yellow", "RECOVERING": "yellow", "REDUCE_ONLY": "bold yellow",
    "CANCEL_ONLY": "bold red", "KILLED": "bold red",
}  # fmt: skip
HEADS = {
    "loss": "Loss today", "drawdown": "Drawdown", "gross": "Gross", "net": "Net", "open_value": "Open",
    "open_orders": "Orders", "traded_value": "Traded",
}  # fmt: skip
BLOCKS = " ▏▎▍▌▋▊▉█"
BAR = 6
"""Columns of a bar."""
MEDIUM, WIDE = 120, 168
"""Columns of a terminal from which on more is shown."""


def bar(use: float) -> Text:
    """How much of a limit is used: green below half, yellow below 80 %, red above."""
    eighths = round(min(max(use, 0.0), 1.0) * BAR * 8)
    if use > 0 and not eighths:
        eighths = 1
    full, rest = divmod(eighths, 8)
    drawn = (BLOCKS[8] * full + (BLOCKS[rest] if rest else "")).ljust(BAR)
    style = "red" if use >= 0.8 else "yellow" if use >= 0.5 else "green"
    return Text(drawn, style=f"{style} on grey23")


def screen(report: Report, title: str, width: int) -> Group:
    """All scopes, or one with what it holds."""
    parts: list[RenderableType] = [_headline(report, title)]
    if len(report.scopes) == 1:
        parts += _one(report.scopes[0], report.currency)
        return Group(*parts)
    parts.append(_scopes(report, width))
    if reasons := [_why(standing) for standing in report.scopes if standing.state != "ACTIVE"]:
        parts.append(_panel("Not active", Group(*reasons)))
    return Group(*parts)


def _headline(report: Report, title: str) -> Text:
    text = Text(" ")
    text.append(title, style="bold")
    halted = sum(standing.state != "ACTIVE" for standing in report.scopes)
    text.append(
        f"   {halted} not active" if halted else "   all active", style="yellow" if halted else "green"
    )
    version = f"version {report.version}" if report.version else "the file's"
    text.append(f"   {report.currency}   limits: {version}   {clock(report.ts)[:8]} UTC", style="dim")
    return text


def _scopes(report: Report, width: int) -> Panel:
    shown = list(HEADS) if width >= WIDE else ["loss", "gross", "traded_value", "open_orders"]
    if width < MEDIUM:
        table = _table("Scope", "State", ">P&L", ">", "", "Tightest limit")
        for standing in report.scopes:
            used = max(
                (f for f in standing.figures if isinstance(f.limit, float)), key=lambda f: f.use, default=None
            )
            told = (f"{used.use:.0%}", bar(used.use), HEADS[used.name]) if used else ("", "", "")
            table.add_row(
                Text(_indented(standing.scope)), _state(standing.state), _money(standing.pnl), *told
            )  # fmt: skip
        return _panel("Scopes", table)
    table = _table("Scope", "State", ">P&L", *(f">{HEADS[name]}" for name in shown))
    for standing in report.scopes:
        table.add_row(
            Text(_indented(standing.scope)), _state(standing.state), _money(standing.pnl),
            *(_used(_figure(standing, name)) for name in shown),
        )  # fmt: skip
    return _panel("Scopes", table)


def _one(standing: Standing, currency: str) -> list[RenderableType]:
    table = _table("Limit", ">Used", ">Limit", "", ">")
    for figure in standing.figures:
        limit = figure.limit
        shown = NONE if limit is None else limit if isinstance(limit, str) else number(limit, 0)
        table.add_row(
            HEADS.get(figure.name, figure.name), number(figure.value, 0), Text(str(shown), style="dim"),
            bar(figure.use) if isinstance(limit, float) else Text(""),
            f"{figure.use:.0%}" if isinstance(limit, float) else "",
        )  # fmt: skip
    head = Text.assemble(
        (standing.scope, "bold"), "  ", _state(standing.state), f"  P&L {number(standing.pnl, 2)} {currency}"
    )
    parts: list[RenderableType] = [_panel("Scope", Group(head, table))]
    if standing.state != "ACTIVE":
        parts.append(_panel("Why", _why(standing)))
    if standing.held:
        held = _table("Instrument", ">Position", ">Longest", ">Shortest", ">At worst", ">P&L", "", ">Use")
        for row in standing.held:
            held.add_row(
                row.instrument, f"{row.position:+,.8g}", f"{row.longest:+,.8g}", f"{row.shortest:+,.8g}",
                number(row.value, 0), _money(row.pnl), bar(row.use) if row.use else "", f"{row.use:.0%}" if row.use else NONE,
            )  # fmt: skip
        parts.append(_panel("Held, and open", held))
    return parts


def _figure(standing: Standing, name: str) -> Figure | None:
    return next((figure for figure in standing.figures if figure.name == name), None)


def _used(figure: Figure | None) -> Text:
    """The amount, and a bar where there is a limit."""
    if figure is None:
        return Text(NONE, style="dim")
    value = number(max(figure.value, 0.0), 0)
    if not isinstance(figure.limit, float):
        return Text(f"{value} {' ' * BAR}     ", style="" if figure.value > 0 else "dim")
    return Text.assemble(
        (f"{value} ", "" if figure.value > 0 else "dim"), bar(figure.use), f" {figure.use:4.0%}"
    )


def _why(standing: Standing) -> Text:
    since = clock(standing.since)[:8] if standing.since else NONE
    return Text.assemble(
        (f"{since}  ", "dim"), (f"{standing.scope}  ", "cyan"), _state(standing.state),
        f"  {standing.trigger}: {standing.reason}",
    )  # fmt: skip


def _state(state: str) -> Text:
    return Text(f"● {state}", style=STYLES.get(state, "bold red"))


def _money(value: float) -> Text:
    return Text(number(value, 0), style="red" if value < 0 else "")


def _indented(scope: str) -> str:
    depth = {"desk": 1, "account": 2, "strategy": 3}
    return "  " * depth.get(scope.partition(":")[0], 0) + scope


def _table(*heads: str) -> Table:
    """Heads that begin with > are of figures, right-aligned."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head.lstrip(">"), justify="right" if head[:1] == ">" else "left", no_wrap=True)
    return table


def _panel(title: str, inner: RenderableType) -> Panel:
    return Panel(
        inner, title=title, title_align="left", box=ROUNDED, border_style="bright_black", padding=(0, 1)
    )

"""The report's last section: what the run read, how it went, and whether its books agree."""

from __future__ import annotations

from typing import Any

from tidegate.analytics.run_summary import RunSummary
from tidegate.report.format import count, duration, moment, number, significant
from tidegate.report.markup import Cell, empty, esc, label, section, table


def banner(error: Any) -> str:
    """Why the run ended early, above everything else; nothing when it did not."""
    if not error:
        return ""
    return (
        '<div class="banner" role="alert"><strong>This run ended early.</strong> '
        f"What follows covers only what happened before.<pre>{esc(error)}</pre></div>"
    )


def warnings(summary: RunSummary) -> str:
    """A note at the top for each check that failed: figures that cannot all be right are said to be so."""
    broken = [check for check in summary.checks if not check.ok]
    if not broken:
        return ""
    lines = "".join(
        f"<li>{esc(check.name)}: held {esc(count(check.held))} of {esc(count(check.of))} times; first break: "
        f"{esc(check.first_break)}</li>"
        for check in broken
    )
    title = "<strong>The books do not agree.</strong>"
    return f'<div class="banner soft" role="alert">{title}<ul>{lines}</ul></div>'


def run_section(summary: RunSummary, info: dict[str, Any]) -> str:
    """Data, counters, speed, checks."""
    lead = "What was read, how fast, what was found wrong with it, and whether the run's books agree."
    return section(
        "run", "The run", lead,
        "<h3>Data</h3>", _data(info), "<h3>Counters</h3>", _counters(info),
        *_moves(info), "<h3>Checks</h3>", _checks(summary), "<h3>Facts</h3>", _facts(summary, info),
    )  # fmt: skip


def _data(info: dict[str, Any]) -> str:
    data: dict[str, Any] = info.get("data") or {}
    if not data:
        return empty("The run does not say what it read.")
    kinds = sorted({kind for item in data.values() for kind in (item.get("rows") or {})})
    rows: list[list[str | Cell]] = []
    for name, item in data.items():
        counts = item.get("rows") or {}
        start, end = item.get("start"), item.get("end")
        rows.append(
            [
                label(name), *(count(int(counts.get(kind, 0))) for kind in kinds),
                count(sum(int(v) for v in counts.values())),
                moment(int(start)) if start else "–", moment(int(end)) if end else "–",
            ]
        )  # fmt: skip
    return table(
        ["Instrument", *(f"{kind} rows" for kind in kinds), "All rows", "From, UTC", "To, UTC"], rows
    )


def _counters(info: dict[str, Any]) -> str:
    counters: dict[str, Any] = info.get("counters") or {}
    if not counters:
        return empty("The run kept no counters.")
    rows: list[list[str | Cell]] = []
    for name, value in counters.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        rows += [[label(name), label(part), _figure(amount)] for part, amount in inner]
    return table(["Counter", Cell("", "text"), "Count"], rows, compact=True)


def _moves(info: dict[str, Any]) -> list[str]:
    """Positions that moved without a trade; nothing where none did."""
    rows: list[list[str | Cell]] = [
        [
            moment(int(m["ts"])), label(m["what"]), label(m["strategy"]), label(m["account"]), label(m["instrument"]),
            significant(m["side"] * m["qty"]), significant(m["price"], 8),
        ]
        for m in info.get("moves") or []
    ]  # fmt: skip
    head: list[str | Cell] = [
        "When, UTC",
        Cell("What", "text"),
        Cell("Strategy", "text"),
        Cell("Account", "text"),
    ]
    head += [Cell("Instrument", "text"), "Quantity", "Price"]
    return ["<h3>Positions that moved without a trade</h3>", table(head, rows)] if rows else []


def _figure(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return count(value) if isinstance(value, int) else significant(value)


def _checks(summary: RunSummary) -> str:
    rows: list[list[str | Cell]] = [
        [
            label(check.name),
            Cell("holds" if check.ok else "broken", "" if check.ok else "bad"),
            f"{count(check.held)} of {count(check.of)}",
            label(check.first_break),
        ]
        for check in summary.checks
    ]
    return table(["Equality", "", "Times", Cell("First break", "text")], rows, compact=True)


def _facts(summary: RunSummary, info: dict[str, Any]) -> str:
    capital = ", ".join(f"{name}: {number(float(v), 2)}" for name, v in (info.get("capital") or {}).items())
    rates = ", ".join(f"{name} {significant(float(v), 8)}" for name, v in (info.get("rates") or {}).items())
    facts = [
        ("Configuration", info.get("config")),
        ("Run id", info.get("run_id")),
        ("State hash", info.get("state_hash")),
        ("Code version", info.get("version")),
        ("Base currency", summary.base),
        ("Capital", capital),
        ("Rates to the base", rates),
        ("Events", _figure(info["events"]) if info.get("events") is not None else ""),
        ("Wall time", duration(float(info["wall_s"]) * 1e9) if info.get("wall_s") is not None else ""),
        ("Events a second", number(info.get("events_per_s"), 0) if info.get("events_per_s") else ""),
    ]
    return table(None, [[label(name), label(str(v))] for name, v in facts if v], compact=True)

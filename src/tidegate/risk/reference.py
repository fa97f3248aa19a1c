"""The tables of `docs/risk.md`, printed from the code: controls, limits, reason codes.

Run `python -m tidegate.risk.reference docs/risk.md` to bring the document up to date; a test holds that it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tidegate.risk.controls import CONTROLS, Control
from tidegate.risk.limits import InstrumentLimits
from tidegate.risk.reasons import Reason

_NOTE = "written by python -m tidegate.risk.reference"


def controls() -> str:
    """Every control: its rule, its limits, where they must be set, and what it never holds back."""
    lines = ["| # | control | rule | limits | must be set at | warns | lets what only reduces pass |"]
    lines.append("|---|---|---|---|---|---|---|")
    for control in CONTROLS:
        fields = ", ".join(f"`{name}`" for name in control.fields)
        passes = "yes" if control.risk_only else ""
        cells = (control.number, control.name, control.rule, fields, _levels(control), control.soft, passes)
        lines.append(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def _levels(control: Control) -> str:
    if not control.required:
        return "need not be"
    if control.levels:
        return ", ".join(level.name.lower() for level in control.levels)
    return "anywhere on the chain" if control.fields else ""


def reasons(low: int, high: int) -> str:
    """The reason codes from `low` up to `high`; a gate's denial comes with the figures of its control."""
    figures = {control.number: control.figures for control in CONTROLS}
    gate = low < 200
    lines = ["| code | reason | control | meaning | limit; value |", "|---|---|---|---|---|"]
    if not gate:
        lines = ["| code | reason | meaning |", "|---|---|---|"]
    for reason in Reason:
        if low <= reason < high:
            middle = f"{reason.control} | {reason.text} | {figures[reason.control]}" if gate else reason.text
            lines.append(f"| {int(reason)} | `{reason.name}` | {middle} |")
    return "\n".join(lines)


def per_instrument() -> str:
    """The limits that may be set for an instrument, as a sentence's list."""
    return ", ".join(f"`{name}`" for name in InstrumentLimits.__struct_fields__)


def tables() -> dict[str, str]:
    """What stands between each pair of markers."""
    return {
        "controls": controls(),
        "instrument limits": per_instrument(),
        "gate reasons": reasons(1, 200),
        "venue reasons": reasons(200, 300),
        "lane reasons": reasons(300, 400),
    }


def write_into(text: str) -> str:
    """`text` with every table between its markers as the code has it; raises `ValueError` without markers."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}: {_NOTE} -->\n", f"\n<!-- end of {name} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the document has no markers for {name!r}: {begin.strip()} … {end.strip()}")
        text = head + begin + table + end + tail
    return text


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(write_into(path.read_text()))

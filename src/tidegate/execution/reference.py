"""The order's states as Markdown, printed from the table that the lane looks its moves up in.

`python -m tidegate.execution.reference docs/orders.md` writes the tables into the file, between their
markers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tidegate.model.order import TRANSITIONS, OrdStatus, Trigger

MARK = "<!-- {}: written by python -m tidegate.execution.reference -->"
OPEN = [status for status in OrdStatus if not status.terminal]


def transitions() -> str:
    """One row a trigger, one column a status that is not terminal; the cell is where it leads."""
    lines = ["| |" + "|".join(status.name for status in OPEN) + "|", "|---" * (len(OPEN) + 1) + "|"]
    for trigger in Trigger:
        cells = []
        for status in OPEN:
            target = TRANSITIONS.get((status, trigger))
            cells.append("" if target is None else "same" if target is status else target.name)
        lines.append(f"|**{trigger.name}**|" + "|".join(cells) + "|")
    return "\n".join(lines)


def write_into(text: str) -> str:
    """The document with its tables as they are now; raises `ValueError` where a marker is missing."""
    begin, end = MARK.format("transitions"), MARK.format("end of transitions")
    if begin not in text or end not in text:
        raise ValueError(f"the document lacks the markers {begin!r} and {end!r}")
    before, rest = text.split(begin, 1)
    return f"{before}{begin}\n{transitions()}\n{end}{rest.split(end, 1)[1]}"


def main() -> None:
    path = Path(sys.argv[1])
    path.write_text(write_into(path.read_text()))


if __name__ == "__main__":
    main()

"""HTML from data: everything that comes from a run is escaped here, once, and nowhere else."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson


def esc(text: object) -> str:
    """Text for the body of an element or a quoted attribute."""
    return html.escape(str(text), quote=True)


def plotly_text(text: str) -> str:
    """Text for a plotly label, which would read tags, `%{…}` and `$…$`: it is shown as it is written."""
    escaped = html.escape(text, quote=False)
    return escaped.replace("%{", "%&#123;").replace("$", "&#36;") or "\u200b"


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no character can end it or open a comment."""
    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, a class, an explanation on hover, a colour mark before the text."""

    text: str
    css: str = ""
    title: str = ""
    mark: str = ""
    below: str = ""
    """A second, quieter line."""


def label(text: str, mark: str = "", title: str = "") -> Cell:
    """A left-aligned cell; `mark` is a palette name for the small square before it."""
    return Cell(text, "text", title, mark)


def signed(text: str, value: float | None) -> Cell:
    """A right-aligned figure, set in red where it is negative."""
    bad = value is not None and math.isfinite(value) and value < 0 and text.startswith("−")
    return Cell(text, "bad" if bad else "")


def table(
    head: Sequence[str | Cell] | None,
    rows: Sequence[Sequence[str | Cell]],
    foot: Sequence[str | Cell] | None = None,
    compact: bool = False,
) -> str:
    """A table: first column text, others figures set right, unless a cell's class says otherwise.

    A compact one is as wide as its content, others as the page.
    """
    parts = [f'<div class="scroll"><table{" class=compact" if compact else ""}>']
    parts.append(f"<thead>{_row(head, 'th')}</thead><tbody>" if head else "<tbody>")
    parts += [_row(row, "td") for row in rows]
    parts.append("</tbody>")
    if foot is not None:
        parts += ["<tfoot>", _row(foot, "td"), "</tfoot>"]
    return "".join([*parts, "</table></div>"])


def _row(cells: Sequence[str | Cell], tag: str) -> str:
    return "<tr>" + "".join(_cell(cell, tag, n) for n, cell in enumerate(cells)) + "</tr>"


def _cell(cell: str | Cell, tag: str, column: int) -> str:
    if isinstance(cell, str):
        cell = Cell(cell)
    css = cell.css or ("text" if column == 0 else "")
    attributes = f' class="{esc(css)}"' if css else ""
    if cell.title:
        attributes += f' title="{esc(cell.title)}"'
    if tag == "th":
        attributes += ' scope="col"'
    mark = f'<i class="mark" style="background:var(--{esc(cell.mark)})"></i>' if cell.mark else ""
    below = f"<small>{esc(cell.below)}</small>" if cell.below else ""
    return f"<{tag}{attributes}>{mark}{esc(cell.text)}{below}</{tag}>"


def paragraph(text: str, css: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{esc(css)}">{esc(text)}</p>' if css else f"<p>{esc(text)}</p>"


def empty(why: str) -> str:
    """What stands in the place of a picture or a table that has nothing to show."""
    return paragraph(why, "empty")


def plot(name: str, height: int, caption: str = "") -> str:
    """The place of a picture; the page's script draws the figure of that name into it."""
    note = f"<figcaption>{esc(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><div class="plot" id="plot-{esc(name)}" data-figure="{esc(name)}" '
        f'style="height:{height}px"></div>{note}</figure>'
    )


def section(anchor: str, title: str, lead: str, *body: str) -> str:
    """A section: heading, one sentence on how to read it, and its content."""
    return (
        f'<section id="{esc(anchor)}"><h2>{esc(title)}</h2>'
        f'<p class="lead">{esc(lead)}</p>{"".join(body)}</section>'
    )

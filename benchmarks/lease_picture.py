"""A picture of two panels as SVG: false denials, and grants and recalls a second, by lease size; a line for each use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

INK, MUTED, RULE, PAPER = "#1b2126", "#68727c", "#e2e6ea", "#ffffff"
COLOURS = ("#2f6da8", "#3b8f6b", "#8a7a2a", "#d1782b", "#b3261e")
WIDTH, HEIGHT, LEFT, TOP, GAP = 440, 300, 64, 56, 56
Points = Sequence[tuple[float, float]]


def _panel(at: int, title: str, lines: Mapping[str, Points], unit: str, low: float, high: float) -> list[str]:
    """One panel: x is the lease size, y is logarithmic from `low` to `high`."""
    left, bottom = LEFT + at * (WIDTH + GAP), TOP + HEIGHT
    xs = sorted({x for points in lines.values() for x, _ in points})

    def across(x: float) -> float:
        return left + WIDTH * (math.log(x / xs[0]) / math.log(xs[-1] / xs[0]))

    def up(y: float) -> float:
        return bottom - HEIGHT * math.log(max(y, low) / low) / math.log(high / low)

    out = [f'<text x="{left}" y="{TOP - 14}" class="t">{title}</text>']
    tick = low
    while tick <= high * 1.001:
        y = up(tick)
        out.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="r"/>')
        name = "0" if tick == low and unit == "%" else f"{tick:g}"
        out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" class="n" text-anchor="end">{name}{unit}</text>')
        tick *= 10
    for x in xs:
        out.append(
            f'<text x="{across(x):.1f}" y="{bottom + 18}" class="n" text-anchor="middle">{100 * x:g} %</text>'
        )
    for colour, (_, points) in zip(COLOURS, lines.items(), strict=False):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return out


def draw(path: Path, false: Mapping[str, Points], changes: Mapping[str, Points]) -> None:
    """Write the picture; `false` in percent, `changes` a second, both by the use they were measured at."""
    width, height = LEFT + 2 * WIDTH + GAP + 24, TOP + HEIGHT + 78
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>text{{font:12px system-ui,sans-serif;fill:{MUTED}}}.t{{font-size:14px;font-weight:600;fill:{INK}}}"
        f".r{{stroke:{RULE}}}</style>",
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        *_panel(0, "Orders refused though the sum had room", false, "%", 0.001, 100),
        *_panel(1, "Grants and recalls a second", changes, "", 1, 10_000),
    ]
    y = TOP + HEIGHT + 44
    out.append(
        f'<text x="{LEFT}" y="{y}">lease size: the part of what nobody uses that is spread over the lanes</text>'
    )
    x = LEFT
    for colour, name in zip(COLOURS, false, strict=False):
        out.append(f'<rect x="{x}" y="{y + 12}" width="14" height="4" fill="{colour}"/>')
        out.append(f'<text x="{x + 20}" y="{y + 18}">{name}</text>')
        x += 130
    path.write_text("\n".join([*out, "</svg>"]) + "\n")

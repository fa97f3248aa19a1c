"""Reading a written report: its elements, its figures as plotly would get them, its visible text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from tidegate.report.pack import unpack

_VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """The page's elements and text; fails where a tag is left open or closed twice."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif not self._open or self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def figures(self) -> dict[str, Any]:
        """The figures, series unpacked, palette names as colours; several as `name/0`, `name/1` …"""
        raw = json.loads(self.scripts[0])
        out: dict[str, Any] = {}
        for name, figure in raw.items():
            if isinstance(figure, list):
                out |= {f"{name}/{n}": _resolve(one, "") for n, one in enumerate(figure)}
            else:
                out[name] = _resolve(figure, "")
        return out


def _resolve(value: Any, key: str) -> Any:
    if isinstance(value, str) and value.startswith("@") and key.endswith("color"):
        return "#123456"
    if isinstance(value, list):
        return [_resolve(item, key) for item in value]
    if isinstance(value, dict):
        if isinstance(value.get("u"), str):
            return [None if v != v else v for v in unpack(value).tolist()]
        return {k: _resolve(v, k) for k, v in value.items()}
    return value

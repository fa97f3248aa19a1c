"""The logs of all processes as one, by time: filtered, followed, and one tick's way through them."""

from __future__ import annotations

import heapq
import io
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from tidegate.errors import UserError, nearest
from tidegate.model.time import MS, iso
from tidegate.ops.folder import DataFolder
from tidegate.ops.logs import LEVELS, numbered

FOLLOW_S = 0.5
_HEAD = ("ts", "time", "level", "name", "role", "pid", "event", "text", "stack", "hop")
_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}
Line = dict[str, Any]


@dataclass
class Wanted:
    """Which lines. `unreadable` counts what was no log line: torn by a kill, or not ours."""

    names: tuple[str, ...] = ()
    level: int = 0
    trace: int = 0
    since: int = 0
    unreadable: int = field(default=0, compare=False)

    def parse(self, data: bytes) -> Line | None:
        """The line, if it is wanted."""
        if not data.strip() or (self.trace and str(self.trace).encode() not in data):
            return None
        try:
            line = msgspec.json.decode(data, type=dict[str, Any])
            wanted = line["ts"] >= self.since and LEVELS.get(line["level"], 0) >= self.level
        except (ValueError, KeyError, TypeError):
            self.unreadable += 1
            return None
        return line if wanted and self.trace in (0, line.get("trace", 0)) else None


def log_names(folder: DataFolder, names: tuple[str, ...] = ()) -> list[str]:
    """The processes that have logs, of those asked for; raises `UserError` for one that has none."""
    known = sorted({path.name.partition(".jsonl")[0] for path in folder.logs.glob("*.jsonl*")})
    if not known:
        raise UserError(f"no logs in {folder.logs}; start a system with `tidegate up`, or say --data")
    for name in names:
        if name not in known:
            raise UserError(f"no log of {name!r} in {folder.logs}{nearest(name, known)}")
    return list(names) or known


def read(folder: DataFolder, wanted: Wanted) -> Iterator[Line]:
    """Every wanted line of every process, oldest first."""
    streams = [_one(folder.log(name), wanted) for name in log_names(folder, wanted.names)]
    yield from heapq.merge(*streams, key=lambda line: int(line["ts"]))


def _one(path: Path, wanted: Wanted) -> Iterator[Line]:
    older, number = [path], 1
    while numbered(path, number).exists():
        older.insert(0, numbered(path, number))
        number += 1
    for file in older:
        try:
            with file.open("rb") as lines:
                for data in lines:
                    if (line := wanted.parse(data)) is not None:
                        yield line
        except FileNotFoundError:
            continue  # moved on meanwhile


class Follower:
    """What is appended to the logs from now on, also by processes that begin later."""

    def __init__(self, folder: DataFolder, wanted: Wanted) -> None:
        self._folder, self._wanted = folder, wanted
        self._files: dict[str, io.BufferedReader] = {}
        self._parts: dict[str, bytes] = {}
        self._open(at_end=True)

    def lines(self) -> list[Line]:
        """What has come since the last call, by time."""
        self._open(at_end=False)
        found: list[Line] = []
        for name in list(self._files):
            found += self._read(name)
            if self._moved(name):  # rotated: the rest of the old file, then the new one
                found += self._read(name)
                self._files.pop(name).close()
                self._open(at_end=False)
                found += self._read(name) if name in self._files else []
        return sorted(found, key=lambda line: int(line["ts"]))

    def _read(self, name: str) -> list[Line]:
        *whole, self._parts[name] = (self._parts.get(name, b"") + self._files[name].read()).split(b"\n")
        return [line for data in whole if (line := self._wanted.parse(data)) is not None]

    def _moved(self, name: str) -> bool:
        try:
            return self._folder.log(name).stat().st_ino != os.fstat(self._files[name].fileno()).st_ino
        except FileNotFoundError:
            return False

    def _open(self, at_end: bool) -> None:
        for path in self._folder.logs.glob("*.jsonl"):
            name = path.name.removesuffix(".jsonl")
            if name not in self._files and (not self._wanted.names or name in self._wanted.names):
                self._files[name] = path.open("rb")
                self._files[name].seek(0, io.SEEK_END if at_end else io.SEEK_SET)


def follow(follower: Follower) -> Iterator[Line]:
    """Lines as they come, forever."""
    while True:
        yield from follower.lines()
        time.sleep(FOLLOW_S)


def show(line: Line, since: int = 0, width: int = 12) -> Text:
    """A line for people; with `since`, its distance from that moment instead of the time of the day."""
    style = _STYLES.get(str(line.get("level")), "")
    ts = int(line["ts"])
    when = f"{(ts - since) / MS:+11.3f} ms" if since else iso(ts)[11:26]
    text = Text()
    text.append(f"{when}  ", style="dim")
    text.append(f"{line.get('level', ''):<7} ", style=style)
    text.append(f"{line.get('name', ''):<{width}} ", style="cyan")
    text.append(f"{line.get('hop') or line.get('event', '')}", style=style or "bold")
    if line.get("text"):
        text.append(f"  {line['text']}", style=style)
    for key, value in line.items():
        if key not in _HEAD and not (since and key == "trace"):
            shown = value if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()
            text.append(f"  {key}=", style="dim")
            text.append(str(shown))
    if line.get("stack"):
        text.append("\n" + str(line["stack"]).rstrip(), style="dim")
    return text

"""Structured logs: one JSON line an event, one file a process, written a moment later so that nothing waits.

A line has `ts` (ns), `time` (the same, ISO 8601), `level`, `name`, `role`, `pid`, `event`, and where they are known
`text`, `trace`, `lane`, `cl_ord_id` and any figures. The last 0.2 s are lost to a kill -9; a clean end loses
nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.model.clock import Clock
from tidegate.model.time import iso
from tidegate.ops.folder import DataFolder
from tidegate.ops.redact import Redactor

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FLUSH_S = 0.2
MOST_WAITING = 20_000
"""Lines that may wait to be written; more are counted and dropped."""
_SHARED = ("trace", "lane", "cl_ord_id")
_encoder = msgspec.json.Encoder(enc_hook=str)
_Waiting = tuple[int, str, str, dict[str, Any]]


def level_number(name: str) -> int:
    """A level's rank; raises `UserError`."""
    if name not in LEVELS:
        raise UserError(f"unknown log level {name!r}{nearest(name, LEVELS)}")
    return LEVELS[name]


class LogFile:
    """A process's log. Writing a line costs two microseconds: it is encoded and written with the next flush.

    `trace_every` is 0 where single ticks are not traced, 1 for every tick, n for every nth: the choice hangs on
    the trace id alone, so that all processes choose the same ticks.
    """

    def __init__(
        self,
        folder: DataFolder,
        name: str,
        role: str,
        clock: Clock,
        *,
        level: str = "info",
        secrets: Iterable[str] = (),
        trace_every: int = 0,
        max_bytes: int = 32 << 20,
        keep: int = 4,
    ) -> None:
        self.path = folder.log(name)
        self.trace_every = trace_every
        self.counters = {"lines": 0, "lines_lost": 0}
        self._lost_told = 0
        self._head = {"name": name, "role": role, "pid": os.getpid()}
        self._clock, self._redactor = clock, Redactor(secrets)
        self._least = level_number(level)
        self._max_bytes, self._keep = max_bytes, keep
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.Handle | None = None
        self._fd, self._size, self._torn = -1, 0, False
        self._open()
        atexit.register(self.close)

    def debug(self, event: str, text: str = "", **fields: Any) -> None:
        """What only matters when looking for a fault."""
        self.write("debug", event, text, **fields)

    def info(self, event: str, text: str = "", **fields: Any) -> None:
        """What happened."""
        self.write("info", event, text, **fields)

    def warning(self, event: str, text: str = "", **fields: Any) -> None:
        """What somebody should know."""
        self.write("warning", event, text, **fields)

    def error(self, event: str, text: str = "", error: BaseException | None = None, **fields: Any) -> None:
        """What somebody must look at; with `error`, its stack."""
        if error is not None:
            text = text or f"{type(error).__name__}: {error}"
            fields["stack"] = "".join(traceback.format_exception(error))
        self.write("error", event, text, **fields)

    def write(self, level: str, event: str, text: str = "", **fields: Any) -> None:
        """A line of any level. `trace`, `lane` and `cl_ord_id` are fields like others, with names that all share."""
        if LEVELS[level] < self._least:
            return
        if text:
            fields["text"] = text
        self._put(self._clock.now(), level, event, fields)

    def _put(self, ts: int, level: str, event: str, fields: dict[str, Any]) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.counters["lines_lost"] += 1
            return
        self._waiting.append((ts, level, event, fields))
        if self._timer is None:
            self._schedule()

    def traces(self, trace: int) -> bool:
        """Whether this tick is one of those that are traced."""
        return bool(self.trace_every and trace) and (trace // 1000) % self.trace_every == 0

    def hop(self, hop: str, trace: int, ts: int, **fields: Any) -> None:
        """A tick came to a place at `ts`: a line, if it is one of those that are traced."""
        if self.traces(trace):
            self._put(ts, "info", "hop", {"hop": hop, "trace": trace, **fields})

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if not waiting or self._fd < 0:
            return
        told = self.counters["lines_lost"]
        lines = [self._encode(*line) for line in waiting]
        if told > self._lost_told:
            figures = {"lines": told - self._lost_told}
            lines.append(self._encode(self._clock.now(), "warning", "log.lost", figures))
        if self._store(b"".join(lines)):
            self._lost_told = told
            self.counters["lines"] += len(waiting)
            return
        if not told:
            print(f"tidegate: cannot write {self.path}: log lines are lost", file=sys.stderr, flush=True)
        self.counters["lines_lost"] += len(waiting)

    def _store(self, data: bytes) -> bool:
        if self._torn:
            data = b"\n" + data
        try:
            if self._size + len(data) > self._max_bytes and self._size:
                self._rotate()
            written = os.write(self._fd, data)
        except OSError:
            return False
        self._size += written
        self._torn = written < len(data)
        return not self._torn

    def close(self) -> None:
        """Write what waits and end."""
        atexit.unregister(self.close)
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _schedule(self) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._timed)
        except RuntimeError:  # no loop here: nothing to hold up
            self.flush()

    def _timed(self) -> None:
        self._timer = None
        self.flush()

    def _encode(self, ts: int, level: str, event: str, fields: dict[str, Any]) -> bytes:
        line = {"ts": ts, "time": iso(ts), "level": level, **self._head, "event": event}
        line |= self._redactor.fields(fields)
        return self._redactor.line(_encoder.encode(line)) + b"\n"

    def _open(self) -> None:
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(f"cannot write log {self.path}: {error.strerror}") from None
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self.path if number == 1 else numbered(self.path, number - 1)
            if older.exists():
                os.replace(older, numbered(self.path, number))
        os.close(self._fd)
        self._open()


def numbered(path: Path, number: int) -> Path:
    """The nth older file of a log."""
    return path.with_name(f"{path.name}.{number}")


class Bridge(logging.Handler):
    """Carries what is said to Python's own `logging` into a `LogFile`: by libraries, and by our own services.

    `extra={"event": …, "trace": …, "lane": …, "cl_ord_id": …, "figures": {…}}` become fields.
    """

    def __init__(self, log: LogFile) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        known = record.__dict__
        fields: dict[str, Any] = {key: known[key] for key in _SHARED if key in known}
        fields |= known.get("figures", {})
        if record.exc_info and record.exc_info[1] is not None:
            fields["stack"] = "".join(traceback.format_exception(record.exc_info[1]))
        level = next((name for name, rank in reversed(LEVELS.items()) if rank <= record.levelno), "debug")
        self._log.write(level, known.get("event", record.name), record.getMessage(), **fields)


def install(log: LogFile) -> None:
    """Let Python's `logging` of this process write into the log: ours from INFO on, libraries' from WARNING on."""
    root = logging.getLogger()
    root.handlers[:] = [Bridge(log)]
    root.setLevel(logging.WARNING)
    logging.getLogger("tidegate").setLevel(logging.INFO)

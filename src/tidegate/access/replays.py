"""Each command is done once: the ids of those done are remembered until they would be too old anyway."""

from __future__ import annotations

import contextlib
import heapq
import os
from pathlib import Path

from tidegate.errors import UserError

KEPT = 86_400_000_000_000
"""How long an id is remembered after its command has expired, ns."""


class Replays:
    """Remembers ids, for `KEPT` longer than their commands live: a clock that was ahead, and is set back, brings none
    back. With a `path` also over a restart: an id is on the disk before `first` says yes.

    Ask only about commands that have been verified: a stranger's ids would fill the memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._ends: dict[str, int] = {}
        self._by_end: list[tuple[int, str]] = []
        self._path = path
        self._lines = 0
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                self._load(path.read_bytes())

    def __len__(self) -> int:
        return len(self._ends)

    def first(self, id: str, expires: int, now: int) -> bool:
        """Whether this id has not been seen; it has from now on. Raises `UserError` where it cannot be kept."""
        while self._by_end and self._by_end[0][0] + KEPT <= now:
            _, old = heapq.heappop(self._by_end)
            self._ends.pop(old, None)
        if id in self._ends:
            return False
        self._know(id, expires)
        if self._path is not None:
            self._keep(self._path, f"{expires} {id}\n")
        return True

    def _know(self, id: str, expires: int) -> None:
        self._ends[id] = expires
        heapq.heappush(self._by_end, (expires, id))

    def _load(self, data: bytes) -> None:
        for line in data.decode(errors="replace").splitlines(keepends=True):
            expires, _, id = line.rstrip("\n").partition(" ")
            if line.endswith("\n") and expires.isdecimal() and id:
                self._know(id, int(expires))
                self._lines += 1
            elif (
                not line.endswith("\n") and self._path is not None
            ):  # the machine stopped while it was written
                _write(self._path, "\n", os.O_APPEND)

    def _keep(self, path: Path, line: str) -> None:
        """Append it, and now and then write the file anew without those that have expired."""
        try:
            if self._lines > 2 * len(self._ends) + 100:
                lines = "".join(f"{end} {id}\n" for id, end in self._ends.items())
                part = path.with_name(f".{path.name}.{os.getpid()}")
                _write(part, lines, os.O_TRUNC)
                part.replace(path)
                self._lines = len(self._ends)
            else:
                _write(path, line, os.O_APPEND)
                self._lines += 1
        except OSError as error:
            raise UserError(
                f"{path}: cannot remember a command, so it is not done: {error.strerror}"
            ) from None


def _write(path: Path, text: str, flag: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

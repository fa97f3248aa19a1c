"""The halts that hold at a gateway, in a file that outlives its process: what the log may not have yet."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tidegate.risk.halt import HaltEvent
from tidegate.risk.scopes import State


class HaltFile:
    """The events in force, on the disk before `write` returns; nothing is kept where `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written: list[HaltEvent] = []

    def read(self, now: int) -> list[HaltEvent]:
        """What was written last. A file that cannot be read counts as a halt of the firm."""
        if self._path is None or not self._path.exists():
            return []
        try:
            self._written = msgspec.json.decode(self._path.read_bytes(), type=list[HaltEvent])
        except (OSError, ValueError):
            text = f"{self._path} cannot be read"
            return [
                HaltEvent(
                    ts=now,
                    scope="firm",
                    state=State.KILLED,
                    reason=text,
                    trigger="halt_file",
                    source=str(self._path),
                )
            ]
        return list(self._written)

    def write(self, events: list[HaltEvent]) -> None:
        """Keep these and no others. Raises `OSError`."""
        if self._path is None or events == self._written:
            return
        if events:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._path.with_suffix(".new")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(events))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        else:
            self._path.unlink(missing_ok=True)
        self._written = list(events)

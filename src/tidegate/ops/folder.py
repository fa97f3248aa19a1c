"""The data folder of a running system: what lies where."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import UserError
from tidegate.log import private

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")
"""What a process may be called: its files are named by it."""


@dataclass(frozen=True)
class DataFolder:
    """`run/` holds the lock, sockets, health and states of what runs now; `logs/` what was said."""

    path: Path

    @property
    def run(self) -> Path:
        """Lock, sockets, health files: worthless once nothing runs."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """Structured logs (`NAME.jsonl`, older ones `NAME.jsonl.1` …) and what a process printed (`NAME.out`)."""
        return self.path / "logs"

    @property
    def lock(self) -> Path:
        """Held by the one `tidegate up` of this folder."""
        return self.run / "up.lock"

    @property
    def socket(self) -> Path:
        """Where the supervisor takes orders."""
        return self.run / "up.sock"

    @property
    def states(self) -> Path:
        """What the supervisor knows of its processes, for `tidegate ps`."""
        return self.run / "up.json"

    @property
    def instruments(self) -> Path:
        """The instruments of the system, written by `tidegate up` for its processes."""
        return self.run / "instruments.json"

    def health(self, name: str) -> Path:
        """The file a process writes its health to once a second."""
        return self.run / f"{name}.health"

    def log(self, name: str) -> Path:
        """The structured log of a process."""
        return self.logs / f"{name}.jsonl"

    def out(self, name: str) -> Path:
        """What a process printed."""
        return self.logs / f"{name}.out"

    def gateways(self) -> list[Path]:
        """The sockets of gateways, `gw.VENUE.ACCOUNT.sock`."""
        return sorted(self.run.glob("gw.*.sock"))

    def make(self) -> None:
        """Make the folders, for their owner alone. Raises `UserError` where that or writing there fails."""
        probe = self.run / f".probe.{os.getpid()}"
        try:
            for folder in (self.run, self.logs):
                private.folder(folder)
            for folder in (self.run, self.logs):
                probe = folder / probe.name
                probe.write_bytes(b"x" * 4096)
                probe.unlink()
        except OSError as error:
            probe.unlink(missing_ok=True) if probe.parent.is_dir() else None
            where = error.filename or self.path
            raise UserError(
                f"cannot write to data folder {self.path}: {where}: {error.strerror}; make room or give --data another"
            ) from None


def check_name(name: str) -> str:
    """The name, if a process may have it; else `UserError`."""
    if not NAME.fullmatch(name):
        raise UserError(f"process name {name!r}: use letters, digits and _ . - only, 61 at most")
    return name


def replace(path: Path, data: bytes) -> None:
    """Write a small file so that a reader sees the old one or the new one, never a part. Raises `OSError`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise

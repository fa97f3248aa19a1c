"""One `tidegate up` on a data folder. The kernel holds the lock, so the dead hold none."""

from __future__ import annotations

import fcntl
import os
from typing import NamedTuple

import msgspec

from tidegate.errors import UserError
from tidegate.ops.folder import DataFolder
from tidegate.ops.proc import lives, started


class Holder(NamedTuple):
    """Whose lock it is."""

    pid: int
    started: int


class Lock:
    """The lock on a data folder, from `take` to `release` or to the end of the process."""

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self._fd = -1

    def take(self) -> Holder | None:
        """Take it. The holder before us, if it died without giving the lock back; None if all was in order.

        Raises `UserError` when another process holds it.
        """
        path = self.folder.lock
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(f"cannot open {path}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _parse(os.pread(fd, 4096, 0))
            os.close(fd)
            who = f"process {holder.pid}" if holder else "another process"
            raise UserError(
                f"data folder {self.folder.path} is in use by `tidegate up`, {who}: stop that first, "
                "or give --data another folder"
            ) from None
        before = _parse(os.pread(fd, 4096, 0))
        self._fd = fd
        self._write(msgspec.json.encode({"pid": os.getpid(), "started": started(os.getpid())}))
        return before

    def release(self) -> None:
        """Give it back, in order."""
        if self._fd >= 0:
            self._write(b"")
            os.close(self._fd)
            self._fd = -1

    def _write(self, data: bytes) -> None:
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, data, 0)


def holder(folder: DataFolder) -> Holder | None:
    """Who runs this folder now; None when nobody does (also when the last one died)."""
    try:
        found = _parse(folder.lock.read_bytes())
    except OSError:
        return None
    return found if found and lives(found.pid, found.started) else None


def _parse(data: bytes) -> Holder | None:
    try:
        found = msgspec.json.decode(data, type=dict[str, int])
        return Holder(found["pid"], found["started"])
    except (ValueError, KeyError):
        return None

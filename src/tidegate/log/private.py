"""What is kept from other users of this machine: folders, and the memory of a process."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_PR_SET_DUMPABLE = 4


def folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone. Raises `OSError`."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


def no_core() -> None:
    """This process, and those it starts, leave no core file: what they hold in memory is not for the disk."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def unseen() -> None:
    """No other process of this user may read the memory or the environment of this one, nor trace it (Linux). Called by
    a process that holds keys; root still may, and a debugger may not."""
    no_core()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

"""What a process and all that descends from it use, where no control group counts it.

A process that leaves its family (two forks and a session of its own) is not seen: only a group holds those.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple

from tidegate.ops.proc import figures

_PROC = Path("/proc")


class Use(NamedTuple):
    """A family of processes now."""

    memory: int
    """Bytes, what they share counted once for each."""
    tasks: int
    """Processes and threads."""


def family(pid: int) -> list[int]:
    """The process and its descendants; empty when it is gone or the machine does not tell."""
    found: list[int] = []
    todo = [pid]
    while todo:
        at = todo.pop()
        children = b""
        with contextlib.suppress(OSError):
            for task in os.listdir(_PROC / str(at) / "task"):
                children += (_PROC / str(at) / "task" / task / "children").read_bytes()
            found.append(at)
        todo += [int(child) for child in children.split()]
    return found


def use(pid: int) -> Use:
    """What the family of a process uses."""
    memory = tasks = 0
    for member in family(pid):
        now = figures(member)
        memory += now.rss if now else 0
        with contextlib.suppress(OSError):
            tasks += len(os.listdir(_PROC / str(member) / "task"))
    return Use(memory, tasks)


def tasks_of_user(uid: int) -> int:
    """Processes and threads of a user, as `RLIMIT_NPROC` counts them."""
    count = 0
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == uid:
                    count += len(os.listdir(f"/proc/{entry.name}/task"))
    return count


def kill_family(pid: int) -> None:
    """End a process and its descendants, until none is left that could have forked meanwhile."""
    for _ in range(100):
        members = family(pid)
        alive = [member for member in members if figures(member) is not None]
        for member in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        if not alive:
            return


def kill_session(session: int) -> int:
    """End every process of a session; how many there were. For what a dead process left behind."""
    count = 0
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry.name}/stat").read_text()
            fields = text[text.rindex(")") + 2 :].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
        except (OSError, ValueError):
            continue
    return count

"""What the machine says of a process: whether it lives, its CPU time and memory, and the moment it ends."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Figures(NamedTuple):
    """One process now."""

    cpu_s: float
    """Seconds of CPU it has used since it began."""
    rss: int
    """Bytes of memory it holds."""
    started: int
    """When it began, in the machine's own ticks: with the process id, its name for good."""


def figures(pid: int) -> Figures | None:
    """The figures of a process; None when it is gone (a zombie is) or the machine does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name in brackets may hold anything
    if fields[0] in "ZX":
        return None
    cpu = (int(fields[11]) + int(fields[12])) / _TICK
    return Figures(cpu, int(fields[21]) * _PAGE, int(fields[19]))


def state(pid: int) -> str:
    """The kernel's letter for what its first thread does: R runs or wants to, S sleeps, D waits for a disk, T is stopped
    …; empty when it is gone or that is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return ""
    return text[text.rindex(")") + 2 :].split()[0]


def started(pid: int) -> int:
    """When the process began; 0 when it is gone or that is not known."""
    found = figures(pid)
    return found.started if found else 0


def lives(pid: int, began: int = 0) -> bool:
    """Whether a process with this id, begun then (0: whenever), is alive."""
    if pid <= 0:
        return False
    if Path("/proc/self/stat").exists():
        found = figures(pid)
        return found is not None and began in (0, found.started)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


async def ended(pid: int) -> None:
    """Return when the process, a child or not, has ended; at once, without asking again and again."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    if hasattr(os, "pidfd_open"):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop.add_reader(fd, done.set)
        try:
            await done.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return

    def wait() -> None:  # where the kernel has no handle for it (not Linux): a thread that waits
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=wait, daemon=True, name=f"wait-{pid}").start()
    await done.wait()

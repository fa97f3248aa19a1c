"""Starting a process that dies with us, its output in a file of its own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tidegate.log import private
from tidegate.ops.cell_life import Cell
from tidegate.ops.folder import DataFolder
from tidegate.ops.topology import Process

LARGEST_OUT = 16 << 20
"""Bytes of a process's printed output that are kept."""
_PR_SET_PDEATHSIG = 1
_ALONE = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""In a cell, linear algebra starts no thread for every core of the machine, unless our own environment says so."""
_LINE = 400


def spawn(
    process: Process, folder: DataFolder, env: Mapping[str, str], cell: Cell | None = None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start it, in its cell; the process and where in its `.out` file this life begins. Raises `OSError`.

    It gets a session of its own, so that Ctrl-C in our terminal does not reach it: we stop it in its turn. Should
    we die, the kernel sends it SIGTERM (Linux).
    """
    path = folder.out(process.name)
    given = {**(_ALONE if cell is not None else {}), **os.environ, **env, **process.env}
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        begin = trim(path)
        confine = cell.prepare() if cell is not None else None
        child = subprocess.Popen(
            list(process.argv),
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=fd,
            env={name: text for name, text in given.items() if name not in process.withheld},
            start_new_session=True,
            preexec_fn=_before(os.getpid(), confine),
        )
    finally:
        os.close(fd)
    if cell is not None:
        cell.joined(child.pid)
    return child, begin


def _before(parent: int, confine: Callable[[], None] | None) -> Callable[[], None] | None:
    """What the new process does before it becomes the program: ask to die with us, and take its limits."""
    if not sys.platform.startswith("linux"):
        return confine
    libc = ctypes.CDLL(None, use_errno=True)

    def act() -> None:
        private.no_core()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
        if confine is not None:
            confine()

    return act


def trim(path: Path) -> int:
    """Empty the file where it has grown too long; its size then."""
    size = path.stat().st_size
    if size > LARGEST_OUT:
        os.truncate(path, 0)
        return 0
    return size


def last_line(path: Path, begin: int) -> str:
    """The last line printed after `begin`, without our own name before it; empty where none was."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(begin if begin <= end else 0, end - 8192))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return said.removeprefix("tidegate: ")[:_LINE]


def how_it_ended(code: int, said: str) -> str:
    """`killed by SIGKILL`, `exit code 3: what it said last`."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}" + (f": {said}" if said else "")

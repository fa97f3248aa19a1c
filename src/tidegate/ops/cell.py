"""What one process may use of its machine.

| limit | with a control group (`cell_group`) | without |
|---|---|---|
| memory | of the whole cell; over it the kernel kills it | of data, a process: limit + `SLACK`; of the tree: a look |
| cpu | share of a core, a period of 0.1 s | not limited |
| processes | processes and threads of the cell; a fork too many fails | `RLIMIT_NPROC`, but not for root; a look |
| files, file_size | `RLIMIT_NOFILE`, `RLIMIT_FSIZE` | the same |

A look is the supervisor's, twice a second, at the process and what descends from it (`cell_watch`): over a limit, the
cell is killed. No cell leaves a core dump.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from tidegate.errors import UserError

UNLIMITED = "unlimited"
SLACK = 1 << 30
"""Bytes of data a process may map beyond its memory limit where only rlimits hold: mapped is not used."""
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG]i?B|B)")


@dataclass(frozen=True)
class Limits:
    """What a cell may use; None is without limit. The defaults are a strategy's: one needs about 200 MB."""

    memory: int | None = 1 << 30
    """Bytes."""
    cpu: float | None = 1.0
    """Cores: 0.5 is half of one."""
    processes: int | None = 64
    """Processes and threads together."""
    files: int | None = 256
    """Open files, sockets among them, of each process."""
    file_size: int | None = 256 << 20
    """Bytes of one file."""

    def shown(self) -> str:
        """`memory 1 GiB, cpu 100 %, 64 processes, 256 files`."""
        parts = [f"memory {size_text(self.memory)}" if self.memory is not None else ""]
        parts.append(f"cpu {self.cpu * 100:g} %" if self.cpu is not None else "")
        parts.append(f"{self.processes} processes" if self.processes is not None else "")
        parts.append(f"{self.files} files" if self.files is not None else "")
        parts.append(f"files of {size_text(self.file_size)}" if self.file_size is not None else "")
        return ", ".join(part for part in parts if part) or "no limits"


def size(text: str, where: str) -> int | None:
    """`"1GiB"` as bytes, None for `"unlimited"`; raises `UserError`."""
    if text == UNLIMITED:
        return None
    found = _SIZE.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise UserError(f"{where}: {text!r} is no size; write it as in 512MiB, 1GiB, or unlimited")
    return int(Decimal(found[1]) * _UNITS[found[2]])


def share(text: str, where: str) -> float | None:
    """`"50%"` of a core as 0.5, None for `"unlimited"`; raises `UserError`."""
    if text == UNLIMITED:
        return None
    try:
        if text.strip().endswith("%") and (value := Decimal(text.strip()[:-1])) >= 1:
            return float(value / 100)
    except InvalidOperation:
        pass
    raise UserError(
        f"{where}: {text!r} is no share; write it as in 50% (of a core, 1% or more), or unlimited"
    )


def size_text(size: int) -> str:
    """Bytes as people write them."""
    for unit in ("GiB", "MiB", "KiB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.4g} {unit}"
    return f"{size} B"


def rlimits(limits: Limits, tasks: int, root: bool) -> list[tuple[int, int]]:
    """(resource, value) to set in the new process. `tasks`: how many the user has now, for the kernel counts them all;
    of root it counts none."""
    found = [(resource.RLIMIT_CORE, 0)]
    if limits.memory is not None:
        found.append((resource.RLIMIT_DATA, limits.memory + SLACK))
    if limits.processes is not None and not root:
        found.append((resource.RLIMIT_NPROC, tasks + limits.processes))
    if limits.files is not None:
        found.append((resource.RLIMIT_NOFILE, limits.files))
    if limits.file_size is not None:
        found.append((resource.RLIMIT_FSIZE, limits.file_size))
    return found


def confine(wanted: list[tuple[int, int]]) -> Callable[[], None]:
    """What sets these limits in a process between fork and exec; one that is lower already stays."""

    def act() -> None:
        for kind, value in wanted:
            hard = resource.getrlimit(kind)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (most, most))

    return act

"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def describe() -> dict[str, str]:
    """Processor, memory, system and versions, with the date."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{len(os.sched_getaffinity(0))} × {_line('/proc/cpuinfo', 'model name') or platform.machine()}",
        "memory": f"{int(_line('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tidegate", "numba", "numpy")},
    }


def sentence() -> str:
    """The same in a line of Markdown."""
    about = describe()
    return (
        f"{about['processor']}, {about['memory']}, {about['system']}; Python {about['python']}, tidegate "
        f"{about['tidegate']}, numba {about['numba']}, numpy {about['numpy']}; {about['date']}."
    )


def _line(path: str, key: str) -> str:
    """The value of the first line `key: value` of a file of the system; empty where it has none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")

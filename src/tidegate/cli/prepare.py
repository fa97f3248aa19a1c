"""Compiling every kernel before the first work on a machine: in as many processes as there are cores, with a bar.

Kernels compile when their modules are first imported (`kernel.jit`), which a library user may leave to them; the
command line does it here, all at once, so that nobody waits a second time.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import tidegate
from tidegate.cli.waiting import bar

JOBS = (
    ("kernel.replay",),
    ("kernel.gate_play", "kernel.matching_engine"),
    (
        "kernel.merge", "kernel.survey", "marketdata.assemble", "marketdata.binance_scan", "marketdata.chain",
        "marketdata.live", "marketdata.order_audit", "marketdata.touch_audit", "venue.levels",
    ),
)  # fmt: skip
"""Modules with kernels, each job a process; the longest first."""


def _marker() -> Path:
    """A file that stands for: every kernel of these sources is compiled for this processor."""
    import llvmlite.binding

    from tidegate.kernel.jit import cache_root, source_hash

    package = Path(tidegate.__file__).resolve().parent
    sources = [
        source_hash(package.joinpath(*name.split(".")).with_suffix(".py")) for job in JOBS for name in job
    ]
    target = [platform.python_version(), llvmlite.binding.get_host_cpu_name()]
    digest = hashlib.sha256("\n".join(sources + target).encode()).hexdigest()[:12]
    return cache_root() / "kernels" / f"complete-{digest}"


def prepare() -> None:
    """Compile what is not compiled yet; what fails here fails again, with its reason, where it is imported."""
    from tidegate.kernel.jit import JIT

    if not JIT or (marker := _marker()).exists():
        return
    print("tidegate: compiling the kernels, once on this machine …", file=sys.stderr, flush=True)
    waiting, running, done = list(JOBS), list[subprocess.Popen[bytes]](), 0
    try:
        with bar("compiling", len(JOBS), "parts") as progress:
            while waiting or running:
                while waiting and len(running) < (os.cpu_count() or 1):
                    code = "import " + ", ".join(f"tidegate.{name}" for name in waiting.pop(0))
                    quiet = subprocess.DEVNULL
                    running.append(subprocess.Popen([sys.executable, "-c", code], stdout=quiet, stderr=quiet))
                time.sleep(0.1)
                ended = [process for process in running if process.poll() is not None]
                if any(process.returncode for process in ended):
                    return
                running = [process for process in running if process not in ended]
                done += len(ended)
                progress(done)
    finally:
        for process in running:
            process.kill()
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()

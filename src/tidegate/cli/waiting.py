"""What a person sees while a command works: a bar, when it takes longer than a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_S = 2.0
"""Seconds of work before a bar shows."""


@contextmanager
def bar(label: str, total: int, unit: str = "events") -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr over `total` units, shown on a terminal when the work lasts; call it with what
    is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    shown = Progress(
        TextColumn(label), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip
    started = time.monotonic()
    task = shown.add_task(label, total=total)

    def progress(done: int) -> None:
        if console.is_terminal and time.monotonic() - started >= QUIET_S:
            shown.start()
            shown.update(task, completed=done)

    try:
        yield progress
    finally:
        if shown.live.is_started:
            shown.stop()

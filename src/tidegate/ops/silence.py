"""Whether a process that shows no sign of life hangs, or only waits for the disk or for a core of a busy machine."""

from __future__ import annotations

from tidegate.ops.proc import Figures, figures, state

STARVED = 0.2
"""A process that wants to run and had less than this share of a core was not let: that is no endless loop."""
PATIENCE = 15.0
"""Times its `hung_after` that such a process is borne with; after that it is gone for all purposes."""


class Silence:
    """One process's silence, from half of what it may be silent on."""

    def __init__(self) -> None:
        self._from: tuple[float, Figures] | None = None

    def heard(self) -> None:
        """A sign of life."""
        self._from = None

    def hangs(self, pid: int, silent: float, longest: float, now: float) -> bool:
        """Whether it is to be killed after so many seconds of silence, `longest` being what it may; `now` in seconds."""
        found = figures(pid)
        if silent > longest / 2 and self._from is None and found is not None:
            self._from = (now, found)
        if silent <= longest or found is None or silent > longest * PATIENCE:
            return silent > longest
        begun, before = self._from or (now, found)
        word = state(pid)
        if word == "D":  # the disk does not answer: it will go on when it does
            return False
        passed = now - begun
        return word != "R" or passed <= 0 or (found.cpu_s - before.cpu_s) / passed >= STARVED

"""Numbers for what a risk service tells lanes: each above all before it, whoever said them.

So a lane passes over a word that comes late, or from a service that was replaced.
"""

from __future__ import annotations

from collections.abc import Callable

BITS = 20
"""Of a number below the epoch of the service that says it. Who says more in one epoch than fit there stays below its
successor's all the same: each renewal of its lease brings that one's epoch up."""


class Numbers:
    """Of one kind of word, all above `first`. `begin` says by which epoch, which may rise."""

    def __init__(self, first: int = 0) -> None:
        self._epoch: Callable[[], int] = lambda: 0
        self._first, self._last = first, 0

    def begin(self, epoch: Callable[[], int]) -> None:
        """Number by this epoch from here on."""
        self._epoch = epoch

    def next(self) -> int:
        """One more."""
        self._last = max(self._last, self._first + (self._epoch() << BITS)) + 1
        return self._last

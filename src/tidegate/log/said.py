"""What people were told already: what is so again is not said again for a time."""

from __future__ import annotations

from tidegate.model.time import SECOND

AGAIN = 60 * SECOND
"""What goes on is said again after so long, ns."""


class Said:
    """By words that name it and say how it is."""

    def __init__(self) -> None:
        self._until: dict[tuple[object, ...], int] = {}

    def first(self, now: int, *words: object, again: int = AGAIN) -> bool:
        """Whether it is to be said now; if so, it is not before `again` ns from now."""
        if now < self._until.get(words, now):
            return False
        self._until = {key: ts for key, ts in self._until.items() if now < ts} | {words: now + again}
        return True

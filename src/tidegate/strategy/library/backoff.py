"""How long to leave an action alone after it was refused."""

from __future__ import annotations

from tidegate.model.time import SECOND


class Backoff:
    """A pause that doubles with each refusal in a row and ends with the first success.

    A strategy that repeats a denied order at once learns nothing and runs into the duplicate and throttle
    controls as well (RISK_CONTROLS 11 and 13). Times in ns.
    """

    __slots__ = ("count", "first", "longest", "until")

    def __init__(self, first: int = SECOND, longest: int = 30 * SECOND) -> None:
        self.first = first
        self.longest = longest
        self.count = 0
        """Refusals in a row."""
        self.until = 0
        """Nothing is to be tried before this time."""

    def ready(self, now: int) -> bool:
        """Whether the action may be tried."""
        return now >= self.until

    def refused(self, now: int) -> None:
        """The action was refused: pause, twice as long as the last time."""
        self.until = now + min(self.first << min(self.count, 32), self.longest)
        self.count += 1

    def worked(self) -> None:
        """The action succeeded: no pause is left."""
        self.count = self.until = 0

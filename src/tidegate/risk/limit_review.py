"""What a change of limits comes to, before anybody has signed it: for who asks, who approves, and who decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tidegate.model.instrument import Universe
from tidegate.risk.limit_changes import BelowUse, Change, changes, contradictions
from tidegate.risk.limits import Limits
from tidegate.risk.scopes import ScopeTable


@dataclass(frozen=True)
class Review:
    """`loosened` takes two people; `wrong` nobody can ask for; `unset` and `below` are what will be refused."""

    changes: list[Change]
    loosened: list[str]
    wrong: list[str]
    unset: list[str] = field(default_factory=list)
    below: list[BelowUse] = field(default_factory=list)

    @property
    def people(self) -> int:
        """How many must sign (control 30)."""
        return 2 if self.loosened else 1

    def lines(self) -> list[str]:
        """For people: what they should know before they sign."""
        found = [f"contradiction, will be refused: {line}" for line in self.wrong]
        found += [f"two people must sign: {line}" for line in self.loosened]
        return found + warnings(self.unset, self.below)


def warnings(unset: list[str], below: Sequence[object]) -> list[str]:
    """What is refused under such limits."""
    found = [f"denied by default: {line}" for line in unset]
    return found + [f"below present use, only reduces: {line}" for line in below]


@dataclass(frozen=True)
class Reviewer:
    """`unset` says which limits are missing, `below` which are below present use."""

    universe: Universe
    scopes: ScopeTable
    unset: Callable[[Limits], list[str]]
    below: Callable[[Limits], list[BelowUse]]

    def review(self, compared: Sequence[Limits], wanted: Limits, crowded: bool = False) -> Review:
        """A change of the last of `compared`; the others were in force within the last 24 hours."""
        found = changes(compared[-1], wanted, self.universe, self.scopes)
        loosened = {change.where: str(change) for change in found if change.loosened}
        for old in compared[:-1]:
            for change in changes(old, wanted, self.universe, self.scopes):
                if change.loosened:
                    loosened.setdefault(change.where, f"{change}, within 24 hours")
        if crowded and found:
            loosened["count"] = "the changes by one person alone within 24 hours are too many to compare with"
        return Review(
            found, list(loosened.values()), contradictions(wanted, self.universe, self.scopes, found),
            self.unset(wanted), self.below(wanted),
        )  # fmt: skip

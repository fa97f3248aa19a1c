"""What a change of limits comes to, before anybody has signed it: for who asks, who approves, and who decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tidegate.model.instrument import Universe
from tidegate.risk.limit_changes import BelowUse, Change, changes_in_steps, contradictions
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
    """`ahead` works a document out, step by step; `unset` says which of its limits are missing, `below` which are below
    present use. The service goes on with its other work between two steps."""

    universe: Universe
    scopes: ScopeTable
    ahead: Callable[[Limits], Iterator[None]]
    unset: Callable[[Limits], list[str]]
    below: Callable[[Limits], list[BelowUse]]

    async def review(
        self, compared: Sequence[bytes], wanted: Limits, crowded: bool = False, since: int = 0
    ) -> Review:
        """A change of the last of `compared`, which holds from `since` (ns) on; the others were in force within the last 24
        hours."""
        for _ in self.ahead(wanted):
            await asyncio.sleep(0)
        found = await self._changes(compared[-1], wanted, since)
        loosened = {change.where: str(change) for change in found if change.loosened}
        for old in compared[:-1]:
            for change in await self._changes(old, wanted, since):
                if change.loosened:
                    loosened.setdefault(change.where, f"{change}, within 24 hours")
        if crowded and found:
            loosened["count"] = "the changes by one person alone within 24 hours are too many to compare with"
        wrong = contradictions(wanted, self.universe, self.scopes, found)
        await asyncio.sleep(0)
        unset = self.unset(wanted)
        await asyncio.sleep(0)
        return Review(found, list(loosened.values()), wrong, unset, self.below(wanted))

    async def _changes(self, old: bytes, wanted: Limits, since: int) -> list[Change]:
        found: list[Change] = []
        limits = Limits.from_json(old)
        for some in changes_in_steps(limits, wanted, self.universe, self.scopes, since):
            found += some
            await asyncio.sleep(0)
        return found

"""How long ago a gateway last had a sign of life of who may halt it: the dead man's switch of the control plane. Pure."""

from __future__ import annotations

from tidegate.log.base import KvEntry
from tidegate.log.lease import holder
from tidegate.risk.quick import ACTING


class Lifeline:
    """The risk service's lease, as its renewals arrive. One that was given back in order counts as renewed for
    `handover` seconds where we have seen it held: another takes it, or the same after its restart. One that we find given
    back may have been so for hours, and says nothing. After a reconnect of ours to the log it is waited for as at first,
    once between two renewals: while the log was away, nobody could renew."""

    def __init__(self, age: float, handover: float) -> None:
        self.owner = ""
        self._age, self._handover = age, handover
        self._revision, self._until = 0, float("-inf")
        self._excused = self._lived = False
        self._told_from = float("inf")

    def begin(self, now: float) -> None:
        """Nothing is known yet: the first sign is waited for as for the next."""
        self._lived = False
        self._wait(now)

    def _wait(self, now: float) -> None:
        self._until = max(self._until, now + self._age)
        self._told_from = min(self._told_from, now + self._handover)

    def hear(self, entry: KvEntry, now: float) -> None:
        """The key's present value, which comes again after a reconnect, or a change of it (loop time). What is no
        holder's word is no sign of life."""
        word = holder(entry.value) if entry.key == ACTING and entry.value else None
        if word is None:
            return
        if self._revision and entry.revision != self._revision:
            self._told_from = now  # it was seen to live: when it stops, people must know
        if entry.revision == self._revision:
            if not self._excused:
                self._excused = True
                self._wait(now)
            return
        self._revision = entry.revision
        self.owner = word.owner
        self._excused = False
        if self.owner:
            self._lived = True
            self._until = now + self._age
        elif self._lived:
            self._until = now + self._handover

    def lost(self, now: float) -> bool:
        """Whether nobody could halt this gateway by a breaker now."""
        return now > self._until

    def starting(self, now: float) -> bool:
        """Whether that is as it should be: the system is being started, and the risk service has `handover` seconds from
        our own start on. Nothing that may add risk goes out all the same; people are not told yet."""
        return now < self._told_from

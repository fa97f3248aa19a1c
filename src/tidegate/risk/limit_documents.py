"""The versions of the limits: what is in force, what is to come, and what was, as far as a change is compared with it.

A change is compared with every document that was in force within 24 hours, back to the last one that two people signed:
else one person would double a limit in small steps.
"""

from __future__ import annotations

import msgspec

DAY = 86_400 * 1_000_000_000
MOST = 100
"""So many changes by one person alone, within 24 hours, are remembered; then a second signs."""
MOST_BYTES = 2 << 20
"""And so many bytes of their documents: all are kept under one key, which the log takes up to 8 MiB of."""


class Document(msgspec.Struct, frozen=True):
    """One version: the whole document as JSON, from when on it holds (ns), and who asked for it."""

    version: int
    limits: bytes
    effective: int
    by: tuple[str, ...]
    reason: str


class Past(msgspec.Struct, frozen=True):
    """A document that was in force until a time (ns)."""

    limits: bytes
    until: int


class Documents(msgspec.Struct, frozen=True):
    """What STATE holds: the version in force, those to come, by version, and those that were."""

    now: Document
    later: tuple[Document, ...] = ()
    past: tuple[Past, ...] = ()

    @property
    def last(self) -> int:
        """The highest version given."""
        return max(d.version for d in (self.now, *self.later))

    @property
    def crowded(self) -> bool:
        """Whether one person's changes are too many to remember them all."""
        return len(self.past) >= MOST or sum(len(p.limits) for p in self.past) >= MOST_BYTES

    def before(self, document: Document) -> tuple[Document, ...]:
        """Those to come before it. What was to come after it is dropped: a newer version is above it."""
        return tuple(d for d in self.later if d.effective < document.effective)

    def follow(self, document: Document, at: int, later: tuple[Document, ...] = ()) -> Documents:
        """It comes into force at `at` (ns)."""
        past: tuple[Past, ...] = ()
        if len(document.by) < 2:
            old = Past(self.now.limits, at)
            kept = (p for p in self.past if p.until > at - DAY and p.limits != old.limits)
            past = (*kept, old)[-MOST:]
        return Documents(document, later, past)

    def compared(self, document: Document, at: int) -> list[bytes]:
        """The limits that a change made at `at` (ns) is compared with; the last are those it follows on."""
        found = [p.limits for p in self.past if p.until > at - DAY]
        for d in (self.now, *sorted(self.before(document), key=lambda d: d.version)):
            found = [d.limits] if len(d.by) > 1 else [*found, d.limits]
        return [limits for n, limits in enumerate(found) if limits not in found[n + 1 :]]

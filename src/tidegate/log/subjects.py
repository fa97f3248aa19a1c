"""Who listens to a subject within one client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject falls under a pattern: `*` is any one token, a last `>` one token or more."""
    want, have = pattern.split("."), subject.split(".")
    if want[-1] == ">":
        want.pop()
        if len(have) <= len(want):
            return False
        have = have[: len(want)]
    return len(want) == len(have) and all(w in ("*", h) for w, h in zip(want, have, strict=True))


class Listener(Generic[T]):
    """One listener; `close` ends it."""

    __slots__ = ("_gone", "closed", "pattern", "target")

    def __init__(self, pattern: str, target: T, gone: Callable[[Listener[T]], None]) -> None:
        self.pattern = pattern
        self.target = target
        self.closed = False
        self._gone = gone

    def close(self) -> None:
        """Deliver nothing more."""
        if not self.closed:
            self.closed = True
            self._gone(self)


class Listeners(Generic[T]):
    """Listeners by pattern, in the order they came; what matches a subject is remembered."""

    def __init__(self) -> None:
        self._all: list[Listener[T]] = []
        self._found: dict[str, list[Listener[T]]] = {}

    def add(self, pattern: str, target: T, gone: Callable[[Listener[T]], None] | None = None) -> Listener[T]:
        """Listen; `gone` is told when the listener is closed."""

        def remove(listener: Listener[T]) -> None:
            self._all.remove(listener)
            self._found = {}
            if gone is not None:
                gone(listener)

        listener = Listener(pattern, target, remove)
        self._all.append(listener)
        self._found = {}
        return listener

    def find(self, subject: str) -> list[Listener[T]]:
        """Who listens to this subject now."""
        found = self._found.get(subject)
        if found is None:
            if len(self._found) > 10_000:  # subjects are few; inboxes of requests might not be
                self._found = {}
            found = [listener for listener in self._all if matches(listener.pattern, subject)]
            self._found[subject] = found
        return found

    def close(self) -> None:
        """End all."""
        for listener in list(self._all):
            listener.close()

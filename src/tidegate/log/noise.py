"""The last word of a stream's own writers: a user of the log can have the server store its answers there as well
(docs/security.md, "The reply subject"). That is noise: it is stepped over, and whoever looks says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from tidegate.log.base import Entry, Log

T = TypeVar("T")


class Word(NamedTuple, Generic[T]):
    """What was `said` last, None where nothing was; `at` is its place, 0 for none."""

    seq: int
    """The last entry of all, noise or not: what the next append expects. 0 where there is none."""
    at: int
    said: T | None
    noise: int
    """How many entries were stepped over."""


async def last_word(
    log: Log,
    stream: str,
    subject: str,
    read: Callable[[Entry], T | None],
    moved: Callable[[], None] = lambda: None,
) -> Word[T]:
    """The last entry on a subject that `read` makes something of. `moved` is called as the search gets on.

    It goes back by twice as much each time: the log is asked about twice for every entry of noise, and a few times more
    where other subjects' entries lie between.
    """
    last = await log.last(stream, subject)
    if last is None:
        return Word(0, 0, None, 0)
    said = read(last)
    if said is not None:
        return Word(last.seq, last.seq, said, 0)
    end, width, noise = last.seq, 1, 1
    while end > 1:
        at = begin = max(1, end - width)
        found = passed = 0
        while (entry := await log.next(stream, at, subject)) is not None and entry.seq < end:
            moved()
            at = entry.seq + 1
            word = read(entry)
            if word is None:
                passed += 1
            else:
                found, said, passed = entry.seq, word, 0
        noise += passed
        if said is not None:
            return Word(last.seq, found, said, noise)
        end, width = begin, 2 * width
    return Word(last.seq, 0, None, noise)

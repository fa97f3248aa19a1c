"""Binance's rules for a depth chain and a local book, as its documentation tells them, one message at a time.

`walk(futures, messages)` takes ("depth", U, u, pu, levels) and ("snapshot", L, levels) in the order they
arrived and gives the books after every message that leaves one usable: (update id, {bid price: size}, {ask
price: size}).
"""

from __future__ import annotations

from typing import Any

Book = tuple[int, dict[int, int], dict[int, int]]


class _Local:
    def __init__(self, snapshot: Any) -> None:
        _, self.at, levels = snapshot
        self.joined = False
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.set(levels)

    def set(self, levels: Any) -> None:
        for side, price, size in levels:
            self.sides[side].pop(price, None)
            if size:
                self.sides[side][price] = size

    def seen(self) -> Book:
        return self.at, dict(self.sides[0]), dict(self.sides[1])

    def apply(self, futures: bool, depth: Any) -> str:
        """'applied', 'old', 'repeated' or 'gap'."""
        _, first, last, prev, levels = depth
        if not self.joined and (last < self.at or (last == self.at and not futures)):
            return "old"
        if self.joined and last == self.at:
            return "repeated"
        if self.joined:
            follows = prev == self.at if futures else first == self.at + 1
        else:
            follows = (first <= self.at or prev == self.at) if futures else first <= self.at + 1
        if not follows:
            return "gap"
        self.joined, self.at = True, last
        self.set(levels)
        return "applied"


def walk(futures: bool, messages: list[Any]) -> tuple[list[Book], int]:
    """(the books that were usable, in order; how many gaps were met in the order of arrival)."""
    book: _Local | None = None
    buffered: list[Any] = []
    books, gaps = [], 0
    for message in messages:
        if message[0] == "depth":
            if book is None:
                buffered.append(message)
                continue
            outcome = book.apply(futures, message)
            if outcome == "applied":
                books.append(book.seen())
            elif outcome == "gap":
                gaps += 1
                book, buffered = None, [message]
            continue
        if book is not None:
            continue  # the chain stands: a snapshot adds nothing
        book = _Local(message)
        books.append(book.seen())
        waiting, buffered = buffered, []
        for number, depth in enumerate(waiting):
            outcome = book.apply(futures, depth)
            if outcome == "applied":
                books.append(book.seen())
            elif outcome == "gap":
                gaps += 1
                book, buffered = None, waiting[number:]
                break
    return books, gaps

"""Copying words between rows: slice assignment of arrays allocates in Numba, a loop does not."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.jit import inline


@inline
def copy_words(target: Any, start: int, source: Any, count: int) -> None:
    """`target[start : start + count] = source[:count]` of two one-dimensional arrays."""
    for n in range(count):
        target[start + n] = source[n]


@inline
def fill_words(target: Any, start: int, count: int, value: int) -> None:
    """`target[start : start + count] = value`."""
    for n in range(count):
        target[start + n] = value

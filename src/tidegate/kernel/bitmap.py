"""A set of integers 0 … n-1 as a tree of bits: insert, delete, and the nearest member above or below.

Level 0 has one bit a member; a bit of each next level says that a word of the level below is not empty. Three
levels reach 64³ = 262,144 members in one look at each; above that the words of the top level are scanned in
line (256 of them at the largest capacity, 2²⁶). A van Emde Boas tree's shape, its node a machine word.

A bitmap lies in `a[base : base + bitmap_words(n)]` of an int64 array, all zero when empty, so several may
share one array. `n` is a power of two, 4096 … 2²⁶.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.bits import at, ctz, msb
from tidegate.kernel.jit import inline

MIN_BITS, MAX_BITS = 4096, 1 << 26
LAST = (1 << 18) - 1  # rounds up the words of the top level


def bitmap_words(n: int) -> int:
    """The int64 words that a bitmap of `n` members takes; `n` must be a power of two, 4096 … 2²⁶."""
    if not MIN_BITS <= n <= MAX_BITS or n & (n - 1):
        raise ValueError(f"bitmap capacity {n} is not a power of two from {MIN_BITS} to {MAX_BITS}")
    return (n >> 6) + (n >> 12) + ((n + LAST) >> 18)


@inline
def bit_set(a: Any, base: int, n: int, i: int) -> None:
    """Insert `i`; nothing happens when it is a member already."""
    one = np.int64(1)
    a[at(base + (i >> 6))] |= one << np.int64(i & 63)
    middle = base + (n >> 6)
    a[at(middle + (i >> 12))] |= one << np.int64((i >> 6) & 63)
    a[at(middle + (n >> 12) + (i >> 18))] |= one << np.int64((i >> 12) & 63)


@inline
def bit_clear(a: Any, base: int, n: int, i: int) -> None:
    """Delete `i`; nothing happens when it is no member."""
    one = np.int64(1)
    word = a[at(base + (i >> 6))] & ~(one << np.int64(i & 63))
    a[at(base + (i >> 6))] = word
    if word == 0:
        middle = base + (n >> 6)
        word = a[at(middle + (i >> 12))] & ~(one << np.int64((i >> 6) & 63))
        a[at(middle + (i >> 12))] = word
        if word == 0:
            a[at(middle + (n >> 12) + (i >> 18))] &= ~(one << np.int64((i >> 12) & 63))


@inline
def bit_test(a: Any, base: int, i: int) -> Any:
    """Whether `i` is a member."""
    return (a[at(base + (i >> 6))] >> np.int64(i & 63)) & 1 != 0


@inline
def bit_next(a: Any, base: int, n: int, i: int) -> int:
    """The smallest member ≥ `i`, or -1. `i` may lie outside 0 … n-1."""
    if i >= n:
        return -1
    if i < 0:
        i = 0
    ones = np.int64(-1)
    word = a[at(base + (i >> 6))] & (ones << np.int64(i & 63))
    if word != 0:
        return ((i >> 6) << 6) + ctz(word)
    # Nothing left in this word: the next non-empty word, by the middle level's bits above this one.
    middle, j = base + (n >> 6), (i >> 6) + 1
    if j & 63 != 0:
        word = a[at(middle + (j >> 6))] & (ones << np.int64(j & 63))
        if word != 0:
            j = ((j >> 6) << 6) + ctz(word)
            return (j << 6) + ctz(a[at(base + j)])
        j = ((j >> 6) + 1) << 6
    top, k, count = middle + (n >> 12), j >> 6, (n + LAST) >> 18
    place = k >> 6
    if place >= count:
        return -1
    word = a[at(top + place)] & (ones << np.int64(k & 63))
    while word == 0:
        place += 1
        if place == count:
            return -1
        word = a[at(top + place)]
    k = (place << 6) + ctz(word)
    j = (k << 6) + ctz(a[at(middle + k)])
    return (j << 6) + ctz(a[at(base + j)])


@inline
def bit_prev(a: Any, base: int, n: int, i: int) -> int:
    """The largest member ≤ `i`, or -1. `i` may lie outside 0 … n-1."""
    if i < 0:
        return -1
    if i >= n:
        i = n - 1
    # Keep the bits up to and with i's own; the mask is shifted twice, for a shift by 64 is undefined.
    ones = np.int64(-1)
    above = (ones << np.int64(i & 63)) << np.int64(1)
    word = a[at(base + (i >> 6))] & ~above
    if word != 0:
        return ((i >> 6) << 6) + msb(word)
    # The bits below this word's own in the middle level, then in the top level.
    middle, j = base + (n >> 6), i >> 6
    word = a[at(middle + (j >> 6))] & ~(ones << np.int64(j & 63))
    if word != 0:
        j = ((j >> 6) << 6) + msb(word)
        return (j << 6) + msb(a[at(base + j)])
    top, k = middle + (n >> 12), j >> 6
    place = k >> 6
    word = a[at(top + place)] & ~(ones << np.int64(k & 63))
    while word == 0:
        if place == 0:
            return -1
        place -= 1
        word = a[at(top + place)]
    k = (place << 6) + msb(word)
    j = (k << 6) + msb(a[at(middle + k)])
    return (j << 6) + msb(a[at(base + j)])

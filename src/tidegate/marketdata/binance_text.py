"""Reading JSON text byte by byte, compiled: literals, integers, and decimal text as exact steps of a grid.

Every text ends in a newline, which no token here accepts, so nothing reads more than a byte or two past it
(the buffer has `PADDING` there). A helper that meets something it does not know says so (a position of −1) and
never repairs: the slow reader decides such lines.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.jit import inline, outline

NEWLINE, SPACE, QUOTE, COMMA, COLON, DOT = 10, 32, 34, 44, 58, 46
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT, AT = 91, 93, 123, 125, 64
ZERO, NINE = 48, 57
PADDING = 8
"""Bytes of a buffer behind the text that is read."""
MAX_DIGITS = 18
"""What surely fits an int64; one more does when the first is below 9, as of times in ns."""


def text(value: str) -> Any:
    """A literal as kernels take it."""
    return np.frombuffer(value.encode(), np.uint8).copy()


@outline
def literal(buf: Any, p: int, wanted: Any) -> int:
    """The position after `wanted`, or −1 when the text at `p` is another."""
    for i in range(len(wanted)):
        if buf[p + i] != wanted[i]:
            return -1
    return p + len(wanted)


@outline
def integer(buf: Any, p: int) -> Any:
    """A JSON integer ≥ 0: (value, position after it); the position is −1 for anything else."""
    value: Any = 0
    begin = p
    while ZERO <= buf[p] <= NINE:
        value = value * 10 + (np.int64(buf[p]) - ZERO)
        p += 1
        if p - begin > MAX_DIGITS and (p - begin > MAX_DIGITS + 1 or buf[begin] == NINE):
            return 0, -1
    if p == begin or (buf[begin] == ZERO and p > begin + 1):
        return 0, -1
    return value, p


@inline
def steps(buf: Any, p: int, decimals: int, num: int) -> Any:
    """Quoted decimal text after its opening quote, in steps of num × 10^−decimals, exactly.

    Returns (whole steps, whether something finer was left over, position after the closing quote); the
    position is −1 for text that has a sign or an exponent, or may not fit.
    """
    value: Any = 0
    begin = p
    while ZERO <= buf[p] <= NINE:
        value = value * 10 + (np.int64(buf[p]) - ZERO)
        p += 1
        if p - begin + decimals > MAX_DIGITS:
            return 0, False, -1
    if p == begin:
        return 0, False, -1
    left, finer = decimals, False
    if buf[p] == DOT:
        p += 1
        begin = p
        while ZERO <= buf[p] <= NINE:
            if left > 0:
                value = value * 10 + (np.int64(buf[p]) - ZERO)
                left -= 1
            elif buf[p] != ZERO:
                finer = True
            p += 1
        if p == begin:
            return 0, False, -1
    if buf[p] != QUOTE:
        return 0, False, -1
    while left > 0:
        value *= 10
        left -= 1
    if num != 1:
        finer = finer or value % num != 0
        value //= num
    return value, finer, p + 1


@outline
def skip_string(buf: Any, p: int) -> int:
    """The position after a string's closing quote, `p` being after the opening one; −1 for an escape."""
    while buf[p] != QUOTE:
        if buf[p] == NEWLINE or buf[p] == 92:
            return -1
        p += 1
    return p + 1

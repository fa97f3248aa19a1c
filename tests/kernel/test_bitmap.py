"""The tree of bits against a Python set, at every capacity class, compiled and plain."""

from __future__ import annotations

import os
import subprocess
import sys
from bisect import bisect_left, bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import int64

from tidegate.kernel.bitmap import bit_clear, bit_next, bit_prev, bit_set, bit_test, bitmap_words
from tidegate.kernel.bits import ctz, msb
from tidegate.kernel.jit import kernel

SET, CLEAR, NEXT, PREV, TEST = range(5)


@kernel(int64[::1](int64[::1], int64, int64, int64[:, ::1]))
def play(a, base, n, ops):
    out = np.zeros(len(ops), np.int64)
    for k in range(len(ops)):
        op, i = ops[k, 0], ops[k, 1]
        if op == SET:
            bit_set(a, base, n, i)
        elif op == CLEAR:
            bit_clear(a, base, n, i)
        elif op == NEXT:
            out[k] = bit_next(a, base, n, i)
        elif op == PREV:
            out[k] = bit_prev(a, base, n, i)
        else:
            out[k] = bit_test(a, base, i)
    return out


@kernel(int64[:, ::1](int64[::1]))
def ends(words):
    out = np.zeros((len(words), 2), np.int64)
    for k in range(len(words)):
        out[k, 0] = ctz(words[k])
        out[k, 1] = msb(words[k])
    return out


def reference(ops: list[tuple[int, int]]) -> list[int]:
    members: list[int] = []
    out = []
    for op, i in ops:
        at = bisect_left(members, i)
        here = at < len(members) and members[at] == i
        answer = 0
        if op == SET and not here:
            members.insert(at, i)
        elif op == CLEAR and here:
            del members[at]
        elif op == NEXT:
            answer = members[at] if at < len(members) else -1
        elif op == PREV:
            before = bisect_right(members, i)
            answer = members[before - 1] if before else -1
        elif op == TEST:
            answer = int(here)
        out.append(answer)
    return out


def check(n: int, ops: list[tuple[int, int]], base: int = 7) -> None:
    a = np.zeros(bitmap_words(n) + 14, np.int64)
    got = play(a, base, n, np.array(ops, np.int64).reshape(-1, 2))
    assert got.tolist() == reference(ops)
    assert not a[:base].any()
    assert not a[base + bitmap_words(n) :].any(), "a neighbour's words were touched"
    for i in {i for op, i in ops if op == SET}:
        play(a, base, n, np.array([(CLEAR, i)], np.int64))
    assert not a.any(), "clearing every member must leave an empty tree"


@pytest.mark.parametrize("n", [4096, 8192, 1 << 18, 1 << 19, 1 << 26])
@pytest.mark.parametrize("spread", [1, 64, 4096, 1 << 18, 1 << 26])
def test_agrees_with_a_sorted_list_at_every_scale(n: int, spread: int) -> None:
    rng = np.random.default_rng(n + spread)
    size = 3000 if n < 1 << 26 else 600
    centre = int(rng.integers(0, n))
    ops = []
    for _ in range(size):
        i = int(np.clip(centre + rng.integers(-spread, spread + 1), 0, n - 1))
        ops.append((int(rng.integers(0, 5)), i))
    check(n, ops)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 63, 64, 65, 4031, 4032, 4095]))))
def test_word_borders(ops: list[tuple[int, int]]) -> None:
    check(4096, ops)


def test_a_query_may_start_outside() -> None:
    check(4096, [(NEXT, -5), (SET, 0), (SET, 4095), (NEXT, -5), (PREV, -1), (NEXT, 4096), (PREV, 9999)])


@pytest.mark.parametrize("n", [0, 64, 4095, 5000, 1 << 27])
def test_capacity_must_be_a_power_of_two_in_range(n: int) -> None:
    with pytest.raises(ValueError, match=f"bitmap capacity {n} is not a power of two"):
        bitmap_words(n)


def test_ends_of_a_word() -> None:
    words = [1 << i for i in range(63)] + [-(1 << 63), -1, 6, 3 << 40]
    want = [((w & -w).bit_length() - 1, (w & (2**64 - 1)).bit_length() - 1) for w in words]
    assert ends(np.array(words, np.int64)).tolist() == [list(pair) for pair in want]


def test_runs_as_plain_python() -> None:
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        return
    chosen = ["-k", "ends or outside or 4096"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, *chosen],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "error::RuntimeWarning"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]

"""State tables: a kernel that is handed an address reads and writes the arrays behind it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numba import int64

from tidegate.kernel.jit import JIT, kernel
from tidegate.kernel.state import state_at, state_type, table


class Inner(NamedTuple):
    flags: np.ndarray


class Outer(NamedTuple):
    s: np.ndarray
    book: np.ndarray
    real: np.ndarray
    inner: Inner
    cube: np.ndarray


def make(rows: int) -> Outer:
    return Outer(
        np.zeros(4, np.int64), np.arange(3 * rows, dtype=np.int64).reshape(rows, 3), np.full((rows, 2), 0.5),
        Inner(np.array([7, 8], np.int64)), np.arange(2 * rows * 4, dtype=np.int64).reshape(2, rows, 4),
    )  # fmt: skip


outer_at = state_at(state_type(make(1)))


@kernel(int64(int64))
def touch_all(address):
    e = outer_at(address)
    e.s[0] = e.book.shape[0] * 100 + e.book.shape[1] * 10 + e.cube.shape[0]
    e.s[1] = e.book[e.book.shape[0] - 1, 2]
    e.s[2] = e.inner.flags[1]
    e.s[3] = e.cube[1, e.cube.shape[1] - 1, 3]
    e.real[0, 1] += 1.0
    row = e.book[0]
    row[1] = -5
    return e.inner.flags.shape[0]


def address(state: Outer):
    where = table(state)
    return where, (where.ctypes.data if JIT else state)


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_a_kernel_sees_every_array_whatever_its_length(rows):
    state = make(rows)
    keep, at = address(state)
    assert touch_all(at) == 2
    assert state.s.tolist() == [rows * 100 + 30 + 2, 3 * rows - 1, 8, 2 * rows * 4 - 1]
    assert state.real[0].tolist() == [0.5, 1.5]
    assert state.book[0, 1] == -5
    assert len(keep) == 5


def test_a_row_of_the_table_is_the_data_s_address_and_the_shape():
    state = make(3)
    rows = table(state).tolist()
    assert rows[1] == [state.book.ctypes.data, 3, 3, 0]
    assert rows[3] == [state.inner.flags.ctypes.data, 2, 0, 0], "nested arrays stand in line"
    assert rows[4][1:] == [2, 3, 4]


def test_arrays_that_a_kernel_could_not_read_are_refused():
    state = make(2)
    with pytest.raises(ValueError, match="C-contiguous"):
        table(state._replace(book=np.asfortranarray(np.zeros((3, 3), np.int64))))
    with pytest.raises(ValueError, match="at most 3 dimensions"):
        table(state._replace(cube=np.zeros((1, 1, 1, 1), np.int64)))

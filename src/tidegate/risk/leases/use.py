"""What a gate uses of many additive limits, read in one go: a lane looks at all of its leases after its orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tidegate.kernel.gate_state import CELL_WORDS, SCOPE_WORDS, GateState
from tidegate.risk.leases.fields import PLACES, Field, row_of
from tidegate.risk.leases.lease import Key

Ints = npt.NDArray[np.int64]
_TERMS = 3


class UseReader:
    """Reads the use of `keys`, in their order, out of a gate's arrays; raises `ValueError` for what does not exist."""

    def __init__(self, state: GateState, keys: Sequence[Key]) -> None:
        self.state = state
        self._used: Ints = np.zeros(len(keys), np.int64)
        self._parts: list[tuple[Ints, Ints, Ints, Ints]] = []
        """(array, where the keys' terms are, their signs, which keys)."""
        for per_instrument, array, words in (
            (False, state.scope, SCOPE_WORDS), (True, state.cell, CELL_WORDS)
        ):  # fmt: skip
            mine = [n for n, key in enumerate(keys) if Field(key.field).per_instrument is per_instrument]
            if not mine:
                continue
            at, signs = np.zeros((len(mine), _TERMS), np.int64), np.zeros((len(mine), _TERMS), np.int64)
            for row, n in enumerate(mine):
                key = keys[n]
                row_of(state, *key)
                place = PLACES[Field(key.field)]
                first = key.scope * len(state.inst) + key.instrument if per_instrument else key.scope
                terms = [(c, 1) for c in place.plus] + [(c, -1) for c in place.minus]
                for term, (column, sign) in enumerate(terms):
                    at[row, term], signs[row, term] = first * words + column, sign
            self._parts.append((array.reshape(-1), at, signs, np.array(mine)))

    def read(self) -> Ints:
        """What is used now; the same array every time."""
        for array, at, signs, mine in self._parts:
            self._used[mine] = (array[at] * signs).sum(axis=1)
        return self._used

"""The limits in force in one gate: what people set, held down by what is lent to this lane.

The columns that the kernels read are derived from these: the smaller of a limit as people wrote it and its lease.
The document and the leases are part of the gate's state, so that a restored lane judges as the lost one did.
"""

from __future__ import annotations

import msgspec

from tidegate.kernel import gate_state as g
from tidegate.risk.lease_fields import NO_INSTRUMENT, PLACES, Field, row_of

Key = tuple[int, int, int]
"""(scope, field, instrument)."""


class Saved(msgspec.Struct, array_like=True):
    """What a snapshot holds of it."""

    leases: list[tuple[int, int, int, int]]


class InForce:
    """Keeps the limit columns of `state` at the smaller of people's limits and leases."""

    def __init__(self, state: g.GateState) -> None:
        self.state = state
        self.leases: dict[Key, int] = {}
        self._scope = state.scope.copy()
        self._cell = state.cell.copy()

    def human(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int:
        """The limit as people set it."""
        _, place = row_of(self.state, scope, field, instrument)
        if Field(field).per_instrument:
            return int(self._cell[scope * len(self.state.inst) + instrument, place.limit])
        return int(self._scope[scope, place.limit])

    def lend(self, scope: int, field: int, instrument: int, value: int) -> None:
        """From here on this gate has `value` of the limit, and never more than people set."""
        row, place = row_of(self.state, scope, field, instrument)
        if not 0 <= value <= g.UNLIMITED:
            raise ValueError(f"field {Field(field).name}: limit {value} is not between 0 and {g.UNLIMITED}")
        self.leases[scope, int(field), instrument] = value
        row[place.limit] = min(value, self.human(scope, field, instrument))

    def save(self) -> bytes:
        """As bytes, the same for the same leases."""
        return msgspec.msgpack.encode(Saved(sorted((*key, value) for key, value in self.leases.items())))

    def load(self, data: bytes) -> None:
        """The inverse of `save`; the columns themselves come with the gate's arrays."""
        saved = msgspec.msgpack.decode(data, type=Saved)
        self.leases = {(scope, field, i): value for scope, field, i, value in saved.leases}
        for scope, field, instrument, _ in saved.leases:
            row_of(self.state, scope, field, instrument)


assert set(PLACES) == set(Field)

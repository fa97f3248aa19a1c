"""The limits in force in one gate: what people set, tightened by the market's state, held down by what is lent here.

The columns that the kernels read are derived from three things, each part of the gate's state, so that a restored
lane judges as the lost one did: the document of limits, a factor by instrument, and leases by field. In force is the
smaller of lease and limit × factor. Nothing here ever loosens what people set.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec

from tidegate.errors import UserError
from tidegate.kernel import gate_state as g
from tidegate.model.instrument import Universe
from tidegate.risk import contradictions
from tidegate.risk.leases.fields import NO_INSTRUMENT, PLACES, Field, limit, row_of, use
from tidegate.risk.leases.lease import held
from tidegate.risk.limits import Limits
from tidegate.risk.market_shares import tell, work_out
from tidegate.risk.plain import write_paths, write_plain
from tidegate.risk.rules import write_limits
from tidegate.risk.scopes import ScopeTable
from tidegate.risk.tables import Tables
from tidegate.risk.unset import unset

_log = logging.getLogger("tidegate.risk")

Key = tuple[int, int, int]
"""(scope, field, instrument)."""
_FACTORED = ((g.R_QTY, g.R_QTY_NOW), (g.R_VALUE, g.R_VALUE_NOW))


class BelowUse(NamedTuple):
    """A limit in force that is below what is used of it: until that fits, only what reduces passes."""

    scope: int
    field: Field
    instrument: int
    use: int
    limit: int
    label: str

    def __str__(self) -> str:
        return f"{self.label}: {self.field.name} is {self.use}, the limit {self.limit}"


class Saved(msgspec.Struct, array_like=True):
    """What a snapshot holds of it. `document` is empty while it is the one the gate was made with."""

    document: bytes
    factors: list[tuple[int, int]]
    leases: list[tuple[int, int, int, int]]


class InForce:
    """Keeps the limit columns of `state` at what is in force. Raises `UserError` for limits of what does not exist."""

    def __init__(self, state: g.GateState, universe: Universe, scopes: ScopeTable, limits: Limits) -> None:
        self.state, self.universe, self.scopes = state, universe, scopes
        self.limits = self._configured = limits
        self.factors: dict[int, int] = {}
        self.leases: dict[Key, int] = {}
        write_paths(state)
        tables = Tables(universe, scopes, limits)
        contradictions.check(limits)
        self._write(tables)
        self._say()

    def _say(self) -> None:
        for line in unset(self.state, self.universe, self.scopes):
            _log.warning(line)

    def _write(self, tables: Tables) -> None:
        write_limits(self.state, tables)
        self._scope, self._cell = self.state.scope.copy(), self.state.cell.copy()
        self._tables = tables
        for instrument in range(len(self.universe)):
            self._tighten(instrument)
            work_out(self.state, tables, instrument)
            write_plain(self.state, instrument)
        for key in self.leases:
            self._apply(key)

    def _tighten(self, instrument: int) -> None:
        """Bring an instrument's own limits to its factor, and to what is lent of them."""
        n, ppm = len(self.universe), self.factors.get(instrument, g.PPM)
        rules = self.state.rules[instrument::n]
        for human, now in _FACTORED:
            most = rules[:, human]
            part = most // g.PPM * ppm + most % g.PPM * ppm // g.PPM
            rules[:, now] = most if ppm == g.PPM else [
                b if a < g.UNLIMITED else a for a, b in zip(most, part, strict=True)
            ]  # fmt: skip
        for scope in range(len(self.scopes)):
            for field in (Field.LONG, Field.SHORT):
                self._apply((scope, field, instrument))

    def _apply(self, key: Key) -> None:
        _, field, instrument = key
        row, place = row_of(self.state, *key)
        most = self.human(*key)
        if Field(field).per_instrument:
            most = held(most, self.factors.get(instrument, g.PPM))
        row[place.limit] = min(most, self.leases.get(key, g.UNLIMITED))

    def human(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int:
        """The limit as people set it."""
        _, place = row_of(self.state, scope, field, instrument)
        if Field(field).per_instrument:
            return int(self._cell[scope * len(self.universe) + instrument, place.limit])
        return int(self._scope[scope, place.limit])

    def lend(self, scope: int, field: int, instrument: int, value: int) -> None:
        """From here on this gate has `value` of the limit, and never more than people set."""
        row_of(self.state, scope, field, instrument)
        if not 0 <= value <= g.UNLIMITED:
            raise ValueError(f"field {Field(field).name}: limit {value} is not between 0 and {g.UNLIMITED}")
        key = (scope, int(field), instrument)
        if value == g.UNLIMITED:
            self.leases.pop(key, None)
        else:
            self.leases[key] = value
        self._apply(key)

    def tighten(self, instrument: int, ppm: int) -> None:
        """Hold an instrument's limits to a part of what people set."""
        if not 0 <= instrument < len(self.universe):
            raise ValueError(f"instrument {instrument} of {len(self.universe)}")
        if not 0 < ppm <= g.PPM:
            raise ValueError(f"factor {ppm} is not above 0 and at most {g.PPM}, the whole of what people set")
        self.factors.pop(instrument, None)
        if ppm < g.PPM:
            self.factors[instrument] = ppm
        self._tighten(instrument)
        write_plain(self.state, instrument)

    def tell_market(self, instrument: int, figures: tuple[int, int, int, int]) -> None:
        """The market's figures (`risk.market_shares`): control 22 compares with shares of them from here on."""
        tell(self.state, instrument, figures)
        work_out(self.state, self._tables, instrument)
        write_plain(self.state, instrument)

    def set_limits(self, limits: Limits) -> list[BelowUse]:
        """People's limits from here on; uses, leases and factors stay. Gives what they are now below."""
        tables = Tables(self.universe, self.scopes, limits)
        contradictions.check(limits)
        self.limits = limits
        self._write(tables)
        self._say()
        return self.below_use()

    def below_use(self) -> list[BelowUse]:
        """Every additive limit in force that is below what is used of it."""
        found = []
        for scope in range(len(self.scopes)):
            for field in PLACES:
                for i in range(len(self.universe)) if field.per_instrument else (NO_INSTRUMENT,):
                    used, most = use(self.state, scope, field, i), limit(self.state, scope, field, i)
                    if used > most:
                        where = self.scopes.label(scope) + (f", {self.universe[i].id}" if i >= 0 else "")
                        found.append(BelowUse(scope, field, i, used, most, where))
        return found

    def save(self) -> bytes:
        """As bytes, the same for the same limits in force."""
        document = b"" if self.limits == self._configured else self.limits.to_json()
        leases = sorted((*key, value) for key, value in self.leases.items())
        return msgspec.msgpack.encode(Saved(document, sorted(self.factors.items()), leases))

    def load(self, saved: Saved) -> None:
        """Bring back what `save` kept; the gate's arrays have been loaded. Raises `ValueError` where it does not fit."""
        try:
            limits = Limits.from_json(saved.document) if saved.document else self._configured
            tables = Tables(self.universe, self.scopes, limits)
        except UserError as error:
            raise ValueError(f"gate snapshot: {error}") from None
        self.limits = limits
        self.factors = dict(saved.factors)
        self.leases = {(scope, field, i): value for scope, field, i, value in saved.leases}
        self._write(tables)

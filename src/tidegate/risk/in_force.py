"""The limits in force in one gate: what people set, tightened by the market's state, held down by what is lent here.

The columns that the kernels read are derived from three things, each part of the gate's state, so that a restored
lane judges as the lost one did: the document of limits, a factor by instrument, and leases by field. In force is the
smaller of lease and limit × factor. Nothing here ever loosens what people set.

A document is worked out as a sheet (`risk.limit_sheet`), and of the columns only what becomes another is written: a lane
does nothing else meanwhile.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec
import numpy as np

from tidegate.errors import UserError
from tidegate.kernel import gate_state as g
from tidegate.model.instrument import Universe
from tidegate.risk import own_limits, plain
from tidegate.risk.leases.fields import NO_INSTRUMENT, PLACES, Field, row_of
from tidegate.risk.leases.lease import held_all
from tidegate.risk.legs import write_legs, write_since
from tidegate.risk.limit_frame import Frame
from tidegate.risk.limit_sheet import Sheet
from tidegate.risk.limits import Limits
from tidegate.risk.margin.rates import write_margins
from tidegate.risk.market_shares import figures, most_share, tell, work_out
from tidegate.risk.own_limits import SCOPE_COLUMNS
from tidegate.risk.scopes import ScopeTable
from tidegate.risk.unset import unset
from tidegate.risk.write_rules import Market, write_rules

_log = logging.getLogger("tidegate.risk")


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


_ENDS = [g.C_MAX_LONG, g.C_MAX_SHORT]
_BLOCK = 4
"""Scopes looked at together: their cells fit the processor's cache."""


class InForce:
    """Keeps the limit columns of `state` at what is in force. Raises `UserError` for limits of what does not exist."""

    def __init__(self, state: g.GateState, universe: Universe, scopes: ScopeTable, limits: Limits) -> None:
        self.state, self.universe, self.scopes = state, universe, scopes
        self.limits = self._configured = limits
        self.factors: dict[int, int] = {}
        self._lent: dict[tuple[int, int], g.Ints] = {}
        """By scope and field, by instrument (or the one there is): what is lent, `UNLIMITED` for no lease."""
        self._frame = Frame(universe, scopes)
        self.sheet = Sheet(self._frame, limits)
        plain.write_paths(state)
        self._write(self.sheet, None)
        self._say()

    def _say(self) -> None:
        for line in unset(self.sheet):
            _log.warning(line)

    def _write(self, sheet: Sheet, before: Sheet | None) -> None:
        """Bring the columns from one sheet to the next; None: whatever they hold."""
        state, n = self.state, len(self.universe)
        self.sheet = sheet
        state.scope[:, SCOPE_COLUMNS] = sheet.totals
        market = Market(self._ppm(), figures(state, sheet.assumed))
        news = before is None or not np.array_equal(before.assumed, sheet.assumed)
        cells: dict[int, g.Ints] = {}
        for scope, own in enumerate(sheet.of):
            was = before.of[scope] if before is not None else None
            if was is own and not news:
                continue
            if news or was is None or was.cell_key != own.cell_key:
                if id(own) not in cells:
                    cells[id(own)] = self._cells(scope, market)
                row = state.cell[scope * n : (scope + 1) * n]
                for place, column in enumerate((*_ENDS, g.C_VOLUME_PPM, g.C_INTEREST_PPM, g.C_MAX_SHARE)):
                    row[:, column] = cells[id(own)][:, place]
                self._lend_ends(scope)
            if was is None or was.legs != own.legs:
                write_legs(state, scope, own.legs)
        write_since(state)
        for scope, field in self._lent:
            if not Field(field).per_instrument:
                self._apply(scope, field, NO_INSTRUMENT)
        other = write_margins(state, sheet, before)
        write_rules(state, sheet, before, market, news or bool(len(other)))

    def _cells(self, scope: int, market: Market) -> g.Ints:
        """By instrument: limits on a scope's position at their factors, and its shares of the market."""
        sheet = self.sheet
        ends = held_all(sheet.ends[sheet.group[scope]][sheet.column_of], market.factors[:, None])
        ppm = sheet.expanded(sheet.of[scope])[:, own_limits.SHARES]
        most = most_share(ppm, market.known[:, 0], market.known[:, 1])
        return np.concatenate([ends, ppm, most[:, None]], axis=1)

    def _lend_ends(self, scope: int) -> None:
        """Hold limits on a scope's position, which are people's at their factors, to what is lent of them."""
        n = len(self.universe)
        for side, column in enumerate(_ENDS):
            lent = self._lent.get((scope, Field.LONG + side))
            if lent is not None:
                cells = self.state.cell[scope * n : (scope + 1) * n, column]
                np.minimum(cells, lent, out=cells)

    def _apply(self, scope: int, field: int, instrument: int) -> None:
        row, place = row_of(self.state, scope, field, instrument)
        most = self.human(scope, field, instrument)
        if instrument >= 0 and most < g.UNLIMITED:
            most = most * self.factors.get(instrument, g.PPM) // g.PPM
        lent = self._lent.get((scope, field))
        row[place.limit] = most if lent is None else min(most, int(lent[max(instrument, 0)]))

    def human(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int:
        """The limit as people set it."""
        row_of(self.state, scope, field, instrument)
        return self.sheet.human(scope, field, instrument)

    def humans(self, scope: int, field: int) -> g.Ints:
        """By instrument: the same, of a field that is one of an instrument."""
        row_of(self.state, scope, field, 0)
        return self.sheet.humans(scope, field)

    def lend(self, scope: int, field: int, instrument: int, value: int) -> None:
        """From here on this gate has `value` of the limit, and never more than people set."""
        row_of(self.state, scope, field, instrument)
        if not 0 <= value <= g.UNLIMITED:
            raise ValueError(f"field {Field(field).name}: limit {value} is not between 0 and {g.UNLIMITED}")
        self._lent_of(scope, field)[max(instrument, 0)] = value
        self._apply(scope, field, instrument)

    def lend_all(self, scope: int, field: int, values: g.Ints) -> None:
        """The same of every instrument, for a field that is one of an instrument."""
        row_of(self.state, scope, field, 0)
        if (values < 0).any() or (values > g.UNLIMITED).any():
            raise ValueError(f"field {Field(field).name}: a limit is not between 0 and {g.UNLIMITED}")
        lent = self._lent_of(scope, field)
        lent[:] = values
        n = len(self.universe)
        most = held_all(self.sheet.humans(scope, field), self._ppm())
        self.state.cell[scope * n : (scope + 1) * n, PLACES[Field(field)].limit] = np.minimum(most, lent)

    def _ppm(self) -> g.Ints:
        """By instrument: its factor, parts per million."""
        found = np.full(len(self.universe), g.PPM, np.int64)
        found[list(self.factors)] = list(self.factors.values())
        return found

    def _lent_of(self, scope: int, field: int) -> g.Ints:
        lent = self._lent.get((scope, field))
        if lent is None:
            size = len(self.universe) if Field(field).per_instrument else 1
            lent = self._lent[scope, int(field)] = np.full(size, g.UNLIMITED, np.int64)
        return lent

    def tighten(self, instrument: int, ppm: int) -> None:
        """Hold an instrument's limits to a part of what people set."""
        if not 0 <= instrument < len(self.universe):
            raise ValueError(f"instrument {instrument} of {len(self.universe)}")
        if not 0 < ppm <= g.PPM:
            raise ValueError(f"factor {ppm} is not above 0 and at most {g.PPM}, the whole of what people set")
        self.factors.pop(instrument, None)
        if ppm < g.PPM:
            self.factors[instrument] = ppm
        state, sheet, n = self.state, self.sheet, len(self.universe)
        rules = state.rules[instrument::n]
        for human, now in ((g.R_QTY, g.R_QTY_NOW), (g.R_VALUE, g.R_VALUE_NOW)):
            rules[:, now] = held_all(rules[:, human], ppm)
        ends = held_all(sheet.ends[sheet.group, sheet.column_of[instrument]], ppm)
        for (scope, field), lent in self._lent.items():
            if field >= Field.LONG:
                ends[scope, field - Field.LONG] = min(ends[scope, field - Field.LONG], lent[instrument])
        state.cell[instrument::n, _ENDS] = ends
        plain.write_sizes(rules, state.plain[instrument::n], state.inst[instrument])

    def tell_market(self, instrument: int, told: tuple[int, int, int, int]) -> None:
        """The market's figures (`risk.market_shares`): control 22 compares with shares of them from here on."""
        tell(self.state, instrument, told)
        work_out(self.state, figures(self.state, self.sheet.assumed), instrument)
        n = len(self.universe)
        plain.write_sizes(
            self.state.rules[instrument::n], self.state.plain[instrument::n], self.state.inst[instrument]
        )

    def set_limits(self, limits: Limits) -> list[BelowUse]:
        """People's limits from here on; uses, leases and factors stay. Gives what they are now below."""
        sheet = Sheet(self._frame, limits, self.sheet)
        self.limits = limits
        self._write(sheet, self.sheet)
        self._say()
        return self.below_use()

    def below_use(self) -> list[BelowUse]:
        """Every additive limit in force that is below what is used of it."""
        state, n, found = self.state, len(self.universe), []
        for field, place in PLACES.items():
            if not field.per_instrument:
                used = sum((state.scope[:, c] for c in place.plus), np.zeros(len(state.scope), np.int64))
                used = sum((-state.scope[:, c] for c in place.minus), used)
                over = np.flatnonzero(used > state.scope[:, place.limit]).tolist()
                found += [
                    (s, field, NO_INSTRUMENT, int(used[s]), int(state.scope[s, place.limit])) for s in over
                ]
        for first in range(0, len(self.scopes), _BLOCK):
            cells = state.cell[first * n : (first + _BLOCK) * n]
            held = cells[:, g.C_POS]
            for field, used in (
                (Field.LONG, held + cells[:, g.C_BUYS]), (Field.SHORT, cells[:, g.C_SELLS] - held)
            ):  # fmt: skip
                some = np.flatnonzero(used > 0)  # no limit is below 0
                for at in some[used[some] > cells[some, PLACES[field].limit]].tolist():
                    most = int(cells[at, PLACES[field].limit])
                    found.append((first + at // n, field, at % n, int(used[at]), most))
        label = self.scopes.label
        return [
            BelowUse(s, field, i, used, most, label(s) + (f", {self.universe[i].id}" if i >= 0 else ""))
            for s, field, i, used, most in sorted(found)
        ]

    def save(self) -> bytes:
        """As bytes, the same for the same limits in force."""
        document = b"" if self.limits == self._configured else self.limits.to_json()
        leases = [
            (scope, field, i if field >= Field.LONG else NO_INSTRUMENT, int(lent[i]))
            for (scope, field), lent in sorted(self._lent.items())
            for i in np.flatnonzero(lent < g.UNLIMITED).tolist()
        ]
        return msgspec.msgpack.encode(Saved(document, sorted(self.factors.items()), leases))

    def load(self, saved: Saved) -> None:
        """Bring back what `save` kept; the gate's arrays have been loaded. Raises `ValueError` where it does not fit."""
        try:
            limits = Limits.from_json(saved.document) if saved.document else self._configured
            sheet = Sheet(self._frame, limits, self.sheet)
        except UserError as error:
            raise ValueError(f"gate snapshot: {error}") from None
        self.limits = limits
        self.factors = dict(saved.factors)
        self._lent = {}
        for scope, field, i, value in saved.leases:
            self._lent_of(scope, field)[max(i, 0)] = value
        self._write(sheet, None)

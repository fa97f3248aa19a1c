"""Limits that nobody set where a control needs them: such orders are refused (control 30), and people are told."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tidegate.kernel import gate_state as g
from tidegate.model.instrument import Universe
from tidegate.model.time import MINUTE
from tidegate.risk.build import build
from tidegate.risk.controls import BY_NUMBER
from tidegate.risk.limits import Limits
from tidegate.risk.rules import write_limits
from tidegate.risk.scope_name import name_of
from tidegate.risk.scopes import ScopeTable
from tidegate.risk.tables import Tables

_NAMED = 3


def missing(
    universe: Universe, scopes: ScopeTable, base: str, fx: Mapping[str, str | Decimal], limits: Limits
) -> list[str]:
    """What such limits leave unset, in the same lines, for who only considers them."""
    state = build(universe, scopes, base, fx, 1, 0, MINUTE)
    write_limits(state, Tables(universe, scopes, limits))
    return [line.removeprefix("risk: ") for line in unset(state, universe, scopes)]


def unset(state: g.GateState, universe: Universe, scopes: ScopeTable) -> list[str]:
    """One line for each scope and control without a limit: which limits, and in what its orders are refused."""
    lacking: dict[tuple[int, int], dict[str, None]] = {}
    for links in state.chain:
        if links[g.CH_RULES] < 0:
            continue
        for i, instrument in enumerate(universe.instruments):
            row = state.rules[links[g.CH_RULES] + i]
            for at in (g.R_MISSING, g.R_MISSING_RISK):  # the control's number, then the scope's
                if row[at]:
                    lacking.setdefault((int(row[at + 1]), int(row[at])), {})[instrument.id] = None
    lines = []
    for (scope, number), names in sorted(lacking.items()):
        control, first = BY_NUMBER[number], list(names)
        more = f" and {len(first) - _NAMED} more" if len(first) > _NAMED else ""
        where = "all instruments" if len(first) == len(universe) else ", ".join(first[:_NAMED]) + more
        what = "everything" if not control.risk_only else "what does not reduce"
        lines.append(
            f"risk: {name_of(scope, scopes)} has no limit for control {number} ({', '.join(control.fields)}): "
            f"{what} in {where} is refused"
        )
    return lines

"""Limits that nobody set where a control needs them: such orders are refused (control 30), and people are told."""

from __future__ import annotations

from tidegate.kernel import gate_state as g
from tidegate.risk.controls import BY_NUMBER
from tidegate.risk.limit_sheet import Sheet
from tidegate.risk.scope_name import name_of

_NAMED = 3


def missing(sheet: Sheet) -> list[str]:
    """What such limits leave unset, in the same lines, for who only considers them."""
    return [line.removeprefix("risk: ") for line in unset(sheet)]


def unset(sheet: Sheet) -> list[str]:
    """One line for each scope and control without a limit: which limits, and in what its orders are refused."""
    universe, scopes = sheet.frame.universe, sheet.frame.scopes
    lacking: dict[tuple[int, int], list[g.Ints]] = {}
    classes = sheet.classes
    lacks = sheet.lacking()
    for now, chain in zip(classes.of.tolist(), sheet.frame.chains.tolist(), strict=True):
        for number, place, instruments in lacks[now]:
            found = lacking.setdefault((chain[place - 1], number), [])
            if all(instruments is not other for other in found):
                found.append(instruments)
    lines = []
    for (scope, number), each in sorted(lacking.items(), key=lambda pair: pair[0]):
        control = BY_NUMBER[number]
        names = (
            list(dict.fromkeys(i for some in each for i in some.tolist()))
            if len(each) > 1
            else each[0].tolist()
        )
        first = [universe[i].id for i in names[:_NAMED]]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        where = "all instruments" if len(names) == len(universe) else ", ".join(first) + more
        what = "everything" if not control.risk_only else "what does not reduce"
        lines.append(
            f"risk: {name_of(scope, scopes)} has no limit for control {number} ({', '.join(control.fields)}): "
            f"{what} in {where} is refused"
        )
    return lines

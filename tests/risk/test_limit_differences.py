"""Changes found by table are those found by looking at every scope, instrument and field."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from test_limit_sheet import SCOPES, UNIVERSE, good

from tidegate.risk.limit_changes import Change, _Judge, _special, changes
from tidegate.risk.limit_differences import Difference, found
from tidegate.risk.limit_looseness import depends_on
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits
from tidegate.risk.scope_name import name_of
from tidegate.risk.tables import Tables


def view(limits: Limits) -> dict:
    """By scope, instrument and field: the value, and the tables that speak."""
    tables, values = Tables(UNIVERSE, SCOPES, limits), {}
    each = InstrumentLimits.__struct_fields__
    own = [f for f in ScopeLimits.__struct_fields__ if f not in ("instruments", *each)]
    for n in range(len(SCOPES)):
        for field in own:
            values[n, -1, field] = found(tables.general[n], field), tables.general[n]
        for i, item in enumerate(UNIVERSE.instruments):
            for field in each:
                values[n, i, field] = found(tables.of(n, item), field), tables.of(n, item)
    return values


def by_hand(old: Limits, new: Limits) -> list[Change]:
    before, after = view(old), view(new)
    judge = _Judge(Tables(UNIVERSE, SCOPES, old), Tables(UNIVERSE, SCOPES, new), 0)
    all_of, told = [], set()
    for (n, i, field), (was, theirs) in before.items():
        now, ours = after[n, i, field]
        seen = [repr(found(t, f)) for t in (theirs, ours) for f in (field, *depends_on(field))]
        same = (n, field, *seen)
        if was == now or (i >= 0 and same in told):
            continue
        told.add(same)
        where = name_of(n, SCOPES) + (
            f"@{UNIVERSE[i].id}" if i >= 0 and _special(new, old, n, SCOPES) else ""
        )
        loosened = judge.loosened(n, Difference(i, field, was, now, theirs, ours))
        all_of.append(Change(f"{where}.{field}", was, now, loosened))
    return all_of


@settings(max_examples=80, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(good, good)
def test_changes_are_those_of_every_single_limit(old: Limits, new: Limits) -> None:
    assert changes(old, new, UNIVERSE, SCOPES) == by_hand(old, new)
    assert changes(old, old, UNIVERSE, SCOPES) == []

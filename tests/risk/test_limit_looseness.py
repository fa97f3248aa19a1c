"""Whoever loosens a limit more than twice is two people (control 30): every field, every way to write it."""

from __future__ import annotations

from decimal import Decimal as D
from itertools import product
from typing import Any

import pytest
from gate_desk import SCOPES, T0, UNIVERSE
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.time import iso
from tidegate.risk.controls import CONTROLS
from tidegate.risk.limit_changes import changes, people
from tidegate.risk.limit_looseness import CLOSED
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits

FIELDS = [name for name in ScopeLimits.__struct_fields__ if name != "instruments"]
KIND = {name: text.partition(" ")[0] for name, text in (
    InstrumentLimits.__annotations__ | ScopeLimits.__annotations__).items()}  # fmt: skip
TWICE: dict[str, tuple[Any, Any, Any]] = {
    "Limit": (10, 20, "20.1"), "Percent": ("10%", "20%", "20.1%"), "Duration": ("10s", "20s", "20001ms"),
    "int": (10, 20, 21), "Decimal": ("1", "2", "2.1"),
}  # fmt: skip
"""A limit, twice as much, and more than that."""
SHORTER = ("10s", "5s", "4999ms")
DAY = 86_400_000_000_000
OTHERS: dict[str, tuple[Any, Any, Any]] = {
    **dict.fromkeys(("expiry_window", "period_window", "duplicate_window", "execution_window"), SHORTER),
    "margin_buffer": ("10%", "5%", "4.9%"),
    "sides": ([], [], ["buy"]),
    "order_types": (["limit"], ["limit", "market"], ["limit", "market", "stop"]),
    "time_in_force": (["gtc"], ["gtc", "ioc"], ["day", "ioc"]),
    "trade": (["BTCUSDT.X"], ["*.X", "CL.Y"], ["*"]),
    "restricted": (True, True, False),
    "restricted_from": (iso(T0), iso(T0 - DAY), iso(T0 + 1)),
    "restricted_to": (iso(T0 + DAY), iso(T0 + 2 * DAY), iso(T0 + DAY - 1)),
    "self_match": (False, False, True),
    "legs": (["BTCUSDT.X", "CL.Y"], ["CL.Y", "BTCUSDT.X"], ["CL.Y"]),
}
"""Those of which less is looser, and those that are no number."""
BESIDE: dict[str, dict[str, Any]] = {
    "price_collar_floor": {"price_collar": "5%"}, "dynamic_horizon": {"dynamic_collar": 8},
    "dynamic_floor": {"dynamic_collar": 8}, "period_window": {"period_drift": "2%"},
    "duplicate_window": {"duplicate_orders": 3}, "execution_window": {"executions": 10}, "ratio_free": {"order_ratio": 5},
    "order_burst": {"orders_per_second": 100}, "cancel_burst": {"cancels_per_second": 100},
    "fill_burst": {"fills_per_second": 100}, "leg_time": {"leg_value": 1000}, "legs": {"leg_value": 1000},
    "restricted_from": {"restricted_to": iso(T0 + DAY)}, "restricted_to": {"restricted_from": iso(T0)},
    "long": {"short": 10}, "short": {"long": 10},
}  # fmt: skip
"""What has to stand beside it."""
REQUIRED = {field: c.levels for c in CONTROLS if c.required for field in c.fields}
OWN_DEFAULT = {f for f in FIELDS if getattr(ScopeLimits(), f) is not None}
LEVELS = ("firm", "desks", "accounts", "strategies")
NAMES = {"FIRM": "firm", "DESK": "desks", "ACCOUNT": "accounts", "STRATEGY": "strategies"}


def at(level: str, table: dict[str, Any], instrument: str = "") -> Limits:
    if instrument:
        table = {"instruments": {instrument: table}}
    return Limits.load({level: table if level == "firm" else {"*" if level != "desks" else "desk": table}})


def asked(old: Limits, new: Limits, since: int = 0) -> int:
    return people(changes(old, new, UNIVERSE, SCOPES, since))


def values(field: str) -> tuple[Any, Any, Any]:
    return OTHERS.get(field) or TWICE[KIND[field]]


@pytest.mark.parametrize("field", FIELDS)
def test_more_than_twice_as_loose_takes_two_people_in_every_field_and_less_takes_one(field):
    beside = BESIDE.get(field, {})
    places = [(level, "") for level in LEVELS]
    places += [("firm", name) for name in ("*", "CL.Y") if field in InstrumentLimits.__struct_fields__]
    for place, instrument in places:
        was, twice, more = (at(place, {**beside, field: value}, instrument) for value in values(field))
        said = (place, instrument)
        assert asked(was, twice) == 1, said
        assert asked(was, more) == 2, said
        assert asked(more, was) == 1, said


@pytest.mark.parametrize("field", [f for f in FIELDS if KIND[f] in ("Limit", "Percent")])
def test_no_limit_at_all_takes_two_people(field):
    for level in LEVELS:
        beside = BESIDE.get(field, {})
        was = at(level, {**beside, field: values(field)[0]})
        assert asked(was, at(level, {**beside, field: "unlimited"})) == 2
        assert asked(at(level, {**beside, field: "unlimited"}), was) == 1


NUMBERS = sorted({*FIELDS} - OWN_DEFAULT - {"self_match", "position", "long", "short"} - set(CLOSED))


@pytest.mark.parametrize("field", NUMBERS)
def test_first_set_where_orders_were_refused_takes_two_people_and_so_does_taken_out_where_they_pass(field):
    """Each alone, so that nothing else on the chain says anything."""
    beside = BESIDE.get(field, {})
    for level in LEVELS:
        was, now = at(level, beside), at(level, {**beside, field: values(field)[2]})
        levels = REQUIRED.get(field)
        must = levels is not None and (not levels or level in {NAMES[one.name] for one in levels})
        if field in ("volume", "interest", "depth"):
            must = True  # a share of what is not known is nothing
        assert asked(was, now) == (2 if must else 1), level
        assert asked(now, was) == (1 if must else 2), level


def test_where_another_scope_of_every_chain_sets_it_one_more_is_a_tightening():
    both = {"mm": {"order_qty": 5}, "arb": {"order_qty": 5}}
    firm = {"firm": {"order_qty": 1000}}
    assert asked(Limits.load({"strategies": both}), Limits.load({"strategies": both, **firm})) == 1
    one = {"mm": both["mm"]}
    assert asked(Limits.load({"strategies": one}), Limits.load({"strategies": one, **firm})) == 2, (
        "arb was refused"
    )
    named = {"mm": both["mm"], "arb": {"instruments": {"CL.Y": {"order_qty": 5}}}}
    assert asked(Limits.load({"strategies": named}), Limits.load({"strategies": named, **firm})) == 2, (
        "in BTC"
    )
    moved = Limits.load({"strategies": {"*": {"order_qty": 10**9}}})
    assert asked(Limits.load(firm), moved) == 2, "the firm's is no more, and others' holds"


# What belongs together.


@pytest.mark.parametrize(
    ("was", "now", "needed"),
    [
        ({"executions": 10, "execution_window": "60s"}, {"executions": 20, "execution_window": "60s"}, 1),
        ({"executions": 10, "execution_window": "60s"}, {"executions": 20, "execution_window": "59s"}, 2),
        ({"executions": 10, "execution_window": "60s"}, {"executions": 5, "execution_window": "15s"}, 1),
        ({"executions": 10, "execution_window": "60s"}, {"executions": 21, "execution_window": "600s"}, 2),
        ({"duplicate_orders": 3}, {"duplicate_orders": 3, "duplicate_window": "1ns"}, 2),
        ({"duplicate_orders": 3}, {"duplicate_orders": 3, "duplicate_window": "0s"}, 2),
        ({"period_drift": "2%"}, {"period_drift": "2%", "period_window": "1ns"}, 2),
        ({"dynamic_collar": 6}, {"dynamic_collar": 6, "dynamic_horizon": "720h"}, 2),
        ({"dynamic_collar": 6}, {"dynamic_collar": 12, "dynamic_horizon": "2s"}, 2),
        ({"dynamic_collar": "unlimited"}, {"dynamic_collar": 6, "dynamic_horizon": "720h"}, 1),
        ({"order_ratio": 5}, {"order_ratio": 5, "ratio_free": 10**9}, 2),
        ({"volume_ratio": 5}, {"volume_ratio": 5, "ratio_free": 10**9}, 2),
        ({"orders_per_second": 1000, "order_burst": 5}, {"orders_per_second": 1000}, 2),
        ({"orders_per_second": 1000}, {"orders_per_second": 1000, "order_burst": 50}, 1),
        ({"orders_per_second": "1.9"}, {"orders_per_second": "3.8"}, 1),
        ({"margin_buffer": "99%"}, {"margin_buffer": "50%"}, 2),
        ({"margin_buffer": "30%"}, {"margin_buffer": "15%"}, 1),
        ({"restricted": True}, {"restricted_from": iso(T0)}, 2),
        ({"restricted_from": iso(T0)}, {"restricted": True}, 1),
        ({"self_match": False}, {}, 2),
        ({"price_collar": 60}, {"price_collar": 100}, 2),
        ({"leg_value": "unlimited", "legs": ["BTCUSDT.X", "CL.Y"]}, {"leg_value": "unlimited"}, 1),
    ],
)  # fmt: skip
def test_what_goes_with_a_limit_is_judged_with_it(was, now, needed):
    assert asked(at("strategies", was), at("strategies", now)) == needed


def test_a_closed_time_that_is_over_may_be_taken_out_by_one_person():
    table = {"restricted_from": iso(T0), "restricted_to": iso(T0 + DAY)}
    was, now = at("firm", table), at("firm", {})
    assert [asked(was, now, since) for since in (T0 - DAY, T0 + DAY - 1, T0 + DAY)] == [2, 2, 1]
    assert asked(was, at("firm", {**table, "restricted_from": iso(T0 + 1)}), T0 + 1) == 1


def test_of_instruments_with_the_same_change_the_one_it_loosens_is_told():
    own = {"CL.Y": {"long": 1, "short": 1}, "BTCUSDT.X": {}}
    for instruments in (own, dict(reversed(own.items())), {"BTCUSDT.X": own["CL.Y"]}):
        was, now = (
            Limits.load({"firm": {"position": n, "instruments": instruments}}) for n in (1, 1_000_000)
        )
        assert asked(was, now) == 2
    everywhere = dict.fromkeys(("BTCUSDT.X", "CL.Y"), own["CL.Y"])
    was, now = (Limits.load({"firm": {"position": n, "instruments": everywhere}}) for n in (1, 1_000_000))
    assert asked(was, now) == 1, "it holds nowhere"


# The longest and the shortest position, however they are written.

sizes = st.sampled_from([None, 0, 1, 2, 3, 4, 5, 9, 1000, "unlimited"])
written = st.fixed_dictionaries(dict.fromkeys(("position", "long", "short"), sizes))


def ends(table: dict[str, Any], required: bool) -> tuple[D, D]:
    found = [table["position"] if table[side] is None else table[side] for side in ("long", "short")]
    if required and None in found:
        return D(0), D(0)
    long, short = (D("Infinity") if n in (None, "unlimited") else D(n) for n in found)
    return long, short


@given(written, written, st.sampled_from(LEVELS), st.booleans())
def test_how_a_position_limit_is_written_never_decides_who_must_sign(was, now, level, special):
    required = level != "desks"
    before, after = ends(was, required), ends(now, required)
    needed = 2 if any(then > 2 * first for first, then in zip(before, after, strict=True)) else 1
    texts = [{name: value for name, value in table.items() if value is not None} for table in (was, now)]
    old, new = (at(level, table, "*" if special else "") for table in texts)
    assert asked(old, new) == needed
    # The same ends, written in other ways.
    for one, other in product(_ways(before), _ways(after)):
        assert asked(at(level, one), at(level, other)) == needed


def _ways(both: tuple[D, D]) -> list[dict[str, Any]]:
    long, short = ("unlimited" if not n.is_finite() else int(n) for n in both)
    found = [
        {"long": long, "short": short},
        {"position": long, "short": short},
        {"position": short, "long": long},
    ]
    return [*found, {"position": 7, "long": long, "short": short}]

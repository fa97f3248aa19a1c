"""Columns of limits, written by what changed, are those that are written one by one: all arrays, exactly."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import hand_written_in_force as by_hand
import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tidegate.errors import UserError
from tidegate.kernel import gate_state as g
from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.risk.contradictions import check
from tidegate.risk.gate import Gate
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.lease import leased
from tidegate.risk.limit_sheet import Sheets
from tidegate.risk.limits import InstrumentLimits, Limits
from tidegate.risk.margin.file import apply, packaged
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.risk.tables import Tables
from tidegate.risk.unset import missing

T0 = 1_700_000_000 * 10**9
_TIERED = apply(BINANCE[2], packaged(), "packaged")


def _perpetual(symbol: str, venue: str, tick: str, lot: str, **more: Any) -> Instrument:
    return Instrument(
        symbol=symbol, venue=venue, kind=InstrumentKind.PERPETUAL, base=symbol, quote="USDT", tick=D(tick), lot=D(lot),
        initial_margin=D("0.1"), **more,
    )  # fmt: skip


UNIVERSE = Universe(
    [
        _perpetual("A", "X", "0.1", "0.001"),
        _perpetual("B", "X", "0.1", "0.001"),
        _perpetual("C", "Y", "0.01", "1", expiry=T0 + 10**12),
        _TIERED,
        Instrument(
            symbol="O", venue="Y", kind=InstrumentKind.OPTION, base="A", quote="USDT", tick=D("0.1"), lot=D("0.1"),
            expiry=T0 + 10**13, strike=D(100), right="call",
        ),
    ]
)  # fmt: skip
IDS = [item.id for item in UNIVERSE.instruments]
SCOPES = ScopeTable(
    [Account(name="a", desk="d", capital=D(10**6)), Account(name="b", desk="d"), Account(name="c")],
    [
        StrategyScope(name="s", accounts=("a",)),
        StrategyScope(name="t", accounts=("b", "c", "a")),
        StrategyScope(name="s.next", accounts=("a",), slot_of="s", part=D("0.1")),
        StrategyScope(name="u", accounts=("c",)),
    ],
    desks=["d", "e"],
)
SCOPES.spread = {0: 2, SCOPES.strategy_scope(1): 2}
N, S = len(UNIVERSE), len(SCOPES)

amounts = st.sampled_from([0, 1, 3, "0.004", 10, "2.5", 1000, 10**7, "unlimited"])
shares = st.sampled_from(["0.5%", "5%", "90%", 2, "unlimited"])
times = st.sampled_from([0, "250ms", "1s", "90s", "unlimited"])
_KINDS: dict[str, Any] = {
    "Limit": amounts, "Percent": shares, "Duration": times, "Decimal": st.sampled_from(["0", "0.05", "1"]),
    "bool": st.booleans(), "int": st.integers(0, 3),
    "Moment": st.sampled_from(["2023-11-14T00:00:00", "2024-01-01T00:00:00"]),
}  # fmt: skip
_WORDS = {
    "sides": ["buy", "sell"], "order_types": ["market", "limit", "stop"], "time_in_force": ["gtc", "ioc", "fok", "day"],
    "trade": ["*", "*.X", *IDS], "legs": IDS,
}  # fmt: skip


def _fields(kind: type, own: bool) -> dict[str, Any]:
    found = {}
    for name, annotation in kind.__annotations__.items():
        words = _WORDS.get(name)
        if words:
            found[name] = st.lists(st.sampled_from(words), min_size=1, max_size=3, unique=True)
        elif name != "instruments":
            found[name] = _KINDS[annotation.partition(" ")[0]]
    return found


_OWN = _fields(InstrumentLimits, True)


def _scope_fields() -> dict[str, Any]:
    from tidegate.risk.limits import ScopeLimits

    return _OWN | _fields(ScopeLimits, False)


def tables(fields: dict[str, Any], most: int) -> Any:
    return st.lists(st.sampled_from(sorted(fields)), max_size=most, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in names})
    )


named = st.dictionaries(st.sampled_from(["*", *IDS]), tables(_OWN, 6), max_size=2)
scope_tables = st.builds(
    lambda table, instruments: {**table, **({"instruments": instruments} if instruments else {})},
    tables(_scope_fields(), 25), named,
)  # fmt: skip
documents = st.fixed_dictionaries(
    {"firm": scope_tables},
    optional={
        "desks": st.dictionaries(st.sampled_from(["*", "d"]), scope_tables, max_size=2),
        "accounts": st.dictionaries(st.sampled_from(["*", "a", "c"]), scope_tables, max_size=3),
        "strategies": st.dictionaries(st.sampled_from(["*", "s", "t", "s.next"]), scope_tables, max_size=3),
    },
)


def readable(document: dict[str, Any]) -> bool:
    try:
        limits = Limits.load(document)
        Tables(UNIVERSE, SCOPES, limits)
        check(limits)
    except UserError:
        return False
    return True


good = documents.filter(readable).map(Limits.load)
small = st.tuples(good, st.data())


class Twin:
    """A gate, and beside it what each call should make of its arrays."""

    def __init__(self, limits: Limits) -> None:
        self.gate = Gate(UNIVERSE, SCOPES, limits)
        self.factors: dict[int, int] = {}
        self.leases: dict[tuple[int, int, int], int] = {}
        self.tables = Tables(UNIVERSE, SCOPES, limits)
        state = by_hand.clone(self.gate.state)
        state.rules[:] = 7
        self.check(state)

    def check(self, state: g.GateState) -> None:
        human = by_hand.write(state, self.tables, self.factors, self.leases)
        for name, ours, theirs in zip(g.GateState._fields, self.gate.state, state, strict=True):
            wrong = np.argwhere(ours != theirs)[:8].tolist()
            assert np.array_equal(ours, theirs), (name, wrong, ours[tuple(wrong[0])], theirs[tuple(wrong[0])])
        for scope in range(S):
            for field in Field:
                for i in range(N) if field.per_instrument else (-1,):
                    assert self.gate.human_limit(scope, field, i) == by_hand.limit(human, scope, field, i)

    def set(self, limits: Limits) -> None:
        state = by_hand.clone(self.gate.state)
        below = self.gate.set_limits(limits)
        self.tables = Tables(UNIVERSE, SCOPES, limits)
        self.check(state)
        found = [(b.scope, b.field, b.instrument, b.use, b.limit) for b in below]
        assert found == by_hand.below(self.gate.state, S)

    def factor(self, instrument: int, ppm: int) -> None:
        state = by_hand.clone(self.gate.state)
        self.gate.set_factor(instrument, ppm)
        self.factors[instrument] = ppm
        self.check(state)

    def market(self, instrument: int, figures: tuple[int, int, int, int]) -> None:
        self.gate.set_market(instrument, *figures, 0)
        state = by_hand.clone(self.gate.state)
        self.check(state)

    def lend(self, scope: int, field: Field, instrument: int, value: int) -> None:
        state = by_hand.clone(self.gate.state)
        self.gate.set_limit(scope, field, instrument, value)
        self.leases[scope, int(field), instrument] = value
        self.check(state)

    def hold(self, scope: int, instrument: int, lots: int, side: int) -> None:
        """As if this were used."""
        row = self.gate.state.cell[scope * N + instrument]
        row[g.C_POS] = lots
        row[g.C_BUYS + side] = abs(lots) + 1
        self.gate.state.scope[scope, g.P_GROSS] = abs(lots) * 1_000_000
        self.gate.state.real[instrument, g.X_UNIT] = 1_234.5


steps = st.one_of(
    st.tuples(st.just("set"), good),
    st.tuples(st.just("factor"), st.integers(0, N - 1), st.sampled_from([1, 333_333, 500_000, 1_000_000])),
    st.tuples(
        st.just("market"), st.integers(0, N - 1), st.tuples(*[st.sampled_from([-1, 0, 7, 10**9, 10**15])] * 4)
    ),
    st.tuples(st.just("hold"), st.integers(0, S - 1), st.integers(0, N - 1), st.integers(-9, 9), st.integers(0, 1)),
    st.tuples(
        st.just("lend"), st.integers(0, S - 1), st.sampled_from(list(Field)), st.integers(0, N - 1),
        st.sampled_from([0, 5, 10**6, g.UNLIMITED]),
    ).map(lambda t: (*t[:3], t[3] if t[2].per_instrument else -1, t[4])),
)  # fmt: skip


@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(good, st.lists(steps, min_size=1, max_size=6))
def test_every_column_is_what_it_is_when_written_by_hand(
    limits: Limits, calls: list[tuple[Any, ...]]
) -> None:
    twin = Twin(limits)
    for what, *arguments in calls:
        getattr(twin, what)(*arguments)
    saved = twin.gate.state_bytes()
    other = Gate(UNIVERSE, SCOPES, limits)
    other.load(saved)
    assert other.state_bytes() == saved
    for ours, theirs in zip(other.state, twin.gate.state, strict=True):
        assert ours.shape == theirs.shape
    assert np.array_equal(other.state.rules, twin.gate.state.rules)
    assert np.array_equal(other.state.plain, twin.gate.state.plain)


@settings(max_examples=60, deadline=None)
@given(good)
def test_what_is_unset_and_what_is_lent_are_read_from_the_sheet_as_from_the_rows(limits: Limits) -> None:
    gate = Gate(UNIVERSE, SCOPES, limits)
    lines: dict[tuple[int, int], dict[str, None]] = {}
    for links in gate.state.chain:
        if links[g.CH_RULES] >= 0:
            for i, name in enumerate(IDS):
                row = gate.state.rules[links[g.CH_RULES] + i]
                for at in (g.R_MISSING, g.R_MISSING_RISK):
                    if row[at]:
                        lines.setdefault((int(row[at + 1]), int(row[at])), {})[name] = None
    told = missing(Sheets(UNIVERSE, SCOPES).of(limits))
    assert len(told) == len(lines)
    for line, ((scope, number), names) in zip(told, sorted(lines.items()), strict=True):
        assert line.startswith(
            f"{SCOPES.label(scope).replace(' ', ':').replace('firm:firm', 'firm')} has no limit"
        )
        assert f"control {number} " in line
        assert ("all instruments" if len(names) == N else f" in {', '.join(list(names)[:3])}") in line
    want = {
        (scope, field, i): most
        for scope in range(S) for field in Field for i in (range(N) if field.per_instrument else (-1,))
        if (most := gate.human_limit(scope, field, i)) < g.UNLIMITED
    }  # fmt: skip
    assert list(leased(gate, range(S)).items()) == list(want.items())


def test_a_permission_for_one_instrument_is_none_for_those_of_its_kind() -> None:
    twin = Twin(Limits.load({"firm": {"trade": ["A.X"]}}))
    assert twin.gate.state.rules[:N, g.R_INSTRUMENT].tolist() == [1, 0, 0, 0, 0]
    twin.set(Limits.load({"firm": {"trade": ["B.X", "*.Y"]}}))
    assert twin.gate.state.rules[:N, g.R_INSTRUMENT].tolist() == [0, 1, 1, 0, 1]


def test_equal_tables_of_two_versions_are_one() -> None:
    document = {
        "firm": {"gross": 5, "instruments": {"A.X": {"order_qty": 3}}},
        "strategies": {"s": {"net": 2}},
    }
    first = Limits.from_json(Limits.load(document).to_json())
    second = Limits.from_json(Limits.load({**document, "strategies": {"s": {"net": 3}}}).to_json())
    assert first == Limits.load(document)
    assert second.firm is first.firm
    assert second.strategies["s"] is not first.strategies["s"]

"""Positions from before us, taken into a lane's books: once, exactly what was shown, and as nothing of today's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_world import events
from test_slots import LIVE, NEXT, SCOPES, UNIVERSE, Trader, gate

from tidegate.execution.core import Lane
from tidegate.execution.lane_view import lane_view
from tidegate.kernel import gate_state as g
from tidegate.model.messages import Adopt, Mark, Report
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.model.wire import decode, pack
from tidegate.risk.exposure import Exposure
from tidegate.risk.ledger import NOBODY, Ledger
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State

FIRM, ACCOUNT = 0, SCOPES.account_scope(0)
START = Mark(1, 0, 9_999, 10_001)


class Books(Trader):
    """A lane with its log, and the exposure that its events come to."""

    def __init__(self):
        super().__init__()
        self.log = [START]
        self.exposure = Exposure(UNIVERSE, SCOPES)
        self.exposure.mark(0, 9_999, 10_001, 1)
        inner = self.lane.apply

        def apply(message):
            self.log.append(message)
            out = inner(message)
            for event in events(out):
                self.exposure.apply(event)
            if isinstance(message, Mark):
                self.exposure.mark(message.instrument, message.bid, message.ask, message.ts)
            return out

        self.apply = apply
        self.lane = _Heard(self.lane, apply)

    def adopt(self, lots, price=10_000, strategy=NOBODY, ours=None, id="", given=False):
        self.n += 1
        held = self.held() if ours is None else ours
        said = Adopt(self.ts, 0, 0, lots, held, price, strategy, "ann and bob", id or f"c{self.n}", given)
        return events(self.apply(decode(pack([said])).messages[0]))

    def held(self):
        return sum(p.lots for (_, _, i), p in self.lane.state.ledger.positions() if i == 0)

    def gate_position(self, scope):
        return int(self.lane.state.gate.state.cell[scope, g.C_POS])


class _Heard:
    """The lane, every message of which is heard."""

    def __init__(self, lane, apply):
        self._lane, self.apply = lane, apply

    def __getattr__(self, name):
        return getattr(self._lane, name)


def test_it_is_held_at_its_price_and_told_once():
    b = Books()
    (told,) = b.adopt(-7, 12_345)
    assert (told.cl_ord_id, told.strategy, told.reason) == (0, NOBODY, Reason.ADOPTED)
    assert (told.exec_type, told.status, told.side) == (ExecType.TRADE, OrdStatus.FILLED, Side.SELL)
    assert (told.last_qty, told.last_px) == (7, 12_345)
    position = b.lane.state.ledger.position(0, NOBODY, 0)
    assert (position.lots, position.average_price, position.realised) == (-7, 12_345, 0)
    view = lane_view(b.lane._lane, 0)
    assert (view.positions, view.nobody, view.adopted) == ({0: -7}, {0: -7}, ["c1"])
    assert [b.gate_position(s) for s in (FIRM, ACCOUNT, LIVE, NEXT)] == [-7, -7, 0, 0]


def test_what_has_moved_since_it_was_shown_is_not_adopted():
    b = Books()
    before = b.lane.state_hash()
    assert b.adopt(5, ours=1) == []
    assert b.lane.counts == {Reason.NOT_ADOPTED: 1}
    assert "the books hold 0 lots, people were shown 1" in b.lane.error
    b.lane.state.counts.clear()
    assert b.lane.state_hash() == before
    b.fill(0, Side.BUY, 3)
    assert b.adopt(5, ours=0) == []
    assert len(b.adopt(5, ours=3)) == 1
    assert b.held() == 8


def test_one_command_is_followed_once_though_the_books_come_back_to_what_was_shown():
    b = Books()
    assert b.adopt(5, id="x")
    b.fill(0, Side.SELL, 5)
    assert b.held() == 0
    assert b.adopt(5, id="x", ours=0) == []
    assert b.held() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"lots": 0}, {"price": 0}, {"price": -5}, {"strategy": 2}, {"strategy": -2}, {"lots": 1 << 51},
        {"price": 1 << 41}, {"lots": 1 << 80},
    ],
)  # fmt: skip
def test_what_cannot_be_changes_nothing(wrong):
    b = Books()
    said = {"lots": 5, "price": 10_000, "strategy": 0} | wrong
    b.apply(Adopt(5, 0, 0, said["lots"], 0, said["price"], said["strategy"], "", "c"))
    b.apply(Adopt(5, 9, 0, 5, 0, 10_000, -1, "", "d"))
    b.apply(Adopt(5, 0, 3, 5, 0, 10_000, -1, "", "e"))
    assert sum(b.lane.counts.values()) == b.lane.counts[Reason.INVALID_CONTROL] == 3
    b.lane.state.counts.clear()
    b.lane.state.now = 1 << 40
    after = b.lane.state_hash()
    b2 = Books()
    b2.lane.state.now = 1 << 40
    assert after == b2.lane.state_hash()


def test_what_was_lost_before_is_no_loss_of_today_and_what_is_lost_after_is():
    b = Books()
    b.adopt(100, 200_000, strategy=0)  # it has lost 95 % before us: 190,000.00 of the strategy's 5,000 a day
    state = b.lane.state.gate.state
    assert b.lane.state.gate.scope_state(LIVE) is State.ACTIVE
    assert b.exposure.totals[LIVE].loss == b.exposure.totals[LIVE].drawdown == 0
    assert [int(state.scope[s, g.P_TRADED]) for s in (FIRM, ACCOUNT, LIVE)] == [0, 0, 0]
    assert b.exposure.totals[FIRM].traded == 0
    assert int(state.scope[FIRM, g.P_PNL]) == b.exposure.totals[FIRM].pnl < -189_000 * g.MICRO
    b.apply(Mark(b.ts, 0, 9_399, 9_401))
    assert b.lane.state.gate.scope_state(LIVE) is State.ACTIVE
    b.apply(Mark(b.ts, 0, 4_499, 4_501))
    assert b.lane.state.gate.scope_state(LIVE) is State.REDUCE_ONLY


def test_nobodys_position_is_given_to_a_strategy():
    b = Books()
    b.adopt(-10, 9_000)
    assert b.adopt(-11, 9_000, strategy=1, given=True) == []
    assert b.adopt(4, 9_000, strategy=1, given=True) == []
    assert len(b.adopt(-4, 9_000, strategy=1, given=True)) == 2
    assert [b.lane.state.ledger.position(0, s, 0).lots for s in (NOBODY, 0, 1)] == [-6, 0, -4]
    assert [b.gate_position(s) for s in (FIRM, ACCOUNT, LIVE, NEXT)] == [-10, -10, 0, -4]
    assert b.lane.state.ledger.position(0, NOBODY, 0).realised == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("adopt"), st.integers(-30, 30).filter(bool), st.sampled_from([NOBODY, 0, 1])),
        st.tuples(st.just("fill"), st.integers(-2, 2).filter(bool), st.sampled_from([0, 1])),
        st.tuples(st.just("mark"), st.integers(9_900, 10_100), st.just(0)),
        st.tuples(st.just("stale"), st.integers(-5, 5).filter(bool), st.sampled_from([NOBODY, 0])),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_ledger_gate_and_exposure_agree_and_a_replay_comes_to_the_same(steps):
    b = Books()
    sums = {NOBODY: 0, 0: 0, 1: 0}
    for kind, a, strategy in steps:
        if kind == "adopt":
            assert b.adopt(a, 10_000 + a, strategy)
            sums[strategy] += a
        elif kind == "stale":
            assert b.adopt(a, strategy=strategy, ours=b.held() + a) == []
        elif kind == "mark":
            b.apply(Mark(b.ts, 0, a - 1, a + 1))
        elif not isinstance(b.order(strategy, Side.BUY if a > 0 else Side.SELL, abs(a)), Reason):
            number = max(b.lane.state.live)
            b.exec_id += 1
            b.apply(
                Report(b.ts, number, ExecType.TRADE, exec_id=b.exec_id, last_qty=abs(a), last_px=10_000,
                       cum_qty=abs(a), leaves_qty=0)
            )  # fmt: skip
            sums[strategy] += a
    ledger, state = b.lane.state.ledger, b.lane.state.gate.state
    assert {s: ledger.position(0, s, 0).lots for s in sums} == sums
    whole = sum(sums.values())
    assert [b.gate_position(s) for s in (FIRM, ACCOUNT, LIVE, NEXT)] == [whole, whole, sums[0], sums[1]]
    for scope in (FIRM, ACCOUNT, LIVE, NEXT):
        total = b.exposure.totals[scope]
        named = {"pnl": g.P_PNL, "peak": g.P_PEAK, "day_pnl": g.P_DAY_PNL, "traded": g.P_TRADED}
        for name, column in named.items():
            assert getattr(total, name) == int(state.scope[scope, column]), (scope, name)
    b.lane.check()
    again = Lane(0, UNIVERSE, gate(), Ledger(UNIVERSE))
    for n, message in enumerate(b.log):
        if n == len(b.log) // 2:
            again = Lane.restore(again.snapshot(), UNIVERSE, gate(), Ledger(UNIVERSE))
        again.apply(message)
    assert again.state_hash() == b.lane.state_hash()

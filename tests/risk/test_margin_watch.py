"""The margin call path: warn, only reduce, reduce; with hysteresis, and never on stale marks."""

from __future__ import annotations

import itertools
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from margin_desk import BTC_2021, ETH_2021, hold, inverse, linear, pool, units

from tidegate.errors import UserError
from tidegate.model.time import SECOND
from tidegate.risk.margin.account import MarginAccount, filled
from tidegate.risk.margin.plan import plan
from tidegate.risk.margin.pool import Holding, Pool, Touch
from tidegate.risk.margin.watch import NOTHING, Level, MarginSettings, MarginWatch
from tidegate.risk.scopes import State

BTC, ETH = linear("BTCUSDT", BTC_2021, 0), linear("ETHUSDT", ETH_2021, 1)
HALF, MOST = Fraction(1, 2), Fraction(1, 4)


def account(*pools: Pool, **more: object) -> MarginAccount:
    return MarginAccount("main", "X", pools[0].currency, pools, **more)


def at(percent: int) -> MarginAccount:
    """An account whose ratio is so many percent: 10 BTC at 50,000 need 3,700 and 250 of fees."""
    held = hold(BTC, "10", "50000", "50000")
    need = held.maintenance + held.closing
    return account(Pool("USDT", -(-need * 100 // percent), (held,)))


def levels(watch: MarginWatch, *percents: int) -> list[Level]:
    made = []
    for n, percent in enumerate(percents):
        watch.step(at(percent), n * SECOND)
        made.append(watch.level)
    return made


def test_levels_begin_at_their_thresholds_and_end_a_little_below():
    watch = MarginWatch(MarginSettings())
    fine, warn, only, reduce = Level
    assert levels(watch, 10, 49, 50, 46, 44) == [fine, fine, warn, warn, fine]
    assert levels(watch, 66, 61, 59, 46, 44) == [only, only, warn, warn, fine]
    assert levels(watch, 81, 70, 51, 49, 44) == [reduce, reduce, reduce, fine, fine]
    assert levels(watch, 64, 66, 90, 99) == [warn, only, reduce, reduce]


def test_each_level_halts_once_and_nothing_here_lifts_a_halt():
    watch = MarginWatch(MarginSettings())
    states = [
        [h.state for h in watch.step(at(p), n).halts] for n, p in enumerate((40, 55, 56, 70, 72, 40, 70, 85))
    ]
    assert states == [[], [State.WARN], [], [State.REDUCE_ONLY], [], [], [], []]
    watch.rearm()
    [halt] = watch.step(at(70), 100).halts
    assert (halt.scope, halt.state, halt.trigger, halt.ts) == (
        "account:main",
        State.REDUCE_ONLY,
        "margin",
        100,
    )
    assert "main at X" in halt.reason


def test_what_changed_is_said_and_nothing_is_said_twice():
    watch = MarginWatch(MarginSettings())
    said = [[(s.kind, s.severity) for s in watch.step(at(p), n).said] for n, p in enumerate((55, 56, 70, 40))]
    assert said == [[("margin_call", "high")], [], [("margin_call", "critical")], [("margin_back", "info")]]


def test_a_stale_mark_decides_nothing():
    watch = MarginWatch(MarginSettings())
    watch.step(at(70), 0)
    old = at(99)
    blind = MarginAccount(old.name, old.venue, old.currency, old.pools, stale=("BTCUSDT.X",))
    acts = watch.step(blind, 10 * SECOND)
    assert (acts.halts, acts.plan) == ((), None)
    assert [s.kind for s in acts.said] == ["margin_stale"]
    assert watch.step(blind, 20 * SECOND) == NOTHING
    assert watch.level is Level.REDUCE_ONLY
    assert watch.step(at(99), 30 * SECOND).plan is not None


def test_steps_wait_for_one_another():
    watch = MarginWatch(MarginSettings(pause=5 * SECOND))
    assert watch.step(at(90), 0).plan is not None
    assert watch.step(at(89), 4 * SECOND).plan is None
    assert watch.step(at(88), 5 * SECOND).plan is not None
    assert watch.step(at(87), 9 * SECOND).plan is None


def test_a_step_that_was_lost_is_followed_by_another_while_the_level_holds():
    """Whatever else is open: an order of a strategy's own that would close something holds no step up."""
    watch = MarginWatch(MarginSettings(pause=2 * SECOND))
    held = hold(BTC, "10", "50000", "50000", orders=(("-1", "60000"),))
    one = account(Pool("USDT", 4_400 * 10**8, (held,)))
    assert one.ratio > Fraction(4, 5)
    plans = [watch.step(one, n * SECOND).plan for n in range(6)]
    assert [plan is not None for plan in plans] == [True, False] * 3
    assert plans[0] == plans[2] == plans[4]


def test_back_at_the_target_what_is_being_closed_is_to_stop():
    watch = MarginWatch(MarginSettings())
    assert watch.step(at(90), 0).plan is not None
    assert watch.began == {0: 10_000}
    assert not watch.step(at(60), SECOND).over
    acts = watch.step(at(49), 3 * SECOND)
    assert (acts.plan, acts.over, watch.began, watch.plan) == (None, True, {}, None)
    assert not watch.step(at(48), 4 * SECOND).over


def test_settings_that_contradict_one_another_are_one_line():
    MarginSettings().check("margin")
    for fields, says in (
        ({"warn": D("0.7")}, "0 < warn < reduce_only < reduce ≤ 1 must hold"),
        ({"reduce": D("1.1")}, "0 < warn < reduce_only < reduce ≤ 1 must hold"),
        ({"target": D("0.8")}, "target is 0.8, must be above 0 and below reduce, 0.8"),
        ({"part": D(0)}, "0 < part ≤ 1 must hold"),
        ({"below": D("0.5")}, "0 ≤ below < warn"),
        ({"max_age": 0}, "max_age must be above"),
        ({"slice": D(0)}, "0 < slice ≤ 1"),
        ({"collar": D(1)}, "0 < collar < 1"),
        ({"lifetime": SECOND}, "lifetime must be above 0, and not below pause"),
    ):
        with pytest.raises(UserError, match=r"^margin: ") as caught:
            MarginSettings(**fields).check("margin")
        assert says in str(caught.value)


def test_settings_are_read_in_human_units():
    found = MarginSettings.load({"warn": "40%", "reduce": 0.9, "pause": "5s", "max_age": "1500ms"})
    assert (found.warn, found.reduce, found.pause, found.max_age) == (
        D("0.4"),
        D("0.9"),
        5 * SECOND,
        SECOND * 3 // 2,
    )
    for data, says in (
        ({"wran": 1}, r"risk.margin: unknown key 'wran'; did you mean 'warn'\?"),
        ({"warn": "much"}, "risk.margin.warn: .*'much'"),
        ({"warn": "90%"}, "0 < warn < reduce_only < reduce ≤ 1 must hold"),
        ({"carry_out": "yes"}, "risk.margin.carry_out"),
        ("half", "expected a table, got 'half'"),
    ):
        with pytest.raises(UserError, match=says):
            MarginSettings.load(data)


# Plans.


def test_a_plan_cuts_just_enough_of_one_position():
    step = plan(at(90), HALF, Fraction(1))
    [cut] = step.cuts
    assert step.enough
    assert step.after <= HALF < step.ratio
    assert -5_500 < cut.lots < -2_000
    assert step.cancel == ()


def test_a_step_closes_no_more_than_its_part():
    step = plan(at(90), Fraction(1, 10), MOST)
    assert [cut.lots for cut in step.cuts] == [-2_500]
    assert not step.enough
    assert step.after < step.ratio


def test_the_position_that_asks_most_for_its_value_goes_first():
    """ETH at 10 % before BTC at 1 %."""
    one = account(pool("300000", hold(BTC, "10", "50000", "50000"), hold(ETH, "-1000", "3000", "3000")))
    step = plan(one, one.ratio * Fraction(9, 10), Fraction(1))
    assert [cut.instrument for cut in step.cuts] == [1]
    assert step.cuts[0].lots > 0, "a short is bought back"


def test_hedged_legs_are_cut_together_and_by_the_same_part():
    perpetual, future = BTC, linear("BTCUSDT_D", BTC_2021, 2, base="BTC")
    one = account(
        pool("12000", hold(perpetual, "10", "50000", "50000"), hold(future, "-20", "50000", "50000"))
    )
    step = plan(one, one.ratio / 2, Fraction(1))
    by = {cut.instrument: cut.lots for cut in step.cuts}
    assert by[0] < 0 < by[2]
    assert by[2] == -2 * by[0]


def test_open_orders_that_could_make_it_larger_are_to_be_cancelled():
    held = hold(BTC, "10", "50000", "50000", orders=(("1", "49000"),))
    closes = hold(ETH, "-10", "3000", "3000", orders=(("5", "2900"),))
    step = plan(account(pool("1000", held, closes)), HALF)
    assert step.cancel == (0,)


def test_with_nothing_left_everything_is_closed():
    one = account(pool("-1000", hold(BTC, "10", "50000", "50000")))
    step = plan(one, HALF, Fraction(1))
    assert [cut.lots for cut in step.cuts] == [-10_000]
    assert step.after > HALF


def test_an_account_of_several_currencies_is_judged_in_one():
    coin = hold(inverse(number=2), "10000", "50000", "50000")
    both = account(
        pool("1000", hold(BTC, "1", "50000", "50000")), Pool("BTC", units("0.2", "BTC"), (coin,)),
        rates={"BTC": Fraction(50_000)},
    )  # fmt: skip
    assert both.equity == units("11000")
    step = plan(both, both.ratio / 2, Fraction(1))
    assert [cut.instrument for cut in step.cuts] == [0, 2], "both are BTC"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-50_000, 50_000).filter(bool), st.integers(100, 400)), min_size=1, max_size=3),
    st.integers(1, 10**12), st.integers(5, 95), st.integers(1, 100),
)  # fmt: skip
def test_steps_end_at_the_target_and_never_cross_zero(positions, wallet, target, most):
    """Carried out at its own marks, step after step, a plan ends: at the target, or with nothing left to close."""
    holdings = []
    for n, (lots, price) in enumerate(positions):
        c = linear("BTCUSDT", BTC_2021, n, tick=D("0.1"), base=("BTC", "ETH", "BTC")[n])
        holdings.append(Holding(c, Touch(price, price), lots, c.terms.cost(lots, price)))
    one = account(Pool("USDT", wallet, tuple(holdings)))
    goal, part = Fraction(target, 100), Fraction(most, 100)
    assume(one.ratio > goal)
    for _ in range(2_000):
        step = plan(one, goal, part)
        assert step.ratio == one.ratio
        for cut in step.cuts:
            pool_, held = one.find(cut.instrument)
            assert cut.lots * held.lots < 0
            assert abs(cut.lots) <= abs(held.lots)
            one = one.with_pool(filled(pool_, held, cut.lots, held.mark))
        assert one.ratio == step.after
        if one.ratio <= goal or not any(h.lots for p in one.pools for h in p.holdings):
            break
        assert step.cuts
    else:
        raise AssertionError("it never ends")
    if step.enough:
        assert one.ratio <= goal or not any(h.lots for p in one.pools for h in p.holdings)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=30))
def test_a_level_is_never_below_its_threshold_and_a_ratio_that_stands_changes_nothing(percents):
    watch = MarginWatch(MarginSettings())
    begins = {Level.WARN: 50, Level.REDUCE_ONLY: 65, Level.REDUCE: 80}
    for n, percent in enumerate(itertools.chain.from_iterable((p, p) for p in percents)):
        before = watch.level
        acts = watch.step(at(percent), n)
        if n % 2:
            assert watch.level is before
            assert not acts.halts
        for level, begin in begins.items():
            if percent > begin:
                assert watch.level >= level

"""A margin call's step in a lane: never more than it says, never across zero, its legs together, whatever happens."""

from __future__ import annotations

import msgspec
import pytest
from execution.reduce_world import ASK, BID, FIRM, MAIN, ONE, UNIVERSE, World, gate
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.execution import reductions
from tidegate.execution.core import Lane
from tidegate.execution.ids import MARGIN_IDS, SLICE_BITS, origin_of
from tidegate.execution.state import Settings
from tidegate.model.messages import CancelOrder, LogGap, ReplaceOrder, Report
from tidegate.model.order import ExecInst, ExecType, Side, TimeInForce
from tidegate.risk.ledger import Ledger
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State


def test_a_step_is_closed_in_parts_and_no_further():
    world = World({(0, 0): 100})
    world.step(0.25)
    seen = []
    while (found := world.round()).state == "working":
        for order in found.orders:
            assert (order.side, order.time_in_force, order.exec_inst) == (
                Side.SELL,
                TimeInForce.IOC,
                ExecInst.REDUCE_ONLY,
            )
            assert order.price == (BID + ASK) // 2 * 995 // 1000
            assert origin_of(order.cmd_id) == "margin"
            seen.append((order.qty, order.cmd_id & ((1 << SLICE_BITS) - 1)))
        for key in world.house():
            world.fill(key)
    assert seen == [(10, 1), (10, 2), (5, 3)]
    assert (found.state, world.held(0)) == ("done", 75)
    assert found.parts[0][1:] == (-25, 25, 0)


def test_both_legs_of_a_hedge_go_together_and_one_that_lags_holds_the_other():
    world = World({(0, 0): 100, (0, 1): -200, (0, 2): 50})
    world.step(0.25)
    found = world.round()
    assert [(o.instrument, o.side, o.qty) for o in found.orders] == [
        (0, Side.SELL, 10),
        (1, Side.BUY, 20),
        (2, Side.SELL, 5),
    ]
    first, second, other = world.house()
    world.fill(first)
    world.fill(second, 0.0)
    world.fill(other)
    found = world.round()
    assert [(o.instrument, o.qty) for o in found.orders] == [(1, 20), (2, 5)], "the other underlying goes on"
    world.fill(world.house()[0], 0.0)
    world.wait(2)
    world.mark()
    world.step(0.25)  # the next step, from what is held now: the leg still lags
    assert [(o.instrument, o.qty) for o in world.look().orders] == [(1, 20), (2, 5)]


def test_twice_or_late_or_from_a_writer_that_is_behind_it_is_done_once():
    world = World({(0, 0): 100})
    world.step(0.25)
    stale = world.look().messages
    world.round()
    world.put(*stale)
    assert len(world.house()) == 1
    world.fill(world.house()[0])
    world.put(*stale)
    world.put(world.steps[0])
    found = world.round()
    assert [o.cmd_id & 1023 for o in found.orders] == [2]
    world.put(*stale)
    assert world.lane.counts[Reason.DUPLICATE_COMMAND] >= 3
    assert len(world.house()) == 1


def test_a_late_order_that_the_lane_has_forgotten_is_refused_all_the_same():
    world = World({(0, 0): 100}, history=2)
    world.step(0.25)
    first = world.look().messages
    for _ in range(4):
        world.round()
        for key in world.house():
            world.fill(key)
    world.put(*first)
    assert not world.house()
    assert world.lane.counts[Reason.NOT_OF_STEP] == 1
    assert world.held(0) == 75


def test_a_newer_step_ends_the_one_before_and_counts_what_it_has_open():
    world = World({(0, 0): 100})
    world.step(0.25)
    world.round()
    assert world.lane.by_command(MARGIN_IDS + (1 << SLICE_BITS) + 1).leaves_qty == 10
    world.step(0.25)  # made while 10 lots are open: it means to leave 75
    old = world.house()[0]
    assert [cut.used for cut in world.reduction.cuts] == [0]
    assert not world.look().orders
    world.fill(old)
    for _ in range(9):
        world.round()
        for key in world.house():
            world.fill(key)
    assert world.held(0) == 75
    world.put(world.steps[0])
    assert world.reduction.plan == world.steps[1].plan


def test_without_cuts_it_ends():
    world = World({(0, 0): 100})
    world.step(0.25)
    world.step(0.0, instruments=())
    assert (world.look().state, world.look().messages) == ("done", [])


def test_its_time_is_over():
    world = World({(0, 0): 100})
    world.step(0.25)
    late = world.look().messages
    world.wait(7)
    world.mark()
    found = world.look()
    assert (found.state, found.why, found.messages) == ("gave up", "its time was over", [])
    world.put(*late)
    assert not world.house()


@pytest.mark.parametrize("state", [State.CANCEL_ONLY, State.KILLED])
@pytest.mark.parametrize("scope", [FIRM, MAIN])
def test_what_people_say_ends_it_and_lifting_that_does_not_begin_it_again(state, scope):
    world = World({(0, 0): 100})
    world.step(0.25)
    late = world.look().messages
    world.halt(state, scope)
    world.put(*late)
    assert not world.house()
    world.halt(State.ACTIVE, scope)
    found = world.look()
    assert (found.state, found.messages) == ("gave up", [])
    assert "only cancels" in found.why or "killed" in found.why


def test_one_strategy_killed_leaves_the_others_lots_to_be_closed():
    world = World({(0, 0): 60, (1, 0): 40})
    world.shut = lambda account, strategy, instrument: "strategy:one is KILLED" if strategy == 0 else ""
    world.step(0.5)
    world.halt(State.KILLED, ONE)
    found = world.round()
    assert [(o.strategy, o.qty) for o in found.orders] == [(1, 10)]
    world.shut = lambda *_: "account:main is KILLED"
    world.fill(world.house()[0])
    assert (world.look().state, world.look().why) == ("gave up", "account:main is KILLED")


def test_of_two_strategies_who_holds_most_goes_first_and_an_opposite_one_is_left_alone():
    world = World({(0, 0): 70, (1, 0): -20})
    world.step(0.5)
    assert world.steps[0].cuts[0][:3] == (0, -25, 50)
    for _ in range(9):
        for order in world.round().orders:
            assert (order.strategy, order.side) == (0, Side.SELL)
        for key in world.house():
            world.fill(key)
    assert world.held(0) == 25


def test_orders_that_could_make_it_larger_go_first_and_so_do_those_that_leave_no_room():
    world = World({(0, 0): 100, (0, 1): 100})
    raising = world.own(0, 0, 30)
    small = world.own(0, 1, -40)
    big = world.own(0, 0, -95)
    world.step(0.25)
    found = world.round()
    assert {world.lane.by_command(m.cmd_id).cl_ord_id for m in found.messages} == {raising, big}
    assert all(type(m) is CancelOrder for m in found.messages)
    assert (found.state, found.why) == ("waits", "other orders are being cancelled")
    assert not world.look().messages, "asked for once"
    world.cancel(raising)
    world.cancel(big)
    assert [(o.instrument, o.qty) for o in world.round().orders] == [(0, 10), (1, 10)]
    assert small in world.sent


def test_a_step_may_only_cancel():
    world = World({(0, 0): 100})
    raising = world.own(0, 0, 30)
    world.step(0.0, instruments=(), cancel=(0,))
    assert [m.cmd_id for m in world.round().messages] == [world.lane.order(raising).cmd_id]
    assert (world.look().state, world.look().messages) == ("waits", [])
    world.cancel(raising)
    assert world.look().state == "done"


def test_an_order_that_will_not_go_is_not_waited_for_long():
    world = World({(0, 0): 100})
    world.own(0, 0, 30)
    world.step(0.25)
    world.round()
    world.wait(1.1)
    world.mark()
    assert world.round().orders


def test_nothing_on_a_stale_mark_nor_while_the_log_has_a_gap():
    world = World({(0, 0): 100, (0, 1): -100})
    world.step(0.25, life=60)
    world.wait(5.5)
    world.mark(0)
    found = world.look()
    assert (found.state, found.why, found.messages) == ("waits", "no fresh price of BTCUSDT_Q.X", [])
    world.mark(1)
    assert world.look().orders
    world.put(LogGap(world.now, "HALT", True, "entry 7 is missing"))
    assert (world.look().state, world.look().messages) == ("waits", [])
    assert "entry 7 is missing" in world.look().why


def test_what_the_gate_refuses_is_tried_at_half_the_size():
    world = World({(0, 0): 100})
    world.step(0.5, participation=400_000)
    sizes = []
    for _ in range(3):
        [order] = world.look().orders
        sizes.append(order.qty)
        world.halt(State.KILLED, ONE)  # the strategy's scope: its gate refuses, the step stands
        world.lane.state.reductions[0, "X USDT"].ended = ""
        world.put(order)
        world.halt(State.ACTIVE, ONE)
    assert sizes == [40, 20, 10]
    assert "SCOPE_KILLED" in world.look().why
    world.round()
    assert world.look().why == "orders of the last step are open"


def test_an_order_that_is_lost_keeps_its_lots_and_holds_nobody_up():
    world = World({(0, 0): 100})
    world.step(0.25, life=60)
    world.round()
    [lost] = world.house()
    world.wait(3)
    world.mark()
    assert world.lane.order(lost).status.name == "UNKNOWN"
    for _ in range(4):
        world.round()
        for key in world.house():
            if key != lost:
                world.fill(key)
    assert world.held(0) == 85
    world.fill(lost)
    assert world.held(0) == 75


def test_one_that_is_lost_counts_in_the_next_step_too():
    world = World({(0, 0): 100})
    world.step(0.25)
    world.round()
    [lost] = world.house()
    world.wait(3)
    world.mark()
    world.step(0.25)
    for _ in range(6):
        world.round()
        for key in world.house():
            if key != lost:
                world.fill(key)
    assert world.held(0) == 85, "what is lost may fill yet"
    world.fill(lost)
    assert world.held(0) == 75


def test_what_does_not_fill_is_sent_again_and_what_fills_too_late_counts():
    world = World({(0, 0): 100})
    world.step(0.25, life=120)
    for part in (0.0, 0.5, 0.0, 1.0, 1.0):
        world.round()
        world.fill(world.house()[0], part)
    assert world.held(0) == 75
    world.step(0.2, life=120)
    world.round()
    [lost] = world.house()
    world.wait(30)
    world.put(Report(world.now, lost, ExecType.NOT_FOUND, world.now))
    cut = world.reduction.cuts[0]
    assert (cut.used, reductions.left(world.lane.state, world.reduction, cut)) == (0, 5)
    world.fill(lost)
    assert (cut.used, reductions.left(world.lane.state, world.reduction, cut)) == (10, 5)


@pytest.mark.parametrize("fills", [True, False])
def test_one_that_the_venue_does_not_know_keeps_its_lots_for_a_minute_over_steps_and_restarts(fills):
    world = World({(0, 0): 100})
    world.step(0.25)
    world.round()
    [lost] = world.house()
    world.wait(30)
    world.put(Report(world.now, lost, ExecType.NOT_FOUND, world.now))
    assert world.lane.order(lost).status.name == "REJECTED"
    world.restart()
    world.mark()
    world.step(0.25, life=200)

    def work():
        for _ in range(8):
            world.round()
            for key in world.house():
                if key != lost:
                    world.fill(key)

    work()
    assert world.held(0) == 85, "what the venue does not know may have been on its way"
    if fills:
        world.fill(lost)
        assert world.held(0) == 75
    world.wait(61)
    world.mark()
    work()
    assert world.held(0) == 75


def test_a_halt_of_others_does_not_end_a_step_that_only_cancels():
    world = World({})
    world.own(1, 0, 5)
    world.step(0.0, instruments=(), cancel=(0,))
    world.halt(State.KILLED, ONE)
    assert not world.reduction.ended
    assert world.look().cancels


def test_nobody_changes_such_an_order_and_none_comes_without_a_step():
    world = World({(0, 0): 100})
    world.step(0.25)
    [order] = world.round().orders
    world.put(ReplaceOrder(world.now, order.cmd_id, qty=100))
    assert world.lane.counts[Reason.ILLEGAL_REPLACE] == 1
    world.fill(world.house()[0])
    for change in (
        {"qty": 16}, {"side": Side.BUY}, {"time_in_force": TimeInForce.GTC}, {"exec_inst": 0}, {"instrument": 1},
        {"cmd_id": order.cmd_id + 2}, {"cmd_id": order.cmd_id + (1 << 30)},
    ):  # fmt: skip
        fields = {"cmd_id": order.cmd_id + 1} | change
        world.put(msgspec.structs.replace(order, **fields))
        assert not world.house(), change


def test_a_step_that_cannot_be_is_counted_and_changes_nothing():
    world = World({(0, 0): 100})
    for cuts in ([(9, -1, 10, 10)], [(0, 1, 10, 10)], [(0, -11, 10, 10)], [(0, -1, 10, 9)], [(0, 0, 10, 10)]):
        step = world.plan(0.1)
        world.put(msgspec.structs.replace(step, cuts=tuple(cuts)))
    assert world.lane.counts[Reason.INVALID_CONTROL] == 5
    assert not world.lane.state.reductions


# Properties.

POSITIONS = st.dictionaries(
    st.tuples(st.integers(0, 1), st.integers(0, 2)), st.integers(-300, 300), min_size=1, max_size=6
)
ACTS = st.lists(
    st.sampled_from(
        [
            "step", "step", "round", "round", "round", "round", "keep", "stale", "again", "old", "fill", "fill", "part", "none",
            "refuse", "wait", "quiet", "restart", "own", "close", "late", "over", "killed",
        ]
    ),
    min_size=10, max_size=60,
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(POSITIONS, ACTS, st.data())
def test_never_more_than_the_step_never_across_zero_whatever_is_lost_doubled_or_killed(positions, acts, data):
    """Steps and orders doubled, late, of writers that are behind; fills whole, in parts or none; refusals, lost orders,
    restarts, forgotten history, a strategy that trades on, a kill."""
    world = World(positions, history=data.draw(st.sampled_from([2, 64])))
    kept = []
    most: dict[tuple[int, int], int] = {}
    for act in acts:
        keys, before = world.house(), [world.held(n) for n in range(3)]
        if act == "step":
            world.step(
                data.draw(st.sampled_from([0.05, 0.25, 1.0])), late=data.draw(st.sampled_from([0, 0, 1]))
            )
        elif act in ("round", "keep") and world.lane.state.reductions:
            found = world.look()
            kept.append(found.messages)
            if act == "round":
                world.put(*found.messages)
        elif act in ("stale", "again") and kept:
            world.put(*(kept[0] if act == "stale" else kept[-1]))
        elif act == "old" and world.steps:
            world.put(data.draw(st.sampled_from(world.steps)))
        elif act in ("fill", "part", "none") and keys:
            world.fill(data.draw(st.sampled_from(keys)), {"fill": 1.0, "part": 0.5, "none": 0.0}[act])
        elif act == "refuse" and keys:
            world.refuse(keys[0])
        elif act in ("wait", "quiet"):
            world.wait(data.draw(st.sampled_from([0.1, 1.0, 3.0])))
            if act == "wait":
                world.mark()
        elif act == "restart":
            world.restart()
        elif act == "own":
            key = world.own(0, 0, data.draw(st.sampled_from([-20, -3, 5])))
            if key in world.sent and data.draw(st.booleans()):
                world.fill(key)
        elif act == "close":
            for key in world.strategies()[:1]:
                world.fill(key)
        elif act == "late" and keys:  # filled after all, when the lane held it for lost
            world.wait(30)
            if world.lane.order(keys[0]).status.name == "UNKNOWN":
                world.put(Report(world.now, keys[0], ExecType.NOT_FOUND, world.now))
            world.mark()
        elif act == "over":
            world.step(0.0, instruments=())
        elif act == "killed":
            world.halt(State.KILLED)
            world.halt(State.ACTIVE)
        for reduction in world.lane.state.reductions.values():
            for cut in reduction.cuts:
                most[cut.number, cut.instrument] = abs(cut.lots)
                assert 0 <= cut.used <= abs(cut.lots)
        for key, lots in world.filled.items():
            assert lots <= most[key], f"cut {key}"
        if act in ("fill", "part"):
            for n, was in enumerate(before):
                assert world.held(n) * was >= 0
                assert abs(world.held(n)) <= abs(was)
        world.lane.check()
    again = Lane(0, UNIVERSE, gate(), Ledger(UNIVERSE), Settings(history=world.lane.state.settings.history))
    for message in world.log:
        again.apply(message)
    assert again.state_hash() == world.lane.state_hash()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(50, 500), st.integers(-500, -50), st.sampled_from([50_000, 100_000, 300_000]),
    st.lists(st.sampled_from(["step", "round", "round", "lost", "restart"]), max_size=60), st.data(),
)  # fmt: skip
def test_the_legs_of_a_hedge_never_part_by_more_than_one_order(long, short, participation, acts, data):
    """Whatever fills of each, over many steps, lost ones and restarts: the parts that are left of the two differ by one
    order's at most, and no leg ever grows."""
    world = World({(0, 0): long, (1, 1): short})
    world.step(0.25, participation=participation)
    for act in acts:
        world.wait(0.5)
        world.mark()
        if act == "step":
            world.step(0.25, participation=participation)
        elif act == "lost":
            world.plan(0.25)
        elif act == "restart":
            world.restart()
        elif act == "round":
            world.round()
            for key in world.house():
                world.fill(key, data.draw(st.sampled_from([0.0, 0.0, 0.3, 1.0])))
        left = [world.held(0) / long, world.held(1) / short]
        assert abs(left[0] - left[1]) <= participation / 1e6 + 1.01 / 50
        assert 0 <= min(left) <= max(left) <= 1

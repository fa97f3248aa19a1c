"""Limits over two lanes, lent: by real lanes, their writers and the allocator, over the in-process log."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from writer_world import World, run

from tidegate.kernel.gate_state import P_NEW_GAP, UNLIMITED
from tidegate.model.messages import DynamicLimit, LeaseGrant, LeaseReturn, LimitsChange
from tidegate.model.order import OrdStatus
from tidegate.model.wire import decode
from tidegate.risk.gate import Gate
from tidegate.risk.leases.allocator import Allocator
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.lease import Key, Lease, lanes_of, leased
from tidegate.risk.limits import Limit
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.sim.faults.plant import FIRM_ORDERS, FIRM_POSITION, Plant

ORDERS = Key(0, int(Field.ORDERS))


class Room(World):
    """A world of two lanes, with allocators."""

    def __init__(self):
        super().__init__(lanes=2)
        self.short = []

    async def lend(self, name="risk", limits=None):
        process, log = self.process(name)
        what = limits or leased(self.plant.gate(), self.plant.shared)
        allocator = process.run(
            lambda: Allocator(log, self.clock, self.plant.shared, what, name=name, on_short=self.short.append)
        )
        await self.inside(process, allocator.start())
        return allocator

    def change(self, allocator, version, count):
        """Other limits on open orders, for all: the allocator first."""
        firm = msgspec.structs.replace(self.plant.limits.firm, open_orders=Limit(count))
        limits = msgspec.structs.replace(self.plant.limits, firm=firm)
        gate = self.plant.gate()
        gate.set_limits(limits)
        lent = leased(gate, self.plant.shared)
        self.processes["risk"].run(allocator.set_limits, lent, version)
        for lane in (0, 1):
            self.put(LimitsChange(self.clock.now(), version, limits.to_json()), lane=lane, kind="sys")

    def lane(self, number):
        return self.due(number)[1].state

    def used(self):
        return [self.lane(n).gate.use(*ORDERS) for n in (0, 1)]

    async def fill_up(self, lane, count=FIRM_ORDERS + 2):
        await self.orders(count, lane=lane)
        await asyncio.sleep(0.5)

    def passed(self, lane):
        return sum(event.status is OrdStatus.PENDING_NEW for event in self.told(lane))

    def refused(self, lane):
        return [event for event in self.told(lane) if event.status is OrdStatus.DENIED]


def test_without_an_allocator_lanes_wait_and_refuse_and_say_so():
    async def main():
        room = Room()
        oms = await room.oms("oms-a")
        await asyncio.sleep(3)
        await room.orders(2, lane=0)
        await asyncio.sleep(0.2)
        assert [event.reason for event in room.refused(0)] == [Reason.OPEN_ORDERS] * 2
        health = oms.health()
        assert not health["ok"]
        assert "waits for leases" in health["why"]

    run(main())


def test_the_first_leases_come_at_start_and_all_lanes_together_have_the_limit_and_no_more():
    async def main():
        room = Room()
        oms = await room.oms("oms-a")
        allocator = await room.lend()
        await asyncio.sleep(3)
        assert oms.health()["ok"]
        await room.fill_up(0)
        await room.fill_up(1)
        assert room.passed(0) + room.passed(1) == FIRM_ORDERS
        pool = allocator.pool.pools[ORDERS]
        amounts = {n: room.due(n)[1].state.leases[ORDERS].amount for n in (0, 1)}
        assert {n: h.outstanding for n, h in pool.holdings.items()} == amounts
        assert pool.free + sum(amounts.values()) == FIRM_ORDERS

    run(main())


def test_with_the_allocator_lost_a_lane_spends_what_it_has_and_then_refuses():
    async def main():
        room = Room()
        await room.oms("oms-a")
        await room.lend()
        await asyncio.sleep(3)
        lease = room.due(0)[1].state.leases[ORDERS].amount
        room.kill("risk")
        await room.fill_up(0)
        assert 0 < lease < FIRM_ORDERS
        assert room.passed(0) == lease
        assert room.refused(0)[0].limit == lease
        await room.lend("risk-2")
        await asyncio.sleep(9)
        await room.fill_up(0)
        assert room.passed(0) > lease, "its successor reads what was lent, and lends the rest"

    run(main())


def test_an_allocator_that_was_only_asleep_grants_nothing_more():
    async def main():
        room = Room()
        await room.oms("oms-a")
        first = await room.lend("risk-1")
        await asyncio.sleep(3)
        room.pause("risk-1")
        second = await room.lend("risk-2")
        await room.fill_up(0)
        room.resume("risk-1")
        await room.fill_up(1)
        assert first.fenced
        assert not second.fenced
        epochs = [
            decode(e.data).epoch for e in room.server.streams["LEASES"].entries if e.subject == "lease.grant"
        ]
        assert epochs == sorted(epochs)
        assert room.passed(0) + room.passed(1) <= FIRM_ORDERS

    run(main())


def test_a_successor_of_a_lane_has_its_lease():
    async def main():
        room = Room()
        await room.oms("oms-a", every=5)
        await room.lend()
        await asyncio.sleep(3)
        await room.orders(3, lane=0)
        await asyncio.sleep(0.5)
        before = room.due(0)[1].state.leases
        room.kill("oms-a")
        oms = await room.oms("oms-b", every=5)
        await asyncio.sleep(4)
        lane = oms.writers[0].lane
        assert {key: lease.granted for key, lease in lane.state.leases.items()}.items() >= {
            key: lease.granted for key, lease in before.items()
        }.items()
        assert lane.state_hash() == room.due(0)[1].state_hash()

    run(main())


def test_a_limit_lowered_below_its_use_is_told_once():
    async def main():
        room = Room()
        await room.oms("oms-a")
        allocator = await room.lend()
        await asyncio.sleep(3)
        await room.orders(6, lane=0)
        await asyncio.sleep(0.5)
        process = room.processes["risk"]
        process.run(allocator.set_limits, {**allocator._limits, ORDERS: 4}, 1)
        await asyncio.sleep(10)
        assert [(short.key, short.limit, short.used) for short in room.short] == [(ORDERS, 4, 6)]
        assert allocator.pool.pools[ORDERS].free == -2, "all that is not used has come back"
        assert "lowered" in allocator.health()["why"]
        process.run(allocator.set_limits, {**allocator._limits, ORDERS: 20}, 2)
        await asyncio.sleep(1)
        await room.fill_up(1)
        assert room.passed(1) > 4

    run(main())


def test_a_limit_that_begins_while_it_is_used_is_kept_by_all_lanes_together():
    async def main():
        room = Room()
        await room.oms("oms-a")
        allocator = await room.lend()
        await asyncio.sleep(2)
        room.change(allocator, 1, "Infinity")
        await asyncio.sleep(1)
        assert [room.lane(n).leases[ORDERS].amount for n in (0, 1)] == [0, 0], "what was lent comes back"
        await room.orders(12, lane=0)
        await asyncio.sleep(0.5)
        assert room.used() == [12, 0]
        room.change(allocator, 2, 14)
        await room.orders(20, lane=1, pause=0.0005)
        await asyncio.sleep(2)
        await room.fill_up(1)
        await room.fill_up(0)
        assert sum(room.used()) == 14
        assert room.used()[1] > 0, "what is left is lent"
        assert room.short == []

    run(main())


def test_a_limit_that_begins_below_its_use_is_told_and_nothing_is_added():
    async def main():
        room = Room()
        await room.oms("oms-a")
        allocator = await room.lend()
        await asyncio.sleep(2)
        room.change(allocator, 1, "Infinity")
        await asyncio.sleep(1)
        await room.orders(12, lane=0)
        await asyncio.sleep(0.5)
        room.change(allocator, 2, 10)
        await room.fill_up(1)
        await room.fill_up(0)
        assert room.used() == [12, 0]
        assert [(short.key, short.limit, short.used) for short in room.short] == [(ORDERS, 10, 12)]

    run(main())


def test_while_lanes_have_not_said_what_they_use_people_see_what_is_waited_for():
    async def main():
        room = Room()
        allocator = await room.lend()
        await asyncio.sleep(1)
        count = len(allocator.pool.pools)
        assert allocator.health()["why"] == f"{count} limits wait for lanes to say what they use"
        await room.oms("oms-a")
        await asyncio.sleep(3)
        assert not allocator.health()["why"]

    run(main())


def test_reports_and_grants_that_are_lost_come_again():
    async def main():
        room = Room()
        await room.oms("oms-b")
        allocator = await room.lend()
        room.server.clients["risk"].faults.lose = 0.4
        room.server.clients["risk"].faults.lose_ack = 0.2
        room.server.clients["oms-b"].faults.lose = 0.4
        await asyncio.sleep(30)
        room.server.clients["risk"].faults.lose = room.server.clients["oms-b"].faults.lose = 0.0
        await asyncio.sleep(90)
        assert not allocator.pool.unconfirmed()
        for lane in (0, 1):
            assert all(lease.amount > 0 for lease in room.due(lane)[1].state.leases.values())

    run(main())


# The lane's fold.


def a_lane(lanes=2):
    plant = Plant(lanes=lanes)
    return plant, plant.kind.make(0)


def test_with_one_lane_nothing_is_lent_and_the_whole_limit_is_the_gates():
    plant, lane = a_lane(1)
    assert not plant.shared
    assert lane.state.gate.limit_of(*ORDERS) == FIRM_ORDERS


def test_a_return_is_decided_at_its_place_and_grants_count_once():
    _, lane = a_lane()
    gate = lane.state.gate
    assert gate.limit_of(*ORDERS) == 0
    (said,) = lane.apply(LeaseGrant(1, *ORDERS, 6))
    lane.apply(LeaseGrant(2, *ORDERS, 4))
    lane.apply(LeaseGrant(3, *ORDERS, 6))
    assert (said.granted, said.returned, gate.limit_of(*ORDERS)) == (6, 0, 6)
    (said,) = lane.apply(LeaseReturn(4, *ORDERS, 2))
    assert (said.lane, said.granted, said.returned, gate.limit_of(*ORDERS)) == (0, 6, 2, 4)
    (said,) = lane.apply(LeaseReturn(5, *ORDERS, 100))
    assert (said.returned, gate.limit_of(*ORDERS)) == (6, 0)
    lane.apply(LeaseGrant(6, *ORDERS, 9))
    assert gate.limit_of(*ORDERS) == 3


def test_a_factor_holds_in_the_sum_and_what_is_withheld_is_given_back():
    async def main():
        room = Room()
        await room.oms("oms-a")
        allocator = await room.lend()
        await asyncio.sleep(3)
        long = Key(0, int(Field.LONG), 0)
        whole = allocator.pool.pools[long].people

        def most():
            return [room.due(n)[1].state.gate.limit_of(*long) for n in (0, 1)]

        said = []

        def say(instrument=0, factor=200_000):
            said.append(allocator.hold(instrument, factor))
            room.put(DynamicLimit(room.clock.now(), 0, factor, len(said), said[-1]), lane=0, kind="sys")
            room.put(DynamicLimit(room.clock.now(), 0, factor, len(said), said[-1]), lane=1, kind="sys")

        allocator._on_even = say
        lent = allocator.pool.pools[long].outstanding
        room.processes["risk"].run(say)
        beyond = lent - whole // 5
        assert said == [((0, int(Field.LONG), beyond), (0, int(Field.SHORT), beyond))]
        assert all(room.due(n)[1].state.withheld[long] == beyond for n in (0, 1))
        assert all(a <= whole // 5 for a in most())
        await asyncio.sleep(1)
        assert said[-1] == (), "they have given back what they held beyond it, and withhold nothing"
        assert 0 < sum(most()) <= whole // 5
        room.processes["risk"].run(say, 0, 1_000_000)
        await room.fill_up(0)
        assert sum(most()) <= whole
        assert allocator.pool.pools[long].limit == whole

    run(main())


def test_an_older_word_on_a_factor_changes_nothing():
    _, lane = a_lane()
    long = Key(0, int(Field.LONG), 0)
    lane.apply(LeaseGrant(1, *long, 50))
    gate = lane.state.gate
    lane.apply(DynamicLimit(2, 0, 500_000, 7, ((0, int(Field.LONG), 20),)))
    assert gate.limit_of(*long) == 30
    lane.apply(DynamicLimit(3, 0, 900_000, 6))
    lane.apply(DynamicLimit(4, 0, 900_000))
    assert (gate.limit_of(*long), lane.state.factors) == (30, {0: (7, 500_000)})
    plant, _ = a_lane()
    again = plant.kind.restore(lane.snapshot())
    assert again.state_hash() == lane.state_hash()
    for each in (lane, again):
        each.apply(DynamicLimit(5, 0, 500_000, 8))
        assert each.state.gate.limit_of(*long) == 40, "the limit of 80 × a half"
        each.apply(DynamicLimit(6, 0, 1_000_000, 9))
        assert each.state.gate.limit_of(*long) == 50


def test_a_factor_that_says_nothing_of_leases_withholds_all_that_others_could_hold():
    plant, lane = a_lane()
    long = Key(0, int(Field.LONG), 0)
    lane.apply(LeaseGrant(1, *long, 50))
    lane.apply(DynamicLimit(2, 0, 500_000))
    gate, most = lane.state.gate, FIRM_POSITION
    assert gate.limit_of(*long) == 50 - most // 2
    firm = msgspec.structs.replace(plant.limits.firm, position=Limit(plant.universe[0].qty(60)))
    lane.apply(LimitsChange(3, 1, msgspec.structs.replace(plant.limits, firm=firm).to_json()))
    assert gate.limit_of(*long) == 50 - 30


def with_position(plant, limit):
    firm = msgspec.structs.replace(plant.limits.firm, position=limit)
    return msgspec.structs.replace(plant.limits, firm=firm).to_json()


@pytest.mark.parametrize("again", [False, True])
def test_what_is_withheld_of_a_limit_ends_with_the_limit_and_with_a_word_that_says_nothing_of_it(again):
    plant, lane = a_lane()
    long = Key(0, int(Field.LONG), 0)
    lane.apply(LeaseGrant(1, *long, 50))
    lane.apply(DynamicLimit(2, 0, 200_000, 1, ((0, int(Field.LONG), 40), (0, int(Field.SHORT), 30))))
    lane.apply(DynamicLimit(3, 0, 200_000, 2, ((0, int(Field.LONG), 40),)))
    assert lane.state.withheld == {long: 40}
    lane.apply(LimitsChange(4, 1, with_position(plant, Limit("Infinity"))))
    assert lane.state.withheld == {}
    if again:  # said by who has not heard of the change yet
        lane.apply(DynamicLimit(5, 0, 200_000, 3, ((0, int(Field.LONG), 40),)))
        lane = plant.kind.restore(lane.snapshot())
    lane.apply(DynamicLimit(6, 0, 1_000_000, 4))
    lane.apply(LimitsChange(7, 2, with_position(plant, Limit(plant.universe[0].qty(80)))))
    assert lane.state.withheld == {}
    assert lane.state.gate.limit_of(*long) == 50
    assert plant.kind.restore(lane.snapshot()).state_hash() == lane.state_hash()


def test_a_word_that_comes_before_the_limit_it_is_of_holds_from_the_limit_on():
    plant, lane = a_lane()
    long = Key(0, int(Field.LONG), 0)
    lane.apply(LeaseGrant(1, *long, 50))
    lane.apply(LimitsChange(2, 1, with_position(plant, Limit("Infinity"))))
    lane.apply(DynamicLimit(3, 0, 500_000, 1, ((0, int(Field.LONG), 40),)))
    assert lane.state.gate.limit_of(*long) == UNLIMITED
    again = plant.kind.restore(lane.snapshot())
    for each in (lane, again):
        each.apply(LimitsChange(4, 2, with_position(plant, Limit(plant.universe[0].qty(80)))))
        assert each.state.gate.limit_of(*long) == 10
    assert again.state_hash() == lane.state_hash()


def test_leases_are_in_the_snapshot_and_in_the_hash():
    plant, lane = a_lane()
    empty = lane.state_hash()
    lane.apply(LeaseGrant(1, *ORDERS, 6))
    assert lane.state_hash() != empty
    again = plant.kind.restore(lane.snapshot())
    assert again.state.leases == {ORDERS: Lease(6, 0)}
    assert again.state.gate.limit_of(*ORDERS) == 6
    assert again.state_hash() == lane.state_hash()


def test_a_limit_of_nobodys_is_kept_in_the_books_and_given_back():
    _, lane = a_lane()
    other = Key(1, int(Field.GROSS))
    lane.apply(LeaseGrant(1, *other, 50))
    (said,) = lane.apply(LeaseReturn(2, *other, 80))
    assert (said.granted, said.returned, said.used) == (50, 50, 0)


def test_changed_limits_are_lent_from_their_change_on():
    plant, lane = a_lane()
    lane.apply(LeaseGrant(1, *ORDERS, 6))
    gross = Key(0, int(Field.GROSS))
    assert gross not in lane.state.leased
    firm = msgspec.structs.replace(plant.limits.firm, gross=Limit(1000), open_orders=Limit("Infinity"))
    limits = msgspec.structs.replace(plant.limits, firm=firm)
    lane.apply(LimitsChange(2, 1, limits.to_json()))
    gate = lane.state.gate
    assert gate.limit_of(*gross) == 0, "it is lent from now on, and nothing has come yet"
    assert ORDERS not in lane.state.leased
    assert gate.limit_of(*ORDERS) > FIRM_ORDERS
    lane.apply(LeaseGrant(3, *gross, 100))
    assert gate.limit_of(*gross) == 100


def test_scopes_over_several_lanes_are_those_whose_accounts_are():
    accounts = [
        Account(name=name, desk=desk) for name, desk in (("a", "x"), ("b", "x"), ("c", "y"), ("d", ""))
    ]
    strategies = [StrategyScope(name="s", accounts=("a", "c")), StrategyScope(name="t", accounts=("b",))]
    scopes = ScopeTable(accounts, strategies, ["x", "y"])
    assert lanes_of(scopes, lambda account: account % 2) == {0: (0, 1), 1: (0, 1)}
    over = lanes_of(scopes, lambda account: account // 2)
    assert over == {0: (0, 1), scopes.strategy_scope(0): (0, 1)}, "a strategy with accounts on two lanes"
    assert lanes_of(scopes, lambda account: 0) == {}


def test_a_rate_is_divided_among_the_lanes_of_its_scope():
    plant = Plant(lanes=2)
    firm = msgspec.structs.replace(plant.limits.firm, orders_per_second=Limit(100))
    limits = msgspec.structs.replace(plant.limits, firm=firm)
    whole = Gate(plant.universe, plant.scopes, limits)
    scopes = ScopeTable(plant.scopes.accounts, plant.scopes.strategies, plant.scopes.desks)
    scopes.spread = {0: 2}
    half = Gate(plant.universe, scopes, limits)
    assert half.state.scope[0, P_NEW_GAP] == 2 * whole.state.scope[0, P_NEW_GAP] == 20_000_000

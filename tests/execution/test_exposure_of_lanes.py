"""The firm's exposure, folded from the order events of lanes, against the books of the lanes' own gates and ledgers."""

from __future__ import annotations

import random

import msgspec
import pytest
from lane_world import events, new, universe
from test_lane_gate import SCOPES, GatedWorld, real_parts
from test_lane_machine import one_step

from tidegate.kernel import gate_state as g
from tidegate.model.messages import Mark
from tidegate.model.order import Side
from tidegate.risk.exposure import Exposure
from tidegate.risk.exposure_snapshot import load, save

ACCOUNT, STRATEGY = 1, 2
SIZE = len(SCOPES)


class ToldWorld(GatedWorld):
    """Hands what its lane tells to an exposure; `own` of its own, so that each lane can be compared with its gate."""

    exposures: list[Exposure]
    shift = 0
    """Added to ClOrdIDs, so that two lanes of one number are told apart."""

    def step(self, msg, lost=False):
        out = super().step(msg, lost)
        self.exposures = getattr(self, "exposures", None) or [Exposure(universe(), SCOPES)]
        for exposure in self.exposures:
            if type(msg) is Mark:
                exposure.mark(msg.instrument, msg.bid, msg.ask, msg.ts)
            for event in events(out):
                number = event.cl_ord_id and event.cl_ord_id + self.shift
                exposure.apply(msgspec.structs.replace(event, cl_ord_id=number))
        return out


def gates_rows(worlds):
    return [world.lane.state.gate.state for world in worlds]


def check_sums(exposure, worlds):
    """What adds up over lanes is the sum of what their gates hold."""
    states = gates_rows(worlds)
    for scope in range(SIZE):
        total = exposure.totals[scope]
        assert total.orders == sum(int(s.scope[scope, g.P_ORDERS]) for s in states)
        assert total.traded == sum(int(s.scope[scope, g.P_TRADED]) for s in states)
        for instrument in range(3):
            cell = exposure.cell(scope, instrument)
            row = scope * 3 + instrument
            assert cell.lots == sum(int(s.cell[row, g.C_POS]) for s in states)
            assert cell.cash == sum(int(s.cell[row, g.C_CASH]) for s in states)
    open_ = {k + w.shift: o.leaves_qty for w in worlds for k, o in w.lane.state.live.items() if o.sent}
    assert {k: o.leaves for k, o in exposure.open.items()} == open_


def check_one(exposure, world):
    """Where one lane holds a scope, valuations are the gate's to the unit; open orders too, while nothing is pending."""
    exposure.value()
    state = world.lane.state.gate.state
    pending = any(order.pending_qty for order in world.lane.state.live.values())
    for scope in range(SIZE):
        total = exposure.totals[scope]
        assert total.pnl == state.scope[scope, g.P_PNL]
        assert total.loss == state.scope[scope, g.P_DAY_PNL] - state.scope[scope, g.P_PNL]
        if not pending:
            assert total.gross == state.scope[scope, g.P_GROSS]
            assert total.long == state.scope[scope, g.P_LONG]
            assert total.short == state.scope[scope, g.P_SHORT]
    ledger = {key: p.lots for key, p in world.lane.state.ledger.positions() if p.lots}
    assert {key: lots for key, (lots, _) in exposure.positions.items() if lots} == ledger


@pytest.mark.parametrize("seed", range(6))
def test_one_lanes_exposure_is_its_gates_books(seed):
    rng = random.Random(seed)
    world = ToldWorld(tells=seed % 2 == 0, parts=real_parts)
    for _ in range(200):
        one_step(world, rng)
        check_sums(world.exposures[0], [world])
        check_one(world.exposures[0], world)
    world.settle_and_agree()
    check_one(world.exposures[0], world)
    assert any(lots for lots, _ in world.exposures[0].positions.values())


@pytest.mark.parametrize("seed", range(4))
def test_the_exposure_of_two_lanes_is_the_sum_of_their_gates(seed):
    rng = random.Random(seed)
    worlds = [ToldWorld(parts=real_parts) for _ in range(2)]
    firm = Exposure(universe(), SCOPES)
    for n in range(3):
        firm.mark(n, 100, 102, worlds[0].now)
    for world in worlds:
        world.exposures.append(firm)
    worlds[1].shift = 1 << 60
    for _ in range(250):
        one_step(rng.choice(worlds), rng)
        check_sums(firm, worlds)


@pytest.mark.parametrize("seed", range(3))
def test_a_snapshot_in_the_middle_changes_nothing(seed):
    rng = random.Random(seed)
    world = ToldWorld(parts=real_parts)
    for step in range(120):
        one_step(world, rng)
        if step % 20 == 10:
            fresh = Exposure(universe(), SCOPES)
            assert load(fresh, save(world.exposures[0]))
            assert save(fresh) == save(world.exposures[0])
            world.exposures.append(fresh)
    first, *others = [save(exposure) for exposure in world.exposures]
    assert all(other == first for other in others)
    check_one(world.exposures[-1], world)


def test_a_snapshot_of_other_instruments_is_not_taken_over():
    world = ToldWorld(parts=real_parts)
    world.step(new(1, 5, 100, Side.BUY, world.now))
    data = save(world.exposures[0])
    other = Exposure(type(universe())(universe().instruments[:2]), SCOPES)
    before = save(other)
    assert not load(other, data)
    assert not load(other, b"\x93junk")
    assert save(other) == before

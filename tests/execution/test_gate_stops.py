"""What the gate itself has stopped stays so until people resume it: nothing that is told again, or comes by time, lifts it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest
from lane_world import new, universe
from risk.halting import breach, event
from test_lane_gate import SCOPES
from writer_world import World, run

from tidegate.execution.core import Lane
from tidegate.execution.state import Settings
from tidegate.model.messages import Mark, Report, ScopeState
from tidegate.model.order import ExecType, OrdStatus
from tidegate.risk.gate import Gate
from tidegate.risk.halt import entry
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import unlimited
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import Level, State
from tidegate.sim.faults.plant import Plant

S0 = SCOPES.number(Level.STRATEGY, "s0")


def gate() -> Gate:
    """A strategy may fill twice at once (24)."""
    limits = unlimited()
    each = msgspec.structs.replace(limits.strategies["*"], fills_per_second=Decimal(1), fill_burst=Decimal(2))
    return Gate(universe(), SCOPES, msgspec.structs.replace(limits, strategies={"*": each}))


def recovering() -> Lane:
    """Halted at place 7 of HALT, resumed at 8."""
    lane = Lane(3, universe(), gate(), Ledger(universe()), Settings())
    lane.apply(Mark(1, 0, 100, 102))
    lane.apply(ScopeState(2, S0, State.REDUCE_ONLY, epoch=7, at=7))
    lane.apply(ScopeState(3, S0, State.RECOVERING, epoch=7, at=8))
    return lane


def paused(lane: Lane) -> Lane:
    """The strategy fills too often."""
    for n in range(1, 4):
        lane.apply(new(n, ts=10 + n, account=0, strategy=0))
        key = lane.by_command(n).cl_ord_id
        lane.apply(Report(10 + n, key, ExecType.TRADE, exec_id=n, last_qty=10, last_px=100, cum_qty=10))
    assert state_of(lane) is State.REDUCE_ONLY
    return lane


def state_of(lane: Lane, scope: int = S0) -> State:
    found = lane.state.gate
    assert isinstance(found, Gate)
    return found.scope_state(scope)


@pytest.mark.parametrize(
    "told",
    [
        ScopeState(20, S0, State.RECOVERING, epoch=7, at=8),  # by a writer that took the lane over
        ScopeState(20, S0, State.ACTIVE, epoch=7, at=9),  # by time
        ScopeState(
            20, S0, State.WARN, epoch=7, at=9
        ),  # by a breaker, of a scope that trades as far as it knows
    ],
)
def test_nobody_but_people_lifts_what_the_gate_has_stopped(told):
    lane = paused(recovering())
    lane.apply(told)
    lane.apply(told)
    assert state_of(lane) is State.REDUCE_ONLY
    lane.apply(new(9, ts=21, account=0, strategy=0))
    order = lane.by_command(9)
    assert (order.status, order.reason) == (OrdStatus.DENIED, Reason.ANOMALY_FILLS)
    again = Lane.restore(lane.snapshot(), universe(), gate(), Ledger(universe()))
    again.apply(told)
    assert state_of(again) is State.REDUCE_ONLY
    # People halt what they see trading, and resume it.
    again.apply(ScopeState(30, S0, State.REDUCE_ONLY, epoch=10, at=10))
    again.apply(ScopeState(31, S0, State.RECOVERING, epoch=10, at=11))
    assert state_of(again) is State.RECOVERING
    again.apply(new(10, ts=32, account=0, strategy=0))
    assert again.by_command(10).status is OrdStatus.PENDING_NEW


def test_a_resume_that_is_new_lifts_it():
    lane = paused(recovering())
    lane.apply(ScopeState(20, S0, State.RECOVERING, epoch=7, at=9))
    assert state_of(lane) is State.RECOVERING


def test_the_same_place_makes_a_scope_stricter_at_most():
    lane = recovering()
    lane.apply(ScopeState(20, S0, State.KILLED, epoch=7, at=8))
    assert state_of(lane) is State.KILLED
    lane.apply(ScopeState(21, S0, State.RECOVERING, epoch=7, at=8))
    assert state_of(lane) is State.KILLED
    lane.apply(ScopeState(22, -1, State.KILLED, instrument=1, epoch=9, at=9))
    lane.apply(ScopeState(23, -1, State.WARN, instrument=1, epoch=9, at=9))
    assert lane.state.gate.instrument_state(1) is State.WARN, "its venue's word, which had not come"


@pytest.mark.parametrize("way", ["take-over", "time"])
def test_an_order_manager_that_is_restarted_or_whose_recovery_ends_lets_nothing_trade(way):
    async def main():
        world = World()
        world.plant = Plant(lanes=1, drawdown=1_000)
        oms = await world.oms("one")
        await asyncio.sleep(3)
        name = world.plant.traders[0][0]
        scope = world.plant.scopes.strategy_scope(0)

        def post(happened):
            subject, data, _ = entry(happened)
            world.server.store(subject, data, "", None)

        post(breach(f"strategy:{name}", State.REDUCE_ONLY, world.clock.now()))
        await asyncio.sleep(1)
        now = world.clock.now()
        post(event("resume", f"strategy:{name}", "ann", now, "bob", epoch="1", recover=str(60 * 10**9)))
        await asyncio.sleep(1)
        now = world.clock.now()
        world.put(Mark(now, 0, 20_000, 20_002), kind="sys")
        world.order()
        await asyncio.sleep(0.5)
        lane = oms.writers[0].lane
        assert state_of(lane, scope) is State.RECOVERING
        (order,) = lane.open_orders()
        world.put(
            Report(now, order.cl_ord_id, ExecType.TRADE, exec_id=1, last_qty=1, last_px=20_000, cum_qty=1),
            kind="rpt",
        )
        await asyncio.sleep(0.5)
        world.put(Mark(world.clock.now(), 0, 18_000, 18_002), kind="sys")
        await asyncio.sleep(0.5)
        assert state_of(lane, scope) is State.REDUCE_ONLY
        if way == "take-over":
            world.kill("one")
            oms = await world.oms("two")
            await asyncio.sleep(20)
        else:
            await asyncio.sleep(65)
            assert oms.halts.board.status(f"strategy:{name}").state is State.ACTIVE
        lane = oms.writers[0].lane
        assert state_of(lane, scope) is State.REDUCE_ONLY
        world.order()
        await asyncio.sleep(0.5)
        assert lane.order(max(o.cl_ord_id for o in lane.state.closed.values())).status is OrdStatus.DENIED
        return True

    assert run(main())

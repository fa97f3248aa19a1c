"""Control 29: a lane lets nothing pass while something of the risk log is missing, and goes on once it is known."""

from __future__ import annotations

import asyncio
import json

from execution.test_lane_controls import Desk, again, change, parts
from lane_world import SETTINGS, universe
from risk.halting import breach
from writer_world import DELAY, World, run

from tidegate.execution.core import Lane
from tidegate.model.messages import LogGap, Mark, ScopeState, Tick
from tidegate.model.order import OrdStatus
from tidegate.model.wire import decode
from tidegate.risk.halt import entry
from tidegate.risk.limit_desk import TELL
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import State


def desk() -> Desk:
    made = Desk(Lane(3, universe(), *parts(), SETTINGS))
    made.apply(Mark(1, 0, 100, 102))
    return made


def test_a_gap_is_a_fact_of_the_lane_and_two_are_over_when_both_are() -> None:
    lane = desk()
    lane.apply(LogGap(2, "HALT", True, "2 entries"))
    lane.apply(LogGap(2, "OTHER", True))
    assert lane.reason() == R.RISK_LOG_GAP
    lane.lane = again(lane.lane)
    lane.apply(LogGap(3, "HALT", False))
    lane.apply(LogGap(3, "HALT", False))
    assert lane.reason() == R.RISK_LOG_GAP
    assert lane.lane.state.gaps == {"OTHER": "entries are missing"}
    lane.apply(LogGap(4, "OTHER", False))
    assert lane.reason() == R.NONE
    lane.apply(LogGap(5, "limits", True))
    assert lane.reason() == R.NONE, "what limits are known, the lane sees itself"


def test_limits_that_are_to_come_must_follow_what_is_known() -> None:
    lane = desk()
    second, third = change(3, 2, effective=100), change(3, 3, effective=200)
    second.follows, third.follows = 1, 2
    lane.apply(change(2, 1))
    lane.apply(third)
    assert lane.reason() == R.RISK_LOG_GAP
    lane.lane = again(lane.lane)
    assert lane.lane.state.gaps == {"limits": "version 2, which version 3 follows, is not known"}
    lane.apply(second)
    assert lane.reason() == R.NONE
    lane.apply(Tick(100))
    lane.apply(Tick(200))
    assert (lane.reason(), lane.lane.state.limits_version) == (R.NONE, 3)
    late = change(201, 5, effective=300)
    late.follows = 4
    lane.apply(late)
    assert lane.reason() == R.RISK_LOG_GAP
    lane.apply(change(202, 6))
    assert lane.reason() == R.NONE, "a whole document holds, whatever came before it"


def halt(world, scope, state=State.REDUCE_ONLY):
    subject, data, _ = entry(breach(scope, state, world.clock.now()))
    return world.server.store(subject, data, "", None)


def sys_messages(world, lane=0):
    return [m for e in world.server.streams[f"LANE_{lane}"].entries for m in decode(e.data).messages]


def sys_gaps(world, lane=0):
    return [m.gap for m in sys_messages(world, lane) if type(m) is LogGap]


def told(world):
    found = [json.loads(e.data) for e in world.server.streams["ALERT"].entries]
    return [(a["kind"], a["scope"]) for a in found if a["kind"].startswith("log_")]


def test_a_halt_that_did_not_come_closes_the_lanes_until_all_is_read_again():
    async def main():
        world = World()
        await world.orders(1)
        oms = await world.oms("oms")
        await asyncio.sleep(3)
        lane = oms.writers[0].lane
        faults = world.server.clients["oms"].faults
        halt(world, "account:red")
        await asyncio.sleep(0.1)
        faults.skip = 1.0
        halt(world, "firm", State.CANCEL_ONLY)
        await asyncio.sleep(0.1)
        faults.skip = 0.0
        assert oms.halts.board.seq == 1
        faults.delay = (0.2, 0.2)  # so that the lane is seen while it is closed
        halt(world, "strategy:red-maker")
        await asyncio.sleep(0.3)
        assert "1 entries of HALT have not come" in oms.halts._feed.gap
        await asyncio.sleep(0.3)
        world.order()
        await asyncio.sleep(1.2)
        assert world.told()[-1].reason == R.RISK_LOG_GAP
        assert oms.halts._feed.gap == ""
        assert oms.halts.board.status("firm").state is State.CANCEL_ONLY
        assert oms.halts.board.seq == 3
        faults.delay = DELAY
        await asyncio.sleep(2)
        assert sys_gaps(world) == [True, False]
        assert lane.state.gaps == {}
        assert lane.state.halt_epoch >= 2, "the halt that came late is in the lane"
        _, made = world.due()
        assert made.state_hash() == lane.state_hash()
        return True

    assert run(main())


def test_a_last_halt_that_did_not_come_is_missed_though_none_follows_and_its_kill_is_told():
    async def main():
        world = World()
        oms = await world.oms("oms")
        await asyncio.sleep(3)
        faults = world.server.clients["oms"].faults
        faults.skip = 1.0
        halt(world, "firm", State.KILLED)
        await asyncio.sleep(0.1)
        faults.skip = 0.0
        await asyncio.sleep(1)
        assert oms.halts.board.scopes == {}
        await asyncio.sleep(11)
        assert oms.halts.board.status("firm").state is State.KILLED
        assert sys_gaps(world) == [True, False]
        assert oms.writers[0].lane.state.gate.scope_state(0) is State.KILLED
        return True

    assert run(main())


def test_of_a_halt_that_the_log_has_no_more_the_firm_only_reduces_until_people_have_looked():
    async def main():
        world = World()
        a = await world.oms("oms-a")
        await asyncio.sleep(3)
        faults = world.server.clients["oms-a"].faults
        halt(world, "account:red")
        await asyncio.sleep(0.1)
        faults.skip = 1.0
        halt(world, "firm")
        await asyncio.sleep(0.1)
        faults.skip = 0.0
        world.server.trim("HALT", 3)
        halt(world, "account:blue")
        await asyncio.sleep(2)
        world.order()
        await asyncio.sleep(0.1)
        assert [e.reason for e in world.told() if e.status is OrdStatus.DENIED] == [R.SCOPE_REDUCE_ONLY]
        assert a.health()["ok"], "no restart is needed"
        assert sys_gaps(world)[-1] is False
        status = a.halts.board.status("firm")
        assert (status.state, status.trigger) == (State.REDUCE_ONLY, "halt_lost")
        assert "entry 2 of HALT has never come" in status.reason
        assert a.halts.board.status("account:red").state is State.REDUCE_ONLY, "what was known stays"
        gaps = [m for m in sys_messages(world) if type(m) in (LogGap, ScopeState)]
        firm = next(n for n, m in enumerate(gaps) if type(m) is ScopeState and m.scope == 0)
        whole = next(n for n, m in enumerate(gaps) if type(m) is LogGap and not m.gap)
        assert firm < whole, "the lanes are never open between"
        return True

    assert run(main())


def test_a_gap_that_a_replaced_writer_told_of_too_late_does_not_last():
    """It stood still, was replaced, woke, and missed something of HALT before it heard that; the lane's writer did not."""

    async def main():
        world = World()
        await world.oms("a")
        await asyncio.sleep(2)
        b = await world.oms("b")
        await asyncio.sleep(2)
        world.pause("a")
        await asyncio.sleep(5)
        lane = b.writers[0].lane
        world.put(LogGap(world.clock.now(), "HALT", True, "entry 1 is missing"), kind="sys")
        await asyncio.sleep(0.1)
        assert lane.state.gaps == {"HALT": "entry 1 is missing"}
        await asyncio.sleep(3)
        assert lane.state.gaps == {}
        await world.orders(2)
        await asyncio.sleep(0.5)
        assert R.RISK_LOG_GAP not in lane.counts
        world.resume("a")
        await asyncio.sleep(0.5)
        return True

    assert run(main())


def test_entries_of_the_lane_s_own_log_that_did_not_come_are_read_before_what_follows_is_applied():
    async def main():
        world = World()
        writer = await world.writer("a", 1)
        await world.orders(2)
        await asyncio.sleep(0.1)
        faults = world.server.clients["a"].faults
        faults.skip = 1.0
        await world.orders(2)
        await asyncio.sleep(0.1)
        faults.skip = 0.0
        before = writer.seq
        await world.orders(2)
        await asyncio.sleep(0.5)
        assert writer.counts.gaps == 1
        assert writer.seq > before + 3
        events, made = world.due()
        assert world.told() == events
        assert made.state_hash() == writer.lane.state_hash()
        sent = [m.cl_ord_id for _, envelope in world.sent for m in envelope.messages]
        assert len(sent) == len(set(sent)) == 6
        assert world.stops == []
        faults.skip = 1.0
        await world.orders(2)
        await asyncio.sleep(0.1)
        faults.skip = 0.0
        world.server.trim("LANE_0", world.server.streams["LANE_0"].last + 1)
        await world.orders(1)
        await asyncio.sleep(0.5)
        assert [(how, why.partition(":")[0]) for _, _, how, why in world.stops] == [("broken", "log")]
        return True

    assert run(main())


def test_missing_limits_are_asked_for_again():
    async def main():
        world = World()
        oms = await world.oms("oms")
        await asyncio.sleep(3)
        _, log = world.process("risk")
        asked = []
        log.serve("risk.limits", lambda data: asked.append(data) or b"{}")
        late = change(world.clock.now(), 3, effective=world.clock.now() + 10**12)
        late.follows = 2
        world.put(late, kind="sys")
        await asyncio.sleep(2.5)
        assert asked[0] == TELL
        assert "version 2, which version 3 follows" in oms.health()["why"]
        return True

    assert run(main())

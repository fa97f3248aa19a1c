"""What the supervisor's guard writes into the log when a strategy's process is gone, on the real order manager."""

from __future__ import annotations

import asyncio

from execution.lane_world import new
from venue.gateway_world import Desk

from tidegate.model.messages import CancelAll, CancelOrder
from tidegate.model.wire import decode, pack
from tidegate.ops.cell_guard import Guard, Place
from tidegate.ops.ending import End, How
from tidegate.ops.topology import Process
from tidegate.sim.virtual_time import run

LEFT = Process("strategy-left", ["true"], strategies=("left",))
HUNG = End(How.HUNG, "killed: no sign of life for 2 s", False)


def guard(desk: Desk, fail: int = 0) -> Guard:
    """On a client of its own, which cannot be opened the first `fail` times."""
    tries = [fail]

    async def open_log():
        if tries[0]:
            tries[0] -= 1
            raise OSError("not yet")
        return desk.server.client("up")

    return Guard({"left": Place(0, 0), "right": Place(1, 0)}, desk.clock, open_log)


def cancels(desk: Desk) -> list[object]:
    found = [m for entry in desk.entries("LANE_0", "lane.0.cmd") for m in decode(entry.data).messages]
    return [m for m in found if isinstance(m, CancelAll | CancelOrder)]


async def rest(desk: Desk, cmd_id: int, strategy: int) -> None:
    """An order that rests at the venue."""
    order = new(cmd_id, strategy=strategy)
    await desk.user.append(f"lane.0.cmd.{strategy}", pack([order], ts=desk.clock.now(), lane=0))
    await desk.until(lambda: len(desk.exchange.open()) > 0)


def test_what_hung_has_its_orders_cancelled_at_the_venue_and_nobody_elses():
    async def scenario() -> None:
        async with Desk() as desk:
            await desk.start_gateway()
            await rest(desk, 1, 0)
            mine = set(desk.exchange.open())
            await rest(desk, (1 << 40) | 1, 1)
            await desk.until(lambda: len(desk.exchange.open()) == 2)
            theirs = set(desk.exchange.open()) - mine
            watch = guard(desk)
            await watch.gone(LEFT, HUNG)
            assert [type(m) for m in cancels(desk)] == [
                CancelAll,
                CancelAll,
            ]  # stored before the next life begins
            await desk.until(lambda: set(desk.exchange.open()) == theirs)
            (alert,) = desk.alerts("strategy_hung")
            assert (alert["severity"], alert["scope"]) == ("high", "strategy:left")
            assert alert["text"] == f"{HUNG.text}; it is started again; its orders are cancelled"
            await watch.close()

    run(scenario())


def test_one_crash_is_an_alert_for_a_limit_and_cancels_nothing():
    async def scenario() -> None:
        async with Desk() as desk:
            watch = guard(desk)
            await watch.gone(LEFT, End(How.LIMIT, "killed: over its memory limit of 1 GiB", False))
            assert cancels(desk) == []
            assert len(desk.alerts("strategy_limit")) == 1
            await watch.gone(LEFT, End(How.LIMIT, "killed: over its memory limit of 1 GiB", True))
            assert len(cancels(desk)) == 2
            assert desk.alerts("strategy_limit")[1]["severity"] == "critical"
            await watch.close()

    run(scenario())


def test_a_process_without_strategies_is_none_of_its_business():
    async def scenario() -> None:
        async with Desk() as desk:
            watch = guard(desk)
            await watch.gone(Process("oms-1", ["true"]), HUNG._replace(final=True))
            assert cancels(desk) == []
            assert desk.alerts("strategy_hung") == []

    run(scenario())


def test_with_the_log_away_the_next_life_is_not_held_up_and_the_cancel_is_written_when_it_is_back():
    async def scenario() -> None:
        async with Desk() as desk:
            watch = guard(desk, fail=20)
            began = asyncio.get_running_loop().time()
            await watch.gone(LEFT, HUNG)
            assert asyncio.get_running_loop().time() - began < 4
            assert cancels(desk) == []
            await desk.until(lambda: len(cancels(desk)) == 2)
            await watch.close()

    run(scenario())

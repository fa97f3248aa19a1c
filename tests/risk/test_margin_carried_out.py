"""The margin call path whole, on virtual time: the price falls, and positions are reduced before the venue liquidates.

Order manager, gate, gateway, risk service and log are the real ones; the exchange is the simulated one, with its own
margin figures and its liquidator.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest
from risk.halting import signed
from risk.margin_room import LONG, PRICE, SHORT, story
from risk.sim_session import VENUE

from tidegate.cli.margin import table as margin_table
from tidegate.execution.ids import MARGIN_IDS, SLICE_BITS, origin_of
from tidegate.execution.reducer import Progress
from tidegate.model.messages import LaneEpoch, MarginStep, OrderEvent
from tidegate.model.order import TimeInForce
from tidegate.model.wire import decode
from tidegate.risk.halt import commanded, post
from tidegate.risk.margin.call import STANDING, Standing
from tidegate.risk.margin.step import REDUCE

FALL = 11_000
"""Ticks: 1.8 %, which is more than the account bears as it is."""


def steps(room):
    """What each step of the lane's log was to close and what its orders did, [(plan, {instrument: (lots, filled)})], from
    the log alone; raises where one closed more, or another thing."""
    lane, found, sent = room.lane(0), [], {}
    for entry in room.server.streams["LANE_0"].entries:
        for message in decode(entry.data).messages:
            before = lane.state.cuts_made
            outputs = [] if type(message) is LaneEpoch else lane.apply(message)
            if type(message) is MarginStep and lane.state.cuts_made > before:
                found.append((message.plan, {cut[0]: (cut[1], 0) for cut in message.cuts}))
                for n, cut in enumerate(message.cuts, before + 1):
                    sent[n] = (found[-1][1], cut[0])
            for out in outputs:
                if type(out) is OrderEvent and out.last_qty and origin_of(out.cmd_id) == "margin":
                    cuts, instrument = sent[(out.cmd_id - MARGIN_IDS) >> SLICE_BITS]
                    lots, filled = cuts[instrument]
                    cuts[instrument] = lots, filled + out.last_qty
                    assert filled + out.last_qty <= abs(lots)
                    assert out.instrument == instrument
                    assert out.side.sign == (1 if lots > 0 else -1)
    return found


def whole(room, apart=0.101):
    """Nothing was liquidated, both legs are still held, and as large beside each other as they were."""
    assert room.liquidated == 0
    left = [held / began for held, began in zip(room.held(), (LONG, SHORT), strict=True)]
    assert 0 < min(left) <= max(left) < 1
    assert abs(left[0] - left[1]) < apart


def test_positions_are_reduced_before_the_venue_liquidates():
    async def main(room):
        room.trade(0, 0, 2_000, TimeInForce.GTC, PRICE - 50_000)  # could make it larger
        room.trade(0, 0, -2_000, TimeInForce.GTC, PRICE + 50_000)
        await asyncio.sleep(1)
        raising, closing = room.venue.account.open.values()
        await room.fall(FALL, 60)
        await asyncio.sleep(10)
        whole(room)
        assert room.halts() == [("account:main", "WARN"), ("account:main", "REDUCE_ONLY")]
        words = ["near its margin", "only reduces", "positions are reduced"]
        for text, word in zip(room.alerts("margin_call"), words, strict=False):
            assert word in text
        assert not raising.open
        assert closing.open, "it leaves room, and closes what is to be closed"
        found = steps(room)
        assert found
        for _, cuts in found:
            (long, _), (short, _) = cuts[0], cuts[1]
            assert long < 0 < short
        began, ended = room.alerts("margin_step_begun"), room.alerts("margin_step_done")
        assert len(began) == len(ended) == len(found)
        assert "lots of BTCUSDT_261225.BINANCE_USDM" in began[0]
        assert "done: 3000 of -3000 lots of BTCUSDT.BINANCE_USDM" in ended[0]
        assert room.alerts("margin_step_failed") == []
        assert {(who, do, scope, outcome) for who, do, scope, outcome, _, _ in room.notes} == {
            ("oms-1", "reduce", "account:main", "done")
        }
        assert len(room.notes) == 2 * len(found)
        assert room.venue.ratio < 0.8

    story(main)


def test_the_same_fall_liquidates_where_nobody_carries_it_out():
    async def main(room):
        await room.fall(FALL, 60)
        await asyncio.sleep(10)
        assert room.liquidated == 1
        assert room.held() == [0, 0]
        assert room.fills() == []
        assert "nothing here does it: risk.margin.carry_out is false" in room.alerts("margin_reduce")[0]

    story(main, carry_out=False)


async def until(condition, seconds=90):
    for _ in range(seconds * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


def test_a_writer_killed_in_the_middle_is_followed_by_one_that_goes_on():
    async def main(room):
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(room.fills)
        await room.oms("oms-2")
        room.kill("oms-1")
        begun, closed = len(steps(room)), len(room.fills())
        await falling
        await asyncio.sleep(10)
        whole(room)
        assert len(room.fills()) > closed
        assert len(steps(room)) > begun
        assert "oms-2" in {note[0] for note in room.notes}

    story(main)


def test_a_writer_that_comes_back_from_the_dead_does_nothing_twice():
    """It was stopped for five seconds in the middle of a step, while another took the lane; then both look at it."""

    async def main(room):
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(room.fills)
        await room.oms("oms-2")
        room.processes["oms-1"].pause()
        room.server.pause("oms-1")
        await asyncio.sleep(5)
        room.processes["oms-1"].resume()
        room.server.resume("oms-1")
        await falling
        await asyncio.sleep(10)
        whole(room)
        steps(room)

    story(main)


def test_steps_that_come_twice_and_late_close_nothing_twice():
    async def main(room):
        heard = {}

        def again(subject, data):
            if data not in heard:
                heard[data] = subject
                for later in (0.3, 7):
                    room.loop.call_later(later, room.log.publish, subject, data)

        room.log.subscribe(REDUCE, again)
        await room.fall(FALL, 60)
        await asyncio.sleep(15)
        whole(room)
        assert len(steps(room)) == sum(bool(msgspec.json.decode(data)["cuts"]) for data in heard)

    story(main)


def test_a_risk_service_killed_in_the_middle_is_followed_by_one_that_goes_on():
    async def main(room):
        await room.risk("risk-2")
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(room.fills)
        room.kill("risk")
        closed = len(room.fills())
        await falling
        await asyncio.sleep(10)
        whole(room, apart=0.201)  # what each leg was when the call began, the second service does not know
        assert len(room.fills()) > closed
        steps(room)

    story(main)


def test_while_people_flatten_the_account_steps_give_way():
    async def main(room):
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(room.fills)
        command = signed("flatten", "account:main", "ann", room.clock.now(), participation="50%", collar="1%")
        await post(room.log, commanded(command.encode(), command.command, room.clock.now()))
        await asyncio.sleep(1)
        closed = len(room.fills())
        await falling
        assert room.liquidated == 0
        assert len(room.fills()) == closed
        assert max(map(abs, room.held())) < 10

    story(main)


def test_a_step_that_is_lost_is_published_anew():
    async def main(room):
        room.oms_one.reducer.close()  # it hears nothing
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(lambda: room.alerts("margin_reduce"))
        await asyncio.sleep(1)
        assert room.fills() == []
        room.processes["oms-1"].run(room.oms_one.reducer.start)
        await falling
        whole(room)

    story(main)


@pytest.mark.parametrize("state", ["KILLED", "CANCEL_ONLY"])
def test_people_who_halt_the_account_end_it(state):
    async def main(room):
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(room.fills)
        command = signed("halt", "account:main", "bob", room.clock.now(), state=state)
        await post(room.log, commanded(command.encode(), command.command, room.clock.now()))
        await asyncio.sleep(0.5)
        closed = room.fills()
        await asyncio.sleep(8)
        assert room.fills() == closed
        said = room.alerts("margin_step_failed")
        assert 1 <= len(said) <= 2, "said, and not with every step"
        assert all("given up" in text for text in said)
        falling.cancel()

    story(main)


def test_where_one_leg_finds_nobody_the_other_waits_for_it():
    async def main(room):
        room.venue.market.depth[1] = 0
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(room.fills)
        await asyncio.sleep(6)
        left = room.held()[0] / LONG
        assert 0.899 < left < 1, "one order ahead, over several steps"
        assert room.held()[1] == SHORT
        room.venue.market.depth[1] = 1 << 40
        await falling
        await asyncio.sleep(5)
        whole(room)

    story(main, reduce=Decimal("0.7"))


def test_nothing_on_stale_prices():
    async def main(room):
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(room.fills)
        falling.cancel()
        room.ticking.cancel()
        await asyncio.sleep(6)
        closed = room.fills()
        await asyncio.sleep(10)
        assert room.fills() == closed
        assert room.alerts("margin_stale")

    story(main)


def test_the_command_shows_what_is_under_way():
    async def main(room):
        falling = asyncio.get_running_loop().create_task(room.fall(FALL, 60))
        await until(room.fills)
        standing = msgspec.json.decode(await room.log.request(STANDING, b""), type=Standing)
        [account] = standing.accounts
        assert (standing.lanes, account.account, account.venue, account.level) == (1, "main", VENUE, "REDUCE")
        assert account.ratio > 0.5
        found = msgspec.json.decode(await room.log.request("oms.0.margin", b""), type=list[Progress])
        [progress] = found
        assert (progress.account, progress.pool) == ("main", f"{VENUE} USDT")
        assert progress.state in ("working", "waits", "done")
        text = margin_table([account], found)
        assert "REDUCE" in text
        assert "of +750 lots of BTCUSDT_261225.BINANCE_USDM" in text
        alone = margin_table([msgspec.structs.replace(account, carry_out=False)], [])
        assert "-3000 lots of BTCUSDT.BINANCE_USDM" in alone
        assert "nobody does" in alone
        falling.cancel()

    story(main)

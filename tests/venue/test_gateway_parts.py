"""The gateway's parts by themselves: outbox, message ids, drop copy, session, lease."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter

import msgspec
import pytest

from tidegate.log.base import LogDown
from tidegate.log.lease import Lease
from tidegate.log.memory import Faults, MemoryServer
from tidegate.log.outbox import Outbox
from tidegate.log.streams import declared
from tidegate.model.messages import Report, SendNew, SendReplace
from tidegate.model.order import ExecType, OrdType, Side, TimeInForce
from tidegate.risk.reasons import Reason
from tidegate.sim.virtual_time import VirtualClock, run
from tidegate.venue.gateway.dropcopy import DropCopy
from tidegate.venue.gateway.reports import identity
from tidegate.venue.gateway.session import DROP, SEND, Session
from tidegate.venue.gateway.settings import GatewaySettings
from tidegate.venue.port import VenueFill

S = 1_000_000_000


def server(seed=1):
    loop = asyncio.get_running_loop()
    return MemoryServer(seed, clock=VirtualClock(loop), log=declared(1))


# Outbox.


def outbox(log, bound=1000):
    counts, lost = Counter(), []
    return Outbox(log, bound, counts, lambda: None, lambda item, error: lost.append(item)), counts, lost


def data_of(it):
    return [int(entry.data) for entry in it.streams["LANE_0"].entries]


@pytest.mark.parametrize("seed", range(5))
def test_an_outbox_stores_all_once_whatever_is_lost(seed):
    async def main():
        it = server(seed)
        box, counts, lost = outbox(it.client("a", Faults(lose=0.3, lose_ack=0.3, delay=(0.0, 0.2))))
        rng = random.Random(seed)
        for n in range(100):
            assert box.put("lane.0.rpt", b"%d" % n, f"m{n}")
            await asyncio.sleep(rng.choice([0.0, 0.0, 0.01, 0.3]))
        assert await box.drained(3600)
        found = data_of(it)
        assert sorted(found) == list(range(100))
        assert counts["append_retried"] > 0
        assert not lost
        assert (box.stored_count, box.pending) == (100, 0)

    run(main())


def test_after_an_outage_an_outbox_goes_on_in_order():
    async def main():
        it = server()
        box, _, _ = outbox(it.client("a"))
        it.outage(True)
        for n in range(50):
            box.put("lane.0.rpt", b"%d" % n, f"m{n}")
            await asyncio.sleep(0.5)
        assert not await box.drained(1)
        mark = box.put_count
        assert not box.passed(mark)
        it.outage(False)
        assert await box.drained(10)
        assert box.passed(mark)
        assert data_of(it) == list(range(50))

    run(main())


def test_an_outbox_is_bounded_and_gives_up_on_what_the_log_will_never_take():
    async def main():
        it = server()
        box, counts, lost = outbox(it.client("a"), bound=3)
        it.outage(True)
        assert [box.put("lane.0.rpt", b"%d" % n, f"m{n}", 2) for n in range(3)] == [True, False, False]
        it.outage(False)
        assert await box.drained(20)
        assert box.put("lane.0.rpt", b"7", "m7", 10), "alone it has room"
        assert box.put("lane.9.rpt", b"", "m8", 1) is False
        assert await box.drained(20)
        box.put("lane.9.rpt", b"", "m9", 1)
        box.put("lane.0.rpt", b"8", "m10", 1)
        assert await box.drained(20)
        assert [item.msg_id for item in lost] == ["m9"]
        assert counts["append_refused"] == 1
        assert data_of(it) == [0, 7, 8]

    run(main())


# Message ids.


def trade(exec_id=1, ts=5, said=3, key=1):
    return Report(ts, key, ExecType.TRADE, ts_venue=said, exec_id=exec_id, last_qty=1, last_px=100)


def test_the_same_report_has_the_same_id_whenever_it_was_received():
    assert identity([trade(ts=5)]) == identity([trade(ts=9)])
    assert identity([trade(1)]) != identity([trade(2)])
    assert identity([trade(1), trade(2)]) != identity([trade(2), trade(1)])


@pytest.mark.parametrize("kind", [ExecType.ORDER_STATUS, ExecType.NOT_FOUND, ExecType.CANCEL_REJECTED])
def test_answers_that_say_the_same_are_still_two(kind):
    assert identity([Report(5, 1, kind)]) != identity([Report(6, 1, kind)])


# Drop copy.


def fill(exec_id=1, said=3, key=1):
    return VenueFill(trade(exec_id, said=said, key=key), 0, Side.BUY)


def test_a_fill_in_both_is_quiet_whichever_comes_first():
    copy = DropCopy(S, 10 * S)
    copy.tell(trade(1), 0)
    assert copy.compare([fill(1)], 1) == copy.compare([fill(1)], 50 * S)
    found = copy.compare([fill(2)], 50 * S)
    assert [f.report.exec_id for f in found.fresh] == [2]
    copy.tell(trade(2), 50 * S + 1)
    assert not copy.compare([fill(2)], 99 * S).untold
    assert copy.oldest is None


def test_each_alarm_is_raised_once():
    copy = DropCopy(S, 10 * S)
    copy.tell(trade(1, said=7), 0)
    copy.compare([fill(2)], 0)
    assert copy.oldest == 7
    found = [copy.compare([fill(2)], n * S) for n in range(1, 30)]
    assert [n for n, f in enumerate(found, 1) if f.untold] == [1]
    assert [n for n, f in enumerate(found, 1) if f.unknown] == [10]
    assert not any(f.fresh for f in found)


def test_a_gap_is_no_alarm_and_a_taken_back_fill_leaves_the_history():
    copy = DropCopy(S, 10 * S)
    assert copy.compare([fill(1)], 0, expected=True).fresh
    assert not copy.compare([fill(1)], 5 * S).untold
    copy.tell(trade(2), 0)
    copy.tell(Report(0, 1, ExecType.TRADE_CANCEL, ref_exec_id=2), 1)
    assert not copy.compare([], 50 * S).unknown


def test_what_could_not_be_kept_is_found_again_without_an_alarm():
    copy = DropCopy(S, 10 * S)
    copy.tell(trade(1), 0)
    copy.untell(trade(1))
    assert copy.compare([fill(1)], S).fresh
    assert not copy.compare([fill(1)], 9 * S).untold


def test_drop_copy_forgets_what_is_not_read_again():
    copy = DropCopy(S, 10 * S)
    copy.compare([fill(n, said=n) for n in range(1, 3001)], 0)
    copy.forget(2001)
    assert len(copy) == 1000


# Session.


def new(key=1, ts=0):
    return SendNew(ts, key, 1, 0, Side.BUY, OrdType.LIMIT, 1, 100, 0, TimeInForce.GTC, 0, 0, 0, 0)


def session(**more):
    it = Session(GatewaySettings(**more), Counter())
    it.holds.clear()
    return it


def test_verdicts():
    it = session()
    assert it.judge(new(1), 5, 10 * S, 10 * S) == SEND
    assert it.judge(new(1), 5, 10 * S, 10 * S) == DROP
    assert it.judge(new(2), 0, 10 * S, 12 * S) == Reason.REQUEST_EXPIRED
    it.holds["test"] = "why"
    assert it.judge(new(3), 0, 10 * S, 10 * S) == Reason.GATEWAY_HELD
    it.holds.clear()
    assert it.judge(new(3), 0, 10 * S, 10 * S) == DROP, "it has been refused: its order is over"
    assert (it.trace(1), it.trace(9)) == (5, 0)
    assert list(it.inflight) == [1]


def test_two_replaces_of_one_order_are_two_requests():
    it = session()
    first, second = SendReplace(1, 7, 5, 100, 1), SendReplace(2, 7, 6, 100, 1)
    assert [it.judge(m, 0, S, S) for m in (first, second, first)] == [SEND, SEND, DROP]


def test_epochs_only_rise():
    it = session()
    it.learn(0, 5)
    it.learn(0, 3)
    assert [it.admits(0, epoch, 2) for epoch in (4, 5, 6, 5)] == [False, True, True, False]
    assert it.counts["stale_epoch"] == 4
    assert it.admits(1, 1, 1), "lanes have epochs of their own"


# Lease.


def test_one_holds_the_lease_at_a_time_under_a_bad_network():
    async def main():
        it = server(3)
        logs = {name: it.client(name, Faults(lose=0.1, lose_ack=0.1, delay=(0.0, 0.1))) for name in "abc"}
        leases = {
            name: Lease(log.bucket("LEASE"), "gw.X.main", name, n, 2.0)
            for n, (name, log) in enumerate(logs.items(), 1)
        }
        loop = asyncio.get_running_loop()
        rng = random.Random(3)
        held = Counter()

        async def live(name):
            while loop.time() < 600:
                with contextlib.suppress(LogDown):
                    await leases[name].step()
                await asyncio.sleep(0.5)

        async def trouble():
            while loop.time() < 590:
                await asyncio.sleep(rng.uniform(1, 20))
                name = rng.choice("abc")
                it.partition(name)
                await asyncio.sleep(rng.uniform(1, 10))
                it.heal(name)

        async def watch():
            while loop.time() < 600:
                acting = [name for name, x in leases.items() if x.held and loop.time() - x.renewed <= 2.0]
                assert len(acting) <= 1, acting
                held.update(acting)
                await asyncio.sleep(0.05)

        await asyncio.gather(*(live(name) for name in "abc"), trouble(), watch())
        assert len(held) > 1
        assert sum(held.values()) * 0.05 > 400

    run(main())


def test_a_lease_given_back_is_free_at_once_and_its_epoch_rises():
    async def main():
        it = server()
        bucket = it.client("a").bucket("LEASE")
        one, two = (Lease(bucket, "gw.X.main", name, 1, 2.0) for name in ("one", "two"))
        assert await one.step()
        assert not await two.step()
        await one.release()
        assert await two.step()
        assert one.epoch < two.epoch
        assert msgspec.json.decode((await bucket.get("gw.X.main")).value)["owner"] == "two"

    run(main())

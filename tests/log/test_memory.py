"""The in-process log's faults: drawn from a seed, and they never touch what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from log_worlds import Got, all_of

from tidegate.log.base import KvEntry, LogDown
from tidegate.log.memory import Faults, MemoryServer
from tidegate.log.memory_client import MemoryLog
from tidegate.sim.virtual_time import VirtualClock, run


def server(seed: int = 1) -> MemoryServer:
    return MemoryServer(seed, clock=VirtualClock(asyncio.get_running_loop()))


ROUGH = Faults(delay=(0.001, 0.2), drop=0.1, duplicate=0.1, reorder=0.3, lose=0.1, lose_ack=0.1)


async def rough_trace(seed: int) -> list[Any]:
    """What three clients see of an hour of trouble, with the times."""
    here, trace = server(seed), []
    loop = asyncio.get_running_loop()

    def note(*what: Any) -> None:
        trace.append((round(loop.time(), 9), *what))

    logs = [here.client(name, Faults(**vars(ROUGH))) for name in "abc"]
    for log in logs:
        log.follow("LANE_0", lambda entries, n=log.name: note(n, [e.seq for e in entries]))
        log.subscribe("md.X", lambda subject, data, n=log.name: note(n, subject, data))
        log.bucket("LEASE").watch(lambda entry, n=log.name: note(n, entry))
    logs[0].serve("q", lambda data: data * 2)

    async def work(log: MemoryLog) -> None:
        for i in range(60):
            log.publish("md.X", b"%s%d" % (log.name.encode(), i))
            try:
                note(
                    log.name, "seq", await log.append("lane.0.cmd", b"", msg_id=f"{log.name}{i}", timeout=2.0)
                )
                note(log.name, "revision", await log.bucket("LEASE").put(log.name, b"%d" % i))
                note(log.name, "answer", await log.request("q", b"x"))
            except LogDown as error:
                note(log.name, str(error))

    async def trouble() -> None:
        for name in ("b", "c", "b"):
            await asyncio.sleep(20)
            here.partition(name)
            await asyncio.sleep(3)
            here.heal(name)
            here.pause(name)
            await asyncio.sleep(2)
            here.resume(name)
            here.outage(True)
            await asyncio.sleep(4)
            here.outage(False)

    await asyncio.gather(*(work(log) for log in logs), trouble())
    await asyncio.sleep(60)
    trace.append([tuple(entry) for entry in await all_of(here.client("reader"), "LANE_0")])
    trace.append(dict(here.counts))
    return trace


def test_the_same_seed_gives_the_same_run_and_another_one_another():
    one, same, other = run(rough_trace(5)), run(rough_trace(5)), run(rough_trace(6))
    assert one == same
    assert one != other
    counts = one[-1]
    assert all(
        counts[name] for name in ("dropped", "duplicated", "held", "lost", "acknowledgements lost", "cut off")
    )


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_followers_see_what_is_stored_and_nothing_else(seed):
    trace = run(rough_trace(seed))
    stored = [entry[0] for entry in trace[-2]]
    assert stored == list(range(1, len(stored) + 1))
    for name in "abc":
        seen = [
            seq for note in trace[:-2] if note[1] == name and isinstance(note[2], list) for seq in note[2]
        ]
        assert seen == stored
    acknowledged = [note[3] for note in trace[:-2] if note[2] == "seq"]
    assert set(acknowledged) <= set(stored)


def alone(body: Coroutine[Any, Any, None]) -> None:
    run(body)


def test_a_lost_append_is_not_stored_and_one_whose_acknowledgement_is_lost_is():
    async def body():
        here = server()
        a = here.client("a", Faults(lose=1.0))
        with pytest.raises(LogDown):
            await a.append("lane.0.cmd", b"lost", msg_id="1", timeout=1.0)
        a.faults = Faults(lose_ack=1.0)
        with pytest.raises(LogDown):
            await a.append("lane.0.cmd", b"stored", msg_id="2", timeout=1.0)
        a.faults = Faults()
        assert await a.append("lane.0.cmd", b"stored", msg_id="2") == 1
        assert await a.append("lane.0.cmd", b"lost", msg_id="1") == 2

    alone(body())


def test_messages_are_dropped_and_doubled_between_clients_but_not_within_one():
    async def body():
        here = server()
        a, b = here.client("a", Faults(drop=1.0)), here.client("b")
        mine, theirs = Got(), Got()
        a.subscribe("md.X", mine)
        b.subscribe("md.X", theirs)
        for _ in range(10):
            a.publish("md.X", b"")
        await asyncio.sleep(1)
        assert (len(mine), len(theirs)) == (10, 0)
        a.faults = Faults(duplicate=1.0)
        a.publish("md.X", b"")
        await asyncio.sleep(1)
        assert (len(mine), len(theirs)) == (11, 2)
        assert here.counts == {"dropped": 10, "duplicated": 1}

    alone(body())


def test_senders_overtake_one_another_but_not_themselves():
    async def body():
        here = server()
        a, b, c = (here.client(name, Faults(reorder=0.5, hold=1.0)) for name in "abc")
        got = Got()
        c.subscribe("md.X", got)
        for i in range(50):
            for log, name in ((a, b"a"), (b, b"b")):
                log.publish("md.X", name + b"%02d" % i)
            await asyncio.sleep(0.01)
        await got.count(100)
        seen = [data for _, data in got]
        for name in (b"a", b"b"):
            own = [data for data in seen if data.startswith(name)]
            assert own == sorted(own)
        assert sorted(seen, key=lambda data: data[1:]) != seen

    alone(body())


def test_a_partition_cuts_both_ways_and_healing_brings_everything():
    async def body():
        here = server()
        a, b = here.client("a"), here.client("b")
        got, watched, heard = Got(), Got(), Got()
        b.follow("LANE_0", got)
        bucket = a.bucket("LEASE")
        b.bucket("LEASE").watch(watched)
        b.subscribe("md.X", heard)
        await bucket.put("k", b"1")
        await bucket.put("gone", b"")
        await watched.count(2)
        here.partition("b")
        assert b.connected, "it takes a while to notice"
        await a.append("lane.0.cmd", b"one")
        await bucket.put("k", b"2")
        await bucket.delete("gone")
        a.publish("md.X", b"")
        with pytest.raises(LogDown):
            await b.append("lane.0.cmd", b"two", timeout=3.0)
        assert not b.connected
        with pytest.raises(LogDown):
            await b.bucket("LEASE").get("k")
        assert (len(got), len(watched), len(heard)) == (0, 2, 0)
        here.heal("b")
        await got.count(1)
        await watched.count(4)
        assert watched.values == {"k": b"2"}
        assert watched[-1] == KvEntry("k", b"2", 3) or watched[-2] == KvEntry("k", b"2", 3)
        assert await b.append("lane.0.cmd", b"two") == 2
        assert heard == []

    alone(body())


def test_a_paused_client_gets_everything_afterwards():
    async def body():
        here = server()
        a, b = here.client("a"), here.client("b")
        got, heard = Got(), Got()
        b.follow("LANE_0", got)
        b.subscribe("md.X", heard)
        here.pause("b")
        own = b.append("lane.0.cmd", b"mine", timeout=60.0)
        for i in range(5):
            await a.append("lane.0.cmd", b"%d" % i)
            a.publish("md.X", b"%d" % i)
        await asyncio.sleep(10)
        assert (got, heard, own.done()) == ([], [], False)
        here.resume("b")
        assert await own == 6
        await got.count(6)
        assert [data for _, data in heard] == [b"%d" % i for i in range(5)]

    alone(body())


def test_a_killed_client_says_and_hears_nothing_more_but_what_it_had_sent_arrives():
    async def body():
        here = server()
        a, b = here.client("a"), here.client("b", Faults(delay=(0.1, 0.1)))
        got, done = Got(), Got()

        async def handle(entries: Any) -> None:
            done(entries)

        b.follow("LANE_0", got)
        b.consume("LANE_0", "rec", handle)
        b.serve("q", lambda data: data)
        sent = b.append("lane.0.cmd", b"last words")
        await asyncio.sleep(0)
        here.kill("b")
        with pytest.raises(LogDown):
            await a.request("q", b"")
        await asyncio.sleep(60)
        assert [entry.data for entry in await all_of(a, "LANE_0")] == [b"last words"]
        assert (got, done, sent.done()) == ([], [], False)
        heir = here.client("b")
        heir.consume("LANE_0", "rec", handle)
        await done.count(1)

    alone(body())


def test_a_consumer_whose_place_was_overwritten_goes_on_and_an_heir_begins_anew():
    """By a server's answer: docs/security.md, "The reply subject"."""
    noise, key = b'{"stream":"LANE_0", "seq":5}', "consumer.LANE_0.rec"

    async def body():
        here = server()
        failed = Got()
        here.loop.set_exception_handler(lambda _, context: failed(context["exception"]))
        a, b = here.client("a"), here.client("b")
        done = Got()

        async def handle(entries: Any) -> None:
            done(entries)

        await a.append("lane.0.cmd", b"1")
        b.consume("LANE_0", "rec", handle)
        await done.count(1)
        await asyncio.sleep(1)
        await a.bucket("STATE").put(key, noise)
        await a.append("lane.0.cmd", b"2")
        await done.count(2)
        await asyncio.sleep(1)
        kept = await a.bucket("STATE").get(key)
        assert kept is not None
        assert kept.value == b"2"
        await a.bucket("STATE").put(key, noise)
        here.kill("b")
        again = Got()

        async def from_the_start(entries: Any) -> None:
            again(entries)

        here.client("b").consume("LANE_0", "rec", from_the_start)
        await again.count(2)
        assert [str(error).partition(" was")[0] for error in failed] == [f"STATE {key}"] * 2

    alone(body())


def test_in_an_outage_nothing_is_stored_but_messages_pass():
    async def body():
        here = server(3)
        a, b = here.client("a"), here.client("b")
        got, heard = Got(), Got()
        b.follow("LANE_0", got)
        b.subscribe("md.X", heard)
        here.outage(True)
        results = await asyncio.gather(
            *(a.append("lane.0.cmd", b"", timeout=2.0) for _ in range(40)), return_exceptions=True
        )
        assert {type(result) for result in results} == {LogDown}
        assert {str(result) for result in results} == {"the log has no leader", "the log did not answer"}
        a.publish("md.X", b"")
        await heard.count(1)
        here.outage(False)
        assert await a.append("lane.0.cmd", b"") == 1
        await got.count(1)

    alone(body())


def test_followers_and_readers_pass_over_what_limits_dropped():
    async def body():
        here = server()
        a = here.client("a")
        for _ in range(1500):
            a.append("lane.0.cmd", b"")
        await a.append("lane.0.cmd", b"")
        here.trim("LANE_0", 1001)
        got = Got()
        a.follow("LANE_0", got, after=10)
        await got.count(501)
        assert got.seqs == list(range(1001, 1502)) == [e.seq for e in await all_of(a, "LANE_0")]
        assert await a.first("LANE_0") == 1001
        here.trim("LANE_0", 9999)
        assert await a.first("LANE_0") == 1502
        assert await a.last("LANE_0") is None

    alone(body())

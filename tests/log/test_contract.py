"""Every sentence of log/base.py, on every log there is: what is stored, and who is told."""

from __future__ import annotations

import asyncio

import pytest
from log_worlds import Got, again, all_of, settled

from tidegate.log.base import Conflict, Entry, LogDown, LogError, TooLarge
from tidegate.log.streams import MAX_PAYLOAD


async def fill(log: object, n: int, subject: str = "lane.0.cmd") -> list[int]:
    """Append so many, all in flight at once."""
    return await asyncio.gather(*(log.append(subject, b"%d" % i) for i in range(n)))  # type: ignore[attr-defined]


def test_appends_are_stored_in_the_order_they_were_made(run):
    async def body(here):
        a = await here.client("a")
        assert await fill(a, 500) == list(range(1, 501))
        assert [(e.seq, e.subject, e.data) for e in await all_of(a, "LANE_0")] == [
            (i + 1, "lane.0.cmd", b"%d" % i) for i in range(500)
        ]

    run(body)


def test_subjects_of_a_stream_share_one_sequence_and_streams_have_their_own(run):
    async def body(here):
        a = await here.client("a")
        seqs = [
            await a.append(subject, b"") for subject in ("lane.0.cmd", "lane.0.rpt", "evt.0", "lane.1.sys")
        ]
        assert seqs == [1, 2, 1, 1]

    run(body)


def test_a_message_id_is_stored_once(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        first = await a.append("lane.0.cmd", b"one", msg_id="m-1")
        await a.append("lane.0.cmd", b"two")
        assert await a.append("lane.0.cmd", b"one", msg_id="m-1") == first
        assert await b.append("lane.0.cmd", b"one", msg_id="m-1") == first
        assert [entry.data for entry in await all_of(a, "LANE_0")] == [b"one", b"two"]

    run(body)


def test_a_message_id_goes_before_what_was_expected(run):
    """A retry of an append that was stored must not fail because it was stored."""

    async def body(here):
        a = await here.client("a")
        assert await a.append("evt.0", b"one", msg_id="e-1", expect=0) == 1
        assert await a.append("evt.0", b"one", msg_id="e-1", expect=0) == 1

    run(body)


def test_an_expected_sequence_fences_the_second_of_two_writers(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        results = await asyncio.gather(
            *(log.append("evt.0", name, expect=0) for log, name in ((a, b"a"), (b, b"b"))),
            return_exceptions=True,
        )
        assert sorted(type(r) for r in results if not isinstance(r, int)) == [Conflict]
        assert [r for r in results if isinstance(r, int)] == [1]
        with pytest.raises(Conflict):
            await a.append("evt.0", b"zombie", expect=0)
        assert await b.append("evt.0", b"next", expect=1) == 2
        assert len(await all_of(a, "EVT_0")) == 2

    run(body)


def test_the_expected_sequence_is_that_of_the_very_subject(run):
    async def body(here):
        a = await here.client("a")
        assert await fill(a, 3) == [1, 2, 3]
        assert await a.append("lane.0.sys", b"epoch", expect=0) == 4
        assert await a.append("lane.0.cmd", b"more", expect=3) == 5
        with pytest.raises(Conflict):
            await a.append("lane.0.sys", b"epoch", expect=5)

    run(body)


def test_what_no_stream_keeps_and_what_is_too_large_is_refused(run):
    async def body(here):
        a = await here.client("a")
        with pytest.raises(LogError):
            await a.append("lane.99.cmd", b"")
        with pytest.raises(TooLarge):
            await a.append("lane.0.cmd", bytes(MAX_PAYLOAD + 1))
        with pytest.raises(TooLarge):
            a.publish("md.X.Y", bytes(MAX_PAYLOAD + 1))
        assert await all_of(a, "LANE_0") == []
        large = bytes(range(256)) * ((MAX_PAYLOAD - 4096) // 256)
        await a.append("lane.0.cmd", large)
        (entry,) = await all_of(a, "LANE_0")
        assert entry.data == large

    run(body)


def test_first_and_last_of_a_stream(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        assert await a.last("LANE_0") is None
        assert await a.first("LANE_0") == 1
        await fill(a, 3)
        await a.append("lane.0.rpt", b"report")
        last = await b.last("LANE_0")
        assert last is not None
        assert (last.seq, last.subject, last.data) == (4, "lane.0.rpt", b"report")
        command = await b.last("LANE_0", "lane.0.cmd")
        assert command is not None
        assert (command.seq, command.data) == (3, b"2")
        assert await b.last("LANE_0", "lane.0.sys") is None
        assert await b.first("LANE_0") == 1
        for seq, subject, found in ((1, "", 1), (4, "", 4), (2, "lane.0.rpt", 4), (3, "lane.0.cmd", 3)):
            entry = await b.next("LANE_0", seq, subject)
            assert entry is not None
            assert entry.seq == found
        assert entry.data == b"2"
        assert await b.next("LANE_0", 5) is None
        assert await b.next("LANE_0", 4, "lane.0.cmd") is None

    run(body)


def test_reading_has_both_bounds_and_ends_where_the_stream_ended(run):
    async def body(here):
        a = await here.client("a")
        await fill(a, 5000)
        assert [e.seq for e in await all_of(a, "LANE_0")] == list(range(1, 5001))
        assert [e.seq for e in await all_of(a, "LANE_0", after=10, until=13)] == [11, 12, 13]
        assert [e.seq for e in await all_of(a, "LANE_0", after=4998, until=9999)] == [4999, 5000]
        assert await all_of(a, "LANE_0", after=5000) == []
        seen = 0
        async for batch in a.read("LANE_0"):
            if not seen:
                await fill(a, 5)  # made after the call: not of this reading
            seen += len(batch)
        assert seen == 5000

    run(body)


def test_following_catches_up_and_goes_on_each_entry_once_and_in_order(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        await fill(a, 4000)
        got, later, calls = Got(), Got(), Got(each=False)
        b.follow("LANE_0", got)
        b.follow("LANE_0", calls)
        b.follow("LANE_0", later, after=3990)
        await asyncio.gather(fill(a, 500), fill(b, 500), fill(a, 500, "lane.0.rpt"))
        await got.count(5500)
        await later.count(1510)
        assert got.seqs == list(range(1, 5501))
        assert later.seqs == list(range(3991, 5501))
        await calls.until(lambda lists: sum(map(len, lists)) == 5500)
        assert len(calls) < 2750, "a catch-up comes in lists"
        assert [e[2:] for e in got] == [e[2:] for e in await all_of(a, "LANE_0")]

    run(body)


def test_following_from_a_time(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        await fill(a, 10)
        entries: list[Entry] = await all_of(a, "LANE_0")
        got, none = Got(), Got()
        b.follow("LANE_0", got, since=entries[6].ts)
        b.follow("LANE_0", none, since=entries[-1].ts + 1)
        await got.count(len([e for e in entries if e.ts >= entries[6].ts]))
        await b.append("lane.0.cmd", b"last")
        await none.count(1)
        assert none.seqs == [11]
        await got.until(lambda all_: all_[-1].seq == 11)
        assert got.seqs == [e.seq for e in entries if e.ts >= entries[6].ts] + [11]

    run(body)


def test_own_appends_reach_own_followers_once_and_not_from_within_the_call(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        got = Got()
        a.follow("LANE_0", got)
        first = a.append("lane.0.cmd", b"one")
        assert got == []
        assert await first == 1
        for i in range(2, 200):
            seq = await (a if i % 3 else b).append("lane.0.cmd", b"%d" % i)
            assert seq == i
        await got.count(199)
        await a.append("lane.0.cmd", b"end")
        await got.until(lambda all_: all_[-1].data == b"end")
        assert got.seqs == list(range(1, 201))

    run(body)


def test_a_closed_follower_hears_nothing_more(run):
    async def body(here):
        a = await here.client("a")
        gone, still = Got(), Got()
        following = a.follow("LANE_0", gone)
        a.follow("LANE_0", still)
        await a.append("lane.0.cmd", b"one")
        await gone.count(1)
        following.close()
        following.close()
        await a.append("lane.0.cmd", b"two")
        await still.count(2)
        assert gone.seqs == [1]

    run(body)


def test_a_handler_that_raises_hears_the_next_all_the_same(run):
    async def body(here):
        a = await here.client("a")
        problems = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: problems.append(context["exception"])
        )
        got = Got()

        def handler(entries: list[Entry]) -> None:
            got(entries)
            if entries[0].seq == 1:
                raise RuntimeError("a bug")

        a.follow("LANE_0", handler)
        await a.append("lane.0.cmd", b"one")
        await a.append("lane.0.cmd", b"two")
        await got.count(2)
        assert [str(problem) for problem in problems] == ["a bug"]
        assert a.counters()["handlers failed"] == 1

    run(body)


def test_a_consumer_resumes_where_it_was_and_a_failed_batch_comes_again(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        done, tries = Got(), Got()

        async def flaky(entries: list[Entry]) -> None:
            tries(entries)
            await asyncio.sleep(0)
            if len(tries) <= len(entries):
                raise OSError("disk full")
            done(entries)

        await fill(a, 100)
        consumer = a.consume("LANE_0", "recorder", flaky)
        await done.count(100)
        assert done.seqs == list(range(1, 101))
        assert tries.seqs[0] == 1
        assert len(tries) > 100
        # Its word that it came so far is stored before the next batch is begun: after that one, all 100 are done.
        await a.append("lane.0.cmd", b"next")
        await done.count(101)
        consumer.close()
        await fill(a, 20)
        more = Got()

        async def fine(entries: list[Entry]) -> None:
            more(entries)

        b.consume("LANE_0", "recorder", fine)
        other = Got()

        async def from_the_start(entries: list[Entry]) -> None:
            other(entries)

        b.consume("LANE_0", "another", from_the_start)
        await more.until(lambda all_: all_ and all_[-1].seq == 121)
        await other.count(121)
        assert more.seqs in (list(range(102, 122)), list(range(101, 122))), (
            "at least once, and never all again"
        )
        assert other.seqs == list(range(1, 122))

    run(body)


def test_no_answer_is_LogDown_and_what_was_stored_is_stored_once(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        got = Got()
        b.follow("LANE_0", got)
        await a.append("lane.0.cmd", b"one")
        await here.freeze()
        future = a.append("lane.0.cmd", b"two", msg_id="two", timeout=0.3)
        with pytest.raises(LogDown):
            await future
        await here.thaw()
        await again(lambda: a.append("lane.0.cmd", b"two", msg_id="two"), LogDown)
        await got.count(2)
        assert [entry.data for entry in got] == [b"one", b"two"]

    run(body)


def test_a_lost_connection_costs_followers_and_watchers_nothing(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        await settled(a, b)
        got, own, seen, heard = Got(), Got(), Got(), Got()
        b.follow("LANE_0", got)
        a.follow("LANE_0", own)
        b.bucket("LEASE").watch(seen)
        b.subscribe("md.>", heard)
        await a.bucket("LEASE").put("lane.0", b"a")
        await seen.count(1)
        acknowledged = set(await fill(a, 1000))
        for n in range(2):
            flying = [a.append("lane.0.cmd", b"f", msg_id=f"f-{n}-{i}", timeout=1.0) for i in range(300)]
            await here.crash()
            for i, result in enumerate(await asyncio.gather(*flying, return_exceptions=True)):
                if isinstance(result, LogDown):
                    result = await again(
                        lambda i=i, n=n: a.append("lane.0.cmd", b"f", msg_id=f"f-{n}-{i}"), LogDown
                    )
                acknowledged.add(result)
        assert acknowledged == set(range(1, 1601)), "none lost, none stored twice"
        await again(lambda: a.bucket("LEASE").put("lane.1", b"b"), LogDown)
        await got.count(1600)
        await own.count(1600)
        assert got.seqs == own.seqs == list(range(1, 1601))
        await seen.until(lambda all_: all_.values == {"lane.0": b"a", "lane.1": b"b"})

        async def tick() -> None:
            a.publish("md.X.Y", b"tick")
            await a.last("ALERT")
            if not heard:
                raise LogDown

        await again(tick, LogDown)
        assert a.connected
        assert b.connected

    run(body)


def test_a_closed_client_is_down(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        got = Got()
        a.follow("LANE_0", got)
        await a.append("lane.0.cmd", b"one")
        assert a.connected
        await here.freeze()
        waiting = a.append("lane.0.cmd", b"two")
        await a.close()
        with pytest.raises(LogDown):
            await waiting
        assert not a.connected
        with pytest.raises(LogDown):
            await a.append("lane.0.cmd", b"three")
        await here.thaw()
        await again(lambda: b.append("lane.0.cmd", b"four"), LogDown)
        assert got.seqs == [1]

    run(body)

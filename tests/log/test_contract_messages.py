"""The rest of log/base.py's contract, on every log there is: ephemeral messages, requests, buckets."""

from __future__ import annotations

import asyncio

import pytest
from log_worlds import Got, settled

from tidegate.log.base import Conflict, KvEntry, LogDown, LogError
from tidegate.log.streams import declared, stream_of


def test_publishing_reaches_every_subscriber_once_here_and_elsewhere(run):
    async def body(here):
        a, b, c = [await here.client(name) for name in "abc"]
        boxes = [Got() for _ in range(4)]
        for log, box, pattern in zip(
            (a, a, b, c), boxes, ("md.X.Y", "md.>", "md.*.Y", "md.X.Y"), strict=True
        ):
            log.subscribe(pattern, box)
        deaf = Got()
        c.subscribe("md.X.Z", deaf)
        await settled(a, b, c)
        for i in range(100):
            a.publish("md.X.Y", b"%d" % i)
        assert boxes[0] == [], "not from within the call"
        for box in boxes:
            await box.count(100)
            assert box == [("md.X.Y", b"%d" % i) for i in range(100)]
        assert deaf == []

    run(body)


def test_sending_stays_in_the_process_where_it_can(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        local, remote = Got(), Got()
        b.subscribe("gw.X.main", remote)
        await settled(b)
        a.send("gw.X.main", b"one")
        await remote.count(1)
        mine = a.subscribe("gw.X.main", local)
        a.send("gw.X.main", b"two")
        assert local == [], "not from within the call"
        await local.count(1)
        mine.close()
        mine.close()
        a.send("gw.X.main", b"three")
        await remote.count(2)
        assert [data for _, data in local] == [b"two"]
        assert [data for _, data in remote] == [b"one", b"three"]

    run(body)


def test_a_request_is_answered_here_or_elsewhere_now_or_later(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")

        async def later(data: bytes) -> bytes:
            await asyncio.sleep(0)
            return data[::-1]

        serving = b.serve("oms.0.orders", lambda data: data + b"!")
        b.serve("oms.1.orders", later)
        a.serve("oms.2.orders", later)
        await settled(a, b)
        assert await a.request("oms.0.orders", b"abc") == b"abc!"
        assert await a.request("oms.1.orders", b"abc") == b"cba"
        assert await a.request("oms.2.orders", b"abc") == b"cba"
        assert await asyncio.gather(*(a.request("oms.0.orders", b"%d" % i) for i in range(50))) == [
            b"%d!" % i for i in range(50)
        ]
        serving.close()
        await settled(b)
        with pytest.raises(LogDown):
            await a.request("oms.0.orders", b"abc", timeout=5.0)

    run(body)


def test_only_one_of_several_servers_answers(run):
    async def body(here):
        a, b, c = [await here.client(name) for name in "abc"]
        asked = Got()
        for log, name in ((b, b"b"), (c, b"c")):
            log.serve("oms.0.orders", lambda data, name=name: (asked(data), name)[1])
        await settled(b, c)
        answers = [await a.request("oms.0.orders", b"%d" % i) for i in range(20)]
        assert set(answers) <= {b"b", b"c"}
        assert len(asked) == 20

    run(body)


def test_a_server_that_says_nothing_or_fails_is_LogDown(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        problems = Got()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems(context["exception"]))

        async def never(data: bytes) -> bytes:
            return await asyncio.get_running_loop().create_future()

        def broken(data: bytes) -> bytes:
            raise RuntimeError("a bug")

        b.serve("oms.0.never", never)
        b.serve("oms.0.broken", broken)
        a.serve("oms.1.never", never)
        a.serve("oms.1.broken", broken)
        await settled(a, b)
        for subject in ("oms.0.never", "oms.0.broken", "oms.1.never", "oms.1.broken"):
            with pytest.raises(LogDown):
                await a.request(subject, b"", timeout=0.2)
        assert [str(problem) for problem in problems] == ["a bug", "a bug"]

    run(body)


def test_a_bucket_sets_gets_and_forgets(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        here_, there = a.bucket("STATE"), b.bucket("STATE")
        assert await here_.get("x") is None
        assert await here_.keys() == []
        one = await here_.put("x", b"1")
        two = await there.put("x", b"2")
        three = await there.put("a.b=c_d-E", b"")
        assert one < two < three
        assert await here_.get("x") == KvEntry("x", b"2", two)
        assert await here_.get("a.b=c_d-E") == KvEntry("a.b=c_d-E", b"", three)
        assert await there.keys() == ["a.b=c_d-E", "x"]
        await here_.delete("x")
        await here_.delete("never")
        assert await there.get("x") is None
        assert await there.keys() == ["a.b=c_d-E"]
        assert await a.bucket("LEASE").keys() == [], "buckets are apart"
        for wrong in ("", "a b", "a.*", ">", "a..b", ".a"):
            with pytest.raises(ValueError, match="no key"):
                await here_.put(wrong, b"")
        with pytest.raises(LogError):
            a.bucket("NONE")

    run(body)


def test_compare_and_set(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        here_, there = a.bucket("LEASE"), b.bucket("LEASE")
        results = await asyncio.gather(
            here_.update("lane.0", b"a", 0), there.update("lane.0", b"b", 0), return_exceptions=True
        )
        assert sorted(type(r).__name__ for r in results) == ["Conflict", "int"]
        revision = next(r for r in results if isinstance(r, int))
        with pytest.raises(Conflict):
            await there.update("lane.0", b"b", revision + 1)
        newer = await there.update("lane.0", b"b", revision)
        with pytest.raises(Conflict):
            await here_.delete("lane.0", revision)
        assert await here_.get("lane.0") == KvEntry("lane.0", b"b", newer)
        await here_.delete("lane.0", newer)
        with pytest.raises(Conflict):
            await here_.update("lane.0", b"a", newer)
        assert await here_.update("lane.0", b"again", 0) > newer, "a deleted key has no value"

    run(body)


def test_a_watcher_is_told_what_is_and_what_changes(run):
    async def body(here):
        a, b = await here.client("a"), await here.client("b")
        bucket = a.bucket("LEASE")
        first = await bucket.put("lane.0", b"a")
        await bucket.put("gone", b"")
        await bucket.delete("gone")
        await bucket.put("host.1", b"h")
        everything, lanes, part = Got(), Got(), Got()
        watching = b.bucket("LEASE").watch(everything)
        b.bucket("LEASE").watch(lanes, "lane.")
        b.bucket("LEASE").watch(part, "la")
        await everything.count(2)
        await asyncio.gather(lanes.count(1), part.count(1))
        assert lanes[0] == KvEntry("lane.0", b"a", first)
        assert everything.values == {"lane.0": b"a", "host.1": b"h"}
        changed = await bucket.put("lane.0", b"b")
        await asyncio.gather(everything.count(3), lanes.count(2), part.count(2))
        await bucket.delete("lane.0")
        await everything.count(4)
        assert everything[2] == KvEntry("lane.0", b"b", changed)
        assert everything[3].value is None
        assert everything[3].revision > changed
        watching.close()
        await bucket.put("lane.7", b"c")
        await lanes.count(4)
        await part.count(4)
        assert [entry.key for entry in lanes] == ["lane.0", "lane.0", "lane.0", "lane.7"]
        assert lanes == part
        assert len(everything) == 4

    run(body)


def test_what_is_declared_says_where_subjects_go():
    log = declared(3)
    assert [spec.name for spec in log.streams] == [
        *(f"{kind}_{n}" for n in range(3) for kind in ("LANE", "EVT")),
        "HALT",
        "LEASES",
        "AUDIT",
        "DEPLOY",
        "DEAD",
        "ALERT",
    ]
    places = {
        "lane.2.cmd": "LANE_2",
        "evt.0": "EVT_0",
        "dead.1": "DEAD",
        "alert.gap": "ALERT",
        "halt.event": "HALT",
        "lease.report": "LEASES",
        "audit.record": "AUDIT",
        "deploy.maker": "DEPLOY",
        "md.X.Y": "",
        "evt": "",
    }
    assert {subject: stream_of(subject) for subject in places} == places

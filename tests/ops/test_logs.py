"""Structured logs: written whole, merged by time, one tick's way through all of them, and nothing secret."""

import asyncio
import errno
import json
import logging
import os
from array import array

import pytest

from tidegate.errors import UserError
from tidegate.model.time import SimulatedClock
from tidegate.ops import logs
from tidegate.ops.hops import HOPS, Histogram, HopFile, Hops
from tidegate.ops.log_reader import Follower, Wanted, read, show
from tidegate.ops.logs import LogFile
from tidegate.ops.redact import secrets_of

T0 = 1_700_000_000_000_000_000


def lines_of(folder, name):
    return [json.loads(line) for line in folder.log(name).read_text().splitlines()]


def test_a_line_has_its_fields_and_is_written_a_moment_later_in_one_piece(folder):
    async def scenario():
        log = LogFile(folder, "oms-1", "oms", SimulatedClock(T0))
        log.info("order.denied", "too large", trace=7, lane=3, cl_ord_id=9, limit=5.5, nested={"a": 1})
        log.debug("not.wanted")
        log.warning("second")
        before = folder.log("oms-1").stat().st_size
        log._timer._run()  # what the event loop does 0.2 s later
        return log, before, log._timer

    log, before, timer = asyncio.run(scenario())
    assert before == 0
    assert timer is None  # nothing waits, so nothing wakes up
    first, second = lines_of(folder, "oms-1")
    assert first == {
        "ts": T0, "time": "2023-11-14T22:13:20.000000000Z", "level": "info", "name": "oms-1", "role": "oms",
        "pid": os.getpid(), "event": "order.denied", "text": "too large", "trace": 7, "lane": 3, "cl_ord_id": 9,
        "limit": 5.5, "nested": {"a": 1},
    }  # fmt: skip
    assert second["event"] == "second"
    log.close()


def test_a_clean_end_loses_nothing(folder):
    async def scenario():
        log = LogFile(folder, "a", "oms", SimulatedClock(T0))
        log.info("last.words")
        log.close()

    asyncio.run(scenario())
    assert [line["event"] for line in lines_of(folder, "a")] == ["last.words"]


def test_secrets_are_blotted_out(folder, monkeypatch):
    monkeypatch.setenv("BINANCE_MAIN_SECRET", 'hush"hush-1')
    log = LogFile(folder, "a", "gateway", SimulatedClock(T0), secrets=secrets_of(os.environ))
    log.info("request", 'sent hush"hush-1 here', api_key="k1", deep={"listenKey": "k2", "fine": "k3"})
    log.info("url", "GET http://user:pw@host/x?symbol=BTC&signature=abcdef&timestamp=1 failed")
    log.info("values", symbols=['hush"hush-1'])
    log.close()
    text = folder.log("a").read_text()
    for secret in ("hush", "k1", "k2", "pw@", "abcdef"):
        assert secret not in text
    assert '"fine":"k3"' in text
    assert "timestamp=1" in text
    assert all(json.loads(line) for line in text.splitlines())
    assert "here" in text
    assert secrets_of({"PATH": "/bin", "X_PASSWORD": "p", "API_TOKEN": "t"}) == ["p", "t"]


def test_logs_are_rotated_and_the_oldest_go(folder):
    log = LogFile(folder, "a", "oms", SimulatedClock(T0), max_bytes=400, keep=3)
    for n in range(12):
        log.info("n", n=n)
    log.close()
    names = sorted(path.name for path in folder.logs.iterdir())
    assert names == ["a.jsonl", "a.jsonl.1", "a.jsonl.2"]
    kept = [line["n"] for line in read(folder, Wanted())]
    assert kept == list(range(kept[0], 12))
    assert 0 < kept[0] < 10


def test_what_a_full_disk_swallows_is_counted_and_said_later(folder, monkeypatch, capsys):
    log = LogFile(folder, "a", "oms", SimulatedClock(T0))

    write, room = os.write, [10, 0]

    def full(fd, data):
        if not (left := room.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:left])

    with monkeypatch.context() as patch:
        patch.setattr(logs.os, "write", full)
        log.info("lost.one")
        log.info("lost.two")
    assert log.counters["lines_lost"] == 2
    assert capsys.readouterr().err.count("a.jsonl: log lines are lost") == 1
    log.info("kept")
    log.close()
    wanted = Wanted()
    found = [(line["event"], line.get("lines")) for line in read(folder, wanted)]
    assert found == [("kept", None), ("log.lost", 2)]
    assert wanted.unreadable == 1  # the part that still went in


def test_more_lines_than_may_wait_are_counted(folder, monkeypatch):
    monkeypatch.setattr(logs, "MOST_WAITING", 3)

    async def scenario():
        log = LogFile(folder, "a", "oms", SimulatedClock(T0))
        for n in range(5):
            log.info("n", n=n)
        log.close()
        return log.counters

    assert asyncio.run(scenario())["lines_lost"] == 2
    assert [line["event"] for line in lines_of(folder, "a")] == ["n", "n", "n", "log.lost"]


def test_what_is_said_to_pythons_logging_comes_into_the_log(folder):
    root, ours = logging.getLogger(), logging.getLogger("tidegate.venue")
    before = (root.handlers[:], root.level, logging.getLogger("tidegate").level)
    log = LogFile(folder, "a", "gateway", SimulatedClock(T0))
    try:
        logs.install(log)
        ours.info("connected to %s", "spot", extra={"event": "session.up", "lane": 2, "figures": {"ms": 3}})
        logging.getLogger("nats").info("chatter")
        try:
            raise ValueError("bad frame")
        except ValueError:
            logging.getLogger("nats").exception("it broke")
    finally:
        root.handlers[:], level, own = before
        root.setLevel(level)
        logging.getLogger("tidegate").setLevel(own)
        log.close()
    first, second = lines_of(folder, "a")
    assert (first["event"], first["text"], first["lane"], first["ms"]) == (
        "session.up",
        "connected to spot",
        2,
        3,
    )
    assert (second["level"], second["event"], second["text"]) == ("error", "nats", "it broke")
    assert "ValueError: bad frame" in second["stack"]


def three_processes(folder, every=1):
    """Two ticks' ways through feed, oms and gateway, the lines of each file in order, the files interleaved."""
    clock = SimulatedClock(T0)
    files = {
        name: LogFile(folder, f"{name}-1", name, clock, trace_every=every) for name in ("feed", "oms", "gw")
    }
    hops = {name: Hops(log) for name, log in files.items()}
    for n in range(2):
        trace = T0 + n * 1_000_000
        clock.set(trace + 900_000)
        for at, (name, hop) in enumerate(
            [("feed", "feed.out"), ("oms", "oms.in"), ("oms", "oms.out"), ("gw", "gateway.out")]
        ):
            hops[name](hop, trace, trace + at * 100_000)
        files["gw"].info("fill", "bought 3", trace=trace, cl_ord_id=n + 1)
    for log in files.values():
        log.close()
    return hops


def test_one_tick_is_followed_through_all_processes_to_the_fill(folder):
    three_processes(folder)
    trace = T0 + 1_000_000
    lines = list(read(folder, Wanted(trace=trace)))
    assert [line.get("hop", line["event"]) for line in lines] == [
        "feed.out", "oms.in", "oms.out", "gateway.out", "fill",
    ]  # fmt: skip
    assert [line["name"] for line in lines] == ["feed-1", "oms-1", "oms-1", "gw-1", "gw-1"]
    shown = [show(line, trace).plain for line in lines]
    assert shown[2].split()[:2] == ["+0.200", "ms"]
    assert shown[-1].split() == ["+0.900", "ms", "info", "gw-1", "fill", "bought", "3", "cl_ord_id=2"]


def test_no_tick_is_written_unless_tracing_is_on_but_latency_is_known(folder):
    hops = three_processes(folder, every=0)
    assert [line["event"] for line in read(folder, Wanted())] == ["fill", "fill"]
    latency = hops["oms"].health()["latency"]
    assert list(latency) == ["oms.in", "oms.out"]
    assert latency["oms.out"]["count"] == 2
    assert abs(latency["oms.out"]["p99"] - 200_000) <= 200_000 / 32


def test_orders_that_no_tick_led_to_are_left_out(folder):
    log = LogFile(folder, "a", "gateway", SimulatedClock(T0), trace_every=1)
    hops = Hops(log)
    hops.gateway((0, T0, T0, T0, 7))
    hops.gateway((T0, T0 + 100, T0 + 200, T0 + 300, 8))
    log.close()
    assert [(line["hop"], line["ts"] - T0, line["cl_ord_id"]) for line in lines_of(folder, "a")] == [
        ("gateway.in", 200, 8),
        ("gateway.out", 300, 8),
    ]
    assert hops.health()["latency"]["gateway.out"]["count"] == 1


def test_every_hop_is_kept_for_measurements(folder, tmp_path):
    log = LogFile(folder, "a", "gateway", SimulatedClock(T0))
    file = HopFile(tmp_path / "new" / "a.hops")
    hops = Hops(log, file=file)
    hops("oms.in", 0, T0)  # no tick led to it
    hops("oms.in", T0, T0 + 5)
    hops.gateway((T0, T0 + 100, T0 + 200, T0 + 300, 8))
    file.close()
    log.close()
    rows = array("q", file.path.read_bytes()).tolist()
    assert [HOPS[number] for number in rows[::4]] == ["oms.in", "gateway.in", "gateway.out"]
    assert list(zip(rows[1::4], rows[2::4], rows[3::4], strict=True)) == [
        (T0, T0 + 5, 0), (T0, T0 + 200, 8), (T0, T0 + 300, 8),
    ]  # fmt: skip
    assert file.left_out == 0


def test_every_process_chooses_the_same_ticks(folder):
    logs = [LogFile(folder, name, "x", SimulatedClock(T0), trace_every=10) for name in "ab"]
    ticks = [T0 + n * 7_000 for n in range(1_000)]
    chosen = [[trace for trace in ticks if log.traces(trace)] for log in logs]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 100
    for log in logs:
        log.close()


def test_percentiles_are_within_a_thirtysecond(folder):
    values = [(n * 7919) % 1_000_003 for n in range(20_000)]
    one, two = Histogram(), Histogram()
    for n, value in enumerate(values):
        (one if n % 2 else two).add(value)
    found = one.percentiles((0.5, 0.99, 0.999), two)
    values.sort()
    for share, value in zip((0.5, 0.99, 0.999), found, strict=True):
        true = values[int(share * len(values))]
        assert abs(value - true) <= true / 32
    assert Histogram().percentiles((0.5,)) == [0]


def test_latency_is_of_the_present(folder):
    log = LogFile(folder, "a", "oms", SimulatedClock(T0))
    hops = Hops(log, window=1000)
    hops("oms.in", T0, T0 + 500_000)
    assert hops.health()["latency"]["oms.in"]["count"] == 1
    hops("oms.in", T0 + 2_000_000, T0 + 2_000_020)
    assert hops.health()["latency"]["oms.in"] == {"p50": 20, "p99": 20, "p999": 20, "count": 1}
    log.close()


def test_filters_by_name_level_and_time_and_counts_what_is_no_line(folder):
    clock = SimulatedClock(T0)
    one, two = (LogFile(folder, name, "x", clock) for name in ("one", "two"))
    for n, (log, level) in enumerate([(one, "info"), (two, "error"), (one, "warning"), (two, "info")]):
        clock.set(T0 + n)
        log.write(level, f"e{n}")
    one.close()
    two.close()
    with folder.log("one").open("a") as file:
        file.write('{"ts": 17000000')  # torn by a kill

    def events(**wanted):
        return [line["event"] for line in read(folder, Wanted(**wanted))]

    assert events() == ["e0", "e1", "e2", "e3"]
    assert events(names=("one",)) == ["e0", "e2"]
    assert events(level=30) == ["e1", "e2"]
    assert events(since=T0 + 2) == ["e2", "e3"]
    wanted = Wanted()
    list(read(folder, wanted))
    assert wanted.unreadable == 1
    with pytest.raises(UserError, match=r"no log of 'ome' in .*; did you mean 'one'"):
        events(names=("ome",))


def test_following_sees_new_lines_new_processes_and_rotated_files(folder):
    clock = SimulatedClock(T0)
    log = LogFile(folder, "a", "x", clock, max_bytes=300, keep=8)
    log.info("before")
    follower = Follower(folder, Wanted())
    assert follower.lines() == []
    log.info("one")
    assert [line["event"] for line in follower.lines()] == ["one"]
    log.info("two")
    log.info("three")  # into a new file
    other = LogFile(folder, "b", "x", clock)
    other.info("four")
    assert sorted(line["event"] for line in follower.lines()) == ["four", "three", "two"]
    with folder.log("b").open("ab") as file:
        whole = folder.log("b").read_bytes()
        file.write(whole[:20])
        file.flush()
        assert follower.lines() == []
        file.write(whole[20:])
    assert [line["event"] for line in follower.lines()] == ["four"]
    log.close()
    other.close()

"""What only a real server can show: addresses and versions, streams brought to what is declared, slow clients."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from log_worlds import DECLARED, Got, all_of, settled

from tidegate.errors import UserError
from tidegate.log.base import Full, LogDown
from tidegate.log.embedded import Embedded
from tidegate.log.grants import User
from tidegate.log.nats import NatsLog, connect, reconcile
from tidegate.log.server_process import ServerProcess, configuration, free_port, write_private
from tidegate.log.streams import Declared, declared
from tidegate.log.wire import Wire, _Feed


def alone(folder: Path, body: Callable[[Embedded], Awaitable[None]]) -> None:
    """Run with a server of its own."""

    async def live() -> None:
        server = Embedded(folder, "process")
        await server.start()
        try:
            async with asyncio.timeout(60):
                await body(server)
        finally:
            await server.stop()

    asyncio.run(live())


async def client(server: Embedded, log: Declared = DECLARED, **options: Any) -> NatsLog:
    at = server.running
    return await connect(at.url, name="test", declared=log, user=at.user, password=at.password, **options)


def test_an_address_without_a_server_is_named():
    async def body():
        port = free_port()
        for url in (f"nats://127.0.0.1:{port}", f"nats://user:secret@127.0.0.1:{port}"):
            with pytest.raises(UserError) as refused:
                await connect(url, name="test", declared=DECLARED, timeout=0.5)
            assert f"log at 127.0.0.1:{port} cannot be reached" in str(refused.value)
            assert "secret" not in str(refused.value)
        silent = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(UserError, match=f"log at 127.0.0.1:{port} cannot be reached: .+"):
            await connect(f"nats://127.0.0.1:{port}", name="test", declared=DECLARED, timeout=3.0)
        silent.close()
        with pytest.raises(UserError, match="no address of a NATS server; write nats://HOST:PORT"):
            await connect("http://127.0.0.1:1", name="test", declared=DECLARED)

    asyncio.run(body())


def test_a_server_without_jetstream_is_told_apart(tmp_path):
    async def body():
        port = free_port()
        text = configuration(port=port, store=tmp_path, name="x", users=[User("u", "p")], sync=False)
        write_private(tmp_path / "server.conf", text.partition("jetstream {")[0])
        server = ServerProcess(tmp_path / "server.conf", tmp_path / "server.log", "x", port)
        await server.start()
        try:
            with pytest.raises(UserError, match="JetStream is off"):
                await connect(f"nats://u:p@127.0.0.1:{port}", name="test", declared=DECLARED)
        finally:
            await server.stop()

    asyncio.run(body())


def test_many_set_up_the_same_log_at_once_and_a_change_is_made(tmp_path):
    async def body(server):
        logs = await asyncio.gather(*(client(server) for _ in range(6)))
        log = logs[0]
        await log.append("lane.0.cmd", b"kept")
        smaller = DECLARED._replace(
            streams=tuple(spec._replace(max_age=3600.0, max_bytes=1 << 30) for spec in DECLARED.streams)
        )
        await asyncio.gather(*(reconcile(one, smaller) for one in logs))
        config = (await log.calls.api("STREAM.INFO.LANE_0"))["config"]
        assert (config["max_age"], config["max_bytes"]) == (3600 * 10**9, 1 << 30)
        assert len(await all_of(log, "LANE_0")) == 1
        for one in logs:
            await one.close()

    alone(tmp_path, body)


def test_what_the_server_will_not_change_is_named(tmp_path):
    async def body(server):
        log = await client(server)
        await log.calls.api("STREAM.DELETE.ALERT")
        config = {"name": "ALERT", "subjects": ["alert.>"], "storage": "memory", "num_replicas": 1}
        await log.calls.api("STREAM.CREATE.ALERT", config)
        with pytest.raises(
            UserError, match=r"ALERT: .*storage is 'memory', should be 'file'.*will not change it"
        ):
            await client(server)
        await log.calls.api("STREAM.DELETE.ALERT")
        await log.calls.api(
            "STREAM.CREATE.MINE", {"name": "MINE", "subjects": ["alert.x"], "storage": "file"}
        )
        with pytest.raises(UserError, match=r"ALERT: .*overlap"):
            await client(server)
        await log.close()

    alone(tmp_path, body)


def test_a_full_stream_refuses_and_keeps_what_it_has(tmp_path):
    async def body(server):
        small = declared(1)
        streams = tuple(
            spec._replace(max_bytes=20_000) if spec.name in ("LANE_0", "DEAD") else spec
            for spec in small.streams
        )
        log = await client(server, small._replace(streams=streams))
        for subject in ("lane.0.cmd", "dead.0"):
            results = await asyncio.gather(
                *(log.append(subject, bytes(1000)) for _ in range(40)), return_exceptions=True
            )
            stored = [result for result in results if isinstance(result, int)]
            if subject == "dead.0":  # notes: the oldest go
                assert stored == list(range(1, 41))
                assert await log.first("DEAD") > 1
            else:
                assert {type(r) for r in results if not isinstance(r, int)} == {Full}
                assert [entry.seq for entry in await all_of(log, "LANE_0")] == stored
        await log.close()

    alone(tmp_path, body)


def test_following_passes_over_what_limits_dropped_and_counts_it(tmp_path):
    async def body(server):
        small = declared(1)
        streams = tuple(spec._replace(max_bytes=20_000) for spec in small.streams if spec.name == "DEAD")
        log = await client(server, small._replace(streams=streams))
        await asyncio.gather(*(log.append("dead.0", bytes(1000)) for _ in range(40)))
        first = await log.first("DEAD")
        got = Got()
        log.follow("DEAD", got)
        await got.count(41 - first)
        assert got.seqs == list(range(first, 41))
        assert log.counters() == {"dropped by limits": first - 1}
        await log.close()

    alone(tmp_path, body)


def test_a_consumer_that_the_server_forgot_is_made_again(tmp_path):
    async def body(server):
        log = await client(server)
        got, seen = Got(), Got()
        log.follow("LANE_0", got)
        log.bucket("LEASE").watch(seen)
        await log.append("lane.0.cmd", b"one")
        await log.bucket("LEASE").put("k", b"1")
        await got.count(1)
        await seen.count(1)
        for stream in ("LANE_0", "KV_LEASE"):
            for name in (await log.calls.api(f"CONSUMER.NAMES.{stream}"))["consumers"]:
                await log.calls.api(f"CONSUMER.DELETE.{stream}.{name}")
        other = await client(server)
        await other.append("lane.0.cmd", b"two")
        await other.bucket("LEASE").put("k", b"2")
        await got.count(2)
        await seen.until(lambda all_: all_.values == {"k": b"2"})
        assert got.seqs == [1, 2]
        assert log.counters()["heartbeats missed"] >= 2
        await log.close()
        await other.close()

    alone(tmp_path, body)


def test_a_client_too_slow_for_the_server_is_cut_off_and_recovers(tmp_path):
    async def body(server):
        slow, fast = await client(server), await client(server)
        got, heard = Got(), Got()
        slow.follow("LANE_0", got)
        slow.subscribe("md.>", lambda subject, data: heard(data[:1]))
        await settled(slow)
        await fast.append("lane.0.cmd", b"one")
        await got.count(1)
        assert slow.wire._raw is not None
        slow.wire._raw.pause_reading()
        block = bytes(1 << 20)
        for _ in range(120):  # the server keeps 64 MiB for a client
            fast.publish("md.X.Y", block)
            await fast.last("ALERT")
        for i in range(50):
            await fast.append("lane.0.cmd", b"%d" % i)
        slow.wire._raw.resume_reading()
        await got.count(51)
        assert got.seqs == list(range(1, 52))
        assert len(heard) < 120
        counts = slow.counters()
        assert (counts["disconnects"], counts["reconnects"]) == (1, 1)
        await slow.close()
        await fast.close()

    alone(tmp_path, body)


def test_without_a_server_appends_fail_at_once_and_messages_are_counted(tmp_path):
    async def body(server):
        log = await client(server)
        await settled(log)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(LogDown):
            await log.append("lane.0.cmd", b"", timeout=60.0)
        with pytest.raises(LogDown, match="not connected"):
            await log.append("lane.0.cmd", b"", timeout=60.0)
        with pytest.raises(LogDown, match="not connected"):
            await log.request("oms.0.orders", b"")
        log.publish("md.X.Y", b"")
        log.send("gw.X.main", b"")
        assert log.counters()["ephemeral dropped, not connected"] == 2
        await log.close()

    alone(tmp_path, body)


def test_a_program_ends_though_its_client_was_left_open_and_the_server_is_gone(tmp_path):
    for _ in range(3):
        alone(tmp_path, lambda server: client(server))


@pytest.mark.parametrize("seed", range(20))
def test_the_wire_is_parsed_the_same_however_it_is_cut(seed):
    async def body():
        rng = random.Random(seed)
        got: list[tuple[bytes, ...]] = []
        turns = Got()
        wire = Wire(lambda: turns(1))
        wire.hooks[b"7"] = lambda *message: got.append(message)
        wanted, text = [], b""
        for _ in range(200):
            subject, reply = b"s.%d" % rng.randrange(99), rng.choice([b"", b"_INBOX.x.1"])
            data = rng.choice([b"", b"MSG a 7 3\r\nabc\r\n", rng.randbytes(rng.choice([1, 20, 5000]))])
            headers = rng.choice([b"", b"NATS/1.0\r\nA: b\r\n\r\n"])
            number = rng.choice([7, 7, 7, 8])
            middle = b" ".join(filter(None, [subject, b"%d" % number, reply]))
            if headers:
                head = b"HMSG %s %d %d\r\n" % (middle, len(headers), len(headers) + len(data))
            else:
                head = b"MSG %s %d\r\n" % (middle, len(data))
            text += head + headers + data + b"\r\n" + rng.choice([b"", b"", b"+OK\r\n", b"PONG\r\n"])
            if number == 7:
                wanted.append((subject, reply, data, headers))
        feed = _Feed(wire, None)
        at = 0
        while at < len(text):
            step = rng.choice([1, 2, 10, 100, 3000, 20_000])
            feed.data_received(text[at : at + step])
            at += step
        assert got == wanted

    asyncio.run(body())

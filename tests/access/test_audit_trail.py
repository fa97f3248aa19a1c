"""What services note reaches the audit stream once, in one chain, however many write and whatever fails."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.access.audit import AuditTrail
from tidegate.access.audit_chain import STREAM, AuditRecord, read, verify
from tidegate.access.audit_files import Anchors
from tidegate.log.base import Log
from tidegate.log.memory import Faults, MemoryServer
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock

DECLARED = declared(1, "process")


async def records(log: Log) -> list[AuditRecord]:
    lines = [entry.data async for batch in log.read(STREAM) for entry in batch]
    proof = verify(lines)
    assert proof.bad is None
    return [read(line).record for line in lines]


def test_a_note_says_who_did_what_and_how_it_went():
    async def body() -> None:
        log = MemoryServer(1, log=DECLARED).client("one")
        trail = AuditTrail(log, SystemClock(), "gateway")
        trail.note("alice", "halt", "firm", "done", "a drill", b"signed")
        assert await trail.drained(5)
        (record,) = await records(log)
        assert (record.n, record.who, record.do, record.scope, record.outcome) == (
            1,
            "alice",
            "halt",
            "firm",
            "done",
        )
        assert (record.detail, record.source, record.signed) == ("a drill", "gateway", b"signed")
        assert record.ts > 0

    asyncio.run(body())


def test_many_writers_make_one_chain():
    async def body() -> None:
        server = MemoryServer(1, log=DECLARED)
        trails = [AuditTrail(server.client(f"c{n}"), SystemClock(), f"c{n}") for n in range(5)]
        for n in range(20):
            for trail in trails:
                trail.note("x", "halt", f"desk:{n}", "done")
        for trail in trails:
            assert await trail.drained(30)
        found = await records(server.client("reader"))
        assert len(found) == 100
        assert len({record.id for record in found}) == 100
        for trail in trails:
            assert trail.pending == 0
        assert sum(trail.counters["chained again"] for trail in trails) > 0

    asyncio.run(body())


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_nor_stored_twice_over_a_bad_network(seed):
    async def body() -> None:
        server = MemoryServer(seed, log=DECLARED)
        faults = Faults(delay=(0.0, 0.002), lose=0.2, lose_ack=0.2)
        trails = []
        for n in range(3):
            log = server.client(f"c{n}", faults)
            log.append_timeout = 0.05
            trails.append(AuditTrail(Impatient(log), SystemClock(), f"c{n}"))
        for n in range(8):
            for trail in trails:
                trail.note("x", "halt", f"desk:{n}", "done")
        for trail in trails:
            assert await trail.drained(60)
        found = await records(server.client("reader"))
        assert sorted((r.source, r.scope) for r in found) == sorted(
            (f"c{n}", f"desk:{m}") for n in range(3) for m in range(8)
        )
        for n in range(3):
            assert [r.scope for r in found if r.source == f"c{n}"] == [f"desk:{m}" for m in range(8)]

    asyncio.run(body())


class Impatient:
    """A client that gives an append up soon: the test is done sooner."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    def append(self, subject: str, data: bytes, **more: object) -> asyncio.Future[int]:
        return self._log.append(subject, data, **{**more, "timeout": 0.05})  # type: ignore[arg-type]


def test_notes_wait_on_the_disk_while_the_log_is_away(tmp_path):
    async def body() -> None:
        server = MemoryServer(1, log=DECLARED)
        log = server.client("one")
        server.partition("one")
        trail = AuditTrail(log, SystemClock(), "one", tmp_path)
        trail.note("alice", "halt", "firm", "done", "with the log away")
        (file,) = (tmp_path / "run").glob("audit-one.*.jsonl")
        assert b"with the log away" in file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600
        assert not await trail.drained(0.3)
        server.heal("one")
        assert await trail.drained(10)
        assert [record.detail for record in await records(log)] == ["with the log away"]
        assert file.read_bytes() == b""
        trail.close()
        assert not list((tmp_path / "run").iterdir())

    asyncio.run(body())


def test_what_a_process_left_behind_the_next_one_sends(tmp_path):
    async def body() -> None:
        server = MemoryServer(1, log=DECLARED)
        away = server.client("one")
        server.partition("one")
        first = AuditTrail(away, SystemClock(), "one", tmp_path)
        first.note("alice", "halt", "firm", "done", "left behind")
        first.note("alice", "resume", "firm", "refused: NEEDS_TWO_PEOPLE")
        first.close()
        log = server.client("two")
        second = AuditTrail(log, SystemClock(), "two", tmp_path)
        assert await second.drained(10)
        assert [(r.do, r.source) for r in await records(log)] == [("halt", "one"), ("resume", "one")]
        second.close()
        third = AuditTrail(server.client("three"), SystemClock(), "three", tmp_path)
        assert third.pending == 0

    asyncio.run(body())


def test_what_was_stored_before_a_crash_is_not_stored_again(tmp_path):
    async def body() -> None:
        server = MemoryServer(1, log=DECLARED)
        log = server.client("one", Faults(lose_ack=1.0))
        first = AuditTrail(Impatient(log), SystemClock(), "one", tmp_path)  # type: ignore[arg-type]
        first.note("alice", "halt", "firm", "done")
        other = server.client("two")
        while await other.last(STREAM) is None:
            await asyncio.sleep(0)
        first.close()
        second = AuditTrail(other, SystemClock(), "two", tmp_path)
        assert second.pending == 1
        assert await second.drained(10)
        assert len(await records(other)) == 1

    asyncio.run(body())


def test_a_living_process_keeps_its_own_notes(tmp_path):
    """Another one that starts on the same folder leaves them alone; once it is dead it takes them."""
    program = f"""
import asyncio, sys
from pathlib import Path
from tidegate.access.audit import AuditTrail
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
async def main():
    server = MemoryServer(1, log=declared(1))
    log = server.client("one")
    server.partition("one")
    trail = AuditTrail(log, SystemClock(), "one", Path({str(tmp_path)!r}))
    trail.note("alice", "halt", "firm", "done")
    print("noted", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""

    async def body(child: subprocess.Popen[bytes]) -> None:
        server = MemoryServer(1, log=DECLARED)
        assert AuditTrail(server.client("two"), SystemClock(), "two", tmp_path).pending == 0
        child.kill()
        child.wait()
        trail = AuditTrail(server.client("three"), SystemClock(), "three", tmp_path)
        assert await trail.drained(10)
        assert [r.source for r in await records(server.client("reader"))] == ["one"]

    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ))
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"noted\n"
        asyncio.run(body(child))
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def test_a_strangers_entry_does_not_stop_the_trail(tmp_path):
    async def body() -> None:
        log = MemoryServer(1, log=DECLARED).client("one")
        await log.append("audit.record", b"hello")
        trail = AuditTrail(log, SystemClock(), "one", tmp_path)
        trail.note("alice", "halt", "firm", "done")
        assert await trail.drained(5)
        lines = [entry.data async for batch in log.read(STREAM) for entry in batch]
        assert verify(lines).bad == (1, "it is no audit record")
        assert verify(lines[1:]).bad is not None
        assert read(lines[1]).record.n == 2

    asyncio.run(body())


def test_this_machine_remembers_the_hashes_of_what_it_noted(tmp_path):
    async def body() -> None:
        log = MemoryServer(1, log=DECLARED).client("one")
        trail = AuditTrail(log, SystemClock(), "one", tmp_path)
        for _ in range(3):
            trail.note("alice", "halt", "firm", "done")
        assert await trail.drained(5)
        lines = [entry.data async for batch in log.read(STREAM) for entry in batch]
        assert Anchors(tmp_path).read() == {n: read(line).hash for n, line in enumerate(lines, 1)}

    asyncio.run(body())


def test_a_disk_that_takes_nothing_stops_no_note(tmp_path: Path):
    async def body() -> None:
        (tmp_path / "run").write_text("a file where the folder should be")
        (tmp_path / "access").write_text("here too")
        log = MemoryServer(1, log=DECLARED).client("one")
        trail = AuditTrail(log, SystemClock(), "one", tmp_path)
        trail.note("alice", "halt", "firm", "done")
        assert await trail.drained(5)
        assert trail.counters["not on disk"] > 0
        assert len(await records(log)) == 1

    asyncio.run(body())

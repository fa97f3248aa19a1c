"""The chain of audit records on a real stream: whatever is done to it is seen, and the first bad record is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tidegate.access import command
from tidegate.access.audit import AuditTrail
from tidegate.access.audit_chain import START, STREAM, SUBJECT, Proof, read, verify, write
from tidegate.access.audit_files import Anchors
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.signer import Signer
from tidegate.log.embedded import Embedded
from tidegate.log.memory import MemoryServer
from tidegate.log.nats import NatsLog, connect, reconcile
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock

DECLARED = declared(1, "process")


@asynccontextmanager
async def log_on(data: Path) -> AsyncIterator[NatsLog]:
    server = Embedded(data, "process")
    at = await server.start()
    log = await connect(at.url, name="test", declared=DECLARED, user=at.user, password=at.password)
    try:
        yield log
    finally:
        await log.close()
        await server.stop()


async def lines_of(log: NatsLog) -> list[bytes]:
    return [entry.data async for batch in log.read(STREAM) for entry in batch]


async def noted(log: NatsLog, data: Path, count: int = 6) -> None:
    trail = AuditTrail(log, SystemClock(), "test", data)
    for n in range(count):
        trail.note("alice", "halt", f"desk:{n}", "done", f"drill {n}")
    assert await trail.drained(10)
    trail.close()


async def stored_anew(log: NatsLog, lines: list[bytes]) -> None:
    """What somebody who owns the server can do: take the stream away and store another in its place."""
    await log.calls.api(f"STREAM.DELETE.{STREAM}")
    await reconcile(log, DECLARED)
    for line in lines:
        await log.append(SUBJECT, line)


def rewritten(lines: list[bytes], at: int, **change: object) -> bytes:
    """A record changed, its own hash made to fit."""
    return write(msgspec.structs.replace(read(lines[at]).record, **change))[0]


def altered(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b"drill 2", b"drill X") for line in lines]


def altered_and_hashed(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], rewritten(lines, 2, detail="nothing"), *lines[3:]]


def chained_to_another(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], rewritten(lines, 2, prev="f" * 64), *lines[3:]]


def deleted(lines: list[bytes]) -> list[bytes]:
    return lines[:2] + lines[3:]


def reordered(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[3], lines[2], *lines[4:]]


def slipped_in(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], rewritten(lines, 2, who="mallory"), *lines[2:]]


def no_record(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], b"hello", *lines[3:]]


def truncated(lines: list[bytes]) -> list[bytes]:
    return lines[:4]


def emptied(lines: list[bytes]) -> list[bytes]:
    return []


def beheaded(lines: list[bytes]) -> list[bytes]:
    return lines[2:]


def chained_anew(lines: list[bytes]) -> list[bytes]:
    """Everything from record 3 on written again so that the chain itself is whole."""
    made, prev = lines[:2], read(lines[1]).hash
    for line in lines[2:]:
        record = msgspec.structs.replace(read(line).record, prev=prev, detail="nothing")
        line, prev = write(record)
        made.append(line)
    return made


@pytest.mark.parametrize(
    ("tamper", "bad", "why"),
    [
        (altered, 3, "its hash is not that of what it says"),
        (altered_and_hashed, 3, "it is not the record that record 4 was chained to"),
        (chained_to_another, 3, "it does not follow record 2"),
        (deleted, 3, "record 3 missing: record 4 stands in its place"),
        (reordered, 3, "record 3 missing: record 4 stands in its place"),
        (slipped_in, 3, "it is not the record whose hash was kept on this machine"),
        (no_record, 3, "it is no audit record"),
        (truncated, 5, "it is missing, with all up to record 6"),
        (emptied, 1, "it is missing, with all up to record 6"),
        (beheaded, 1, "records 1 to 2 missing: record 3 stands in its place"),
        (chained_anew, 3, "it is not the record whose hash was kept on this machine"),
    ],
)
def test_tampering_with_the_stream_is_seen(tmp_path, tamper: Callable[[list[bytes]], list[bytes]], bad, why):
    async def body() -> Proof:
        async with log_on(tmp_path) as log:
            await noted(log, tmp_path)
            lines = await lines_of(log)
            assert verify(lines, Anchors(tmp_path).read()) == Proof(6, read(lines[-1]).hash, None)
            await stored_anew(log, tamper(lines))
            return verify(await lines_of(log), Anchors(tmp_path).read())

    found = asyncio.run(body()).bad
    assert found is not None
    assert found.n == bad
    assert why in found.why


def test_one_message_taken_out_of_the_stream_is_seen(tmp_path):
    async def body() -> Proof:
        async with log_on(tmp_path) as log:
            await noted(log, tmp_path)
            await log.calls.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": 4})
            return verify(await lines_of(log))

    found = asyncio.run(body()).bad
    assert found is not None
    assert (found.n, found.why) == (4, "record 4 missing: record 5 stands in its place")


def test_the_oldest_records_purged_are_seen(tmp_path):
    async def body() -> Proof:
        async with log_on(tmp_path) as log:
            await noted(log, tmp_path)
            await log.calls.api(f"STREAM.PURGE.{STREAM}", {"seq": 3})
            await noted(log, tmp_path, 1)
            return verify(await lines_of(log))

    found = asyncio.run(body()).bad
    assert found is not None
    assert (found.n, found.why) == (1, "records 1 to 2 missing: record 3 stands in its place")


# Without a server: the chain alone.


def chain(count: int, **change: object) -> list[bytes]:
    lines: list[bytes] = []

    async def body() -> None:
        log = MemoryServer(1, log=DECLARED).client("one")
        trail = AuditTrail(log, SystemClock(), "test")
        for n in range(count):
            trail.note("alice", "halt", f"desk:{n}", "done", f"drill {n}", **change)
        assert await trail.drained(5)
        lines.extend([entry.data async for batch in log.read(STREAM) for entry in batch])

    asyncio.run(body())
    return lines


def test_an_empty_chain_is_whole():
    assert verify([]) == Proof(0, START, None)


def test_a_chain_written_anew_from_some_record_on_is_named_by_its_anchor():
    lines = chain(6)
    anchors = {5: read(lines[4]).hash}
    found = verify(chained_anew(lines), anchors).bad
    assert found is not None
    assert found.n == 5


def test_of_two_that_do_not_fit_the_one_that_was_changed_is_named():
    lines = chain(6)
    anchors = {n: read(line).hash for n, line in enumerate(lines, 1)}
    changed = [*lines[:4], rewritten(lines, 4, detail="nothing"), lines[5]]
    assert verify(changed).bad == (5, "it is not the record that record 6 was chained to")
    changed = [*lines[:5], rewritten(lines, 5, prev="f" * 64)]
    bad = verify(changed, anchors).bad
    assert bad is not None
    assert (bad.n, bad.why) == (6, "it does not follow record 5")


def test_an_exported_copy_is_compared():
    lines = chain(6)
    assert verify(lines, others=[line + b"\n" for line in lines[:4]]).bad is None
    assert verify(lines, others=altered(lines)).bad == (3, "the exported copy says otherwise")
    assert verify(lines[:4], others=lines).bad == (5, "it is missing, and is in the exported copy")


def test_a_signature_in_a_record_is_judged():
    alice, mallory = Signer.new("alice"), Signer.new("alice")
    known = Identities([Identity(name="alice", person="Alice", role=Role.ADMIN, key=alice.public)])
    order = command.new("halt", "firm", "a drill", "alice", 1)
    good, forged = (command.sign(order, signer).encode() for signer in (alice, mallory))
    assert verify(chain(2, signed=good), identities=known).bad is None
    assert verify(chain(2, signed=forged), identities=known).bad == (1, "the signature in it is not alice's")
    assert verify(chain(2, signed=b"?"), identities=known).bad == (1, "what was signed cannot be read")


def test_a_refused_command_may_have_a_bad_signature():
    known = Identities([])
    lines = chain(1, signed=b"?")
    refused = rewritten(lines, 0, outcome="refused: MALFORMED")
    assert verify([refused], identities=known).bad is None

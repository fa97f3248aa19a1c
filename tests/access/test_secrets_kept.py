"""Nothing that signs or opens is in a log file, an event or the audit trail."""

from __future__ import annotations

import asyncio

from tidegate.access import command
from tidegate.access.audit import AuditTrail
from tidegate.access.audit_chain import STREAM
from tidegate.access.signer import Signer
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
from tidegate.ops.redact import Redactor, secrets_of


def test_a_private_key_is_blotted_out_wherever_it_stands(tmp_path):
    Signer.new("alice").save(tmp_path / "key")
    secret = (tmp_path / "key").read_text().strip()
    for line in (secret, f'{{"text":"cannot parse {secret!r}"}}', f"a {secret} b"):
        shown = Redactor().line(line.encode())
        assert secret.partition("_")[2].encode() not in shown
        assert b"[secret]" in shown


def test_the_environments_signing_key_and_log_password_are_secrets():
    found = secrets_of(
        {"TIDEGATE_SIGNING_KEY": "one-key", "TIDEGATE_LOG_PASSWORD": "two-words", "HOME": "/root"}
    )
    assert sorted(found) == ["one-key", "two-words"]


def test_neither_a_command_nor_its_audit_record_holds_the_key(tmp_path):
    signer = Signer.new("alice")
    signer.save(tmp_path / "key")
    secret = (tmp_path / "key").read_text().strip().partition("_")[2].encode()

    async def body() -> None:
        log = MemoryServer(1, log=declared(1)).client("one")
        trail = AuditTrail(log, SystemClock(), "one", tmp_path)
        signed = command.sign(command.new("halt", "firm", "a drill", "alice", 1), signer).encode()
        trail.note("alice", "halt", "firm", "done", "a drill", signed)
        assert await trail.drained(5)
        entries = [entry async for batch in log.read(STREAM) for entry in batch]
        assert secret not in signed
        assert all(secret not in entry.data for entry in entries)

    asyncio.run(body())

"""`tidegate identity` and `tidegate audit` as people type them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.access import reach
from tidegate.access.audit_chain import STREAM, SUBJECT, read
from tidegate.access.identity_file import path_of
from tidegate.log.embedded import Embedded
from tidegate.log.nats import connect, reconcile
from tidegate.log.opening import log_of
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock

ENV = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}


def tidegate(data: Path, *words: str, code: int = 0) -> str:
    """What the command prints; on stderr where it is to fail, and then in one line."""
    done = subprocess.run(
        [sys.executable, "-m", "tidegate.cli", *words, "--data", str(data)],
        capture_output=True, text=True, env={**ENV, "COLUMNS": "300"}, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    if code:
        assert done.stderr.startswith("tidegate: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr
    return done.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a log that does not run."""

    async def make() -> None:
        server = Embedded(tmp_path, "process")
        at = await server.start()
        log = await connect(at.url, name="test", declared=declared(1), user=at.user, password=at.password)
        await log.close()
        await server.stop()

    asyncio.run(make())
    return tmp_path


def test_an_identity_is_made_shown_and_revoked(data):
    said = tidegate(data, "identity", "new", "alice", "--role", "risk_officer", "--person", "Alice Ames")
    key = (data / "access" / "keys" / "alice.key").read_text().strip()
    assert "alice: risk_officer, Alice Ames" in said
    assert key.partition("_")[2] not in said
    shown = tidegate(data, "identity", "show", "alice")
    assert "role: risk_officer" in shown
    assert "state: valid" in shown
    assert key.partition("_")[2] not in shown
    tidegate(data, "identity", "new", "bob", "--role", "admin", "--expires", "90d")
    rows = json.loads(tidegate(data, "identity", "list", "--json"))
    assert [(row["name"], row["state"][:5]) for row in rows] == [("alice", "valid"), ("bob", "until")]
    assert "revoked" in tidegate(data, "identity", "revoke", "alice", "--reason", "left")
    assert "revoked 2" in tidegate(data, "identity", "list")
    table = tidegate(data, "audit", "show")
    assert "identity-revoke" in table
    assert "alice: left" in table


def test_a_role_may_be_limited_to_scopes_and_its_admin_makes_no_wider_one(data):
    reach.keep(data, {"desk:arb": (), "desk:mm": (), "account:a": ("desk:arb",)})
    said = tidegate(data, "identity", "new", "dora", "--role", "admin", "--scope", "desk:arb")
    assert said.startswith("dora: admin of desk:arb, dora; public key ")
    wrong = tidegate(data, "identity", "new", "x", "--role", "trader", "--scope", "desk:abr", code=2)
    assert "--scope: there is no 'desk:abr'; did you mean 'desk:arb'?" in wrong
    for words in ((), ("--scope", "desk:mm"), ("--as", "dora")):
        wrong = tidegate(data, "identity", "new", "x", "--role", "trader", *words, code=2)
        assert "dora acts on desk:arb only" in wrong
    assert not (data / "access" / "keys" / "x.key").exists()
    tidegate(
        data, "identity", "new", "tom", "--role", "trader", "--scope", "account:a", "--scope", "desk:arb"
    )
    rows = json.loads(tidegate(data, "identity", "list", "--json"))
    assert [(row["name"], row["scopes"]) for row in rows] == [
        ("dora", "desk:arb"),
        ("tom", "account:a, desk:arb"),
    ]
    assert "scopes: account:a, desk:arb" in tidegate(data, "identity", "show", "tom")
    record = json.loads(tidegate(data, "audit", "show", "--who", "dora", "--json"))
    assert (record["do"], record["outcome"]) == ("identity-add", "done")
    assert record["signed"], "with what dora signed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("identity", "new", "bob", "--role", "boss"), "--role: unknown role 'boss'"),
        (("identity", "new", "a b", "--role", "admin"), "use letters"),
        (("identity", "new", "alice", "--role", "admin"), "is there already"),
        (("identity", "new", "bob", "--role", "admin", "--expires", "soon"), "--expires 'soon'"),
        (("identity", "add", "bob", "--role", "admin", "--public", "x"), "key is not base64"),
        (("identity", "show", "alise"), "did you mean 'alice'"),
        (("identity", "revoke", "alise", "--reason", "x"), "did you mean 'alice'"),
        (("identity", "revoke", "alice", "--reason", " "), "--reason is empty"),
        (("audit", "verify", "--file", "missing"), "missing: cannot read"),
        (("audit", "show", "--since", "soon"), "--since 'soon'"),
    ],
)
def test_a_mistake_is_one_line(data, words, said):
    tidegate(data, "identity", "new", "alice", "--role", "admin")
    before = path_of(data).read_bytes()
    assert said in tidegate(data, *words, code=2)
    assert path_of(data).read_bytes() == before


def test_one_key_under_two_names_is_refused_on_the_command_line(data):
    said = tidegate(data, "identity", "new", "alice", "--role", "admin")
    key = said.splitlines()[0].rpartition(" ")[2]
    refused = tidegate(data, "identity", "add", "alias", "--role", "risk_officer", "--public", key, code=2)
    assert "has the key of 'alice'" in refused


def test_no_log_is_one_line(tmp_path):
    for words in (("audit", "verify"), ("audit", "show"), ("audit", "export", str(tmp_path / "x"))):
        assert "no log in" in tidegate(tmp_path, *words, code=2)


def test_what_was_done_with_the_log_away_is_on_the_trail(data):
    tidegate(data, "identity", "new", "alice", "--role", "admin")
    assert list((data / "run").glob("audit-*.jsonl"))
    tidegate(data, "identity", "new", "bob", "--role", "viewer")
    assert "2 records, whole; 2 of them anchored" in tidegate(data, "audit", "verify")
    assert not list((data / "run").glob("audit-*.jsonl"))


async def _tamper(data: Path) -> None:
    async with log_of(data, "test", SystemClock()) as log:
        lines = [entry.data async for batch in log.read(STREAM) for entry in batch]
        await log.calls.api(f"STREAM.DELETE.{STREAM}")
        await reconcile(log, declared(1))
        for line in lines:
            await log.append(SUBJECT, line.replace(b"viewer", b"trader"))


def test_a_trail_that_was_tampered_with_names_the_first_bad_record(data, tmp_path):
    for name, role in (("alice", "admin"), ("bob", "viewer"), ("carol", "admin")):
        tidegate(data, "identity", "new", name, "--role", role)
    copy = tmp_path / "copy.jsonl"
    assert "3 records" in tidegate(data, "audit", "export", str(copy))
    assert "is there already" in tidegate(data, "audit", "export", str(copy), code=2)
    assert "3 records, whole" in tidegate(data, "audit", "verify", "--file", str(copy))
    rows = [
        json.loads(line) for line in tidegate(data, "audit", "show", "--json", "--scope", "firm").splitlines()
    ]
    assert [row["n"] for row in rows] == [1, 2, 3]
    asyncio.run(_tamper(data))
    said = tidegate(data, "audit", "verify", code=1)
    assert said == "tidegate: audit trail: record 2: its hash is not that of what it says\n"


def test_a_revocation_reaches_the_running_system(data):
    tidegate(data, "identity", "new", "alice", "--role", "admin")
    tidegate(data, "identity", "new", "olive", "--role", "operator")

    async def body() -> None:
        server = Embedded(data, "process")
        at = await server.start()
        log = await connect(at.url, name="test", declared=declared(1), user=at.user, password=at.password)
        try:
            run = [sys.executable, "-m", "tidegate.cli", "identity", "revoke", "olive", "--reason", "left"]
            child = await asyncio.create_subprocess_exec(
                *run, "--as", "alice", "--data", str(data), env=ENV, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await child.communicate()
            assert said == b"olive is revoked in the data folder and by the log, everywhere\n"
            entry = await log.bucket("ACCESS").get("revoked.olive")
            assert entry is not None
            last = await log.last(STREAM)
            assert last is not None
            assert read(last.data).record.signed == entry.value
        finally:
            await log.close()
            await server.stop()

    asyncio.run(body())

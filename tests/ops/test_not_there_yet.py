"""What a process needs and is not there now: it is waited for, and who starts a system is told."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from ops.children import SLEEPS, good, plain, supervise, tidegate

from tidegate.errors import NotYet, UserError
from tidegate.log.embedded import Embedded
from tidegate.log.server_process import free_port
from tidegate.ops.topology import Process
from tidegate.store.importer import import_captures

ROOT = Path(__file__).parents[2]
LACKS = "import sys; print('tidegate: the log is away', file=sys.stderr); sys.exit(75)"
COMES = """
import os, sys
with open({path!r}, "a") as file:
    file.write("x")
if os.path.getsize({path!r}) < 5:
    sys.exit(75)
"""
"""Ends four times for what is not there, then goes on."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """The instruments of the demo."""
    path = tmp_path_factory.mktemp("lake") / "lake"
    import_captures([ROOT / "data" / "sample"], path)
    return path


def configured(tmp_path: Path, lake: Path, url: str) -> Path:
    """The demo on a log of its own."""
    text = (ROOT / "examples" / "demo.toml").read_text()
    for old, new in (
        ('"../lake"', f'"{lake}"'),
        ('"../data/', f'"{ROOT}/data/'),
        ('durability = "machine"', f'durability = "machine"\nurl = "{url}"'),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "system.toml"
    path.write_text(text)
    return path


def test_a_process_that_dies_while_the_log_is_away_comes_back_with_the_log(tmp_path, lake, monkeypatch):
    async def scenario():
        server = Embedded(tmp_path / "server", "process")
        at = await server.start()
        monkeypatch.setenv("TIDEGATE_LOG_USER", at.user)
        monkeypatch.setenv("TIDEGATE_LOG_PASSWORD", at.password)
        args = [
            "run",
            "recorder",
            configured(tmp_path, lake, at.url),
            "--data",
            tmp_path / "data",
            "--name",
            "rec",
        ]
        process = Process("rec", [sys.executable, "-m", "tidegate.cli", *map(str, args)])
        supervisor, told = supervise(tmp_path, [process])
        try:
            await supervisor.start()
            await told.until("rec", "healthy")
            assert server._server is not None
            os.kill(server.pid, signal.SIGKILL)
            await server._server.wait()
            os.kill(supervisor.child("rec").pid, signal.SIGKILL)
            again = await told.until("rec", "restarting", 2)
            await server._server.start()
            await told.until("rec", "healthy", 2)
            return again, told
        finally:
            await supervisor.stop()
            await server.stop()

    again, told = asyncio.run(scenario())
    assert again.text.startswith("exit code 75: log at 127.0.0.1:")
    assert "cannot be reached" in again.text
    assert again.level == "warning"
    assert not told.all("rec", "dead")


def test_what_is_not_there_is_waited_for_however_often_it_takes(tmp_path):
    async def scenario():
        waits = good(tmp_path, "waits", deaths=2, critical=False)
        script = tmp_path / "waits.py"
        script.write_text(COMES.format(path=str(tmp_path / "lives")) + script.read_text())
        supervisor, told = supervise(tmp_path, [waits])
        await supervisor.start()
        try:
            await told.until("waits", "healthy")
            return [event.text for event in told.all("waits", "restarting")], told.all("waits", "dead")
        finally:
            await supervisor.stop()

    texts, dead = asyncio.run(scenario())
    assert texts == [f"exit code 75; again in {wait} s" for wait in (0.1, 0.2, 0.4, 0.8)]
    assert not dead


def test_one_that_was_well_and_ends_with_that_code_dies_like_others(tmp_path):
    """Else a strategy could end itself for ever, and would never be given up."""

    async def scenario():
        supervisor, told = supervise(tmp_path, [plain("strategy-a", LACKS, deaths=2)])
        await supervisor.start()
        last = await told.until("strategy-a", "dead")
        await supervisor.stop()
        return last

    assert asyncio.run(scenario()).text == "exit code 75: the log is away; not started again"


@pytest.mark.parametrize("restart", [True, False])
def test_who_starts_a_system_that_lacks_something_is_told_at_once(tmp_path, restart):
    async def scenario():
        process = Process("oms-1", [sys.executable, "-c", LACKS], restart=restart)
        supervisor, _ = supervise(tmp_path, [good(tmp_path, "feed-1"), process])
        with pytest.raises(UserError, match=r"^oms-1: (the log is away$|exit code 75: the log is away; not)"):
            await supervisor.run()
        return supervisor

    supervisor = asyncio.run(scenario())
    assert {row["state"] for row in supervisor.rows()} <= {"stopped", "dead"}


def test_one_that_is_not_critical_holds_up_nobody_and_each_try_is_told(tmp_path):
    async def scenario():
        lacks = Process("recorder-1", [sys.executable, "-c", LACKS], critical=False)
        supervisor, told = supervise(tmp_path, [lacks, plain("oms-1", SLEEPS)])
        await supervisor.start()
        await told.until("up", "running")
        third = await told.until("recorder-1", "restarting", 3)
        await supervisor.stop()
        return third

    third = asyncio.run(scenario())
    assert (third.text, third.level) == ("exit code 75: the log is away; again in 0.4 s", "warning")


def test_a_person_is_told_in_one_line_what_is_kept_alive_says_that_it_may_pass(tmp_path, lake):
    url = f"nats://127.0.0.1:{free_port()}"

    async def scenario():
        config = configured(tmp_path, lake, url)
        run = tidegate("run", "recorder", config, "--data", tmp_path / "a", "--name", "rec")
        up = tidegate("up", config, "--plain", "--data", tmp_path / "b")
        return await asyncio.gather(run, up)

    run, up = asyncio.run(scenario())
    said = f"log at {url.removeprefix('nats://')} cannot be reached: "
    assert run[0] == NotYet.CODE
    assert [line for line in run[2].splitlines() if line.startswith("tidegate: ")][-1].startswith(
        f"tidegate: {said}"
    )
    assert up[0] == 2, up
    last = up[2].splitlines()[-1]
    assert last.startswith("tidegate: ")
    assert said in last

"""`tidegate ps`, `logs` and `cancel-all` as a user runs them, on small systems."""

import asyncio
import json
import re
import stat
import sys

import pytest
from ops.children import good, supervise

from tidegate.errors import UserError
from tidegate.ops.cancel_all import cancel_all, gateways
from tidegate.ops.control import serve
from tidegate.ops.folder import DataFolder


async def tidegate(*args):
    """Exit code, stdout, stderr of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tidegate.cli", *map(str, args), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.make()
    return folder


def test_ps_of_a_healthy_a_degraded_and_a_stopped_system(tmp_path):
    async def scenario():
        supervisor, _ = supervise(tmp_path, [good(tmp_path, "oms-1"), good(tmp_path, "feed-1")])
        data = supervisor.folder.path
        await supervisor.start()
        well = await tidegate("ps", "--data", data, "--json")
        await supervisor.child("feed-1").stop()
        await asyncio.sleep(0)  # the states are written after it
        ill = await tidegate("ps", "--data", data)
        await supervisor.stop()
        return well, ill, await tidegate("ps", "--data", data)

    well, ill, after = asyncio.run(scenario())
    assert well[0] == 0, well
    assert [(p["name"], p["state"]) for p in json.loads(well[1])["processes"]] == [
        ("oms-1", "healthy"),
        ("feed-1", "healthy"),
    ]
    assert ill[0] == 1
    assert re.search(r"feed-1 +● stopped", ill[1])
    assert after[0] == 1
    assert "no `tidegate up` runs on" in after[2]


def test_commands_without_a_system_are_one_line(tmp_path, folder):
    async def scenario():
        return [
            await tidegate("ps", "--data", tmp_path / "none"),
            await tidegate("cancel-all", "--data", folder.path),
            await tidegate("logs", "--data", folder.path),
            await tidegate("logs", "--data", folder.path, "--level", "warn"),
        ]

    answers = asyncio.run(scenario())
    assert [code for code, _, _ in answers] == [2, 2, 2, 2]
    assert all(out == "" and err.count("\n") == 1 and err.startswith("tidegate: ") for _, out, err in answers)
    assert "no gateway has a socket in" in answers[1][2]
    assert "unknown log level 'warn'; did you mean 'warning'" in answers[3][2]


def test_logs_are_merged_and_a_trace_is_one_ticks_way(folder):
    trace = 1_700_000_000_000_000_000
    for name, at in (("gw-1", 400_000), ("oms-1", 200_000)):
        hop = {
            "ts": trace + at,
            "level": "info",
            "name": name,
            "event": "hop",
            "hop": f"{name}.out",
            "trace": trace,
        }
        other = {"ts": trace + at + 1, "level": "error", "name": name, "event": "other", "text": "[bold]"}
        folder.log(name).write_text(json.dumps(hop) + "\n" + json.dumps(other) + "\n")

    async def scenario():
        return (
            await tidegate("logs", "--data", folder.path),
            await tidegate("logs", "--data", folder.path, "--trace", trace),
            await tidegate("logs", "--data", folder.path, "gw-1", "--level", "error", "-n", 1, "--json"),
            await tidegate("logs", "--data", folder.path, "--trace", 5),
        )

    every, way, one, none = asyncio.run(scenario())
    assert [row.split()[2] for row in every[1].splitlines()] == ["oms-1", "oms-1", "gw-1", "gw-1"]
    assert "[bold]" in every[1]
    assert [row.split()[:5] for row in way[1].splitlines()] == [
        ["+0.200", "ms", "info", "oms-1", "oms-1.out"],
        ["+0.400", "ms", "info", "gw-1", "gw-1.out"],
    ]
    assert json.loads(one[1])["event"] == "other"
    assert none[0] == 2
    assert "--trace 5: no line" in none[2]


def test_cancel_all_asks_every_gateway_at_once_and_one_that_is_dead_is_told(folder):
    asked = []

    def gateway(name, said):
        async def answer(request):
            asked.append((name, request))
            if len(asked) >= 2:
                both.set()
            await both.wait()  # nobody is answered before both were asked
            return said

        return serve(folder.run / f"gw.{name}.sock", answer)

    both = asyncio.Event()

    async def scenario():
        servers = [
            await gateway("BINANCE.making", {"ok": True, "cancelled": 3}),
            await gateway("BINANCE_USDM.making", {"ok": False, "error": "key rejected"}),
        ]
        dead = await serve(folder.run / "gw.BINANCE.other.sock", lambda request: asyncio.sleep(0))
        mode = (folder.run / "gw.BINANCE.other.sock").stat().st_mode
        dead.close()
        found = await tidegate("cancel-all", "--data", folder.path, "--reason", "drill")
        one = await tidegate("cancel-all", "--data", folder.path, "--venue", "BINANCE", "--account", "making")
        for server in servers:
            server.close()
        return found, one, mode

    found, one, mode = asyncio.run(scenario())
    assert found[0] == 1
    assert found[1].splitlines() == [
        "BINANCE.making  cancelled  cancelled=3",
        "BINANCE.other  not done: Connection refused",
        "BINANCE_USDM.making  key rejected",
    ]
    assert one == (0, "BINANCE.making  cancelled  cancelled=3\n", "")
    requests = [request for _, request in asked]
    assert {request["do"] for request in requests} == {"cancel_all"}
    assert [request["reason"] for request in requests[:2]] == ["drill", "drill"]
    assert all(request["instrument"] is None and request["by"] for request in requests)
    assert stat.S_IMODE(mode) == 0o600


def test_cancel_all_of_a_silent_gateway_comes_back(folder):
    async def scenario():
        never = asyncio.Event()

        async def silent(request):
            await never.wait()
            return {}

        server = await serve(folder.run / "gw.BINANCE.making.sock", silent)
        answers = await cancel_all(gateways(folder), "drill", timeout=0.05)
        server.close()
        never.set()
        return answers

    assert [answer.error for answer in asyncio.run(scenario())] == ["not done: no answer in 0.05 s"]


def test_a_wrong_venue_or_account_is_named(folder):
    for name in ("BINANCE.making", "BINANCE_USDM.basis"):
        (folder.run / f"gw.{name}.sock").touch()
    with pytest.raises(
        UserError, match="--venue BINANCE_USD: no gateway of that name; did you mean 'BINANCE_USDM'"
    ):
        gateways(folder, "BINANCE_USD")
    with pytest.raises(UserError, match=r"account basis has no gateway at BINANCE$"):
        gateways(folder, "BINANCE", "basis")
    assert [g.account for g in gateways(folder, account="basis")] == ["basis"]

"""The users of a system's processes: each gets its own, and no keys of others."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

import pytest

from tidegate.access.signer import ENVIRONMENT
from tidegate.cli import grants, live
from tidegate.log.grants import Grant
from tidegate.log.nats import connect
from tidegate.log.nats_calls import Forbidden
from tidegate.log.opening import PASSWORD, USER
from tidegate.log.server_process import ServerProcess, free_port, write_private
from tidegate.log.streams import declared
from tidegate.ops.folder import DataFolder
from tidegate.ops.log_server import LogServer
from tidegate.ops.spawn import spawn
from tidegate.world import World

DEMO = Path(__file__).parents[2] / "examples" / "demo.toml"
KEYS = 'keys = { BINANCE = "env:MAKING" }'


def system(folder: Path, *, lanes: int = 1, edit: tuple[str, str] = ("", "")) -> World:
    text = (
        DEMO.read_text().replace("../", f"{DEMO.parents[1]}/").replace(*edit) if edit[0] else DEMO.read_text()
    )
    path = folder / "demo.toml"
    path.write_text(text.replace("[log]", f"[log]\nlanes = {lanes}"))
    return World.load(path)


def processes(world: World, data: Path) -> dict:
    server = LogServer(data, "process")
    topology = live.topology_of(world.config, world.path, data, server)
    return {process.name: process for process in topology.processes}


def test_each_process_is_given_its_own_user(tmp_path):
    found = processes(system(tmp_path), tmp_path)
    users = {name: process.env.get(USER) for name, process in found.items() if name not in ("log", "venue-1")}
    assert users == {name: name for name in users}
    passwords = [process.env[PASSWORD] for name, process in found.items() if name in users]
    assert len(set(passwords)) == len(passwords)
    assert USER not in found["venue-1"].env


def test_no_process_is_given_keys_that_are_not_its(tmp_path, monkeypatch):
    world = system(tmp_path, edit=("[accounts.making]", f"[accounts.making]\n{KEYS}"))
    for name in (ENVIRONMENT, "MAKING_KEY", "MAKING_SECRET", "OTHER_API_KEY", "TIDEGATE_OMS_1_PASSWORD"):
        monkeypatch.setenv(name, "a secret")
    monkeypatch.setenv("HARMLESS", "word")
    found = processes(world, tmp_path)
    passwords = {process.env[PASSWORD] for process in found.values() if PASSWORD in process.env}
    folder = DataFolder(tmp_path)
    folder.make()
    shows = [sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))"]
    for name, process in found.items():
        assert not any(word in text for text in process.argv for word in ("a secret", *passwords)), (
            "ps shows these"
        )
        if name == "log":
            continue
        child, begin = spawn(dataclasses.replace(process, argv=shows, cell=None), folder, {})
        assert child.wait() == 0
        given = json.loads(folder.out(name).read_text()[begin:])
        held = {variable for variable, value in given.items() if value == "a secret"}
        if name == "gateway-1":
            assert held == {"MAKING_KEY", "MAKING_SECRET", "OTHER_API_KEY", "TIDEGATE_OMS_1_PASSWORD"}
        elif name.startswith("strategy"):
            assert held == set()
        else:
            assert held == {"OTHER_API_KEY", "TIDEGATE_OMS_1_PASSWORD"}
        assert given["HARMLESS"] == "word"
        assert passwords & set(given.values()) == ({given[PASSWORD]} if name != "venue-1" else set())


def test_strategies_command_under_their_own_numbers(tmp_path):
    world = system(tmp_path, lanes=2)
    traders = grants.traders_of(world)
    assert [(t.name, t.numbers, t.lane) for t in traders.values()] == [
        ("maker", (0,), 0), ("basis", (1,), 1), ("trend", (2,), 0),
    ]  # fmt: skip
    grant = grants.grant_of(["strategy:basis"], world)
    assert "lane.1.cmd.1" in grant.publish
    assert not any(subject.startswith(("lane.0.", "gw.")) for subject in grant.publish)


def test_roles_of_one_process_have_the_rights_of_all(tmp_path):
    world = system(tmp_path)
    both = grants.grant_of(["feed", "strategy:maker"], world)
    for one in ("feed", "strategy:maker"):
        grant = grants.grant_of([one], world)
        assert set(grant.publish) <= set(both.publish)
        assert set(grant.subscribe) <= set(both.subscribe)
    assert grants.grant_of(["venue"], world) == Grant()


@pytest.mark.parametrize(
    ("lanes", "desk", "shared"), [(1, "crypto", {}), (1, "other", {0: ["other", "crypto"]}), (2, "other", {})]
)
def test_desks_that_share_a_lane_are_named(tmp_path, lanes, desk, shared):
    world = system(
        tmp_path,
        lanes=lanes,
        edit=('[accounts.making]\ndesk = "crypto"', f'[accounts.making]\ndesk = "{desk}"'),
    )
    assert grants.shared_lanes(world) == shared


def test_a_server_of_ones_own_takes_the_printed_users(tmp_path, monkeypatch):
    """What `access nats-config` prints, in a real server's configuration, its passwords from its environment."""
    world = system(tmp_path)
    roles = [("oms",), ("strategy:maker",)]
    text = grants.server_config(world, ["oms-1", "strategy-maker"], roles)
    assert "PASSWORD" in text
    for name in ("ADMIN", "OMS_1", "STRATEGY_MAKER"):
        monkeypatch.setenv(f"TIDEGATE_{name}_PASSWORD", f"word-of-{name}")
    port = free_port()
    store = f'jetstream {{ store_dir: "{tmp_path}/store", max_file_store: 1000TB }}\n'
    head = f'listen: "127.0.0.1:{port}"\nserver_name: mine\n{store}'
    write_private(tmp_path / "server.conf", head + text)

    async def body() -> None:
        server = ServerProcess(tmp_path / "server.conf", tmp_path / "server.log", "mine", port)
        await server.start()
        url, what = f"nats://127.0.0.1:{port}", declared(1, "process")
        admin = await connect(url, name="a", declared=what, user="admin", password="word-of-ADMIN")
        maker = await connect(
            url,
            name="s",
            declared=what,
            user="strategy-maker",
            password="word-of-STRATEGY_MAKER",
            setup=False,
        )
        try:
            assert await maker.append("lane.0.cmd.0", b"order") == 1
            with pytest.raises(Forbidden):
                await maker.append("lane.0.cmd", b"order")
            # A client of few rights that would set streams up finds that it may not, and goes on.
            again = await connect(
                url, name="s2", declared=what, user="strategy-maker", password="word-of-STRATEGY_MAKER"
            )
            await again.close()
        finally:
            await maker.close()
            await admin.close()
            await server.stop()

    asyncio.run(body())

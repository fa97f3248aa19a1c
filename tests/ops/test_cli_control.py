"""`tidegate halt`, `cancel-all`, `resume`, `halts` where little or nothing of a system runs."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest
from ops.children import tidegate

from tidegate.access import local
from tidegate.access.command import Signed
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.signer import keys_folder
from tidegate.ops.control import serve
from tidegate.ops.gateways import ask_all, gateways


@pytest.fixture
def people(folder):
    """Two who may sign."""
    for name, role in (("ann", Role.ADMIN), ("bob", Role.RISK_OFFICER)):
        key = keys_folder(folder.path) / f"{name}.key"
        local.add(folder.path, AccessSection(), name, role, name, key)
    return folder


def test_what_cannot_be_asked_is_one_line_and_nothing_is_done(tmp_path, folder):
    async def scenario():
        data = ("--data", folder.path)
        return [
            await tidegate("cancel-all", "--data", tmp_path / "none"),
            await tidegate("cancel-all", *data),
            await tidegate("halt", "stratgy:left", "--reason", "x", *data),
            await tidegate("halt", "firm", "--reason", "x", "--state", "dead", *data),
            await tidegate("resume", "firm", *data),
            await tidegate("flatten", "firm", "--reason", "x", "--collar", "200%", *data),
        ]

    answers = asyncio.run(scenario())
    assert [code for code, _, _ in answers] == [2] * 6
    assert all(out == "" and err.count("\n") == 1 and err.startswith("tidegate: ") for _, out, err in answers)
    said = [err for _, _, err in answers]
    assert "no data folder" in said[0]
    assert "nobody to sign" in said[1]
    assert "did you mean 'strategy'" in said[2]
    assert "--state: 'dead' is none of" in said[3]
    assert "--reason is missing" in said[4]
    assert "collar: '200%' is no part" in said[5]


def test_with_neither_log_nor_gateways_nothing_is_halted_and_that_is_said(people):
    async def scenario():
        args = ("--as", "ann", "--data", people.path)
        halted = await tidegate("halt", "firm", "--reason", "drill", *args)
        cancelled = await tidegate("cancel-all", *args)
        shown = await tidegate("halts", "--data", people.path)
        return halted, cancelled, shown

    halted, cancelled, shown = asyncio.run(scenario())
    assert halted[0] == 2
    assert "nothing is halted" in halted[2]
    assert "no log's server runs" in halted[1]
    assert cancelled[0] == 2
    assert "no gateway has a socket in" in cancelled[2]
    assert shown[0] == 1
    assert "no order manager answers" in shown[2]


def test_every_gateway_is_told_at_once_with_the_log_dead_and_one_that_is_dead_is_named(people):
    asked = []

    def gateway(name, said):
        async def answer(request):
            asked.append(request)
            if len(asked) % 2 == 0:
                both.set()
            await both.wait()  # nobody is answered before both were asked
            return said

        return serve(people.run / f"gw.{name}.sock", answer)

    both = asyncio.Event()

    async def scenario():
        servers = [
            await gateway(
                "BINANCE.making", {"ok": True, "state": "KILLED", "orders": {"1": "filled", "2": "canceled"}}
            ),
            await gateway(
                "BINANCE_USDM.making", {"ok": False, "error": "ROLE_TOO_LOW: halt needs the role operator"}
            ),
        ]
        dead = await serve(people.run / "gw.BINANCE.other.sock", lambda request: asyncio.sleep(0))
        mode = (people.run / "gw.BINANCE.other.sock").stat().st_mode
        dead.close()
        found = await tidegate("halt", "firm", "--reason", "drill", "--as", "ann", "--data", people.path)
        for server in servers:
            server.close()
        return found, mode

    found, mode = asyncio.run(scenario())
    assert found[0] == 1
    assert found[1].splitlines()[1:] == [
        "BINANCE.making  KILLED  2 orders: 1 canceled, 1 filled",
        "BINANCE.other  not reached: Connection refused",
        "BINANCE_USDM.making  ROLE_TOO_LOW: halt needs the role operator",
    ]
    assert "the gateways append it" in found[1]
    commands = [Signed.decode(json.dumps(request["signed"])).command for request in asked]
    assert {(c.do, c.scope, c.by, c.reason) for c in commands} == {("halt", "firm", "ann", "drill")}
    assert len({c.id for c in commands}) == 1
    assert stat.S_IMODE(mode) == 0o600


def test_a_silent_gateway_holds_nobody_up(folder):
    async def scenario():
        never = asyncio.Event()

        async def silent(request):
            await never.wait()
            return {}

        server = await serve(folder.run / "gw.BINANCE.making.sock", silent)
        answers = await ask_all(gateways(folder), {"do": "state"}, timeout=0.05)
        server.close()
        never.set()
        return answers

    assert [answer.error for answer in asyncio.run(scenario())] == ["not reached: no answer in 0.05 s"]

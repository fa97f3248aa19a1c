"""`tidegate halt`, `cancel-all`, `resume`, `halts` where little or nothing of a system runs."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest
from execution.lane_world import universe
from ops.children import tidegate
from venue.gateway_world import SCOPES, lane_kind

from tidegate.access import local
from tidegate.access.command import Signed
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.keyring import Keyring
from tidegate.access.signer import keys_folder
from tidegate.execution.service import OmsService
from tidegate.log.embedded import Embedded
from tidegate.log.nats import connect
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
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
                "BINANCE.making",
                {
                    "ok": True,
                    "state": "KILLED",
                    "empty": True,
                    "orders": {"1": "filled", "2": "canceled"},
                },
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


def test_what_a_gateway_does_not_say_of_its_orders_is_not_known(people):
    async def scenario():
        said = {
            "BINANCE.a": {"state": "KILLED"},
            "BINANCE.b": {"state": "KILLED", "empty": True, "orders": {}},
            "BINANCE.c": {"state": "CANCEL_ONLY", "empty": False, "orders": {"1": "open"}, "failed": "ScaleError(x)"},
            "BINANCE.d": {"state": "REDUCE_ONLY"},
            "BINANCE.e": {"concerned": False, "state": "KILLED"},
        }  # fmt: skip

        async def told(only):
            servers = []
            for name in only:

                async def answer(request, name=name):
                    return {"ok": True, **said[name]}

                servers.append(await serve(people.run / f"gw.{name}.sock", answer))
            found = await tidegate("halt", "firm", "--reason", "drill", "--as", "ann", "--data", people.path)
            for name, server in zip(only, servers, strict=True):
                server.close()
                (people.run / f"gw.{name}.sock").unlink()
            return found

        return await told(said), [(await told([name]))[0] for name in said]

    found, codes = asyncio.run(scenario())
    assert found[0] == 1
    assert found[1].splitlines()[1:] == [
        "BINANCE.a  KILLED  what became of its open orders is not known",
        "BINANCE.b  KILLED  no orders",
        "BINANCE.c  CANCEL_ONLY  1 orders: 1 open; the venue still shows some open (ScaleError(x))",
        "BINANCE.d  REDUCE_ONLY",
        "BINANCE.e  not concerned",
    ]
    assert codes == [1, 0, 1, 0, 0]


def test_with_no_gateway_here_the_order_managers_say_whether_a_halt_is_followed(people):
    async def scenario():
        local.add(
            people.path, AccessSection(), "eve", Role.VIEWER, "eve", keys_folder(people.path) / "eve.key"
        )
        server = Embedded(people.path, "process")
        running = await server.start()
        log = await connect(
            running.url, name="oms", declared=declared(1, "process"), user=running.user, password=running.password
        )  # fmt: skip
        ring = await Keyring.open(log, people.path, AccessSection())
        oms = OmsService(
            "oms", [0], lane_kind(), universe(), ["other", "main"], log, SystemClock(), scopes=SCOPES,
            check=ring.verify, note=lambda *_: None,
        )  # fmt: skip

        async def halted(scope, by="ann"):
            return await tidegate("halt", scope, "--reason", "drill", "--as", by, "--data", people.path)

        nobody = await halted("firm")
        await oms.start()
        async with asyncio.timeout(20):
            while 0 not in oms.writers:
                await asyncio.sleep(0.01)
        found = [await halted("account:typo"), await halted("firm", "eve"), await halted("account:main")]
        await oms.stop()
        await log.close()
        await server.stop()
        return nobody, *found

    nobody, typo, viewer, well = asyncio.run(scenario())
    assert nobody[0] == 1
    assert "log  halt epoch 1\n" in nobody[1]
    assert "no order manager answers: whether it is followed is not known" in nobody[1]
    assert (typo[0], viewer[0]) == (2, 2)
    assert "nothing is done: halt event 2 is ignored: there is no account:typo here" in typo[2]
    assert "nothing is done: halt event 3 is ignored: ROLE_TOO_LOW" in viewer[2]
    assert (well[0], well[2]) == (0, "")
    assert well[1].splitlines() == [
        "log  halt epoch 4",
        "no gateway has a socket here; the order managers follow it",
    ]


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

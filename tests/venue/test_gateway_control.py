"""Orders to the gateway itself, over its socket and over the log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat

import msgspec
import pytest
from gateway_world import SCOPE, Desk

from tidegate.model.messages import ReplaceOrder, SendCancel, SendReplace
from tidegate.model.order import OrdStatus
from tidegate.risk.reasons import Reason
from tidegate.sim.virtual_time import run
from tidegate.venue.gateway import GatewaySettings
from tidegate.venue.gateway.control import DisabledFile, answer, listen

BY = {"by": "ann", "reason": "drill"}


async def ask(desk, **order):
    """Over the log."""
    return json.loads(await desk.user.request("ctl.gw.X.main", json.dumps(order).encode(), 60.0))


async def talk(path, *lines):
    """Over a socket: each line's answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    said = []
    for line in lines:
        writer.write(line + b"\n")
        said.append(json.loads(await reader.readline()))
    writer.close()
    await writer.wait_closed()
    return said


def test_cancel_all_of_one_instrument_and_of_all():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            first, second = await desk.rest(), await desk.rest(instrument=1)
            said = await ask(desk, do="cancel_all", instrument="C1.X", **BY)
            assert said["orders"] == {str(second): "canceled"}
            assert desk.exchange.open() == [first]
            said = await ask(desk, do="cancel_all", **BY)
            assert said["ok"]
            assert said["empty"]
            assert not desk.exchange.open()
            await desk.status(first, OrdStatus.CANCELED)
            await desk.rest()
            desk.agree()
            assert [a["figures"]["by"] for a in desk.alerts("control")] == ["ann", "ann"]

    run(main())


def test_cancel_all_goes_on_until_the_venue_shows_nothing_and_names_each_order():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            filled, canceled = await desk.rest(), await desk.rest()
            desk.venue.mass = False
            desk.venue.latency = 0.3
            sent = await desk.place()  # on its way: neither open nor answered
            asking = asyncio.create_task(ask(desk, do="cancel_all", **BY))
            await asyncio.sleep(0.1)
            assert "cancel_all" in desk.gateway.session.holds
            desk.exchange.fill(filled, 10)
            said = await asking
            assert said["empty"]
            assert said["orders"][str(filled)] == "filled"
            assert said["orders"][str(canceled)] == "canceled"
            assert said["orders"][str(sent)] == "canceled"
            assert said["rounds"] > 1
            assert not desk.exchange.open()
            assert not desk.gateway.session.holds

    run(main())


def test_a_cancel_all_that_does_not_succeed_says_so():
    async def main():
        async with Desk(GatewaySettings(scope=SCOPE, countdown=0.0)) as desk:
            await desk.start_gateway()
            key = await desk.rest()
            desk.exchange.foreign()
            desk.exchange.silent = True
            said = await ask(desk, do="cancel_all", **BY)
            assert not said["empty"]
            desk.exchange.silent = False
            desk.venue.mass = False
            honest, desk.venue.send = desk.venue.send, lambda request: None
            said = await ask(desk, do="cancel_all", **BY)
            assert said["orders"] == {str(key): "open"}
            assert said["foreign_left"] == 1
            assert said["seconds"] >= 10
            desk.venue.send = honest

    run(main())


def test_disable_holds_new_orders_and_replaces_over_a_restart():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            key = await desk.rest()
            assert (await ask(desk, do="disable", **BY))["already"] is False
            assert (await ask(desk, do="disable", by="bob", reason="too"))["already"] is True
            assert len(desk.alerts("control")) == 1, "twice is once"
            await desk.command(ReplaceOrder(desk.clock.now(), desk.lane.order(key).cmd_id, price=101))
            await asyncio.sleep(3)
            await desk.kill_gateway()
            gw = desk.gateway = desk.make_gateway()
            await gw.start()
            await desk.until(lambda: set(gw.session.holds) == {"disabled"})
            refused = await desk.place()
            await desk.status(refused, OrdStatus.REJECTED)
            assert desk.lane.order(refused).reason == Reason.GATEWAY_HELD
            assert not desk.exchange.requests(SendReplace)
            assert "ann" in gw.health()["why"]
            await desk.cancel(key)
            await desk.status(key, OrdStatus.CANCELED)
            assert desk.exchange.requests(SendCancel)

    run(main())


def test_enabling_takes_two_people_and_a_clean_reconciliation():
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            await ask(desk, do="disable", **BY)
            for second in ("", "ann"):
                said = await ask(desk, do="enable", approved_by=second, **BY)
                assert not said["ok"]
                assert "second person" in said["error"]
            desk.exchange.deaf = True
            gw.reconciler.want("test")
            await asyncio.sleep(1)
            said = await ask(desk, do="enable", approved_by="bob", **BY)
            assert "clean reconciliation" in said["error"]
            desk.exchange.deaf = False
            await desk.reconcile()
            assert (await ask(desk, do="enable", approved_by="bob", **BY))["ok"]
            await desk.until(lambda: not gw.session.holds)
            await desk.rest()

    run(main())


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"no json", "JSON"),
        (b'{"do": "buy"}', "'buy' is none of cancel_all, disable, enable, state"),
        (b'{"do": "cancel_all"}', "needs by and reason"),
        (b'{"do": "cancel_all", "by": "a", "reason": "b", "instrument": "C9.X"}', "'C9.X' is not known"),
        (b'{"do": "cancel_all", "by": "a", "reason": "b", "instrument": 9}', "9 is not known"),
        (b'{"do": "state", "colour": "red"}', "colour"),
    ],
)
def test_what_cannot_be_done_is_said(line, error):
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            said = json.loads(await answer(line, gw.operator._doers))
            assert said["ok"] is False
            assert error in said["error"]

    run(main())


def test_the_socket_needs_no_log(tmp_path):
    """On a real loop, for sockets are real."""

    async def main():
        deep = tmp_path / ("d" * 60) / ("e" * 60) / "run"
        path = deep / "gw.X.main.sock"
        settings = GatewaySettings(scope=SCOPE, socket=path, on_log_away="keep")
        async with Desk(settings) as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            short = tmp_path / "s"
            short.symlink_to(path)
            desk.server.partition("gw-1")
            order = json.dumps({"do": "cancel_all", "instrument": None, **BY}).encode()
            state, done, held, wrong = await talk(
                str(short), b'{"do":"state"}', order, json.dumps({"do": "disable", **BY}).encode(), b"[]"
            )
            assert state["health"]["gateways"]["X.main"]["state"] == "acting"
            assert done["orders"] == {str(key): "canceled"}
            assert done["empty"]
            assert held["disabled"]
            assert wrong["ok"] is False
            assert not desk.exchange.open()
            disabled = deep / "gw.X.main.disabled"
            assert stat.S_IMODE(disabled.stat().st_mode) == 0o600
            assert msgspec.json.decode(disabled.read_bytes())["by"] == "ann"
            desk.server.heal("gw-1")
            await desk.until(lambda: len(desk.alerts("control")) == 2)
            await gw.stop()
            assert not path.exists()
            assert disabled.exists()

    asyncio.run(main())


def test_a_line_without_end_closes_only_its_connection(tmp_path):
    async def main():
        async def state(order):
            return {"fine": True}

        path = tmp_path / "s.sock"
        path.write_text("left behind")
        server = await listen(path, {"state": state})
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"x" * (1 << 18))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        (said,) = await talk(str(path), b'{"do":"state"}')
        assert said == {"ok": True, "do": "state", "fine": True}
        server.close()

    asyncio.run(main())


def test_a_file_that_cannot_be_read_counts_as_disabled(tmp_path):
    file = DisabledFile(tmp_path / "x.disabled")
    assert file.read() == {}
    file.write({"by": "ann", "reason": "drill"})
    assert file.read() == {"by": "ann", "reason": "drill"}
    (tmp_path / "x.disabled").write_bytes(b"\x00")
    assert "cannot be read" in file.read()["reason"]
    file.write({})
    assert file.read() == {}

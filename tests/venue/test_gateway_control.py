"""Orders to the gateway itself, over its socket and over the log: signed, verified, noted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat

import pytest
from gateway_world import Desk, order

from tidegate.model.order import OrdStatus
from tidegate.sim.virtual_time import run
from tidegate.venue.gateway import GatewaySettings
from tidegate.venue.gateway.control import answer, listen


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


def test_cancel_all_of_one_instrument_of_one_strategy_and_of_all():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            first, second = await desk.rest(), await desk.rest(instrument=1)
            other = await desk.rest(strategy=1)
            said = await desk.ask("cancel-all", "instrument:C1.X")
            assert said["orders"] == {str(second): "canceled"}
            said = await desk.ask("cancel-all", "strategy:right")
            assert said["orders"] == {str(other): "canceled"}
            assert desk.exchange.open() == [first]
            said = await desk.ask("cancel-all", "venue:X")
            assert said["ok"]
            assert said["empty"]
            assert not desk.exchange.open()
            await desk.status(first, OrdStatus.CANCELED)
            await desk.rest()
            desk.agree()
            assert [a["figures"]["by"] for a in desk.alerts("control")] == ["oz"] * 3
            await desk.trail.drained()
            assert [(who, do, outcome) for who, do, _, outcome in desk.audit()] == [
                ("oz", "cancel-all", "done")
            ] * 3

    run(main())


def test_a_scope_that_is_not_here_is_none_of_ours():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            await desk.rest()
            assert (await desk.ask("cancel-all", "account:other"))["concerned"] is False
            said = await desk.ask("halt", "account:other")
            assert (said["concerned"], said["state"]) == (False, "KILLED")
            await desk.rest()
            assert len(desk.exchange.open()) == 2

    run(main())


def test_cancel_all_goes_on_until_the_venue_shows_nothing_and_names_each_order():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            resting, filled = await desk.rest(), await desk.rest()
            desk.venue.mass = False
            sent = await desk.place()
            await desk.until(lambda: sent in desk.gateway.session.inflight)
            asking = asyncio.create_task(desk.ask("cancel-all", "firm"))
            await desk.until(lambda: desk.gateway.session.sweeps)
            desk.exchange.fill(filled, 10)
            said = await asking
            assert said["empty"]
            assert said["orders"][str(resting)] == "canceled"
            assert said["orders"][str(filled)] in ("filled", "canceled")
            assert said["orders"][str(sent)] == "canceled"
            assert said["rounds"] > 1
            assert not desk.exchange.open()
            assert not desk.gateway.session.why()

    run(main())


def test_a_cancel_all_that_does_not_succeed_says_so():
    async def main():
        async with Desk(GatewaySettings(countdown=0.0)) as desk:
            await desk.start_gateway()
            key = await desk.rest()
            desk.exchange.foreign()
            desk.exchange.silent = True
            said = await desk.ask("cancel-all", "firm")
            assert not said["empty"]
            desk.exchange.silent = False
            desk.venue.mass = False
            honest, desk.venue.send = desk.venue.send, lambda request: None
            said = await desk.ask("cancel-all", "firm")
            assert said["orders"] == {str(key): "open"}
            assert said["foreign_left"] == 1
            assert said["seconds"] >= 10
            desk.venue.send = honest

    run(main())


def test_of_a_strategy_orders_that_another_process_sent_are_told_apart_by_the_lane():
    async def main():
        async with Desk() as desk:
            await desk.start_gateway()
            left, right = await desk.rest(), await desk.rest(strategy=1)
            await desk.kill_gateway()
            await desk.start_gateway()
            said = await desk.ask("cancel-all", "strategy:right")
            assert said["orders"] == {str(right): "canceled"}
            assert desk.exchange.open() == [left]
            desk.server.partition("oms")
            said = await desk.ask("cancel-all", "strategy:right")
            assert said["orders"] == {str(left): "canceled"}, "what nobody can put a name to is cancelled"
            desk.server.heal("oms")
            await desk.status(left, OrdStatus.CANCELED)

    run(main())


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"no json", "JSON"),
        (b'{"do": "buy"}', "'buy' is none of command, holdings, state"),
        (b'{"do": "command"}', "MALFORMED"),
        (b'{"do": "state", "colour": "red"}', "colour"),
        (lambda now: order("cancel-all", "instrument:C9.X", "oz", now), "unknown instrument 'C9.X'"),
        (lambda now: order("halt", "firm", "oz", now, state="ACTIVE"), "REDUCE_ONLY, CANCEL_ONLY, KILLED"),
        (
            lambda now: order("halt", "firm", "vic", now),
            "ROLE_TOO_LOW: halt needs the role operator; vic is viewer",
        ),
        (lambda now: order("halt", "firm", "gone", now), "IDENTITY_REVOKED"),
        (lambda now: order("halt", "firm", "oz", now - 61 * 10**9), "COMMAND_EXPIRED"),
        (
            lambda now: order("resume", "firm", "ann", now, "bob", epoch="0"),
            "does not go by a gateway's socket",
        ),
        (lambda now: order("halt", "firm", "oz", now).replace(b'"sig": "', b'"sig": "AAAA'), "BAD_SIGNATURE"),
    ],
)
def test_what_cannot_be_done_is_said_and_noted(line, error):
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            asked = line if isinstance(line, bytes) else line(desk.clock.now())
            said = json.loads(await answer(asked, gw.operator.doers))
            assert said["ok"] is False
            assert error in said["error"]
            assert not gw.halts.shown()
            await desk.rest()
            if b"command" in asked and b"buy" not in asked:
                await desk.trail.drained()
                (noted,) = desk.audit()
                assert noted[3].startswith("refused: ")

    run(main())


def test_a_replayed_command_is_refused():
    async def main():
        async with Desk() as desk:
            gw = await desk.start_gateway()
            line = order("cancel-all", "firm", "oz", desk.clock.now())
            assert json.loads(await answer(line, gw.operator.doers))["ok"]
            await desk.rest()
            assert "REPLAYED" in json.loads(await answer(line, gw.operator.doers))["error"]
            assert desk.exchange.open()

    run(main())


def test_the_socket_needs_no_log(tmp_path):
    """On a real loop, for sockets are real."""

    async def main():
        deep = tmp_path / ("d" * 60) / ("e" * 60) / "run"
        path = deep / "gw.X.main.sock"
        settings = GatewaySettings(socket=path, on_log_away="keep")
        async with Desk(settings) as desk:
            gw = await desk.start_gateway()
            key = await desk.rest()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            short = tmp_path / "s"
            short.symlink_to(path)
            desk.server.partition("gw-1")
            now = desk.clock.now()
            state, done, held, wrong = await talk(
                str(short), b'{"do":"state"}', order("cancel-all", "firm", "oz", now), order("halt", "firm", "oz", now),
                b"[]",
            )  # fmt: skip
            assert state["health"]["gateways"]["X.main"]["state"] == "acting"
            assert done["orders"] == {str(key): "canceled"}
            assert done["empty"]
            assert held["state"] == "KILLED"
            assert wrong["ok"] is False
            assert not desk.exchange.open()
            kept = deep / "gw.X.main.halts"
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
            desk.server.heal("gw-1")
            await desk.until(lambda: desk.entries("HALT"))
            await gw.stop()
            assert not path.exists()
            assert kept.exists()

    asyncio.run(main())


def test_a_gateway_that_was_replaced_leaves_its_successors_socket_alone(tmp_path):
    async def main():
        path = tmp_path / "gw.X.main.sock"
        async with Desk(GatewaySettings(socket=path, on_log_away="keep", countdown=0.0)) as desk:
            first = await desk.start_gateway("one")
            second = desk.make_gateway("two")
            await second.start()
            desk.server.partition("gw-1")  # it hangs
            await desk.until(lambda: second.operator._server is not None, 20)
            desk.server.heal("gw-1")
            await desk.until(lambda: first.operator._server is None, 20)
            assert second.operator._server is not None
            (said,) = await talk(str(path), b'{"do":"state"}')
            assert said["health"]["gateways"]["X.main"]["state"] == "acting"
            await second.stop()
            assert not path.exists()

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

"""What a live system says to mistakes and broken input, one line or one alert each, and that it goes on.

Others are shown where their part is tested: the log's port taken, its folder not writable or full (`log/test_embedded`),
a second `up` (`ops/test_supervisor`), a slow consumer (`log/test_nats`), malformed frames
(`venue/binance/test_binance_feed`), keys and rate limits (`venue/binance/test_binance_faults`).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from live.parity_world import live
from live.test_parity import MODEL, market
from venue.gateway_world import Desk

from tidegate.config_live import ROLES
from tidegate.errors import UserError
from tidegate.execution.lane_log import DeadLetter
from tidegate.log.embedded import Embedded
from tidegate.log.nats import connect
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
from tidegate.model.messages import Tick
from tidegate.model.wire import VERSION, pack
from tidegate.ops.log_server import LogServer
from tidegate.roles.place import waited
from tidegate.roles.run import _watch_clock
from tidegate.sim.virtual_time import run
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Quote

DEMO = Path(__file__).parents[2] / "examples" / "demo.toml"


def tidegate(*args: object) -> tuple[int, str]:
    """Exit code and stderr of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "tidegate.cli", *map(str, args)], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


def test_an_unknown_role_names_the_nearest(tmp_path):
    code, said = tidegate("run", "oms,gatway", DEMO, "--data", tmp_path / "data")
    assert code == 2
    assert said.splitlines() == [
        f"tidegate: run: unknown role 'gatway'; did you mean 'gateway'?; known: {', '.join(ROLES)}"
    ]


def test_a_role_without_a_system_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("tidegate.roles.place.WAIT_S", 0.1)
    with pytest.raises(
        UserError, match=r"the log's server on .* did not come up within 0\.1 s; is `tidegate up` running"
    ):
        asyncio.run(waited(f"the log's server on {tmp_path}", lambda: None))


def test_wrong_credentials_of_the_log_are_one_line(tmp_path):
    async def scenario() -> None:
        server = Embedded(tmp_path, "process")
        running = await server.start()
        try:
            await connect(
                running.url, name="test", declared=declared(1, "process"), user=running.user, password="wrong"
            )
        finally:
            await server.stop()

    with pytest.raises(UserError, match=r"log at .*127\.0\.0\.1:\d+") as told:
        asyncio.run(scenario())
    assert "\n" not in str(told.value)
    assert "wrong" not in str(told.value).split()  # never the password itself


def test_a_second_server_on_the_log_of_a_running_one_names_it(tmp_path):
    async def scenario() -> str:
        first, second = LogServer(tmp_path, "process"), LogServer(tmp_path, "process")
        process = first.process()
        assert process.start is not None
        await process.start()
        try:
            with pytest.raises(UserError) as told:
                await second._start()
            return str(told.value)
        finally:
            await second.close()
            await first.close()

    assert "a server runs on" in asyncio.run(scenario())


@pytest.mark.parametrize(("step", "words"), [(2, "stepped by +1.990 s"), (-2, "stepped by -1.990 s")])
def test_a_clock_that_is_stepped_is_an_alert_once_and_time_goes_on(monkeypatch, step, words):
    wall, mono = 1_700_000_000 * 10**9, 5 * 10**9
    moved = [0]
    said: list[str] = []

    async def scenario() -> tuple[list[dict], int]:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(time, "time_ns", lambda: wall + moved[0] + round(loop.time() * 1e9))
        monkeypatch.setattr(time, "monotonic_ns", lambda: mono + round(loop.time() * 1e9))
        async with Desk() as desk:
            clock = SystemClock()
            lines = SimpleNamespace(warning=lambda event, text: said.append(text))
            place = SimpleNamespace(clock=clock, lines=lines, name="oms-1")
            watch = asyncio.create_task(_watch_clock(place, [desk.user]))
            await asyncio.sleep(5)
            moved[0] = step * 10**9
            before = clock.now()
            await asyncio.sleep(10)
            watch.cancel()
            return desk.alerts("clock"), clock.now() - before

    alerts, passed = run(scenario())
    assert [words in alert["text"] for alert in alerts] == [True]
    assert alerts[0]["severity"] == "high"
    assert len(said) == 1
    assert abs(passed - 10 * 10**9) <= 10 * 10**9 // 100  # 10 ms a second, whichever way


def test_a_poisoned_command_is_put_aside_with_its_reason_and_the_lane_goes_on():
    async def scenario() -> None:
        async with Desk() as desk:
            await desk.start_gateway()
            poison = b"\xff not an envelope"
            seq = await desk.user.append("lane.0.cmd", poison)
            await desk.rest()
            (entry,) = desk.entries("DEAD", "dead.0")
            letter = msgspec.msgpack.decode(entry.data, type=DeadLetter)
            assert (letter.stream, letter.seq, letter.subject, letter.data) == (
                "LANE_0",
                seq,
                "lane.0.cmd",
                poison,
            )
            assert letter.reason
            assert desk.oms.health()["lanes"]["0"]["dead"] == 1
            desk.agree()

    run(scenario())


def test_an_entry_of_a_newer_version_is_refused_by_this_instance_and_said_so():
    async def scenario() -> None:
        async with Desk() as desk:
            newer = pack([Tick(desk.clock.now())], ts=desk.clock.now(), version=VERSION + 1)
            await desk.user.append("lane.0.cmd", newer)
            await desk.until(lambda: 0 not in desk.oms.writers)
            await desk.until(lambda: bool(desk.alerts("lane_refused")))
            (alert,) = desk.alerts("lane_refused")
            assert f"written by version {VERSION + 1} of the wire format, this is {VERSION}" in alert["text"]
            assert (alert["scope"], alert["severity"]) == ("lane.0", "high")
            assert desk.entries("DEAD", "dead.") == []  # it is no poison: a newer instance reads it
            await asyncio.sleep(30)
            assert 0 not in desk.oms.writers  # it is not tried again and again
            lease = msgspec.json.decode(desk.server.buckets["LEASE"].entries["lane.0"].value)
            assert lease["owner"] == ""  # a newer instance may have it
            health = desk.oms.health()
            assert not health["ok"]
            assert "lane 0" in health["why"]

    run(scenario())


def test_an_exception_of_a_strategys_stops_it_and_its_stack_is_in_the_log(caplog):
    class Broken(Strategy):
        def on_start(self) -> None:
            self.subscribe_quotes(self.market("BTCUSDT.BINANCE_USDM"))

        def on_quote(self, quote: Quote) -> None:
            raise KeyError("a mistake of the user's")

    universe, rows, max_delay = market()
    run(live(universe, rows[:20_000], max_delay, [Broken("broken", 0, 0, StrategyParams())], MODEL))
    (record,) = [record for record in caplog.records if record.name == "tidegate.strategy"]
    assert record.getMessage() == "strategy broken is stopped"
    assert "in on_quote" in caplog.text
    assert "KeyError" in caplog.text

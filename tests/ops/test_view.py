"""The view from health as services say it, and from health that says next to nothing."""

import asyncio
import io
import json
import os

import pytest
from ops.children import good, supervise
from rich.console import Console

from tidegate.model.time import SECOND, SimulatedClock
from tidegate.ops.proc import started
from tidegate.ops.show import Shown, event_line
from tidegate.ops.snapshot import Looker
from tidegate.ops.supervisor import Event
from tidegate.ops.view import line, screen

T0 = 1_700_000_000 * SECOND
OMS = {
    "ok": True,
    "lanes": {
        "0": {"owner": "oms-1", "epoch": 3, "seq": 123456, "orders": 1000, "open": 7, "unknown": 1},
        "1": {"owner": "oms-1", "epoch": 1, "seq": 99, "orders": 10, "open": 0, "unknown": 0},
    },
    "latency": {"gateway.out": {"p50": 310_000, "p99": 1_900_000, "p999": 4_000_000, "count": 1000}},
}
SERVICES = {
    "feed-1": {"feed": {"feeds": [{"venue": "BINANCE", "connected": True, "events": 5000, "gaps": 2}]}},
    "oms-1": {"oms": OMS},
    "gateway-1": {
        "gateway": {
            "gateways": {
                "BINANCE.making": {"connected": False, "reconciled": T0 - 42 * SECOND, "mismatches": 0}
            },
            "alerts": [{"ts": T0, "severity": "error", "scope": "making", "text": "drop copy differs"}],
        }
    },
    "strategy-maker": {
        "strategy": {
            "strategies": {"maker": {"positions": {"BTCUSDT.BINANCE": -5}, "pnl": -12.5, "orders": 40}}
        }
    },
    "recorder-1": {"recorder": {}},
}


def say(folder, ts, **orders):
    """Every process is this one; lane 0 and the feed have counted so far."""
    services = json.loads(json.dumps(SERVICES))
    services["oms-1"]["oms"]["lanes"]["0"]["orders"] = orders.get("orders", 1000)
    services["feed-1"]["feed"]["feeds"][0]["events"] = orders.get("events", 5000)
    for name, said in services.items():
        folder.health(name).write_text(json.dumps({"pid": os.getpid(), "ts": ts, "services": said}))


def states(**of):
    mine = {"pid": os.getpid(), "started": started(os.getpid()), "why": "", "restarts": 0}
    return [{"name": name, "state": of.get(name.partition("-")[0], "healthy"), **mine} for name in SERVICES]


def text_of(shot, width=120):
    console = Console(file=io.StringIO(), width=width)
    console.print(screen(shot, "demo", width))
    return console.file.getvalue()


def test_the_whole_screen(folder):
    say(folder, T0)
    looker = Looker(folder, SimulatedClock(T0))
    looker.look(states())
    say(folder, T0 + 2 * SECOND, orders=1100, events=9000)
    shot = looker.look(states(oms="degraded"))
    text = text_of(shot)
    assert "4 of 5 healthy" in text
    assert "● degraded" in text
    row = next(part for part in text.splitlines() if "123,456" in part)
    assert row.split()[1:9] == ["0", "oms-1", "3", "123,456", "1,100", "50.0", "7", "1"]
    for expected in (
        "● down",
        "42 s ago",
        "2,000",
        "−5 BTCUSDT.BINANCE",
        "−12.50",
        "310 µs",
        "drop copy differs",
    ):
        assert expected in text
    assert shot.tick_to_order() == ("gateway.out", OMS["latency"]["gateway.out"])
    said = line(shot)
    for expected in (
        "4 of 5 healthy (oms-1 degraded)",
        "2,000 events/s",
        "50.0 orders/s",
        "1 unknown",
        "p99 1.9 ms",
    ):
        assert expected in said


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"connected": True, "state": "acting", "holds": {}}, "● connected"),
        ({"connected": True, "state": "acting", "holds": {"disabled": "by ann: drill"}}, "● held: disabled"),
        ({"connected": False, "state": "standby"}, "○ standby"),
        ({"connected": False, "state": "refused"}, "● refused"),
        ({"connected": False, "state": "acting"}, "● down"),
    ],
)
def test_a_gateways_session(folder, row, expected):
    said = {"gateways": {"BINANCE.making": row}}
    folder.health("gateway-1").write_text(json.dumps({"pid": os.getpid(), "services": {"gateway": said}}))
    shot = Looker(folder, SimulatedClock(T0)).look([row for row in states() if row["name"] == "gateway-1"])
    assert expected in text_of(shot)


@pytest.mark.parametrize("width", [40, 80, 95, 96, 200])
def test_no_line_is_longer_than_the_terminal(folder, width):
    say(folder, T0)
    shot = Looker(folder, SimulatedClock(T0)).look(states(oms="degraded"))
    assert max(map(len, text_of(shot, width).splitlines())) <= width


@pytest.mark.parametrize(
    "said", [{}, {"lanes": 3, "feeds": "x", "alerts": 1}, {"lanes": {"0": {}}, "latency": {"a": {}}}]
)
def test_health_that_says_little_is_shown_all_the_same(folder, said):
    folder.health("oms-1").write_text(json.dumps({"pid": os.getpid(), "services": {"oms": said}}))
    shot = Looker(folder, SimulatedClock(T0)).look([row for row in states() if row["name"] == "oms-1"])
    assert "oms-1" in text_of(shot)
    assert line(shot).startswith("1 of 1 healthy")


def test_health_of_a_process_before_is_not_taken_for_the_present_ones(folder):
    say(folder, T0)
    body = json.loads(folder.health("oms-1").read_text()) | {"pid": 1}
    folder.health("oms-1").write_text(json.dumps(body))
    assert Looker(folder, SimulatedClock(T0)).look(states()).lanes == []


def test_of_two_that_think_they_own_a_lane_the_later_epoch_is_shown(folder):
    say(folder, T0)
    zombie = {"lanes": {"0": {"owner": "oms-0", "epoch": 2}}}
    folder.health("recorder-1").write_text(
        json.dumps({"pid": os.getpid(), "ts": T0, "services": {"oms": zombie}})
    )
    shot = Looker(folder, SimulatedClock(T0)).look(states())
    assert [(row["lane"], row["owner"]) for row in shot.lanes] == [("0", "oms-1"), ("1", "oms-1")]


def test_on_a_pipe_events_are_lines_and_alerts_are_kept(folder):
    console = Console(file=io.StringIO())
    shown = Shown(console, "demo")
    event = Event(T0, "oms-1", "restarting", "killed by SIGKILL; again in 0.1 s", "warning")
    shown.event(event)
    assert console.file.getvalue() == "22:13:20  oms-1  restarting  killed by SIGKILL; again in 0.1 s\n"
    assert event_line(event).plain + "\n" == console.file.getvalue()


def test_a_live_screen_on_a_terminal(tmp_path):
    async def scenario():
        supervisor, _ = supervise(tmp_path, [good(tmp_path, "oms-1", OMS)])
        console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40)
        shown = Shown(console, "demo")
        await supervisor.start()
        drawn = asyncio.Event()

        class Looks(Looker):
            def look(self, states=None):
                asyncio.get_running_loop().call_soon(drawn.set)
                return super().look(states)

        show = asyncio.create_task(shown.run(supervisor, Looks(supervisor.folder, supervisor.clock)))
        await drawn.wait()
        show.cancel()
        await asyncio.gather(show, return_exceptions=True)
        await supervisor.stop()
        return console.file.getvalue()

    text = asyncio.run(scenario())
    assert "\x1b[?1049h" in text  # the other screen, and back
    assert "\x1b[?1049l" in text
    assert "oms-1" in text
    assert "123,456" in text

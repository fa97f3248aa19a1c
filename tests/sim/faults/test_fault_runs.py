"""The whole system under faults: nothing is found; and where something is wrong, it is."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest
from sim.faults.deaf import without_corrections

from tidegate.execution.event_pipe import EventPipe
from tidegate.sim.faults.run import RECOVERY, run
from tidegate.sim.faults.schedule import Fault
from tidegate.sim.faults.venue import Session
from tidegate.strategy import live_runner
from tidegate.venue.gateway.history import History
from tidegate.venue.gateway.session import Session as Judge


def found(outcome):
    return "\n".join(outcome.violations)


@pytest.mark.parametrize("seed", range(900, 907))
def test_nothing_is_lost_doubled_or_told_twice(seed):
    outcome = run(seed, 3)
    assert not outcome.violations, f"python -m tidegate.sim.faults --seed {seed} --minutes 3"
    assert outcome.counts["faults"] > 5
    assert outcome.counts["orders"] > 20
    assert outcome.counts["fills"] >= outcome.counts["venue fills"] > 10


ROLES = ("feed", "oms-a", "oms-b", "gw-red", "gw-blue", "s-quoter", "s-taker", "s-mixer")


def test_after_the_death_of_any_one_process_all_trade_again_within_five_seconds():
    faults = [Fault(40.0 * (n + 1), "kill", role) for n, role in enumerate(ROLES)]
    outcome = run(910, 6, faults)
    assert not outcome.violations
    assert [role for role, _ in outcome.recoveries] == list(ROLES)
    assert all(seconds <= RECOVERY for _, seconds in outcome.recoveries)


def test_a_paused_writer_is_a_zombie_that_does_no_harm():
    faults = [
        Fault(20, "pause", "oms-a", 10),
        Fault(50, "pause", "oms-b", 10),
        Fault(80, "pause", "gw-red", 10),
    ]
    outcome = run(911, 2, faults)
    assert not outcome.violations
    assert outcome.counts["alert.lane_fenced"] >= 1


def test_an_instance_joins_and_all_are_replaced_one_by_one():
    outcome = run(912, 1.5, [Fault(20, "oms joins", "oms-c"), Fault(40, "upgrade")])
    assert not outcome.violations
    assert outcome.counts["started"] >= 11


def test_the_same_seed_takes_the_same_course_in_any_process():
    code = "from tidegate.sim.faults.run import run; print(run(913, 1).digest)"
    env = {**os.environ, "PYTHONHASHSEED": "77"}
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert elsewhere.stdout.strip() == run(913, 1).digest


# What the checks are worth: each of these takes something away that the system needs.


def test_a_gateway_that_sends_twice_is_found(monkeypatch):
    send = Session.send

    def twice(self, request):
        send(self, request)
        send(self, request)

    monkeypatch.setattr(Session, "send", twice)
    assert "is placed a second time" in found(run(920, 1, []))


def test_an_order_that_nobody_asked_for_is_found(monkeypatch):
    send = Session.send
    monkeypatch.setattr(
        Session,
        "send",
        lambda self, request: send(self, msgspec.structs.replace(request, qty=request.qty + 1)),
    )
    assert "without an intent" in found(run(921, 1, []))


def test_events_told_twice_are_found(monkeypatch):
    put = EventPipe.put

    def again(self, seq, events, trace, ts):
        put(self, seq, events + events[:1], trace, ts)

    monkeypatch.setattr(EventPipe, "put", again)
    assert "were due" in found(run(922, 1, []))


def test_fills_that_never_come_are_found(monkeypatch):
    async def blind(self, overlap, expected):
        return []

    status = Session._status
    monkeypatch.setattr(History, "read", blind)
    monkeypatch.setattr(Session, "_status", lambda self, key: status(self, key)[-1:])
    lossy = Fault(10, "network", "", 8, {"lose_report": 1.0})
    assert "not in the ledger" in found(run(923, 1, [lossy]))


def test_a_gateway_that_forgets_what_it_sent_is_no_danger_without_a_second_request(monkeypatch):
    """The lane never sends an intent twice, so what guards against it may fail."""

    def judge(self, m, trace, ts, now, halted=0):
        self._sent.clear()
        return real(self, m, trace, ts, now, halted)

    real = Judge.judge
    monkeypatch.setattr(Judge, "judge", judge)
    assert not run(924, 1).violations


def test_a_strategy_that_misses_corrections_is_found(monkeypatch):
    monkeypatch.setattr(live_runner, "booked", without_corrections)
    assert "believes to hold" in found(run(925, 1, [Fault(50, "correct")]))

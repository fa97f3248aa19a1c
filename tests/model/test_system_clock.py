"""The clock of services: monotonic, and slow to follow a step of the system's."""

from __future__ import annotations

import time

import pytest

from tidegate.model.clock import SystemClock


class Machine:
    """A machine whose two clocks the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.mono = 1_700_000_000 * 10**9, 5 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: self.wall)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.mono)

    def pass_(self, ns: int) -> None:
        self.wall += ns
        self.mono += ns


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


@pytest.mark.parametrize("step", [2 * 10**9, -2 * 10**9])
def test_a_step_of_two_seconds_neither_jumps_nor_runs_backwards(machine, step):
    clock = SystemClock()
    clock.follow()
    before = clock.now()
    machine.wall += step
    assert clock.now() == before
    assert clock.drift() == step
    last = before
    for _ in range(150):
        machine.pass_(10**9)
        clock.follow()
        assert 0.98e9 < clock.now() - last < 1.02e9
        last = clock.now()
    assert abs(clock.drift()) < abs(step)


def test_in_the_end_it_shows_the_systems_time(machine):
    clock = SystemClock()
    clock.follow()
    machine.wall += 2 * 10**9
    for _ in range(250):
        machine.pass_(10**9)
        clock.follow()
    assert clock.now() == machine.wall
    assert clock.drift() == 0


def test_without_steps_it_is_the_systems_time(machine):
    clock = SystemClock()
    for _ in range(10):
        machine.pass_(123_456_789)
        assert clock.now() == machine.wall

"""A silent process hangs when it loops or sleeps, and not when the machine keeps it from running."""

from __future__ import annotations

import os

import pytest

from tidegate.ops import silence
from tidegate.ops.proc import Figures, state
from tidegate.ops.silence import PATIENCE, Silence


@pytest.fixture
def machine(monkeypatch):
    """What the kernel says of the process: its letter and its CPU seconds."""
    said = {"state": "R", "cpu": 0.0}
    monkeypatch.setattr(silence, "state", lambda pid: said["state"])
    monkeypatch.setattr(silence, "figures", lambda pid: Figures(said["cpu"], 0, 1))
    return said


def look(machine, word: str, share: float, until: float = 2.6, longest: float = 2.0) -> list[bool]:
    """The verdicts of looks every half second of silence, at a share of a core."""
    found, at = Silence(), 0.0
    verdicts = []
    while at < until:
        at += 0.5
        machine.update(state=word, cpu=at * share)
        verdicts.append(found.hangs(1, at, longest, 100 + at))
    return verdicts


@pytest.mark.parametrize(("word", "share"), [("R", 1.0), ("R", 0.3), ("S", 0.0), ("T", 0.0)])
def test_a_loop_a_sleep_and_a_stopped_one_hang(machine, word, share):
    assert look(machine, word, share) == [False] * 4 + [True] * 2


@pytest.mark.parametrize(("word", "share"), [("D", 0.0), ("R", 0.05)])
def test_one_that_waits_for_the_disk_or_a_core_is_borne_with_for_a_while(machine, word, share):
    verdicts = look(machine, word, share, until=2.0 * PATIENCE + 0.4)
    assert not any(verdicts[:-1])
    assert verdicts[-1]


def test_the_kernels_letters():
    assert state(os.getpid()) == "R"
    assert state(1 << 22) == ""

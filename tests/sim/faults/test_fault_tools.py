"""Schedules, their shrinking, and the command line."""

from __future__ import annotations

import random

import pytest
from sim.faults.deaf import without_corrections

from tidegate.errors import UserError
from tidegate.sim.faults import __main__ as command
from tidegate.sim.faults.plant import Plant
from tidegate.sim.faults.run import run
from tidegate.sim.faults.schedule import KINDS, Fault, draw, read, write
from tidegate.sim.faults.shrink import shrink, signature, smallest
from tidegate.sim.faults.soak import Soaked
from tidegate.strategy import live_runner


def test_a_seed_draws_its_schedule_and_all_kinds_come():
    plant = Plant()
    assert draw(3, 600, plant) == draw(3, 600, plant)
    assert draw(3, 600, plant) != draw(4, 600, plant)
    kinds = {fault.kind for seed in range(20) for fault in draw(seed, 600, plant)}
    assert kinds == set(KINDS)


def test_schedules_are_kept_in_files(tmp_path):
    faults = draw(5, 600, Plant())
    path = tmp_path / "schedule.jsonl"
    write(path, faults)
    assert read(path) == faults


@pytest.mark.parametrize(
    ("text", "says"),
    [('{"at": 1, "kind": "flood"}', "unknown fault 'flood'"), ('{"kind": 3}', "not a fault"), ("{", "not a")],
)
def test_a_mistake_in_a_schedule_is_named_with_its_line(tmp_path, text, says):
    path = tmp_path / "schedule.jsonl"
    path.write_text('{"at": 1, "kind": "kill", "target": "feed"}\n' + text + "\n")
    with pytest.raises(UserError, match=f"schedule.jsonl:2: {says}"):
        read(path)


def test_a_schedule_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "none")


@pytest.mark.parametrize("seed", range(30))
def test_the_smallest_part_that_fails_is_found(seed):
    rng = random.Random(seed)
    faults = [Fault(float(n), "kill", str(n)) for n in range(rng.randint(1, 60))]
    needed = set(rng.sample(range(len(faults)), min(len(faults), rng.randint(1, 4))))
    tried = 0

    def failing(part):
        nonlocal tried
        tried += 1
        return needed <= {int(fault.at) for fault in part}

    assert {int(fault.at) for fault in smallest(faults, failing)} == needed
    assert tried < 400


def test_what_fails_without_any_fault_needs_none():
    assert smallest([Fault(1, "halt"), Fault(2, "halt")], lambda part: True) == []


def test_figures_make_no_other_failure():
    one = "at 3.001 s: EVT_0 entry 12: 3 events up to lane entry 9, 0 were due"
    two = "at 9.5 s: EVT_1 entry 2: 1 events up to lane entry 90, 12 were due"
    assert signature(one) == signature(two) != signature("at 9.5 s: lane 1 has 0 writers")


def test_a_failure_is_shrunk_to_the_fault_that_shows_it(monkeypatch):
    monkeypatch.setattr(live_runner, "booked", without_corrections)
    faults = [
        Fault(20, "kill", "feed"), Fault(25, "clock", "gw-red", 0, {"step": 2.0}), Fault(50, "correct"),
        Fault(55, "cut", "red", 1.0),
    ]  # fmt: skip
    outcome = run(920, 1, faults)
    assert [fault.kind for fault in shrink(outcome)] == ["correct"]


def test_the_command_says_what_it_found(monkeypatch, tmp_path, capsys):
    arguments = ["faults", "--seed", "925", "--minutes", "1", "--keep", str(tmp_path / "kept")]
    path = tmp_path / "schedule.jsonl"
    write(path, [Fault(50, "correct")])
    monkeypatch.setattr("sys.argv", [*arguments, "--schedule", str(path)])
    assert command.main() == 0
    monkeypatch.setattr(live_runner, "booked", without_corrections)
    assert command.main() == 1
    said = capsys.readouterr().out
    kept = tmp_path / "kept" / "seed-925.jsonl"
    assert "seed 925 FAILED" in said
    assert f"again: python -m tidegate.sim.faults --seed 925 --minutes 1 --schedule {kept}" in said
    assert read(kept) == [Fault(50, "correct")]


def test_the_command_refuses_what_cannot_be(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["faults", "--minutes", "0"])
    assert command.main() == 2
    assert "--minutes is 0.0" in capsys.readouterr().out


def test_the_slope_of_memory_is_told_by_the_hour():
    memory = [(60.0 * n, 400 + 0.5 * n + (30 if n % 7 == 0 else 0)) for n in range(60)]
    assert Soaked(memory={7: memory[:5], 8: memory}).slope() == pytest.approx(30, abs=1)
    assert Soaked(memory={7: memory[:1]}).slope() == 0.0

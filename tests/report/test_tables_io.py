"""Tables on disk: what is saved is what is loaded; what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated_run import simulate

from tidegate.analytics.tables import SCHEMAS, RunTables
from tidegate.errors import UserError
from tidegate.report.html import render
from tidegate.report.tables_io import load, save


def test_a_run_comes_back_as_it_was(tmp_path: Path):
    run = simulate(seconds=20)
    save(run, tmp_path / "deep" / "run")
    back = load(tmp_path / "deep" / "run")
    for name in SCHEMAS:
        assert repr(getattr(back, name).to_pylist()) == repr(getattr(run, name).to_pylist())
        assert getattr(back, name).schema == getattr(run, name).schema
    assert back.summary == run.summary
    assert render(back) == render(run)


def test_an_empty_run_comes_back_empty(tmp_path: Path):
    save(RunTables(), tmp_path)
    assert load(tmp_path).fills.num_rows == 0
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_saving_again_replaces(tmp_path: Path):
    save(simulate(seconds=20), tmp_path)
    save(RunTables(summary={"run_id": "b"}), tmp_path)
    assert load(tmp_path).summary == {"run_id": "b"}
    assert load(tmp_path).fills.num_rows == 0


@pytest.mark.parametrize("name", ["fills.parquet", "summary.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    save(RunTables(), tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"no {name}; give the folder"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["touch.parquet", "summary.json"])
def test_a_broken_file_is_named(tmp_path: Path, name: str):
    save(RunTables(), tmp_path)
    (tmp_path / name).write_bytes(b"{ not what it says")
    with pytest.raises(UserError, match=name):
        load(tmp_path)


def test_tables_of_another_version_are_named(tmp_path: Path):
    save(RunTables(), tmp_path)
    (tmp_path / "touch.parquet").write_bytes((tmp_path / "latency.parquet").read_bytes())
    with pytest.raises(UserError, match="table touch: missing columns"):
        load(tmp_path)

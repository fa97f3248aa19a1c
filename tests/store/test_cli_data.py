"""`tidegate data` as a user types it: output, JSON, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from tests.store.captures import capture, spot_session, usdm_session
from tidegate.cli.data import app
from tidegate.errors import UserError
from tidegate.store.lake import Lake

SPOT, USDM = "BTCUSDT.BINANCE", "BTCUSDT.BINANCE_USDM"
RUNNER = CliRunner()


def run(*words: Any, code: int = 0) -> Result:
    result = RUNNER.invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    capture(tmp_path / "raw" / "spot.gz", spot_session())
    capture(tmp_path / "raw" / "usdm.gz", usdm_session())
    return tmp_path / "raw"


def test_import_ls_describe_verify(raw: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    out = run("import", raw, "--lake", lake).stdout
    assert "244 lines of 2 files → 331 events of 2 instruments" in out
    assert "smallest latency assumed 0.50 ms" in out
    assert "40 of 40" in out
    listed = run("ls", "--lake", lake).stdout
    assert SPOT in listed
    assert "2024-08-08" in listed
    described = run("describe", USDM, "--lake", lake).stdout
    assert "spread by time, ticks: mean 1.00" in described
    assert "latency of bookTicker" in described
    assert "sound" in run("verify", "--lake", lake).stdout


def test_a_long_import_shows_both_passes(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.progress import Progress

    shown: dict[str, int] = {}
    add, update = Progress.add_task, Progress.update
    monkeypatch.setattr("tidegate.cli.data.QUIET_S", -1.0)
    monkeypatch.setattr(
        Progress, "add_task", lambda bar, name, **more: shown.setdefault(name, 0) or add(bar, name, **more)
    )

    def note(bar: Progress, task: Any, *, completed: int) -> None:
        name = bar.tasks[task].description
        shown[name] = max(shown[name], completed)
        update(bar, task, completed=completed)

    monkeypatch.setattr(Progress, "update", note)
    run("import", raw, "--lake", tmp_path / "lake")
    size = sum(path.stat().st_size for path in raw.iterdir())
    assert shown == {"reading": size, "writing": 244}


def test_json_is_whole_and_agrees_with_the_lake(raw: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    report = msgspec.json.decode(run("import", raw, "--lake", lake, "--json").stdout)
    assert [s["instrument"] for s in report["streams"]] == [SPOT, USDM]
    listing = msgspec.json.decode(run("ls", "--lake", lake, "--json").stdout)
    assert [item["rows"] for item in listing] == [s["rows"] for s in report["streams"]]
    found = msgspec.json.decode(run("describe", SPOT, "--lake", lake, "--json").stdout)
    assert found["listing"] == listing[0]
    [proof] = msgspec.json.decode(run("verify", SPOT, "--lake", lake, "--json").stdout)
    assert proof["faults"] == []


def test_incomplete_input_exits_2_after_importing_the_rest(raw: Path, tmp_path: Path) -> None:
    data = (raw / "spot.gz").read_bytes()
    (raw / "spot.gz").write_bytes(data[: len(data) - 200])
    out = run("import", raw, "--lake", tmp_path / "lake", code=2).stdout
    assert "cut short" in out
    assert "quarantined" in out
    assert "incomplete" in out
    assert [item.id for item in Lake(tmp_path / "lake").instruments()] == [SPOT, USDM]


def test_a_lake_that_is_wrong_exits_1(raw: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    run("import", raw, "--lake", lake)
    part = Lake(lake).parts(SPOT)[0].path
    target = part.parents[1] / "day=2020-01-01" / part.name
    target.parent.mkdir()
    part.rename(target)
    out = run("verify", "--lake", lake, code=1).stdout
    assert "wrong BTCUSDT.BINANCE: instrument=BTCUSDT.BINANCE/day=2020-01-01/part-" in out


MISTAKES = [
    (["describe", "BTCUSDT.BINANC"], "did you mean 'BTCUSDT.BINANCE'"),
    (["verify", "X.Y"], "holds no 'X.Y'"),
    (["import", "nowhere"], "no capture at nowhere"),
    (["import", "raw", "--min-latency", "soon"], "--min-latency: 'soon' is not a duration"),
    (["import", "raw", "--instruments", "none.toml"], "cannot read none.toml"),
]


@pytest.mark.parametrize(("words", "match"), MISTAKES)
@pytest.mark.usefixtures("raw")
def test_mistakes_are_users_errors(
    words: list[str], match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("import", "raw", "--lake", "lake")
    with pytest.raises(UserError, match=match):
        run(*words, "--lake", "lake")


SOL = """
[[instrument]]
symbol = "BTCUSDC"
venue = "BINANCE"
kind = "spot"
base = "BTC"
quote = "USDC"
tick = "0.01"
lot = "0.00001"
"""


def test_other_markets_are_defined_in_a_file(tmp_path: Path) -> None:
    frames = [(at, _renamed(frame)) for at, frame in spot_session()]
    path = capture(tmp_path / "a.gz", frames)
    (tmp_path / "own.toml").write_text(SOL)
    with pytest.raises(UserError, match="unknown symbol"):
        run("import", path, "--lake", tmp_path / "lake")
    run("import", path, "--lake", tmp_path / "lake", "--instruments", tmp_path / "own.toml")
    assert [item.id for item in Lake(tmp_path / "lake").instruments()] == ["BTCUSDC.BINANCE"]


def _renamed(frame: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(frame).replace(b'"BTCUSDT"', b'"BTCUSDC"'))


WRONG_DEFINITIONS = [
    (SOL.replace("BINANCE", "KRAKEN"), "is not a Binance instrument"),
    (SOL.replace("tick", "tik"), "unknown field"),
    (SOL.replace('"0.01"', '"0"'), "tick is 0, must be above 0"),
    ("[[instrument]", "own.toml: "),
]


@pytest.mark.parametrize(("text", "match"), WRONG_DEFINITIONS)
def test_wrong_definitions_say_what_is_wrong(text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    path = capture(tmp_path / "a.gz", spot_session())
    with pytest.raises(UserError, match=match):
        run("import", path, "--lake", tmp_path / "lake", "--instruments", tmp_path / "own.toml")


def test_the_command_line_loads_nothing_heavy() -> None:
    code = """
import sys, tidegate.cli.data
print(sorted({"numpy", "numba", "pyarrow", "duckdb", "orjson"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""The main job as a user runs it: real commands in processes of their own, on the packaged sample."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TIDEGATE = [sys.executable, "-m", "tidegate.cli"]


def run(*args, cwd, **more):
    return subprocess.run(
        [*TIDEGATE, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300, **more
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the demo configuration beside a lake made from the sample."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "demo.toml", folder / "examples")
    done = run("data", "import", ROOT / "data" / "sample", "--lake", "lake", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_demo_runs_and_leaves_report_tables_and_events(workplace):
    done = run("backtest", "examples/demo.toml", "--out", "out", "--json", cwd=workplace)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {s["name"] for s in summary["strategies"]} == {"maker", "basis", "trend"}
    assert all(s["fills"] > 0 for s in summary["strategies"])
    assert summary["run"]["events"] > 390_000
    assert all(check["held"] == check["of"] for check in summary["checks"]), summary["checks"]
    page = (workplace / "out" / "report.html").read_text()
    assert "plotly" in page.lower()
    assert "http-equiv" in page
    for name in ("fills", "orders", "denials", "equity", "touch", "latency", "events"):
        assert (workplace / "out" / f"{name}.parquet").stat().st_size > 0


def test_two_runs_print_the_same_run_id_and_state_hash_and_the_second_fold_agrees(workplace):
    plain = run("backtest", "examples/demo.toml", "--out", "a", cwd=workplace)
    verified = run("backtest", "examples/demo.toml", "--out", "b", "--verify", cwd=workplace)
    lines = [
        [line for line in done.stdout.splitlines() if line.startswith(("run id ", "state hash "))]
        for done in (plain, verified)
    ]
    assert len(lines[0]) == 2
    assert lines[0] == lines[1]


def test_a_sweep_runs_the_grid_over_processes(workplace):
    done = run(
        "backtest", "examples/demo.toml", "--sweep", "strategies.maker.params.size=5,10",
        "--set", "data.end=2024-08-08T23:54:45", "--json", cwd=workplace,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["values"]["strategies.maker.params.size"] for row in rows] == [5, 10]
    hashes = {row["summary"]["run"]["state_hash"] for row in rows}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["backtest", "gone.toml"], ["gone.toml"]),
        (["backtest", "examples/demo.toml", "--set", "run.sed=1"], ["unknown key 'sed'", "'seed'"]),
        (
            ["backtest", "examples/demo.toml", "--set", "data.instruments=['BTCUSDT.BINANC']"],
            ["'BTCUSDT.BINANCE'"],
        ),
        (
            ["backtest", "examples/demo.toml", "--set", "risk.firm.gros='1'"],
            ["unknown key 'gros'", "'gross'"],
        ),
        (
            ["backtest", "examples/demo.toml", "--set", "data.lake='nowhere'"],
            ["no lake at", "tidegate data import"],
        ),
        (
            ["backtest", "examples/demo.toml", "--set", "data.start='2030-01-01T00:00:00'"],
            ["no data", "data ls"],
        ),
        (
            ["backtest", "examples/demo.toml", "--set", "venues.BINANCE.fill_model='part'"],
            ["'part'", "partial"],
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(workplace, args, words):
    done = run(*args, cwd=workplace)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "compiling" not in line and line.strip()]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]


def test_a_strategy_that_raises_shows_its_stack_and_exits_with_3(workplace):
    (workplace / "examples" / "bad.py").write_text(
        "from tidegate.strategy.strategy import Strategy\n"
        "class Bad(Strategy):\n"
        "    def on_start(self):\n"
        "        self.after('5s')\n"
        "    def on_timer(self, name):\n"
        "        raise ValueError('forgot something')\n"
    )
    done = run(
        "backtest", "examples/demo.toml", "--out", "bad", "--set", "strategies.trend.type='bad.py:Bad'",
        "--set", "strategies.trend.params={}", cwd=workplace,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "bad.py" in done.stderr
    assert "forgot something" in done.stderr
    assert "forgot something" in (workplace / "bad" / "report.html").read_text()


def test_ctrl_c_leaves_a_partial_report_and_exits_with_130(workplace):
    (workplace / "examples" / "slow.py").write_text(
        "import time\nfrom pathlib import Path\nfrom tidegate.strategy.strategy import Strategy\n"
        "class Slow(Strategy):\n"
        "    def on_start(self):\n"
        "        self.every('10ms')\n"
        "    def on_timer(self, name):\n"
        "        Path('running').touch()\n"
        "        time.sleep(0.01)\n"
    )
    process = subprocess.Popen(
        [*TIDEGATE, "backtest", "examples/demo.toml", "--out", "slow", "--set", "strategies.trend.type='slow.py:Slow'",
         "--set", "strategies.trend.params={}"],
        cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not (workplace / "running").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in (workplace / "slow" / "report.html").read_text()


def test_a_folder_that_cannot_be_written_is_one_line(workplace):
    (workplace / "file").write_text("")
    done = run("backtest", "examples/demo.toml", "--out", "file/under", cwd=workplace)
    assert done.returncode == 2
    assert "cannot make folder" in done.stderr


@pytest.mark.parametrize("limit", [20_000, 1_000_000])
def test_a_full_disk_loses_no_figure_and_leaves_no_half_file(workplace, limit):
    """Files may not grow beyond the limit, which fails as a full disk does: in the events, or in the report."""
    done = run(
        "backtest", "examples/demo.toml", "--out", f"full{limit}", cwd=workplace,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2
    assert "state hash" in done.stdout
    assert "Net P&L" in done.stdout
    assert done.stderr.count("\n") == 1
    assert f"files of this run are missing in full{limit}: " in done.stderr
    left = {path.name for path in (workplace / f"full{limit}").iterdir()}
    assert not [name for name in left if name.endswith(".part")]
    assert "report.html" not in left
    assert ("events.parquet" in left) is (limit == 1_000_000)


def test_version_and_help_start_without_heavy_imports(workplace):
    code = (
        "import sys, tidegate.cli as c\n"
        "heavy = {'numba', 'numpy', 'pyarrow', 'plotly', 'duckdb'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert run("--version", cwd=workplace).stdout.startswith("tidegate 0.")
    assert "backtest" in run("--help", cwd=workplace).stdout


def test_the_example_strategy_runs_from_its_file(workplace):
    shutil.copy(ROOT / "examples" / "quoter.py", workplace / "examples")
    done = run(
        "backtest", "examples/demo.toml", "--json", "--set", "strategies.trend.type='quoter.py:Quoter'",
        "--set", "strategies.trend.params={market='BTCUSDT.BINANCE_USDM', size=5}",
        "--set", "data.end=2024-08-08T23:54:45", cwd=workplace,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    strategies = {s["name"]: s for s in json.loads(done.stdout)["strategies"]}
    assert strategies["trend"]["fills"] > 0


def test_a_compiled_strategy_runs_from_its_file_and_again_from_the_cache_and_anew_when_edited(workplace):
    """Its module is beside others it imports from, in no package; each run is a process of its own."""
    source = (ROOT / "examples" / "compiled_joiner.py").read_text()
    assert "REST = 1_000_000_000" in source
    (workplace / "examples" / "joiner.py").write_text(
        source.replace("REST = 1_000_000_000", "from pause import REST")
    )

    def hash_with(rest):
        (workplace / "examples" / "pause.py").write_text(f"REST = {rest}\n")
        done = run(
            "backtest", "examples/demo.toml", "--json", "--set", "strategies.trend.type='joiner.py:Joiner'",
            "--set", "strategies.trend.params={market='BTCUSDT.BINANCE_USDM', size=5}",
            # So few messages are allowed that it is denied, and how long it then rests makes a difference.
            "--set", "risk.strategies.*.orders_per_second=1", "--set", "data.end=2024-08-08T23:54:45", cwd=workplace,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert {s["name"]: s["fills"] for s in summary["strategies"]}["trend"] > 0
        return summary["run"]["run_id"], summary["run"]["state_hash"]

    run_id, state_hash = hash_with(1_000_000_000)
    assert hash_with(1_000_000_000) == (run_id, state_hash)
    other_id, other_hash = hash_with(5_000_000)
    assert other_id != run_id, "another strategy is another run"
    assert other_hash != state_hash

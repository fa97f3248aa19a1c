"""The ladder of packages: each imports only from itself and from those above it. And files stay readable."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

LADDER = (
    "model", "kernel", "log", "access", "marketdata", "risk", "execution", "strategy", "venue", "analytics", "store",
    "report", "ops", "sim", "console", "config", "roles", "cli",
)  # fmt: skip
ALIASES = {
    "errors": "model",
    "config_live": "config",
    "strategy_code": "config",
    "world": "config",
    "versions": "config",
}
"""Modules at the top that belong to a rung."""
LONGEST = 420
HEAVY = ("numba", "pyarrow", "plotly", "duckdb")

ROOT = Path(__file__).parents[1] / "src" / "tidegate"
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def rung(path: Path) -> str:
    """The rung a file stands on: its package, or its own name at the top."""
    return named(path.relative_to(ROOT).parts[0].removesuffix(".py"))


def named(first: str) -> str:
    """The rung of a name just below `tidegate`."""
    return ALIASES.get(first, first)


def imported(tree: ast.AST, path: Path) -> set[str]:
    """The rungs that a module imports from, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ("tidegate", *path.relative_to(ROOT).parts[: -node.level])
            names = [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "tidegate" and len(parts) > 1 and not parts[1].startswith("__"):
                found.add(named(parts[1]))
    return found


def breaches(source: str, path: Path) -> list[str]:
    """The rungs below its own that a module imports from."""
    own = LADDER.index(rung(path))
    return sorted(name for name in imported(ast.parse(source), path) if LADDER.index(name) > own)


def test_every_package_has_its_place_on_the_ladder():
    assert {rung(path) for path in FILES} <= set(LADDER)
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(LADDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_above(path):
    below = breaches(path.read_text(), path)
    assert not below, f"{path.relative_to(ROOT)} stands on {rung(path)} and imports from {', '.join(below)}"


@pytest.mark.parametrize(
    "line",
    [
        "from tidegate.execution.core import Lane",
        "import tidegate.execution.core",
        "from tidegate import execution",
        "from ..execution import core",
        "def f():\n    from tidegate.execution import core",
    ],
)
def test_a_breach_is_seen_however_it_is_written(line):
    assert breaches(line, ROOT / "risk" / "gate.py") == ["execution"]
    assert breaches(line, ROOT / "sim" / "backtest.py") == []


def test_files_stay_short_enough_to_read():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def heavy_after(module: str) -> list[str]:
    """Which heavy packages a fresh process holds after importing the module."""
    program = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


MODULES = ["tidegate", "tidegate.model.instrument", "tidegate.model.messages", "tidegate.execution.core"]


@pytest.mark.parametrize("module", [*MODULES, *(["tidegate.cli"] if find_spec("tidegate.cli") else [])])
def test_what_is_imported_first_is_light(module):
    assert heavy_after(module) == []

"""Compiling all kernels before the first work on a machine."""

import re
from pathlib import Path

import pytest

from tidegate.cli import prepare
from tidegate.kernel import jit

ROOT = Path(prepare.__file__).parent


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A machine on which nothing is compiled, and two small jobs."""
    monkeypatch.setenv("TIDEGATE_CACHE", str(tmp_path))
    monkeypatch.setattr(prepare, "JOBS", (("kernel.merge",), ("kernel.survey",)))
    jit.cache_root.cache_clear()
    yield tmp_path / "kernels"
    jit.cache_root.cache_clear()


def test_every_module_with_kernels_is_in_a_job():
    with_kernels = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.rglob("*.py")
        if re.search(r"^@kernel\(", path.read_text(), re.MULTILINE)
    }
    with_kernels.discard("sim.lease_soak_kernel")  # a soak's own: nobody waits for it
    # One that imports another brings it along.
    named = {name for job in prepare.JOBS for name in job} | {"kernel.matching", "kernel.matching_snapshot"}
    assert with_kernels <= named


def test_the_first_call_compiles_all_and_says_so_and_the_second_does_nothing(fresh, capfd):
    prepare.prepare()
    assert "compiling the kernels, once on this machine" in capfd.readouterr().err
    compiled = {path.name.split("-")[0] for path in fresh.iterdir()}
    assert compiled == {"merge", "survey", "complete"}
    assert list(fresh.glob("merge-*/*/*.nbc"))
    prepare.prepare()
    assert capfd.readouterr().err == ""


def test_what_cannot_be_compiled_is_left_to_the_import_that_shows_why(fresh, monkeypatch):
    monkeypatch.setattr(prepare, "JOBS", (("kernel.merge",), ("kernel.jit, tidegate.no_such_module",)))
    monkeypatch.setattr(prepare, "_marker", lambda: fresh / "complete-x")
    prepare.prepare()
    assert not (fresh / "complete-x").exists()

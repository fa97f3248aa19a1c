"""The page in a real browser, where one is installed: every picture is drawn and the console stays quiet."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from page import Page
from simulated_run import simulate

from tidegate.analytics.tables import RunTables
from tidegate.report.html import render, write_report

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def load(path: Path, profile: Path) -> tuple[str, list[str]]:
    """The document after its scripts ran, and the errors on its console."""
    flags = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--window-size=1300,3000", "--virtual-time-budget=10000", "--enable-logging=stderr", "--dump-dom",
    )  # fmt: skip
    done = subprocess.run(
        [str(BROWSER), *flags, f"--user-data-dir={profile}", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return done.stdout, [line for line in console if "software WebGL" not in line]


@pytest.mark.parametrize("empty", [False, True])
def test_every_picture_is_drawn_without_a_complaint(tmp_path: Path, empty: bool):
    run = RunTables() if empty else simulate(seed=5, seconds=30, strategies=4, error="<stopped>")
    path = tmp_path / "report.html"
    write_report(run, path)
    document, errors = load(path, tmp_path / "profile")
    assert errors == []
    names = {name.split("/")[0] for name in Page(render(run)).figures()}
    drawn = re.findall(r'<div class="plot js-plotly-plot" id="plot-(\w+)"', document)
    assert set(drawn) == names
    assert document.count('class="main-svg"') >= len(names)

"""The packaged sample as a lake, for systems that are started to be measured: it holds the instruments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from environments import ROOT


def sample_lake(path: Path) -> Path:
    """The lake at `path`, imported where there is none."""
    if not path.exists():
        sample = str(ROOT / "data/sample")
        command = [sys.executable, "-m", "tidegate.cli", "data", "import", sample, "--lake", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    return path

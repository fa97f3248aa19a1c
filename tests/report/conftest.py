"""The simulated market lives beside the tests of analytics; both areas read its tables."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "analytics"))

"""`kill -9` of four roles under load, once each, on one system of real processes: `make rounds` in little."""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path

import pytest

from tidegate.errors import UserError
from tidegate.log.server_process import binary

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

KILLED = ("strategy", "oms", "gateway", "feed")


def test_no_order_is_lost_or_doubled_when_processes_are_killed_under_load(tmp_path):
    try:
        binary()
    except UserError as error:
        pytest.skip(str(error))
    from rounds import play
    from rounds_acts import ALONE, PARTS, Blow, Part, plain

    async def each(system, notes) -> list[Blow]:
        return [blow for name in KILLED for blow in await PARTS[name].act(system, notes)]

    result = asyncio.run(play(Part("each", each, plain(ALONE)), 1, 60.0, tmp_path / "system"))
    assert result.violations == []
    assert len(result.again) == len(KILLED)
    assert all(math.isfinite(seconds) for seconds in result.again)
    assert result.orders > 50
    assert result.fills > 5

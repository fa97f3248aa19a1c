"""NUMBA_DISABLE_JIT=1: the same kernels as plain Python, the same results to the last word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.kernel.jit import JIT

HERE = Path(__file__).parent
PROGRAM = """
import sys, warnings
sys.path[:0] = [{tests!r}, {here!r}]
warnings.simplefilter("error")
from compiled_pairs import TIGHT, Chaos, CompiledPair, PythonPair, setup
from oracle.replay import digest
from oracle.replay_engine import Driver
from oracle.replay_world import world
from tidegate.kernel.jit import JIT
from tidegate.risk.limits import Limits
from tidegate.sim.backtest import Backtest

print(JIT)
print(digest(Driver(world(3, 700, every=10, watch=True)).run().state()))
print(Backtest(setup([CompiledPair, PythonPair], 2, 500)).run().state_hash)
result = Backtest(setup([Chaos, PythonPair], 1, 250, Limits.load(TIGHT))).run()
print(result.state_hash, len(result.recorder.fills), len(result.recorder.denials), result.error)
"""


def outcome(**environment: str) -> list[str]:
    program = PROGRAM.format(tests=str(HERE.parent), here=str(HERE))
    env = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


@pytest.mark.skipif(not JIT, reason="compilation is off already: there is nothing to compare with")
def test_a_replay_end_to_end_gives_the_same_hashes_without_compilation():
    compiled, plain = outcome(NUMBA_DISABLE_JIT="0"), outcome(NUMBA_DISABLE_JIT="1")
    assert (compiled[0], plain[0]) == ("True", "False")
    assert compiled[1:] == plain[1:]
    assert compiled[3].endswith("None")
    assert all(int(number) > 3 for number in compiled[3].split()[1:3]), "orders filled and were denied"

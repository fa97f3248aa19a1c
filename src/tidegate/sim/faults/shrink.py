"""The shortest schedule that still shows a failure: delta debugging over the list of faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tidegate.sim.faults.run import Outcome, run
from tidegate.sim.faults.schedule import Fault

Failing = Callable[[Sequence[Fault]], bool]


def signature(violation: str) -> str:
    """What a violation says, without its figures."""
    return re.sub(r"[-\d.,'\[\]]+", "#", violation.partition(" s: ")[2])


def smallest(faults: Sequence[Fault], failing: Failing) -> list[Fault]:
    """A part of `faults` that fails, of which no single fault can be left out (Zeller's ddmin)."""
    left, pieces = list(faults), 2
    if failing([]):
        return []
    while len(left) >= 2:
        size = -(-len(left) // pieces)
        parts = [left[at : at + size] for at in range(0, len(left), size)]
        rests = [[fault for other in parts if other is not part for fault in other] for part in parts]
        found = next((part for part in parts if failing(part)), None)
        if found is not None:
            left, pieces = found, 2
            continue
        found = next((rest for rest in rests if failing(rest)), None) if pieces > 2 else None
        if found is not None:
            left, pieces = found, max(pieces - 1, 2)
        elif pieces >= len(left):
            break
        else:
            pieces = min(len(left), 2 * pieces)
    return left


def shrink(
    outcome: Outcome, most: int = 300, progress: Callable[[int, int], None] = lambda _runs, _left: None
) -> list[Fault]:
    """The least faults under which this seed fails in the same way; at most so many runs. `progress` is told the runs
    so far and the faults left."""
    wanted = signature(outcome.violations[0])
    runs, best = 0, len(outcome.faults)

    def failing(faults: Sequence[Fault]) -> bool:
        nonlocal runs, best
        if runs >= most:
            return False
        runs += 1
        found = run(outcome.seed, outcome.minutes, faults)
        same = any(signature(text) == wanted for text in found.violations)
        best = min(best, len(faults)) if same else best
        progress(runs, best)
        return same

    happened = [fault for fault in outcome.faults if fault.at <= outcome.virtual * 60]
    return smallest(happened, failing)

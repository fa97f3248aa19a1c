"""Which order-manager instance should write which lane: a rule that every instance comes to the same with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def plan(owners: Mapping[int, str], live: Mapping[str, Iterable[int]]) -> dict[int, str]:
    """Who should own each lane: as now where that is fair, the rest to whoever has least.

    `owners` maps each lane to its present owner, empty or dead allowed; `live` each instance to the lanes it refuses.
    The same input gives the same plan on every instance.
    """
    refuses = {name: frozenset(lanes) for name, lanes in live.items()}
    loads: dict[str, list[int]] = {name: [] for name in sorted(refuses)}
    free: list[int] = []
    for lane in sorted(owners):
        owner = owners[lane]
        (loads[owner] if owner in loads and lane not in refuses[owner] else free).append(lane)
    for lane in free:
        able = [name for name in loads if lane not in refuses[name]]
        if able:
            loads[min(able, key=lambda name: (len(loads[name]), name))].append(lane)
    while move := _fairer(loads, refuses):
        giver, taker, lane = move
        loads[giver].remove(lane)
        loads[taker].append(lane)
    return {lane: name for name, lanes in loads.items() for lane in lanes}


def _fairer(
    loads: dict[str, list[int]], refuses: Mapping[str, frozenset[int]]
) -> tuple[str, str, int] | None:
    """A move (from, to, lane) from one that has two lanes more than another; None when there is none."""
    by_load = sorted(loads, key=lambda name: (len(loads[name]), name))
    for taker in by_load:
        for giver in reversed(by_load):
            if len(loads[giver]) - len(loads[taker]) < 2:
                break
            for lane in reversed(loads[giver]):
                if lane not in refuses[taker]:
                    return giver, taker, lane
    return None

"""Which processes a system has, in which order they start, and in which they stop."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tidegate.errors import UserError, nearest
from tidegate.ops.cell import Limits
from tidegate.ops.folder import check_name

STOP_ORDER = {
    "deploy": 5, "strategy": 10, "oms": 20, "gateway": 30, "risk": 35, "feed": 40, "recorder": 50, "venue": 60,
    "log": 70,
}  # fmt: skip
"""Who stops first: no new orders, then the resting ones are dealt with, then the rest falls quiet."""


class Started(NamedTuple):
    """What a `Process.start` hook started: its process id, and what later processes need in their environment."""

    pid: int
    env: Mapping[str, str] = {}


@dataclass(frozen=True)
class Process:
    """One process to keep alive.

    Started by `argv` (with `env` over our own environment), or by `start`, a hook that starts it itself and says its
    id: it is used for the log's server. SIGTERM asks for a clean stop, SIGKILL follows after `stop_timeout`.
    """

    name: str
    argv: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    """Variables of our own environment that it is not given."""
    order_of_stop: int = 0
    """Lower ones stop first; equal ones at the same time."""
    critical: bool = True
    """Without it the system does not come up: a mistake that ends it while starting ends all."""
    restart: bool = True
    """False: it may end by itself, with exit code 0, and is done."""
    start: Callable[[], Awaitable[Started]] | None = None
    health: bool = True
    """False: it writes no health file, and counts as healthy while it lives."""
    wait: bool = False
    """Those after it are started when it is healthy (or `ready_timeout` has passed)."""
    ready_timeout: float = 60.0
    """Seconds it may be starting before it counts as degraded."""
    stop_timeout: float = 10.0
    hung_after: float = 30.0
    """Seconds without a sign of life after which it is killed and started again; 0: never."""
    cell: Limits | None = None
    """What it may use of the machine; None: whatever there is."""
    deaths: int = 0
    """So many ends by itself within `deaths_within` seconds, and it is not started again; 0: always again."""
    deaths_within: float = 60.0
    strategies: tuple[str, ...] = ()
    """The strategies that run in it, and nothing else does: their orders are cancelled when it hangs or ends for good."""
    spare: bool = False
    """Started and stopped by the role `deploy`, not with the others."""
    slots: bool = False
    """It may have spare ones started and stopped: it is of the role `deploy`."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if bool(self.argv) == bool(self.start):
            raise ValueError(f"process {self.name}: give argv or start")


@dataclass(frozen=True)
class Topology:
    """The processes of a system, in the order they start."""

    processes: Sequence[Process]

    def __post_init__(self) -> None:
        names = [p.name for p in self.processes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"topology: two processes are called {twice[0]!r}")

    def stops(self) -> list[list[Process]]:
        """The processes in the order they stop: groups, each stopped at once."""
        orders = sorted({p.order_of_stop for p in self.processes})
        return [[p for p in self.processes if p.order_of_stop == order] for order in orders]


def role_process(
    name: str, roles: Sequence[str], config: str, data: str, *more: str, env: Mapping[str, str] | None = None
) -> Process:
    """The process `tidegate run ROLES CONFIG --data DATA --name NAME …`, stopped as the first of its roles must.

    A role may name its part, as in `strategy:maker`. Those after a venue of our own wait for it.
    """
    kinds = [role.partition(":")[0] for role in roles]
    for kind in kinds:
        if kind not in STOP_ORDER:
            raise UserError(f"process {name}: unknown role {kind!r}{nearest(kind, STOP_ORDER)}")
    argv = [
        sys.executable, "-m", "tidegate.cli", "run", ",".join(roles), config, "--data", data, "--name", name, *more,
    ]  # fmt: skip
    order = min(STOP_ORDER[kind] for kind in kinds)
    return Process(name, argv, env or {}, order_of_stop=order, wait="venue" in kinds, slots="deploy" in kinds)


def process_names(processes: Sequence[Sequence[str]]) -> list[str]:
    """A name for each process by its roles: `feed-1`, `oms-1`, `oms-2`, `strategy-maker`, `feed-strategy-oms`."""
    names: list[str] = []
    counts: dict[str, int] = {}
    for roles in processes:
        kind, _, part = roles[0].partition(":")
        several = "-".join(dict.fromkeys(role.partition(":")[0] for role in roles))
        name = f"{kind}-{part}" if len(roles) == 1 and part else several
        counts[name] = counts.get(name, 0) + 1
        names.append(name if (len(roles) > 1 or part) and counts[name] == 1 else f"{name}-{counts[name]}")
    return names

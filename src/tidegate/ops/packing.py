"""Which strategies share a process: first-fit decreasing with headroom, and as few moves as can be. Pure.

A process each is best, for then one cannot hurt another. It costs memory (about 160 MB each) and wake-ups: where there
are more strategies than the machine has room for, `EACH` a core, the small ones share. A strategy of which nothing is
known yet has a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

EACH = 2
"""Processes a core up to which every strategy has its own."""
HEADROOM = 0.5
"""Cores that the strategies of one process may use together on average: the rest is for busy moments."""
SLACK = 0.1
"""Cores by which a load must pass `HEADROOM`, either way, before anybody who was placed earlier moves."""
MEMORY = 1 << 30
"""Bytes that the strategies of one process may use together, beside what each process needs anyhow."""


class Load(NamedTuple):
    """What a strategy used: CPU seconds a second, and bytes beside what each process needs."""

    cpu: float
    memory: int


def pack(
    names: Sequence[str], loads: Mapping[str, Load], before: Sequence[Sequence[str]] = (), cores: int = 1
) -> list[list[str]]:
    """The strategies of each process, in the order of `names`. `before` is how they were packed when last they ran:
    a process that still fits is kept, so that a small change of load moves nobody."""
    if len(names) <= cores * EACH:
        return [[name] for name in names]
    most = _most(len(names), cores)
    order = {name: at for at, name in enumerate(names)}
    hosts = _kept(order, loads, before, most)
    alone = {host[0] for host in before if len(host) == 1} if any(len(host) > 1 for host in before) else set()
    placed = {name for host in hosts for name in host}
    waiting = [name for name in names if name not in placed]
    for name in sorted((n for n in waiting if n in loads), key=lambda n: (-loads[n].cpu, order[n])):
        room = HEADROOM - SLACK if name in alone else HEADROOM
        for host in hosts:
            if len(host) < most and _fits([*host, name], loads, room):
                host.append(name)
                break
        else:
            hosts.append([name])
    hosts += [[name] for name in waiting if name not in loads]
    return sorted((sorted(host, key=order.__getitem__) for host in hosts), key=lambda host: order[host[0]])


def _most(count: int, cores: int) -> int:
    """Strategies of one process at most: that they share evenly what processes there may be, with some room."""
    return -(-count // (cores * EACH)) + 1


def _kept(
    order: Mapping[str, int], loads: Mapping[str, Load], before: Sequence[Sequence[str]], most: int
) -> list[list[str]]:
    """What is left of the shared processes: those who are gone are gone, and where the rest no longer fits, the smallest
    move until it does."""
    hosts: list[list[str]] = []
    seen: set[str] = set()
    for old in before:
        host = [name for name in dict.fromkeys(old) if name in order and name in loads and name not in seen]
        host.sort(key=lambda n: (-loads[n].cpu, order[n]))
        while len(host) > 1 and (len(host) > most or not _fits(host, loads, HEADROOM + SLACK)):
            host.pop()
        seen.update(host if len(host) > 1 else ())
        if len(host) > 1:
            hosts.append(host)
    return hosts


def _fits(host: Sequence[str], loads: Mapping[str, Load], cpu: float) -> bool:
    return sum(loads[n].cpu for n in host) <= cpu and sum(loads[n].memory for n in host) <= MEMORY

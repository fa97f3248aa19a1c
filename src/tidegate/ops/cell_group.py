"""Control groups: the kernel's own limits on all processes of a cell together.

Version 2 is used where the supervisor may make groups: as root, or in a folder that was delegated to it
(`systemd-run --user --scope -p Delegate=yes tidegate up …`). Of version 1, which old and some small systems have,
the controllers memory, pids and cpu are used where they may be written. What cannot be had is said (`Groups.why`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tidegate.ops.cell import Limits

PERIOD_US = 100_000
"""The stretch of time over which a CPU share is kept."""
MOUNTS = Path("/proc/self/mounts")
MEMBERSHIP = Path("/proc/self/cgroup")
_NEEDED = ("memory", "pids")
_WANTED = ("memory", "pids", "cpu")


class _Words(NamedTuple):
    """What files are called in one version."""

    memory: str
    swap: str
    pids: str
    cpu: str
    oom: str
    """The file with a line `oom_kill N`."""


_V2 = _Words("memory.max", "memory.swap.max", "pids.max", "cpu.max", "memory.events")
_V1 = _Words(
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "pids.max",
    "cpu.cfs_quota_us",
    "memory.oom_control",
)


class Group:
    """One cell's group: a folder a controller (of version 2 one folder for all)."""

    def __init__(self, folders: dict[str, Path], words: _Words) -> None:
        self._folders, self._words = folders, words

    @property
    def controllers(self) -> tuple[str, ...]:
        """What is limited by it."""
        return tuple(self._folders)

    def limit(self, limits: Limits) -> None:
        """Write the limits. Raises `OSError`."""
        words, unlimited = self._words, "max" if self._words is _V2 else "-1"
        if "memory" in self._folders:
            memory, text = self._folders["memory"], str(limits.memory or unlimited)
            (memory / words.memory).write_text(text)
            with contextlib.suppress(OSError):  # a kernel without swap accounting
                (memory / words.swap).write_text("0" if words is _V2 and limits.memory else text)
            with contextlib.suppress(OSError):
                (memory / "memory.oom.group").write_text("1")  # the cell dies whole
        if "pids" in self._folders:
            (self._folders["pids"] / words.pids).write_text(str(limits.processes or "max"))
        if "cpu" in self._folders:
            quota = str(round(limits.cpu * PERIOD_US)) if limits.cpu else unlimited
            text = f"{quota} {PERIOD_US}" if words is _V2 else quota
            (self._folders["cpu"] / words.cpu).write_text(text)

    def join(self, pid: int) -> None:
        """Put a process in. Raises `OSError`."""
        for folder in self._each():
            (folder / "cgroup.procs").write_text(str(pid))

    def pids(self) -> list[int]:
        """The processes in it."""
        found: set[int] = set()
        for folder in self._each():
            with contextlib.suppress(OSError):
                found.update(map(int, (folder / "cgroup.procs").read_text().split()))
        return sorted(found)

    def out_of_memory(self) -> int:
        """How often the kernel has killed for its memory."""
        return _count(self._folders.get("memory"), self._words.oom, "oom_kill")

    def forks_refused(self) -> int:
        """How often a fork or a thread was one too many."""
        return _count(self._folders.get("pids"), "pids.events", "max")

    def kill(self) -> None:
        """End every process in it."""
        for folder in self._each():
            with contextlib.suppress(OSError):
                (folder / "cgroup.kill").write_text("1")
                return
        for _ in range(100):  # version 1 cannot: until none is left that could have forked meanwhile
            left = self.pids()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                return

    def remove(self) -> bool:
        """Remove it; False while something still dies in it."""
        for folder in self._each():
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    def _each(self) -> Iterator[Path]:
        return iter(dict.fromkeys(self._folders.values()))


def _count(folder: Path | None, file: str, key: str) -> int:
    if folder is None:
        return 0
    try:
        lines = (folder / file).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key} ")), 0)


class Groups:
    """Makes the groups of one data folder. `bases` are the folders they are made in, by controller."""

    def __init__(self, data: Path, bases: dict[str, Path], version: int, why: str = "") -> None:
        self.bases, self.why = bases, why
        """Why there are none, or not all."""
        self._words = _V2 if version == 2 else _V1
        self._mark = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:8]

    def __bool__(self) -> bool:
        return bool(self.bases)

    def make(self, name: str, limits: Limits) -> Group:
        """The group of a process, empty and limited; what a dead supervisor left in it ends. Raises `OSError`."""
        folders = {kind: base / f"tidegate-{self._mark}-{name}" for kind, base in self.bases.items()}
        group = Group(folders, self._words)
        if any(folder.exists() for folder in folders.values()):
            group.kill()
            group.remove()
        for folder in dict.fromkeys(folders.values()):
            folder.mkdir(exist_ok=True)
        group.limit(limits)
        return group

    def none(self, why: str) -> None:
        """It turned out that none can be used."""
        self.bases, self.why = {}, why


def find(data: Path, mounts: Path = MOUNTS, membership: Path = MEMBERSHIP) -> Groups:
    """Where groups may be made on this machine, if anywhere."""
    try:
        mounted = [line.split()[1:4] for line in mounts.read_text().splitlines()]
        mine = dict(_memberships(membership.read_text()))
    except OSError:
        return Groups(data, {}, 2, "this system has no control groups")
    second = [Path(where) for where, kind, _ in mounted if kind == "cgroup2"]
    if second and "" in mine:
        base = _second(second[0], mine[""])
        if base is not None:
            kinds = set((base / "cgroup.subtree_control").read_text().split())
            bases = {kind: base for kind in _WANTED if kind in kinds}
            return Groups(data, bases, 2, "" if "cpu" in bases else "the controller cpu is not delegated")
    first = {}
    for where, kind, options in mounted:
        for name in set(options.split(",")) & set(_WANTED) if kind == "cgroup" else ():
            folder = Path(where) / mine.get(name, "").lstrip("/")
            if os.access(folder, os.W_OK) and (folder / "cgroup.procs").exists():
                first[name] = folder
    if first:
        return Groups(data, {kind: first[kind] for kind in _WANTED if kind in first}, 1)
    return Groups(data, {}, 2, "control groups are there, but none may be made here")


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    """(controller, path) of /proc/self/cgroup; the controller is empty for version 2."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, path


def _second(mount: Path, path: str) -> Path | None:
    """The nearest folder of version 2 at or above ours in which groups with controllers may be made."""
    own = mount / path.lstrip("/")
    for folder in (own, *own.parents):
        if not folder.is_relative_to(mount):
            return None
        if os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
            if set(_NEEDED) <= set(_read(folder / "cgroup.subtree_control")):
                return folder
            if folder == own and _make_room(own):
                return own
    return None


def _make_room(own: Path) -> bool:
    """Controllers are only handed down from a group without processes: where only we are in ours, go into one below."""
    offered = [kind for kind in _WANTED if kind in _read(own / "cgroup.controllers")]
    if not set(_NEEDED) <= set(offered):
        return False
    inside = own / "tidegate-up"
    try:
        if [int(pid) for pid in _read(own / "cgroup.procs")] == [os.getpid()]:
            inside.mkdir(exist_ok=True)
            (inside / "cgroup.procs").write_text(str(os.getpid()))
        (own / "cgroup.subtree_control").write_text(" ".join(f"+{kind}" for kind in offered))
    except OSError:
        return False
    return set(_NEEDED) <= set(_read(own / "cgroup.subtree_control"))


def _read(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []

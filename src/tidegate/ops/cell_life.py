"""A process's cell through one life: made before it starts, looked at while it runs, cleared away when it has ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from tidegate.ops.cell import Limits, confine, rlimits, size_text
from tidegate.ops.cell_group import Group, Groups
from tidegate.ops.cell_watch import kill_family, kill_session, tasks_of_user, use

_TRIES, _PAUSE = 100, 0.01


class Cell:
    """The cell of process `name`. `groups` says whether the kernel's groups can be used; without, rlimits hold."""

    def __init__(self, name: str, limits: Limits, groups: Groups) -> None:
        self.name, self.limits, self._groups = name, limits, groups
        self.in_force = ""
        """The limits and what enforces them, for people."""
        self.over = ""
        """What it was killed for; empty where it was not."""
        self._group: Group | None = None
        self._pid = 0
        self._kills = self._forks = 0

    def prepare(self) -> Callable[[], None]:
        """Make it ready for a new life; what the new process is to do before anything else."""
        self.over, self._group, self._pid = "", None, 0
        if self._groups:
            try:
                self._group = self._groups.make(self.name, self.limits)
            except OSError as error:
                self._groups.none(f"no control group can be made: {error.strerror}")
        root = os.geteuid() == 0
        counted = self.limits.processes is not None and self._group is None and not root
        limits = self.limits
        if self._group is not None:  # exact and of the whole: the rlimits beside it would only be cruder
            limits = Limits(None, None, None, limits.files, limits.file_size)
        return confine(rlimits(limits, tasks_of_user(os.geteuid()) if counted else 0, root))

    def joined(self, pid: int) -> None:
        """The process has started: put it into its group, before it does anything."""
        self._pid = pid
        if self._group is not None:
            try:
                self._group.join(pid)
                self._kills, self._forks = self._group.out_of_memory(), self._group.forks_refused()
            except OSError as error:
                self._group.remove()
                self._group = None
                self._groups.none(f"no process may be put into a control group: {error.strerror}")
        self.in_force = f"{self.limits.shown()} ({self._how()})"

    def _how(self) -> str:
        if self._group is None:
            return f"rlimits and a watch, cpu not limited: {self._groups.why or 'no control groups'}"
        missing = [kind for kind in ("memory", "pids", "cpu") if kind not in self._group.controllers]
        return "control group" + (f", without {', '.join(missing)}" if missing else "")

    def look(self) -> str:
        """Whether it has to be killed, and why: only where no group does that by itself."""
        if self._group is not None or not self._pid:
            return ""
        now = use(self._pid)
        if self.limits.memory is not None and now.memory > self.limits.memory:
            self.over = self._memory()
        elif self.limits.processes is not None and now.tasks > self.limits.processes:
            self.over = self._processes()
        return self.over

    def noticed(self) -> str:
        """A limit that was met and not died of, once each time: forks that the kernel refused."""
        if self._group is not None and (count := self._group.forks_refused()) > self._forks:
            self._forks = count
            return f"at its limit of {self.limits.processes} processes: refused forks: {count}"
        return ""

    def kill(self) -> None:
        """End all of it now."""
        if self._group is not None:
            self._group.kill()
        elif self._pid:
            kill_family(self._pid)

    async def ended(self) -> None:
        """Its first process has ended: see what of, end the rest, and clear away."""
        if self._group is not None:
            if not self.over and self._group.out_of_memory() > self._kills:
                self.over = self._memory()
            self._group.kill()
        if self._pid:
            kill_session(self._pid)  # each of our processes leads a session
        for _ in range(_TRIES):  # what was killed is a moment in dying
            if self._group is None or self._group.remove():
                break
            await asyncio.sleep(_PAUSE)
        self._group = None

    def _memory(self) -> str:
        assert self.limits.memory is not None
        return f"over its memory limit of {size_text(self.limits.memory)}"

    def _processes(self) -> str:
        return f"over its limit of {self.limits.processes} processes"

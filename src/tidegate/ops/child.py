"""One process through its lives: started, watched, started again when it dies, stopped when asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

from tidegate.errors import UserError
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import Condition, read_health
from tidegate.ops.proc import ended, lives, started
from tidegate.ops.spawn import how_it_ended, last_line, spawn, trim
from tidegate.ops.topology import Process

USER_MISTAKE = 2
"""The exit code of a user's mistake: starting again would not mend it."""
STALE_S = 5.0
"""Seconds without a new health file after which a process counts as degraded."""


class State(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    DEAD = "dead"


RUNNING = (State.STARTING, State.HEALTHY, State.DEGRADED)
GOOD = (State.HEALTHY, State.DONE)


class Backoff:
    """Seconds to wait before the next start: 0.1, doubled up to 5, from the beginning after 10 healthy ones."""

    FIRST, MOST, RESET = 0.1, 5.0, 10.0

    def __init__(self) -> None:
        self._next = self.FIRST

    def after(self, healthy: float) -> float:
        """The wait after a life with so many seconds of health."""
        if healthy >= self.RESET:
            self._next = self.FIRST
        now, self._next = self._next, min(self._next * 2, self.MOST)
        return now


class Child:
    """`told` hears of every change of state; `env` is what start hooks gave so far, shared by all children."""

    def __init__(
        self,
        process: Process,
        folder: DataFolder,
        env: MutableMapping[str, str],
        told: Callable[[Child], None],
    ) -> None:
        self.process = process
        self.state = State.WAITING
        self.why = ""
        self.pid = 0
        self.began = 0
        """The process's start time (`proc.started`): with `pid` its name for good."""
        self.restarts = 0
        self.code: int | None = None
        self._folder, self._env, self._told = folder, env, told
        self._backoff = Backoff()
        self._popen: subprocess.Popen[bytes] | None = None
        self._begin = 0
        self._stop = self._again = False
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._healthy_at = self._seen_at = self._born_at = 0.0
        self._seen: Any = None

    # What is asked of it.

    def start(self) -> None:
        """Begin, or begin again after an end."""
        if self._task is None or self._task.done():
            self._stop = self._again = False
            self._backoff = Backoff()
            self._ready.clear()
            self._task = asyncio.create_task(self._lives())

    async def ready(self) -> None:
        """Return when it is healthy, or never will be, or has taken longer than it may."""
        waiting = asyncio.ensure_future(self._ready.wait())
        tasks = {waiting} if self._task is None else {waiting, self._task}
        try:
            await asyncio.wait(tasks, timeout=self.process.ready_timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def stop(self) -> None:
        """Ask it to end and see that it does. It stays stopped until `start`."""
        self._stop = True
        self._wake.set()
        if self._task is None:
            self._move(State.STOPPED)
        elif not self._task.done():
            await self._end()
            await self._task

    async def restart(self) -> None:
        """End it cleanly and start it at once."""
        if self._task is None or self._task.done():
            self.restarts += 1
            self.start()
            return
        self._again = True
        self._wake.set()
        await self._end()

    def signal(self, number: int) -> bool:
        """Send it a signal; False when it does not run."""
        if self.pid and lives(self.pid, self.began):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)
                return True
        return False

    # Its lives.

    async def _lives(self) -> None:
        while True:
            try:
                await self._spawn()
            except Exception as error:  # the machine's, or a hook's: a port in use, no memory left
                how = str(error) if isinstance(error, UserError) else f"cannot be started: {error}"
                if not self.restarts:
                    self._move(State.DEAD, how)
                    return
            else:
                code = await self._ended()
                if not self._after(code):
                    return
                how = self._how(code)
            if not await self._pause(how):
                return
            self.restarts += 1

    async def _pause(self, how: str) -> bool:
        """Wait before the next life; False when it shall have none."""
        wait = 0.0 if self._again else self._backoff.after(self._healthy_for())
        self._move(State.RESTARTING, f"{how}; again in {wait:.1f} s")
        self._wake.clear()
        if not self._stop and not self._again:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
        self._again = False
        if self._stop:
            self._move(State.STOPPED)
        return not self._stop

    async def _spawn(self) -> None:
        self._healthy_at, self._seen = 0.0, None
        self._born_at = self._seen_at = time.monotonic()
        if self.process.start is not None:
            hooked = await self.process.start()
            self.pid = hooked.pid
            self._env.update(hooked.env)
        else:
            self._folder.health(self.process.name).unlink(missing_ok=True)
            self._popen, self._begin = spawn(self.process, self._folder, self._env)
            self.pid = self._popen.pid
        self.began = started(self.pid)
        self._move(State.STARTING)
        if self._stop or self._again:  # asked while it was being started
            self.signal(signal.SIGKILL)  # it has done nothing yet
        elif not self.process.health:
            self._healthy()

    async def _ended(self) -> int | None:
        await ended(self.pid)
        if self._popen is not None:
            return self._popen.wait()
        return None  # whoever started it has its exit code

    def _after(self, code: int | None) -> bool:
        """Note how it ended; True when it is to be started again."""
        self.code, self.pid, self.began = code, 0, 0
        if self._stop:
            self._move(State.STOPPED)
        elif self._again:
            return True
        elif code == USER_MISTAKE:
            self._move(State.DEAD, self._said() or "exit code 2")
        elif self.process.restart:
            return True
        elif code == 0:
            self._move(State.DONE)
        else:
            self._move(State.DEAD, self._how(code))
        return False

    async def _end(self) -> None:
        if not self.pid:
            return
        self._move(State.STOPPING)
        pid, began = self.pid, self.began
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # one that was stopped cannot hear
        try:
            await asyncio.wait_for(ended(pid), self.process.stop_timeout)
        except TimeoutError:
            if (self.pid, self.began) == (pid, began):
                self.why = f"did not stop in {self.process.stop_timeout:g} s, killed"
                self._told(self)
                self.signal(signal.SIGKILL)

    # Its health.

    def look(self, now: float) -> None:
        """Judge it by its health file, `now` being `time.monotonic()`."""
        if not self.pid or not self.process.health or self.state not in RUNNING:
            return
        if self._popen is not None:
            trim(self._folder.out(self.process.name))
        said = read_health(self._folder.health(self.process.name))
        mine = said.get("pid") == self.pid
        if mine and said.get("n") != self._seen:
            self._seen, self._seen_at = said.get("n"), now
        silent = now - self._seen_at
        starting = not mine or said.get("condition") == Condition.STARTING  # it may compile for a while
        if starting:
            if now - self._born_at > self.process.ready_timeout:
                self._move(State.DEGRADED, f"not ready after {self.process.ready_timeout:g} s")
        elif self.process.hung_after and silent > self.process.hung_after:
            self._move(State.DEGRADED, f"no sign of life for {silent:.0f} s: killed")
            self.signal(signal.SIGKILL)
        elif silent > STALE_S:
            self._move(State.DEGRADED, f"no sign of life for {STALE_S:g} s")
        else:
            self._judge(said)

    def _judge(self, said: dict[str, Any]) -> None:
        condition = said.get("condition")
        if condition == Condition.HEALTHY:
            self._healthy()
        elif condition == Condition.DEGRADED:
            self._move(State.DEGRADED, str(said.get("why", "")))
            self._ready.set()
        elif (
            condition == Condition.STARTING and time.monotonic() - self._born_at > self.process.ready_timeout
        ):
            self._move(State.DEGRADED, f"still starting after {self.process.ready_timeout:g} s")

    def _healthy(self) -> None:
        self._healthy_at = self._healthy_at or time.monotonic()
        self._move(State.HEALTHY)
        self._ready.set()

    def _healthy_for(self) -> float:
        return time.monotonic() - self._healthy_at if self._healthy_at else 0.0

    def _move(self, state: State, why: str = "") -> None:
        if (state, why) != (self.state, self.why):
            self.state, self.why = state, why
            self._told(self)

    def _said(self) -> str:
        return last_line(self._folder.out(self.process.name), self._begin) if self._popen else ""

    def _how(self, code: int | None) -> str:
        if self._again:
            return "restart asked for"
        return "ended" if code is None else how_it_ended(code, self._said() if code > 0 else "")

"""One process through its lives: started, watched, started again when it dies, stopped when asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

from tidegate.errors import NotYet, UserError
from tidegate.ops.cell_life import Cell
from tidegate.ops.ending import End, How
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import Condition, last_beat, read_health
from tidegate.ops.proc import ended, lives, started
from tidegate.ops.silence import Silence
from tidegate.ops.spawn import how_it_ended, last_line, spawn, trim
from tidegate.ops.topology import Process

USER_MISTAKE = 2
"""The exit code of a user's mistake: starting again would not mend it."""
STALE_S = 5.0
"""Seconds without a sign of life after which a process counts as degraded."""
LATE_S = 1.0
"""A look that comes so much later than the last tells of a machine that stood still, not of the process."""


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
    """`told` hears of every change of state; `env` is what start hooks gave so far, shared by all children.

    `gone` is awaited after an end that is nobody's wish, before the next life: what hung, went over a limit, or is not
    started again.
    """

    def __init__(
        self,
        process: Process,
        folder: DataFolder,
        env: MutableMapping[str, str],
        told: Callable[[Child], None],
        cell: Cell | None = None,
        gone: Callable[[Process, End], Awaitable[None]] | None = None,
    ) -> None:
        self.process = process
        self.state = State.WAITING
        self.why = ""
        self.pid = 0
        self.began = 0
        """The process's start time (`proc.started`): with `pid` its name for good."""
        self.restarts = 0
        self.code: int | None = None
        self.lived = False
        """It was healthy once."""
        self.cell = cell
        self._folder, self._env, self._told, self._gone = folder, env, told, gone
        self._backoff = Backoff()
        self._popen: subprocess.Popen[bytes] | None = None
        self._begin = 0
        self._stop = self._again = False
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._healthy_at = self._seen_at = self._born_at = self._looked_at = 0.0
        self._seen = 0
        self._silence = Silence()
        self._verdict: tuple[How, str] | None = None
        """Why we killed it."""
        self._deaths: deque[float] = deque()

    # What is asked of it.

    def start(self) -> None:
        """Begin, or begin again after an end."""
        if self._task is None or self._task.done():
            self._stop = self._again = False
            self._deaths.clear()
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

    def condemn(self, why: str) -> None:
        """Kill it and all of its cell now, for good."""
        self._kill(How.CONDEMNED, why)

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
                how = self._how(code)
                if not await self._after(code, how):
                    return
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
        self._healthy_at, self._seen, self._verdict = 0.0, 0, None
        self._silence = Silence()
        self._born_at = self._seen_at = self._looked_at = time.monotonic()
        if self.process.start is not None:
            hooked = await self.process.start()
            self.pid = hooked.pid
            self._env.update(hooked.env)
        else:
            self._folder.health(self.process.name).unlink(missing_ok=True)
            self._popen, self._begin = spawn(self.process, self._folder, self._env, self.cell)
            self.pid = self._popen.pid
        self.began = started(self.pid)
        self._move(State.STARTING)
        if self._stop or self._again:  # asked while it was being started
            self.signal(signal.SIGKILL)  # it has done nothing yet
        elif not self.process.health:
            self._healthy()

    async def _ended(self) -> int | None:
        await ended(self.pid)
        code = None  # whoever started it has its exit code
        if self._popen is not None:
            code = self._popen.wait()
        if self.cell is not None:
            await self.cell.ended()
            if self.cell.over:
                self._verdict = (How.LIMIT, self.cell.over)
        return code

    async def _after(self, code: int | None, how: str) -> bool:
        """Note how it ended; True when it is to be started again."""
        self.code, self.pid, self.began = code, 0, 0
        mistake = code == USER_MISTAKE and self._verdict is None
        # Who ends at his start for what is not there has not died of himself.
        waits = code == NotYet.CODE and self._verdict is None and not self._healthy_at
        final = not self._again and (
            self._stop
            or mistake
            or not self.process.restart
            or self._condemned()
            or (not waits and self._too_many())
        )
        kind = self._verdict[0] if self._verdict else How.CRASHED
        done = code == 0 and not self.process.restart
        clean = kind is How.CRASHED and (self._stop or self._again or done)
        if self._gone is not None and not clean and (final or kind is not How.CRASHED):
            await self._gone(self.process, End(kind, how, final))
        if self._stop:
            self._move(State.STOPPED)
        elif mistake:
            self._move(State.DEAD, self.said() or "exit code 2")
        elif self._again or not final:
            return True
        elif done:
            self._move(State.DONE)
        else:
            self._move(State.DEAD, f"{how}; not started again")
        return False

    def _condemned(self) -> bool:
        return self._verdict is not None and self._verdict[0] is How.CONDEMNED

    def _too_many(self) -> bool:
        """Count this end; whether there were too many of late."""
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths and now - self._deaths[0] > self.process.deaths_within:
            self._deaths.popleft()
        return 0 < self.process.deaths <= len(self._deaths)

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
                self._kill(How.HUNG, "it did not stop when asked")

    # Its health.

    def look(self, now: float) -> None:
        """Judge it by its health file, `now` being `time.monotonic()`."""
        if not self.pid or not self.process.health or self.state not in RUNNING:
            return
        if self._popen is not None:
            trim(self._folder.out(self.process.name))
        if self.cell is not None and (over := self.cell.look()):
            self._kill(How.LIMIT, over)
            return
        path = self._folder.health(self.process.name)
        said = read_health(path)
        mine = said.get("pid") == self.pid
        if now - self._looked_at > LATE_S:
            self._seen_at += now - self._looked_at
        self._looked_at = now
        if mine and (beat := last_beat(path)) != self._seen:
            self._seen, self._seen_at = beat, now
            self._silence.heard()
        silent = now - self._seen_at
        starting = not mine or said.get("condition") == Condition.STARTING  # it may compile for a while
        longest = self.process.ready_timeout if starting else self.process.hung_after
        judged = mine and self.process.strategies if starting else True
        hangs = self._silence.hangs(self.pid, silent, longest, now) if self.process.hung_after else False
        if hangs and judged:
            self._move(State.DEGRADED, f"no sign of life for {silent:.0f} s: killed")
            self._kill(How.HUNG, f"no sign of life for {longest:g} s")
        elif starting:
            if now - self._born_at > self.process.ready_timeout:
                self._move(State.DEGRADED, f"not ready after {self.process.ready_timeout:g} s")
        elif silent > STALE_S:
            self._move(State.DEGRADED, f"no sign of life for {STALE_S:g} s")
        elif self.cell is not None and (text := self.cell.noticed()):
            self._move(State.DEGRADED, text)
        else:
            self._judge(said)

    def _kill(self, how: How, why: str) -> None:
        """End it and what belongs to it; its first process last, for with that its life is over."""
        if self.pid:
            self._verdict = (how, why)
            if self.cell is not None:
                self.cell.kill()
            self.signal(signal.SIGKILL)

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
        self.lived = True
        self._move(State.HEALTHY)
        self._ready.set()

    def _healthy_for(self) -> float:
        return time.monotonic() - self._healthy_at if self._healthy_at else 0.0

    def _move(self, state: State, why: str = "") -> None:
        if (state, why) != (self.state, self.why):
            self.state, self.why = state, why
            self._told(self)

    def said(self) -> str:
        """The last line that its last life printed."""
        return last_line(self._folder.out(self.process.name), self._begin) if self._popen else ""

    def _how(self, code: int | None) -> str:
        if self._verdict is not None:
            return f"killed: {self._verdict[1]}"
        if self._again:
            return "restart asked for"
        return "ended" if code is None else how_it_ended(code, self.said() if code > 0 else "")

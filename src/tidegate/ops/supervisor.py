"""A topology as processes: started in order, kept alive, stopped in order; one supervisor a data folder."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from tidegate.errors import NotYet, UserError, nearest
from tidegate.model.clock import Clock
from tidegate.ops import control
from tidegate.ops.cell_group import Groups, find
from tidegate.ops.cell_life import Cell
from tidegate.ops.child import GOOD, RUNNING, USER_MISTAKE, Child, State
from tidegate.ops.ending import End
from tidegate.ops.folder import DataFolder, replace
from tidegate.ops.lock import Lock
from tidegate.ops.orders import TOKEN, Orders
from tidegate.ops.proc import ended, lives
from tidegate.ops.topology import Process, Topology

_LEFTOVER_S = 3.0


class Event(NamedTuple):
    """Something that happened to a process: a change of its state, or of the supervisor's own (`up`)."""

    ts: int
    name: str
    state: str
    text: str
    level: str


class ChildFailed(Exception):
    """A process without which the system does not come up has ended by itself: which, and how."""


class Supervisor:
    """Runs a topology on a data folder. `on_event` hears of everything at once and must not block.

    `on_end` is awaited where a process ended as nobody wished (`ending`), before it is started again. `orders` judges what
    people ask for over the control socket; without it they may only look.

    `run` does it all; `start`, `wait` and `stop` are its parts. Raises `UserError` when the folder is in use or
    cannot be written, or a critical process ends with exit code 2 while starting, or with 75 (`NotYet`) before it was
    healthy once: its own line is the message. Later a process that ends with 75 is started again.
    """

    def __init__(
        self,
        topology: Topology,
        folder: DataFolder,
        clock: Clock,
        on_event: Callable[[Event], None] = lambda event: None,
        period: float = 0.5,
        on_end: Callable[[Process, End], Awaitable[None]] | None = None,
        orders: Orders | None = None,
    ) -> None:
        self._orders = orders or Orders(clock)
        self.folder, self.clock, self.period = folder, clock, period
        self.env: MutableMapping[str, str] = {}
        self.topology = topology
        celled = any(p.cell is not None for p in topology.processes)
        self.groups = find(folder.path) if celled else Groups(folder.path, {}, 2)
        self.children = {
            p.name: Child(
                self._trusted(p), folder, self.env, self._changed,
                Cell(p.name, p.cell, self.groups) if p.cell is not None else None, on_end,
            )
            for p in topology.processes
        }  # fmt: skip
        self.counters = {"states_unwritten": 0, "leftovers_ended": 0}
        self._on_event = on_event
        self._lock = Lock(folder)
        self._wanted = asyncio.Event()
        self._failure: Exception | None = None
        self._up = self._stopping = False
        self._server: asyncio.Server | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._dirty: asyncio.Handle | None = None

    # The whole.

    async def run(self) -> None:
        """Start, stay until asked to stop (`ask_stop`, SIGTERM, SIGINT, SIGHUP) or nothing runs any more, stop."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in signals:
            loop.add_signal_handler(number, self._signalled)
        try:
            await self.start()
            await self.wait()
        finally:
            try:
                await self.stop()
            finally:
                for number in signals:
                    loop.remove_signal_handler(number)
        if self._failure is not None:
            raise self._failure

    async def start(self) -> None:
        """Take the folder and start every process in order; return when the critical ones are ready or one failed."""
        self.folder.make()
        before = self._lock.take()
        if before is not None:
            self._tell("up", "stale lock", f"the last `tidegate up`, process {before.pid}, died", "warning")
            await self._end_leftovers()
        self._server = await control.serve(
            self.folder.socket, lambda request: self._orders.answer(request, self)
        )
        self._watcher = asyncio.create_task(self._watch())
        self._tell(
            "up", "starting", f"{len(self.children)} processes on {self.folder.path}, process {os.getpid()}"
        )
        for child in self.children.values():
            if self._wanted.is_set():
                return
            if child.process.spare:
                continue
            child.start()
            if child.process.wait:
                await self._ready([child])
        await self._ready([child for child in self.children.values() if child.process.critical])
        self._up = True
        self._tell("up", "running", "")

    async def wait(self) -> None:
        """Return when a stop was asked for, or every process has ended for good."""
        await self._wanted.wait()

    def ask_stop(self) -> None:
        """Stop soon, in order."""
        self._wanted.set()

    async def stop(self) -> None:
        """Stop every process, group after group, and give the folder back. Twice is once."""
        if self._stopping:
            return
        self._stopping = True
        self._wanted.set()
        if self._server is None:  # never had the folder
            self._lock.release()
            return
        self._tell("up", "stopping", "")
        for group in self.topology.stops():
            await asyncio.gather(*(self.children[process.name].stop() for process in group))
        if self._watcher is not None:
            self._watcher.cancel()
        self._server.close()
        self.folder.socket.unlink(missing_ok=True)
        self._tell("up", "stopped", "")
        self._write()
        self._lock.release()

    # One process.

    def child(self, name: str) -> Child:
        """The process of that name; raises `UserError`."""
        if name not in self.children:
            raise UserError(f"no process {name!r}{nearest(name, self.children)}")
        return self.children[name]

    def rows(self) -> list[dict[str, Any]]:
        """What is known of each process, for `ps` and the view."""
        return [
            {
                "name": child.process.name, "state": child.state, "why": child.why, "pid": child.pid,
                "started": child.began, "restarts": child.restarts, "code": child.code,
                "cell": child.cell.in_force if child.cell is not None and child.pid else "",
            }
            for child in self.children.values()
            if child.pid or not child.process.spare
        ]  # fmt: skip

    async def act(self, do: str, name: str, number: int, by: str) -> int:
        """Stop, restart or kill (by signal `number`) one process, as `by` asks; its process id. Raises `UserError`."""
        child = self.child(name)
        self._tell(name, f"{do} asked for", f"by {by}", "warning")
        if do == "stop":
            await child.stop()
        elif do == "restart":
            await child.restart()
        else:
            pid = child.pid
            if not child.signal(number):
                raise UserError(f"{name} does not run: {child.state}")
            return pid
        return child.pid

    async def slot(self, name: str, run: bool) -> int:
        """Start or stop the process of a slot for new versions; its process id. Raises `UserError`."""
        child = self.child(name)
        if not child.process.spare:
            raise UserError(f"{name} is no slot for new versions")
        if run:
            child.start()
        elif child.state is not State.WAITING:
            await child.stop()
        return child.pid

    def _trusted(self, process: Process) -> Process:
        """With what lets it ask for slots, where it may."""
        if not process.slots:
            return process
        return dataclasses.replace(process, env={**process.env, TOKEN: self._orders.token})

    # What happens.

    def _changed(self, child: Child) -> None:
        level = "info"
        if child.state in (State.DEGRADED, State.RESTARTING):
            level = "warning"
        elif child.state is State.DEAD:
            level = "error"
        text = child.why or (f"process {child.pid}" if child.state is State.STARTING else "")
        self._tell(child.process.name, child.state, text, level)
        # Who starts a system is told what it lacks; once it was up, what is not there is waited for.
        ends = child.state in (State.DEAD, State.RESTARTING)
        lacks = ends and child.code == NotYet.CODE and not child.lived
        failed = child.state is State.DEAD or lacks
        if failed and child.process.critical and not self._up and not self._stopping:
            message = f"{child.process.name}: {(lacks and child.said()) or child.why}"
            mistake = lacks or child.code in (None, USER_MISTAKE)
            self._failure = self._failure or (UserError(message) if mistake else ChildFailed(message))
            self._wanted.set()
        if all(c.state in (State.DONE, State.DEAD) for c in self.children.values() if not c.process.spare):
            self._wanted.set()

    async def _ready(self, children: list[Child]) -> None:
        waits = [asyncio.ensure_future(child.ready()) for child in children]
        asked = asyncio.ensure_future(self._wanted.wait())
        while waits and not asked.done():
            await asyncio.wait({asked, *waits}, return_when=asyncio.FIRST_COMPLETED)
            waits = [wait for wait in waits if not wait.done()]
        for task in (asked, *waits):
            task.cancel()

    def _tell(self, name: str, state: str, text: str, level: str = "info") -> None:
        self._on_event(Event(self.clock.now(), name, str(state), text, level))
        if self._dirty is None and self._server is not None:  # several changes of one moment are one write
            self._dirty = asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._dirty = None
        body = {"pid": os.getpid(), "ts": self.clock.now(), "processes": self.rows()}
        try:
            replace(self.folder.states, msgspec.json.encode(body))
        except OSError:
            self.counters["states_unwritten"] += 1

    def _signalled(self) -> None:
        if not self._wanted.is_set():
            self._orders.note("a signal", "stop", "system", "done", "by the terminal, or the machine", b"")
            self.ask_stop()
        else:  # asked twice: now
            for child in self.children.values():
                child.signal(signal.SIGKILL)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.period)
            now = time.monotonic()
            for child in self.children.values():
                child.look(now)

    async def _end_leftovers(self) -> None:
        """End what a supervisor that was killed has left behind: two of one name must never run."""
        left = [row for row in read_states(self.folder) if lives(row["pid"], row["started"])]
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = [row for row in left if lives(row["pid"], row["started"])]
            for row in left:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(row["pid"], number)
                self.counters["leftovers_ended"] += 1
                self._tell(row["name"], "left over", f"process {row['pid']} ended", "warning")
            waits = [asyncio.create_task(ended(row["pid"])) for row in left]
            if waits:
                _, late = await asyncio.wait(waits, timeout=_LEFTOVER_S)
                for task in late:
                    task.cancel()


def read_states(folder: DataFolder) -> list[dict[str, Any]]:
    """The rows a supervisor of this folder wrote last; empty where none did."""
    try:
        return list(msgspec.json.decode(folder.states.read_bytes())["processes"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def all_good(rows: list[dict[str, Any]]) -> bool:
    """Whether every process is healthy, or done with what it had to do."""
    return bool(rows) and all(row.get("state") in GOOD for row in rows)


__all__ = ["RUNNING", "ChildFailed", "Event", "Supervisor", "all_good", "read_states"]

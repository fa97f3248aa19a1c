"""Processes on a virtual loop, which can be killed and stopped as the real ones can.

Every callback, task and timer belongs to the process in which it was made; a context variable carries its name along.
`kill` is SIGKILL: nothing of the process ever runs again. `pause` is SIGSTOP: what falls due meanwhile runs late, when
the process is resumed, while the world has gone on.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
import weakref
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

from tidegate.model.clock import SLEW
from tidegate.sim.virtual_socket import End, Listener, Sockets
from tidegate.sim.virtual_time import START, Stuck, VirtualLoop

_owner: ContextVar[VirtualProcess | None] = ContextVar("_owner", default=None)
OUTSIDE = Context()
"""Where callbacks of nobody's run: the network, the venue, whoever draws the faults."""


class VirtualProcess:
    """One life of one process. `on_error` is told what asyncio would write to its log: exceptions nobody caught."""

    def __init__(self, name: str, loop: ProcessLoop) -> None:
        self.name = name
        self.dead = False
        self.paused = False
        self._loop = loop
        self._held: list[_Owned | _OwnedTimer] = []
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._context = Context()
        self._context.run(_owner.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}{' dead' if self.dead else ' paused' if self.paused else ''}>"

    def run(self, act: Callable[..., Any], *args: Any) -> Any:
        """Call `act` as something that happens in this process."""
        if _owner.get() is self:
            return act(*args)
        return self._context.copy().run(act, *args)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of this process."""
        task: asyncio.Task[None] = self.run(self._loop.create_task, work)
        return task

    def pause(self) -> None:
        """Let nothing run until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Run what fell due meanwhile, in its order, and go on."""
        if self.paused:
            self.paused = False
            held, self._held = self._held, []
            self._loop.take_back(held)

    def kill(self) -> None:
        """Let nothing of this process ever run again, for anybody else to see."""
        self.dead = True
        self._held.clear()
        self._loop.sockets.ended(self)
        for task in list(self._tasks):
            if not task.done():
                self._bury(task)

    def _bury(self, task: asyncio.Task[Any]) -> None:
        """Free what the task holds. Its `finally` blocks do run, but in a dead process, whence nothing comes out."""
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        asyncio.tasks._unregister_task(task)  # nobody may wait for it, or cancel it
        with contextlib.suppress(RuntimeError, ValueError):  # it awaits in a `finally`
            self.run(task.get_coro().close)

    def hold(self, handle: _Owned | _OwnedTimer) -> None:
        """A callback is due while the process is paused."""
        self._held.append(handle)

    def owns(self, task: asyncio.Task[Any]) -> None:
        """A task was made in this process."""
        self._tasks.add(task)


def current() -> VirtualProcess | None:
    """The process that runs now; None outside."""
    return _owner.get()


class _Owned(events.Handle):
    """A callback with its process."""

    __slots__ = ("process",)
    process: VirtualProcess | None


class _OwnedTimer(events.TimerHandle):
    """A timer with its process."""

    __slots__ = ("process",)
    process: VirtualProcess | None


class ProcessLoop(VirtualLoop):
    """A virtual loop that knows whose each callback is. Timers of one time fire in the order they were set."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        """Callbacks scheduled so far."""
        self.sockets = Sockets(self)
        self._timers: list[tuple[int, int, _OwnedTimer]] = []
        self.set_task_factory(_make_task)  # type: ignore[arg-type]

    def _call_soon(self, callback: Callable[..., Any], args: Any, context: Context | None) -> events.Handle:
        if context is None:
            context = copy_context()
        self.steps += 1
        handle = _Owned(callback, args, self, context)
        handle.process = context.get(_owner)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """See `asyncio.loop.call_at`."""
        ns = max(math.ceil(when * 1e9 - 1e-3), self._ns + (when > self.time()))
        return self._set(ns, callback, args, context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """See `asyncio.loop.call_later`."""
        ns = self._ns + (max(1, math.ceil(delay * 1e9 - 1e-3)) if delay > 0 else 0)
        return self._set(ns, callback, args, context)

    def _set(
        self, ns: int, callback: Callable[..., Any], args: Any, context: Context | None
    ) -> events.TimerHandle:
        if context is None:
            context = copy_context()
        self.steps += 1
        timer = _OwnedTimer(ns / 1e9, callback, args, self, context)
        timer.process = context.get(_owner)
        heapq.heappush(self._timers, (ns, self.steps, timer))
        return timer

    async def create_unix_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str, **_: Any
    ) -> Listener:
        """See `asyncio.loop.create_unix_server`, and `virtual_socket`."""
        return self.sockets.listen(protocol_factory, path, _owner.get())

    async def create_unix_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str, **_: Any
    ) -> tuple[End, asyncio.BaseProtocol]:
        """See `asyncio.loop.create_unix_connection`, and `virtual_socket`."""
        made = protocol_factory()
        return self.sockets.connect(lambda: made, path, _owner.get()), made

    def _run_once(self) -> None:
        """One round: let time pass where nothing is ready, then run what is ready and what is due."""
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise Stuck("nothing is ready to run and no timer is set")
            self._ns = max(self._ns, timers[0][0])
        while timers and timers[0][0] <= self._ns:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            process = handle.process
            if process is None or not (process.dead or process.paused):
                handle._run()
            elif not process.dead:
                process.hold(handle)

    def take_back(self, held: list[_Owned | _OwnedTimer]) -> None:
        """Run these next, in this order."""
        self._ready.extend(handle for handle in held if not handle.cancelled())  # type: ignore[attr-defined]


def _make_task(loop: Any, work: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, **more)
    process = _owner.get()
    if process is not None:
        process.owns(task)
    return task


class Outside:
    """A loop for what belongs to no process, whoever calls: the server of the log, the network, the venue."""

    def __init__(self, loop: ProcessLoop) -> None:
        self._loop = loop
        self.time = loop.time
        self.create_future = loop.create_future
        self.create_task = loop.create_task
        self.call_exception_handler = loop.call_exception_handler

    def call_soon(self, callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        """See `asyncio.loop.call_soon`."""
        return self._loop.call_soon(callback, *args, context=OUTSIDE)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """See `asyncio.loop.call_at`."""
        return self._loop.call_at(when, callback, *args, context=OUTSIDE)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """See `asyncio.loop.call_later`."""
        return self._loop.call_later(delay, callback, *args, context=OUTSIDE)


class Machine:
    """The clock of a machine, which somebody may set: `step` is by how much it is off, ns."""

    def __init__(self) -> None:
        self.step = 0


class ProcessClock:
    """`model.clock.SystemClock` in virtual time: begins at the machine's time, then follows its steps slowly."""

    def __init__(self, loop: asyncio.AbstractEventLoop, machine: Machine, start: int = START) -> None:
        self._loop, self._machine, self._start = loop, machine, start
        self._offset = machine.step
        self._looked = self._elapsed()
        self._last = 0

    def _elapsed(self) -> int:
        return round(self._loop.time() * 1e9)

    def now(self) -> int:
        """See `model.clock.Clock`."""
        elapsed = self._elapsed()
        drift = self._machine.step - self._offset
        if drift:
            most = (elapsed - self._looked) // SLEW
            self._offset += max(-most, min(most, drift))
        self._looked = elapsed
        self._last = max(self._last, self._start + elapsed + self._offset)
        return self._last

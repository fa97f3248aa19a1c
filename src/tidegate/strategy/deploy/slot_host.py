"""The service of one slot: runs the version that DEPLOY says, and changes it in place when DEPLOY says another.

A change does not start a process: the old version is stopped, its orders cancelled, its state kept; the new one is made,
given its state, and started, within the same process. What it comes to is said in the slot's state (`slot_state`); whether
that means a fall-back, the watcher decides.

State: `strategy.<slot>` in the bucket STATE is what the version that runs there saves; `kept.<strategy>.<version>` is the
last state of a version, wherever it ran. A version begins with its own, else with that of the version that is live.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from tidegate.log.base import Log, LogError, Subscription
from tidegate.model.clock import Clock
from tidegate.risk.scopes import NEXT
from tidegate.strategy.deploy import slot_state
from tidegate.strategy.deploy.board_reader import open_board
from tidegate.strategy.deploy.slot_state import REMEMBERED, Life, SlotState
from tidegate.strategy.deploy.stages import Change, DeployBoard, Stage, Status

_log = logging.getLogger("tidegate.deploy")
LIVE = "live"
"""The stage of what runs in the strategy's own slot."""
_LOOK = 0.1
"""Seconds between two looks at whether the version has failed."""
_OTHER = 10.0
"""Seconds a version that goes live waits for its canary's end."""


class Hosted(Protocol):
    """A version at work (`strategy.service`, `sim.shadow`). `error` is why it has stopped; empty while it has not."""

    error: str

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def health(self) -> dict[str, Any]: ...


class Wanted(NamedTuple):
    """What is to run in a slot. `stage` is live, canary or shadow; `state` the bytes of the saved state to begin with."""

    slot: str
    strategy: str
    version: str
    stage: str
    attempt: int
    state: bytes = b""


Make = Callable[[Wanted], Awaitable[Hosted]]


class SlotHost:
    """Runs the live slot of `strategy`, or with `candidate` that of its candidate.

    `make` builds a version's service; what it raises is the version's failure. `end` stops a service and sees that its
    orders are cancelled.
    """

    def __init__(
        self, strategy: str, candidate: bool, board: DeployBoard, log: Log, clock: Clock, make: Make,
        end: Callable[[Hosted], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.slot = strategy + (NEXT if candidate else "")
        self.state = SlotState(slot=self.slot)
        self._strategy, self._candidate = strategy, candidate
        self._board, self._log, self._clock, self._make, self._end = board, log, clock, make, end
        self._hosted: Hosted | None = None
        self._runs: Wanted | str | None = ""
        self._leases, self._states = log.bucket(slot_state.BUCKET), log.bucket("STATE")
        self._following: Subscription | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn what is to run, and run it."""
        self._following = await open_board(self._log, self._board, self._told)
        with contextlib.suppress(LogError, ValueError):
            self.state = await slot_state.read(self._leases, self.slot)
        self._changed.set()
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End what runs, as the configuration says of resting orders."""
        if self._following is not None:
            self._following.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._hosted is not None:
            failed = self._hosted.error
            await self._hosted.stop()
            await self._keep()
            if not failed:
                await self._say(Life.STOPPED)

    def health(self) -> dict[str, Any]:
        """The version's own, and which it is."""
        found: dict[str, Any] = {"ok": True, "why": "", "strategies": {}}
        if self._hosted is not None:
            found = self._hosted.health()
        if self.state.life is Life.FAILED:
            found["ok"], found["why"] = False, self.state.why
        strategies: dict[str, dict[str, Any]] = found.get("strategies", {})
        for figures in strategies.values():
            figures.update(version=self.state.version, stage=self.state.stage)
        return found

    def _told(self, change: Change) -> None:
        if change.after.strategy == self._strategy:
            self._changed.set()

    def _wanted(self) -> Wanted | None:
        status = self._board.status(self._strategy)
        if not self._candidate:
            return Wanted(self.slot, self._strategy, status.live, LIVE, status.live_seq)
        if status.stage is Stage.NONE:
            return None
        return Wanted(self.slot, self._strategy, status.candidate, str(status.stage), status.attempt)

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK)
            self._changed.clear()
            if self._wanted() != self._runs:
                try:
                    await self._change()
                except LogError:  # it is away: begin again when it is back
                    self._runs = ""
                    await asyncio.sleep(_LOOK)
            elif self._hosted is not None and self._hosted.error and self.state.life is not Life.FAILED:
                await self._say(Life.FAILED, self._hosted.error)

    async def _change(self) -> None:
        """Stop what runs, and start what is wanted by then."""
        if self._hosted is not None:
            hosted, self._hosted = self._hosted, None
            await self._end(hosted)
            await self._keep()
        wanted = self._runs = self._wanted()
        if wanted is None:
            self.state = SlotState(slot=self.slot)
            await self._say(Life.IDLE)
            return
        await self._run(wanted)

    async def _run(self, wanted: Wanted) -> None:
        same = (self.state.version, self.state.attempt) == (wanted.version, wanted.attempt)
        died = same and self.state.life in (Life.STARTING, Life.RUNNING)
        starts = [*(self.state.starts if died else []), self._clock.now()][-REMEMBERED:]
        self.state = SlotState(
            slot=self.slot, version=wanted.version, stage=wanted.stage, attempt=wanted.attempt, starts=starts
        )
        await self._say(Life.STARTING)
        try:
            if not self._candidate:
                await self._other_ended(wanted)
            data = await self._hand_over(wanted, died)
            self._hosted = await self._make(wanted._replace(state=data))
            await self._hosted.start()
        except LogError:
            raise
        except Exception as error:
            _log.exception("version %s of %s cannot be started", wanted.version, self.slot)
            await self._say(Life.FAILED, f"{type(error).__name__}: {error}")
            return
        if self._hosted.error:
            await self._say(Life.FAILED, self._hosted.error)
        else:
            await self._say(Life.RUNNING)

    async def _other_ended(self, wanted: Wanted) -> None:
        """A version that was a canary a moment ago: wait until that one has ended and kept its state. Where its key was
        overwritten nothing says so."""
        for _ in range(int(_OTHER / _LOOK)):
            with contextlib.suppress(ValueError):
                other = await slot_state.read(self._leases, self._strategy + NEXT)
                if other.version != wanted.version or other.life not in (Life.STARTING, Life.RUNNING):
                    return
            await asyncio.sleep(_LOOK)

    async def _hand_over(self, wanted: Wanted, died: bool) -> bytes:
        """The state to begin with; it is put where the version will save its own."""
        own = f"strategy.{self.slot}"
        if died:  # it is there
            return await self._value(own)
        status: Status = self._board.status(self._strategy)
        keys = [f"kept.{self._strategy}.{wanted.version}"]
        if self._candidate:
            keys.append(f"strategy.{self._strategy}")
        else:
            keys += [f"kept.{self._strategy}.{status.previous}"] if status.previous else []
            keys.append(own)
        data = b""
        for key in keys:
            data = data or await self._value(key)
        await self._states.put(own, data)
        return data

    async def _keep(self) -> None:
        """Remember the state of the version that has ended, under its own name."""
        with contextlib.suppress(LogError):
            data = await self._value(f"strategy.{self.slot}")
            if data and self.state.version:
                await self._states.put(f"kept.{self._strategy}.{self.state.version}", data)

    async def _value(self, key: str) -> bytes:
        found = await self._states.get(key)
        return found.value or b"" if found is not None else b""

    async def _say(self, life: Life, why: str = "") -> None:
        self.state = SlotState(
            slot=self.slot, version=self.state.version, stage=self.state.stage, attempt=self.state.attempt, life=life,
            why=why, ts=self._clock.now(), starts=self.state.starts if life is not Life.STOPPED else [],
        )  # fmt: skip
        while True:
            try:
                await self._leases.put(slot_state.PREFIX + self.slot, self.state.encode())
                return
            except LogError:
                await asyncio.sleep(_LOOK)

"""A lane that broke, taken up again: two people say so on `oms.take_up`, and any instance that hears it obeys."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from tidegate.access.command import Command, Signed
from tidegate.access.verify import Denied
from tidegate.execution.ownership import Ownership
from tidegate.log.base import Log, LogError, Subscription
from tidegate.model.clock import Clock
from tidegate.risk.halt import Check

SUBJECT = "oms.take_up"
DO = "take-up"
Note = Callable[[str, str, str, str, str, bytes], None]
"""(who, do, scope, outcome, detail, signed), as `access.audit.AuditTrail.note`."""


class Answer(msgspec.Struct, frozen=True):
    """`error` is empty where it was done; `was` is what the lane was broken by."""

    error: str = ""
    was: str = ""


def scope(lane: int) -> str:
    """The scope of a command that takes a lane up: `lane:0`."""
    return f"lane:{lane}"


class TakeUp:
    """One instance's ear for such commands. Asked twice it says that nothing is broken."""

    def __init__(self, ownership: Ownership, check: Check, note: Note, log: Log, clock: Clock) -> None:
        self._ownership, self._check, self._note = ownership, check, note
        self._log, self._clock = log, clock
        self._served: Subscription | None = None

    def start(self) -> None:
        """Listen."""
        self._served = self._log.serve(SUBJECT, self._answer)

    def close(self) -> None:
        """Listen no more."""
        if self._served is not None:
            self._served.close()

    async def _answer(self, data: bytes) -> bytes:
        try:
            command = self._check(data, self._clock.now()).command
        except Denied as error:
            with contextlib.suppress(ValueError):
                claimed = Signed.decode(data).command
                who = f"{claimed.by} (not verified)"
                self._note(who, claimed.do, claimed.scope, f"refused: {error}", "", data)
            return msgspec.json.encode(Answer(str(error)))
        answer = await self._follow(command)
        outcome = f"refused: {answer.error}" if answer.error else "done"
        detail = f"{command.reason}; it was broken by: {answer.was}" if answer.was else command.reason
        self._note(command.by, command.do, command.scope, outcome, detail, data)
        return msgspec.json.encode(answer)

    async def _follow(self, command: Command) -> Answer:
        lanes = {scope(lane): lane for lane in self._ownership.leases}
        if command.do != DO:
            return Answer(f"{command.do!r} is not for order managers: they only take lanes up")
        if command.scope not in lanes:
            return Answer(f"no lane is called {command.scope!r}; there are {', '.join(lanes)}")
        try:
            was = await self._ownership.mend(lanes[command.scope])
        except LogError as error:
            return Answer(f"the log did not take it: {type(error).__name__} {error}; try again")
        return Answer(was=was) if was else Answer(f"{command.scope} is not broken")

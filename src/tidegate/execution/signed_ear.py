"""An ear for one kind of command that people sign: verified, done once, and put on the audit trail, whatever came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from tidegate.access.note import Note, unbelieved
from tidegate.access.verify import Denied, Verified
from tidegate.log.base import Log, LogError, Subscription
from tidegate.model.clock import Clock
from tidegate.risk.halt import Check


class Answer(msgspec.Struct, frozen=True):
    """`error` is empty where it was done; `was` is what the lane that is taken up was broken by."""

    error: str = ""
    was: str = ""


Follow = Callable[[Verified], Awaitable[Answer]]
"""Does what a verified command says, and knows who stands behind it. A `LogError` becomes the answer's error."""


class SignedEar:
    """Serves `subject`, for commands to `do`; `purpose` is what its owner is for, in a refusal of others."""

    def __init__(
        self, subject: str, do: str, purpose: str, follow: Follow, check: Check, note: Note, log: Log, clock: Clock
    ) -> None:  # fmt: skip
        self._subject, self._do, self._purpose, self._follow = subject, do, purpose, follow
        self._check, self._note, self._log, self._clock = check, note, log, clock
        self._served: Subscription | None = None

    def start(self) -> None:
        """Listen."""
        self._served = self._log.serve(self._subject, self._answer)

    def close(self) -> None:
        """Listen no more."""
        if self._served is not None:
            self._served.close()

    async def _answer(self, data: bytes) -> bytes:
        try:
            verified = self._check(data, self._clock.now())
        except Denied as error:
            unbelieved(self._note, data, error, do=self._do)
            return msgspec.json.encode(Answer(str(error)))
        answer, command = await self._done(verified), verified.command
        outcome = f"refused: {answer.error}" if answer.error else "done"
        detail = f"{command.reason}; it was broken by: {answer.was}" if answer.was else command.reason
        self._note(command.by, command.do, command.scope, outcome, detail, data)
        return msgspec.json.encode(answer)

    async def _done(self, verified: Verified) -> Answer:
        if verified.command.do != self._do:
            return Answer(f"{verified.command.do!r} is not for order managers here: {self._purpose}")
        try:
            return await self._follow(verified)
        except LogError as error:
            return Answer(f"the log did not take it: {type(error).__name__} {error}; try again")

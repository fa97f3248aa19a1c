"""The quick way of a halt that a component of ours decides: to every gateway it can reach, beside the log.

The log's leader may be dead just then. What comes this way is unsigned, so it can only go down; it is the same event, by
its id, as the one that the log brings, and the log stays the truth. `docs/halts.md`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from tidegate.errors import UserError
from tidegate.log.base import Log
from tidegate.log.outbox import Outbox
from tidegate.risk.halt import (
    FLATTEN,
    MANUAL,
    RECOVERED,
    HaltEvent,
    Ignored,
    decode,
    halts,
    most_severe,
)
from tidegate.risk.scope_name import split
from tidegate.risk.scopes import State

SUBJECT = "now.halt"
"""Ephemeral, and of no stream: published by the risk service, heard by gateways."""
AGAIN = 0.5
"""Seconds between two tellings, until the log has it: a message may be lost, a gateway may just have started."""
ACTING = "risk.acting"
"""The key in LEASE of the risk service that acts: gateways watch how old it is."""
_PEOPLE = (MANUAL, FLATTEN, RECOVERED)


def read(data: bytes | HaltEvent, known: Callable[[str], bool]) -> HaltEvent:
    """The event, where it may be followed before the log has it: a component's own, down, of a scope there is. Raises
    `Ignored`."""
    try:
        event = decode(data) if isinstance(data, bytes) else data
        split(event.scope)
    except (ValueError, UserError) as error:
        raise Ignored("malformed", str(error)) from None
    if event.signed or event.trigger in _PEOPLE:
        raise Ignored("other_command", f"a {event.trigger} of {event.scope} goes by a signed command")
    if not halts(event.state):
        raise Ignored("up", f"{event.scope} goes to {event.state.name} by the log alone")
    if not known(event.scope):
        raise Ignored("unknown_scope", f"there is no {event.scope} here")
    return event


Sockets = Callable[[HaltEvent], None]
"""Tells the gateways of this machine by their sockets, without waiting for them."""


class Teller:
    """Tells an event at once, by `now.halt` and by `sockets`, and again until `outbox` says that the log has it."""

    def __init__(self, log: Log, outbox: Outbox, sockets: Sockets | None, counts: Counter[str]) -> None:
        self._log, self._outbox, self._sockets, self._counts = log, outbox, sockets, counts
        self._waiting: list[tuple[int, HaltEvent]] = []
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, event: HaltEvent) -> None:
        """Call it before the event is put into the outbox: nothing is quicker."""
        self._say(event)
        self._waiting.append((self._outbox.put_count + 1, event))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AGAIN, self._again)

    def waits(self, scope: str) -> State:
        """To what the scope is brought by what the log does not have yet."""
        waiting = [e.state for mark, e in self._waiting if e.scope == scope and not self._outbox.passed(mark)]
        return most_severe(waiting)

    def close(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _say(self, event: HaltEvent) -> None:
        self._counts["halts_told_quickly"] += 1
        self._log.publish(SUBJECT, event.encode())
        if self._sockets is not None:
            self._sockets(event)

    def _again(self) -> None:
        self._timer = None
        self._waiting = [one for one in self._waiting if not self._outbox.passed(one[0])]
        for _, event in self._waiting:
            self._say(event)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(AGAIN, self._again)

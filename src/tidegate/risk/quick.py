"""The quick way of a halt that a component of ours decides: to every gateway it can reach, beside the log.

The log's leader may be dead just then. What comes this way is unsigned, so it can only go down; it is the same event, by
its id, as the one that the log brings, and the log stays the truth. `docs/halts.md`.
"""

from __future__ import annotations

from collections.abc import Callable

from tidegate.errors import UserError
from tidegate.risk.halt import FLATTEN, MANUAL, RECOVERED, HaltEvent, Ignored, decode, halts
from tidegate.risk.scope_name import split

SUBJECT = "now.halt"
"""Ephemeral, and of no stream: published by the risk service, heard by gateways."""
AGAIN = 0.5
"""Seconds between two tellings, until the log has it: a message may be lost, a gateway may just have started."""
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

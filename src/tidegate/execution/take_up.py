"""A lane that broke, taken up again: two people say so on `oms.take_up`, and any instance that hears it obeys."""

from __future__ import annotations

from tidegate.access.command import Command
from tidegate.access.note import Note
from tidegate.execution.ownership import Ownership
from tidegate.execution.signed_ear import Answer, SignedEar
from tidegate.log.base import Log
from tidegate.model.clock import Clock
from tidegate.risk.halt import Check

SUBJECT = "oms.take_up"
DO = "take-up"


def scope(lane: int) -> str:
    """The scope of a command that takes a lane up: `lane:0`."""
    return f"lane:{lane}"


def take_up(ownership: Ownership, check: Check, note: Note, log: Log, clock: Clock) -> SignedEar:
    """One instance's ear for such commands. Asked twice it says that nothing is broken."""

    async def follow(command: Command) -> Answer:
        lanes = {scope(lane): lane for lane in ownership.leases}
        if command.scope not in lanes:
            return Answer(f"no lane is called {command.scope!r}; there are {', '.join(lanes)}")
        was = await ownership.mend(lanes[command.scope])
        return Answer(was=was) if was else Answer(f"{command.scope} is not broken")

    return SignedEar(SUBJECT, DO, "they only take lanes up", follow, check, note, log, clock)

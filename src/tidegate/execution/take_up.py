"""A lane that broke, taken up again: two people say so on `oms.take_up`, and any instance that hears it obeys.

Where an entry of its log breaks the lane whoever folds it, they may say that it is passed over (`--skip`): that is
written into the lane's log itself, the entry is copied to DEAD with who and why, and the lane's accounts only reduce
until two people have seen that they agree with their venues.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tidegate.access.note import Note
from tidegate.access.verify import Verified
from tidegate.execution.lane_log import letter, skip_subject, skips
from tidegate.execution.ownership import Ownership
from tidegate.execution.signed_ear import Answer, SignedEar
from tidegate.log.base import Log
from tidegate.model.clock import Clock
from tidegate.model.messages import LaneSkip
from tidegate.model.wire import pack
from tidegate.risk.halt import Check

SUBJECT = "oms.take_up"
DO = "take-up"
Restrict = Callable[[int, str], Awaitable[None]]
"""(lane, why): its accounts only reduce from here on; durable when awaited."""


def scope(lane: int) -> str:
    """The scope of a command that takes a lane up: `lane:0`."""
    return f"lane:{lane}"


def take_up(
    ownership: Ownership, restrict: Restrict, check: Check, note: Note, log: Log, clock: Clock
) -> SignedEar:
    """One instance's ear for such commands. Asked twice it says that nothing is broken."""

    async def follow(verified: Verified) -> Answer:
        command = verified.command
        lanes = {scope(lane): lane for lane in ownership.leases}
        if command.scope not in lanes:
            return Answer(f"no lane is called {command.scope!r}; there are {', '.join(lanes)}")
        lane, entry = lanes[command.scope], command.args.get("skip", "")
        broken = ownership.leases[lane][0].broken
        if not broken:
            return Answer(f"{command.scope} is not broken")
        if entry:
            if not entry.isdecimal() or not broken.startswith(f"entry {entry}: "):
                return Answer(f"{command.scope} was not broken by entry {entry}, but by: {broken}")
            by = " and ".join(verified.names)
            await _skip(lane, int(entry), by, f"{command.reason}; it broke the lane: {broken}", log, clock)
            await restrict(lane, f"entry {entry} of lane {lane} is skipped by {by}: {command.reason}")
        was = await ownership.mend(lane)
        return Answer(was=was) if was else Answer(f"{command.scope} is not broken")

    return SignedEar(SUBJECT, DO, "they only take lanes up", follow, check, note, log, clock)


async def _skip(lane: int, seq: int, by: str, why: str, log: Log, clock: Clock) -> None:
    """The entry is among the dead letters, and then passed over. Done once: a lane is broken by one entry at a time.
    Raises `LogError`."""
    stream, now = f"LANE_{lane}", clock.now()
    word = await skips(log, lane)
    before = word.said.skips if word.said else ()
    if any(seq == known for known, _, _ in before):
        return
    async for entries in log.read(stream, seq - 1, seq):
        for entry in entries:
            data = letter(stream, entry, f"skipped by {by}: {why}")
            await log.append(f"dead.skip.{lane}", data, msg_id=f"skip-{lane}-{seq}")
    said = LaneSkip(now, (*before, (seq, by, why)))
    await log.append(skip_subject(lane), pack([said], ts=now, lane=lane), expect=word.seq)

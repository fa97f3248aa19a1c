"""Control 15's way back: a person says on `oms.acknowledge` that a strategy's executions have been seen.

Whichever instance hears it writes `Acknowledge` into every lane's log, its own or not: where the strategy trades
nothing it changes nothing. Done once: an instance remembers the command, and what another would write again has the
same message id, which the log takes once for longer than such a command may live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidegate.access.command import LIFE, Command
from tidegate.access.note import Note
from tidegate.access.verify import Verified
from tidegate.errors import UserError
from tidegate.execution.signed_ear import Answer, SignedEar
from tidegate.log.base import Log
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Acknowledge, Message
from tidegate.model.wire import pack
from tidegate.risk.halt import Check
from tidegate.risk.scope_name import Kind, parse
from tidegate.risk.scopes import Level, ScopeTable

SUBJECT = "oms.acknowledge"
DO = "acknowledge"
First = Callable[[str, int, int], bool]
"""(id, expires, now): whether a command is new, as `access.replays.Replays.first`."""
_PIECE = 1_000
"""Messages in one entry of a lane's log."""


def acknowledge(
    scopes: ScopeTable,
    universe: Universe,
    lanes: Sequence[int],
    check: Check,
    first: First,
    note: Note,
    log: Log,
    clock: Clock,
) -> SignedEar:
    """One instance's ear for such commands: scope `strategy:NAME`, all its instruments or that in `args["instrument"]`."""

    async def follow(verified: Verified) -> Answer:
        command = verified.command
        try:
            strategy, instruments = _what(command, scopes, universe)
        except UserError as error:
            return Answer(str(error))
        if command.expires - command.issued > LIFE:
            return Answer(f"LIVES_TOO_LONG: one of these may live {LIFE / 1e9:g} s; sign it again")
        now = clock.now()
        if not first(command.id, command.expires, now):
            return Answer("COMMAND_REPEATED: it was done before; sign it again")
        said: list[Message] = [
            Acknowledge(now, strategy, instrument, by=command.by) for instrument in instruments
        ]
        for lane in lanes:
            for at in range(0, len(said), _PIECE):
                data = pack(said[at : at + _PIECE], ts=now, lane=lane)
                await log.append(f"lane.{lane}.sys", data, msg_id=f"acknowledge-{command.id}-{lane}-{at}")
        return Answer()

    return SignedEar(
        SUBJECT, DO, "they only acknowledge executions", follow, check, note, log, clock
    )  # fmt: skip


def _what(command: Command, scopes: ScopeTable, universe: Universe) -> tuple[int, Sequence[int]]:
    """The strategy's number and the instruments'; raises `UserError`."""
    ref = parse(command.scope, scopes, universe)
    if ref.kind is not Kind.STRATEGY:
        raise UserError(f"{command.scope}: executions are a strategy's; say strategy:NAME")
    strategy = ref.number - scopes.number(Level.STRATEGY, scopes.strategies[0].name)
    name = command.args.get("instrument", "")
    if not name:
        return strategy, range(len(universe))
    return strategy, [parse(f"instrument:{name}", scopes, universe).number]

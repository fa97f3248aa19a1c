"""Two people say on `oms.adopt` that a position is ours: looked at once more, then written into the lane that has the account.

Whichever instance hears it asks the venue's gateway what is held now. What has moved since it was shown is refused; what
is appended, the lane judges by its own books at that place of its log, so a fill between the look and the append
refuses it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from tidegate.access.command import APPROVAL_LIFE, Command
from tidegate.access.note import Note
from tidegate.access.verify import Verified
from tidegate.errors import UserError
from tidegate.execution.holdings import Holdings, Shown, shown_in, unlike
from tidegate.execution.lane_view import LaneView, read_view, view_request
from tidegate.execution.signed_ear import Answer, SignedEar
from tidegate.log.base import Log, LogError
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import Adopt, Message
from tidegate.model.wire import MOST, pack
from tidegate.risk.halt import Check
from tidegate.risk.ledger import NOBODY
from tidegate.risk.scope_name import Kind, parse, text_of
from tidegate.risk.scopes import Level, ScopeTable

SUBJECT = "oms.adopt"
DO = "adopt"
LOOK = 20.0
"""Seconds that a gateway may take to look at its venue."""
TOLD = 10.0
"""Seconds that a lane may take to follow."""
First = Callable[[str, int, int], bool]


class Adopter:
    """One instance's hand in adoptions: `lanes` are those of the log."""

    def __init__(
        self, scopes: ScopeTable, universe: Universe, lanes: Sequence[int], first: First, log: Log, clock: Clock
    ) -> None:  # fmt: skip
        self._scopes, self._universe, self._lanes, self._first = scopes, universe, lanes, first
        self._log, self._clock = log, clock

    async def follow(self, verified: Verified) -> Answer:
        """Do what a verified command says."""
        command = verified.command
        try:
            account, strategy, shown = self._read(command)
        except (UserError, ValueError) as error:
            return Answer(str(error))
        if command.expires - command.issued > APPROVAL_LIFE:
            return Answer(f"LIVES_TOO_LONG: one of these may live {APPROVAL_LIFE / 1e9:g} s; sign it again")
        lane, why = await self._look(account, shown)
        if why:
            return Answer("; ".join(why))
        now = self._clock.now()
        if not self._first(command.id, command.expires, now):
            return Answer("COMMAND_REPEATED: it was done before; look again")
        index, by = self._universe.index, " and ".join(verified.names)
        said: list[Message] = [
            Adopt(
                now, account, index[one.instrument], one.lots, one.ours, one.price, strategy, by, command.id,
                one.given,
            )
            for one in shown
        ]  # fmt: skip
        data = pack(said, ts=now, lane=lane)
        seq = await self._log.append(f"lane.{lane}.sys", data, msg_id=f"adopt-{command.id}")
        return await self._told(lane, account, seq, command.id, len(shown))

    def _read(self, command: Command) -> tuple[int, int, list[Shown]]:
        ref = parse(command.scope, self._scopes, self._universe)
        if ref.kind is not Kind.ACCOUNT:
            raise UserError(f"{command.scope}: positions are an account's; say account:NAME")
        account = ref.number - self._scopes.account_scope(0)
        shown = shown_in(command.args.get("positions", ""))
        if len(shown) > MOST:
            raise UserError(f"{len(shown)} positions; one command may name {MOST}")
        for one in shown:
            parse(text_of(Kind.INSTRUMENT, one.instrument), self._scopes, self._universe)
            if one.price <= 0 and not self._universe[self._universe.index[one.instrument]].negative_prices:
                raise UserError(f"{one.instrument}: a price of {one.price} ticks is none")
        name = command.args.get("strategy", "")
        if not name:
            return account, NOBODY, shown
        strategy = self._scopes.number(Level.STRATEGY, name) - self._scopes.strategy_scope(0)
        if self._scopes.accounts[account].name not in self._scopes.strategies[strategy].accounts:
            raise UserError(f"strategy {name} does not trade on {command.scope}")
        return account, strategy, shown

    async def _look(self, account: int, shown: Sequence[Shown]) -> tuple[int, list[str]]:
        """The account's lane, and why what was shown is not what there is now."""
        name, lane, why = self._scopes.accounts[account].name, -1, []
        of = {one.instrument: self._universe[self._universe.index[one.instrument]].venue for one in shown}
        for venue in sorted(set(of.values())):
            answer = await self._log.request(f"ctl.gw.{venue}.{name}", b'{"do": "holdings"}', LOOK)
            try:
                now = msgspec.json.decode(answer, type=Holdings)
            except ValueError as error:
                return -1, [f"gateway {venue}.{name}: not understood: {error}"]
            if not now.ok or now.lane not in self._lanes:
                return -1, [f"gateway {venue}.{name}: {now.error or f'lane {now.lane}'}"]
            lane, held = now.lane, {row.instrument: row for row in now.rows}
            why += [
                text
                for one in shown
                if of[one.instrument] == venue
                if (text := unlike(one, held.get(one.instrument)))
            ]
        return lane, why

    async def _told(self, lane: int, account: int, seq: int, ident: str, parts: int) -> Answer:
        """Whether the lane has taken it, once it has come so far."""
        until = asyncio.get_running_loop().time() + TOLD
        view: LaneView | None = None
        while asyncio.get_running_loop().time() < until:
            try:
                view = read_view(await self._log.request(f"oms.{lane}.orders", view_request(account, [])))
            except (LogError, ValueError):
                view = None
            if view is not None and view.seq >= seq:
                taken = view.adopted.count(ident)
                if taken == parts:
                    return Answer()
                return Answer(
                    f"{parts - taken} of {parts} positions moved in our books meanwhile, and were not adopted; look again"
                )
            await asyncio.sleep(0.05)
        return Answer(
            f"it is in the log of lane {lane} (entry {seq}), but the lane does not answer; look again"
        )


def adopt(
    scopes: ScopeTable, universe: Universe, lanes: Sequence[int], check: Check, first: First, note: Note, log: Log,
    clock: Clock,
) -> SignedEar:  # fmt: skip
    """One instance's ear for such commands: scope `account:NAME`; `positions` as `holdings.Shown`, `strategy`."""
    adopter = Adopter(scopes, universe, lanes, first, log, clock)
    return SignedEar(SUBJECT, DO, "they only adopt positions", adopter.follow, check, note, log, clock)

"""Flattening, run: for every command to flatten that is in force, commands in the lanes that this instance writes.

Nothing of it is kept outside the lane's log: what has been closed is what the orders of that command have filled, and a
successor that finds the same state writes the same commands under the same ids, which are done once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tidegate.errors import UserError
from tidegate.execution.closing import Clear, Leg, Step, Terms, Touch, order_of, step
from tidegate.execution.ids import HOUSE_IDS
from tidegate.execution.state import LaneOrder
from tidegate.execution.writer import Writer
from tidegate.log.base import Log
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import CancelAll, Message
from tidegate.model.wire import pack
from tidegate.risk.halt import HaltBoard, Status
from tidegate.risk.ledger import NOBODY, Ledger
from tidegate.risk.scope_name import chain_names
from tidegate.risk.scopes import ScopeTable

EVERY = 1.0
"""Seconds between two steps."""
_SHIFT = 36


class Flattener:
    """`waits` says, by scope, why nothing is done just now."""

    def __init__(
        self,
        board: HaltBoard,
        writers: Mapping[int, Writer],
        scopes: ScopeTable,
        universe: Universe,
        log: Log,
        clock: Clock,
    ) -> None:
        self.waits: dict[str, str] = {}
        self._board, self._writers, self._scopes, self._universe = board, writers, scopes, universe
        self._log, self._clock = log, clock
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take a step every second."""
        self._timer = asyncio.get_running_loop().call_later(EVERY, self.start)
        self.waits = {}
        for status in self._board.scopes.values():
            if status.flatten is not None:
                for lane, writer in self._writers.items():
                    self._step(status, lane, writer)

    def close(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()

    def _step(self, status: Status, lane: int, writer: Writer) -> None:
        assert status.flatten is not None
        s = writer.lane.state
        legs = self._legs(status, writer)
        touches = {number: Touch(*mark) for number, mark in s.marks.items()}
        try:
            terms = Terms.of(status.flatten.args)
        except UserError as error:  # of one scope: the others are flattened all the same
            self.waits[status.scope] = f"{error}; halt it and flatten it anew"
            return
        done = step(legs, touches, self._universe, terms, self._clock.now())
        for (account, strategy, _), why in done.waits.items():
            name = f"{self._scopes.accounts[account].name}/{self._scopes.strategies[strategy].name}"
            self.waits[f"{status.scope} {name}"] = why
        commands = self._commands(status, done, s.seq)
        if commands:
            now = self._clock.now()
            msg_id = f"flatten-{lane}-{status.seq}-{s.seq}-{writer.seq}"
            data = pack(commands, ts=now, lane=lane)
            future = self._log.append(f"lane.{lane}.cmd", data, msg_id=msg_id)
            future.add_done_callback(
                lambda over: over.cancelled() or over.exception()
            )  # the next step tries again

    def _legs(self, status: Status, writer: Writer) -> list[Leg]:
        """Every position in the lane under the scope."""
        s = writer.lane.state
        assert isinstance(s.ledger, Ledger)
        first = HOUSE_IDS | status.seq << _SHIFT
        closed: dict[tuple[int, int, int], int] = {}
        for order in (*s.closed.values(), *s.live.values()):
            if first <= order.cmd_id < first + (1 << _SHIFT):
                closed[_key(order)] = closed.get(_key(order), 0) + order.cum_qty
        working = {_key(order) for order in s.live.values() if order.cmd_id >= HOUSE_IDS}
        other = {(order.account, order.strategy) for order in s.live.values() if order.cmd_id < HOUSE_IDS}
        mine = [
            (key, held.lots)
            for key, held in s.ledger.positions()
            if held.lots and status.scope in chain_names(*key, self._scopes, self._universe)
        ]
        for (account, strategy, instrument), lots in mine:
            if strategy == NOBODY:
                name = f"{self._scopes.accounts[account].name}/{self._universe[instrument].id}"
                self.waits[f"{status.scope} {name}"] = (
                    f"{lots} lots are no strategy's: say whose (tidegate adopt)"
                )
        return [
            Leg(*key, lots, closed.get(key, 0), key in working, key[:2] in other)
            for key, lots in mine
            if key[1] != NOBODY
        ]

    def _commands(self, status: Status, done: Step, given: int) -> list[Message]:
        """`given`: how many ClOrdIDs the lane has given, which numbers the step."""
        now = self._clock.now()
        cancels: list[Message] = [self._clear(clear, now) for clear in done.clears]
        base = (HOUSE_IDS | status.seq << _SHIFT) + given
        return [*cancels, *(order_of(close, base + n, now) for n, close in enumerate(done.closes, 1))]

    def _clear(self, clear: Clear, now: int) -> Message:
        return CancelAll(now, clear.account, clear.strategy)


def _key(order: LaneOrder) -> tuple[int, int, int]:
    return order.account, order.strategy, order.instrument

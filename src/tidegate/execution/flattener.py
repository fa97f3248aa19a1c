"""Flattening, run: for every command to flatten that is in force, commands in the lanes that this instance writes.

Nothing of it is kept outside the lane's log: what has been closed is what the orders of that command have filled, how
large the next may be follows from what became of them, and a successor that finds the same state writes the same commands
under the same ids, which are done once. What waits is told to people, and is all that is remembered here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from tidegate.errors import UserError
from tidegate.execution import flattened
from tidegate.execution.closing import (
    DUST,
    PATIENCE,
    Close,
    Leg,
    Terms,
    Touch,
    asks,
    least,
    order_of,
    smaller,
    step,
)
from tidegate.execution.ids import HOUSE_IDS
from tidegate.execution.state import LaneOrder, State
from tidegate.execution.writer import Writer
from tidegate.log.base import Log
from tidegate.log.said import AGAIN, Said
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import CancelOrder, Message
from tidegate.model.order import OrdStatus
from tidegate.model.time import DAY, SECOND
from tidegate.model.wire import MOST, pack
from tidegate.risk.halt import HaltBoard, Status
from tidegate.risk.ledger import NOBODY, Ledger
from tidegate.risk.reasons import describe
from tidegate.risk.scope_name import chain_names
from tidegate.risk.scopes import ScopeTable

EVERY = 1.0
"""Seconds between two steps."""
LASTS = 2 * SECOND
"""What has waited for so long (ns) is told."""
_SHIFT = 36
Key = tuple[int, int, int]
"""(account, strategy, instrument)."""
Given = dict[Key, list[LaneOrder]]
Say = Callable[[str, str, str], None]
"""Tells people: severity, what of which scope is flattened, and why it waits."""


class Flattener:
    """`waits` says, by scope, why nothing is done just now; what goes on is told by `say`, again each minute."""

    def __init__(
        self,
        board: HaltBoard,
        writers: Mapping[int, Writer],
        scopes: ScopeTable,
        universe: Universe,
        log: Log,
        clock: Clock,
        say: Say = lambda severity, name, text: None,
    ) -> None:
        self.waits: dict[str, str] = {}
        self._board, self._writers, self._scopes, self._universe = board, writers, scopes, universe
        self._log, self._clock, self._say = log, clock, say
        self._began: dict[str, int] = {}
        """Since when (ns) what waits has waited."""
        self._said = Said()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take a step every second."""
        self._timer = asyncio.get_running_loop().call_later(EVERY, self.start)
        self.waits = {}
        for status in self._board.scopes.values():
            if status.flatten is not None:
                for lane, writer in self._writers.items():
                    self._step(status, lane, writer)
        self._tell()

    def close(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        now = self._clock.now()
        self._began = {name: self._began.get(name, now) for name in self.waits}
        for name, why in self.waits.items():
            over = why == DUST
            if now - self._began[name] >= LASTS and self._said.first(
                now, name, why, again=DAY if over else AGAIN
            ):
                self._say("info" if over else "high", name, why)

    def _step(self, status: Status, lane: int, writer: Writer) -> None:
        assert status.flatten is not None
        s, now = writer.lane.state, self._clock.now()
        try:
            terms = Terms.of(status.flatten.args)
        except UserError as error:  # of one scope: the others are flattened all the same
            self.waits[status.scope] = f"{error}; halt it and flatten it anew"
            return
        theirs = [order for order in s.live.values() if order.cmd_id < HOUSE_IDS]
        others = [order for order in theirs if self._covers(status, _key(order))]
        given = self._given(status, s)
        legs = self._legs(status, s, others, given, now)
        touches = {number: Touch(*mark) for number, mark in s.marks.items()}
        done = step(legs, touches, self._universe, terms, now)
        for (account, strategy, _), why in done.waits.items():
            self.waits[f"{status.scope} {self._name(account, strategy)}"] = why
        commands: list[Message] = [CancelOrder(now, order.cmd_id) for order in others if asks(order)]
        base = _first(status) + s.seq  # how many ClOrdIDs the lane has given numbers the step
        for n, close in enumerate(done.closes, 1):
            commands.append(order_of(self._fitting(status, close, given, others), base + n, now))
        if commands:
            msg_id = f"flatten-{lane}-{status.seq}-{s.seq}-{writer.seq}"
            data = pack(commands[:MOST], ts=now, lane=lane)  # the next step has the rest
            future = self._log.append(f"lane.{lane}.cmd", data, msg_id=msg_id)
            future.add_done_callback(
                lambda over: over.cancelled() or over.exception()
            )  # the next step tries again

    def _covers(self, status: Status, key: Key) -> bool:
        return status.scope in chain_names(*key, self._scopes, self._universe)

    def _name(self, account: int, strategy: int) -> str:
        return f"{self._scopes.accounts[account].name}/{self._scopes.strategies[strategy].name}"

    def _given(self, status: Status, s: State) -> Given:
        """The orders of this command that the lane remembers, first to last."""
        first = _first(status)
        found: Given = {}
        own = [o for o in (*s.closed.values(), *s.live.values()) if first <= o.cmd_id < first + (1 << _SHIFT)]
        for order in sorted(own, key=lambda order: order.cmd_id):
            found.setdefault(_key(order), []).append(order)
        return found

    def _legs(self, status: Status, s: State, others: list[LaneOrder], given: Given, now: int) -> list[Leg]:
        """Every position in the lane under the scope."""
        assert isinstance(s.ledger, Ledger)
        working = {
            _key(order) for order in s.live.values()
            if order.cmd_id >= HOUSE_IDS and order.status is not OrdStatus.UNKNOWN  # one that is lost holds nobody up
        }  # fmt: skip
        first = {key[:2] for key in map(_key, others) if self._patient(s, key, now)}
        mine = [
            (key, held.lots) for key, held in s.ledger.positions() if held.lots and self._covers(status, key)
        ]
        for (account, strategy, instrument), lots in mine:
            if strategy == NOBODY:
                name = f"{self._scopes.accounts[account].name}/{self._universe[instrument].id}"
                self.waits[f"{status.scope} {name}"] = (
                    f"{lots} lots are no strategy's: say whose (tidegate adopt)"
                )
        return [
            Leg(*key, lots, sum(o.cum_qty for o in given.get(key, ())), key in working, key[:2] in first)
            for key, lots in mine
            if key[1] != NOBODY
        ]

    def _patient(self, s: State, key: Key, now: int) -> bool:
        """Whether other orders there still have their time to go, from the first look on that asked them to."""
        began = flattened.since(s, *key)
        return began is None or now - began < int(EVERY * SECOND) + PATIENCE

    def _fitting(self, status: Status, close: Close, given: Given, others: list[LaneOrder]) -> Close:
        """What the gate may let pass, by what it did with the last ones; and where it refused the last, that is said."""
        orders = given.get(close[:3], [])
        if orders and orders[-1].status is OrdStatus.DENIED:
            beside = sum(_key(order)[:2] == close[:2] for order in others)
            text = f"the gate refuses it: {describe(orders[-1].reason)}"
            self.waits[f"{status.scope} {self._name(close.account, close.strategy)}"] = (
                f"{text}; {beside} other orders are still open" if beside else text
            )
        small = least(self._universe[close.instrument], close.touch.bid)
        return smaller(close, _refused(orders, small), self._universe)


def _first(status: Status) -> int:
    """The ids of its orders begin here."""
    return HOUSE_IDS | status.seq << _SHIFT


def _key(order: LaneOrder) -> Key:
    return order.account, order.strategy, order.instrument


def _refused(orders: Iterable[LaneOrder], small: int) -> int:
    """How often the next order is halved: once more for each that the gate refused, once less for each that passed. None
    is made smaller than `small`."""
    found = 0
    for order in orders:
        if order.status is not OrdStatus.DENIED:
            found = max(0, found - 1)
        elif order.qty > small:
            found += 1
    return found

"""What carries a step of a margin call out: a deterministic core over a lane's state. `look` says what to do now.

1. The account's own orders that could make it larger are cancelled first, and those that leave the step no room (they
   would close what the step is to close); after `PATIENCE` the step goes on beside one that will not go.
2. What the account holds of one underlying goes down together, by `closing`: equal parts, a leg that lags holds the
   others back, over steps too, for every step says what each position was when the call began.
3. An account's position is closed where it is held: of the strategy that has most of it first.
4. What the gate refuses is tried again at half the size, down to the venue's smallest order.
5. A step is over when all is closed, when its time is, or when people said that nothing may be sent.

How much may be sent is for the lane to say (`reductions`), which holds every order against its step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tidegate.execution import reductions
from tidegate.execution.closing import (
    ALL,
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
from tidegate.execution.state import Cut, LaneOrder, Reduction, State
from tidegate.model.messages import CancelOrder, Message, NewOrder
from tidegate.model.order import OrdStatus, Side
from tidegate.risk.reasons import describe

Shut = Callable[[int, int, int], str]
"""Why nothing may be sent for (account, strategy, instrument) by people's word; empty where it may."""


class Part(NamedTuple):
    """How far one position of a step is: lots it closes, that have closed, and that are on their way."""

    instrument: int
    lots: int
    done: int
    open: int


class Look(NamedTuple):
    """What to do now (`cancels`, `orders`), and how the step stands: `state` is working, waits, done or gave up."""

    state: str
    why: str
    parts: tuple[Part, ...]
    cancels: tuple[CancelOrder, ...] = ()
    orders: tuple[NewOrder, ...] = ()

    @property
    def messages(self) -> list[Message]:
        """As they are to be written."""
        return [*self.cancels, *self.orders]


def look(s: State, reduction: Reduction, shut: Shut, now: int) -> Look:
    """The next of a step. The same state, words and time give the same orders under the same ids."""
    parts = tuple(_part(s, reduction, cut) for cut in reduction.cuts)
    working = any(part.open for part in parts)
    wanted = [
        cut for cut in reduction.cuts if reductions.left(s, reduction, cut) >= _smallest(s, reduction, cut)
    ]
    if reduction.ended:
        return Look("gave up", reduction.ended, parts)
    if now > reduction.until:
        return Look("gave up" if wanted or working else "done", "its time was over", parts)
    if s.gaps:
        return Look("waits", "; ".join(f"{name}: {why}" for name, why in sorted(s.gaps.items())), parts)
    raising, blocking = _in_the_way(s, reduction)
    cancels = tuple(CancelOrder(now, order.cmd_id) for order in (*raising, *blocking) if asks(order))
    if not wanted and not working:
        if not raising:
            return Look("done", "", parts)
        return Look("waits", "orders that could make the account larger are being cancelled", parts, cancels)
    if (raising or blocking) and now - reduction.ts < PATIENCE:
        return Look("waits", "other orders are being cancelled", parts, cancels)
    closed = {cut.instrument: why for cut in wanted if (why := _shut(s, reduction, cut, shut))}
    if wanted and len(closed) == len(wanted) and not working:
        return Look("gave up", "; ".join(dict.fromkeys(closed.values())), parts, cancels)
    orders, why = _orders(s, reduction, closed, shut, now)
    return Look("working" if orders or working else "waits", why, parts, cancels, tuple(orders))


def _part(s: State, reduction: Reduction, cut: Cut) -> Part:
    done = reductions.filled(s, cut)
    return Part(cut.instrument, cut.lots, done, cut.used - done)


def _smallest(s: State, reduction: Reduction, cut: Cut) -> int:
    """The smallest order that the venue would take now, lots."""
    bid = s.marks.get(cut.instrument, (0, 0, 0))[0]
    return least(s.universe[cut.instrument], bid) if bid > 0 else 1


def _in_the_way(s: State, reduction: Reduction) -> tuple[list[LaneOrder], list[LaneOrder]]:
    """Orders of the account's own that could make it larger, and those that leave the step no room."""
    raising: list[LaneOrder] = []
    blocking: list[LaneOrder] = []
    cuts = {cut.instrument: cut for cut in reduction.cuts}
    for number in dict.fromkeys((*cuts, *reduction.cancel)):
        held = reductions.net(s, reduction.account, number)
        mine = [
            order for order in s.live.values()
            if order.account == reduction.account and order.instrument == number and order.cmd_id < HOUSE_IDS
            and order.status < OrdStatus.FILLED
        ]  # fmt: skip
        closing = [order for order in mine if held and order.side.sign * held < 0]
        raising += [order for order in mine if not held or order.side.sign * held > 0]
        room = abs(held) - sum(order.leaves_qty for order in closing)
        if room < 0 and number in reduction.cancel:
            raising += closing  # together they would cross zero
        elif number in cuts and room < reductions.left(s, reduction, cuts[number]):
            blocking += closing
    return raising, blocking


def _shut(s: State, reduction: Reduction, cut: Cut, shut: Shut) -> str:
    """Why nobody who holds the position may send; empty where somebody may."""
    whys = [
        shut(reduction.account, strategy, cut.instrument)
        for strategy, lots in reductions.holders(s, reduction.account, cut.instrument)
        if lots * cut.held > 0
    ]
    if not whys:
        return f"{s.universe[cut.instrument].id} is held by no strategy"
    return whys[0] if all(whys) else ""


def _orders(
    s: State, reduction: Reduction, closed: Mapping[int, str], shut: Shut, now: int
) -> tuple[list[NewOrder], str]:
    """The orders of the next part, and why there are none or not all."""
    legs, universe = [_leg(s, reduction, cut) for cut in reduction.cuts], s.universe
    groups = {leg.group: closed[leg.instrument] for leg in legs if leg.instrument in closed and leg.most}
    touches = {number: Touch(*mark) for number, mark in s.marks.items()}
    terms = Terms(reduction.participation, reduction.collar)
    done = step([leg for leg in legs if leg.group not in groups], touches, universe, terms, now)
    orders: list[NewOrder] = []
    for close in done.closes:
        cut = next(cut for cut in reduction.cuts if cut.instrument == close.instrument)
        orders += _split(s, reduction, cut, smaller(close, cut.denied, universe), shut, now)
    whys = [*groups.values(), *done.waits.values()]
    if done.closes and not orders:
        whys.append("what strategies hold of it is too little for an order; the rest is nobody's")
    whys += [
        describe(cut.reason) for cut in reduction.cuts if cut.denied and reductions.left(s, reduction, cut)
    ]
    return orders, "; ".join(dict.fromkeys(whys))


def _leg(s: State, reduction: Reduction, cut: Cut) -> Leg:
    held = reductions.net(s, reduction.account, cut.instrument)
    working = any(
        order.status is not OrdStatus.UNKNOWN  # one that is lost keeps its lots, and holds nobody up
        for order in s.live.values()
        if order.cmd_id >= HOUSE_IDS
        and order.account == reduction.account
        and order.instrument == cut.instrument
    )
    return Leg(
        reduction.account, ALL, cut.instrument, held if held * cut.held > 0 else 0, max(0, cut.began - abs(held)),
        working, False, s.universe[cut.instrument].base, reductions.left(s, reduction, cut),
    )  # fmt: skip


def _split(s: State, reduction: Reduction, cut: Cut, close: Close, shut: Shut, now: int) -> list[NewOrder]:
    """The order in the names of those who hold the position, most first; a rest too small for an order waits."""
    sign = 1 if cut.held > 0 else -1
    held = [
        (strategy, abs(lots) - _closing(s, reduction.account, strategy, cut))
        for strategy, lots in reductions.holders(s, reduction.account, cut.instrument)
        if lots * sign > 0 and not shut(reduction.account, strategy, cut.instrument)
    ]
    small, wanted, made = least(s.universe[cut.instrument], close.touch.bid), close.qty, list[NewOrder]()
    for strategy, room in sorted(held, key=lambda item: (-item[1], item[0])):
        qty = min(room, wanted)
        if qty < small:
            break
        part = close._replace(strategy=strategy, qty=qty)
        made.append(order_of(part, reductions.next_id(cut, len(made) + 1), now))
        wanted -= qty
    return made


def _closing(s: State, account: int, strategy: int, cut: Cut) -> int:
    """What is open of a strategy's that closes the position, lots: so much less is left to close."""
    side = Side.SELL if cut.held > 0 else Side.BUY
    return sum(
        order.leaves_qty for order in s.live.values()
        if (order.account, order.strategy, order.instrument, order.side) == (account, strategy, cut.instrument, side)
        and order.status is not OrdStatus.CREATED
    )  # fmt: skip

"""Steps of margin calls in a lane: what is to be closed, and what has been. Part of the lane's state.

A step comes into the lane's log (`MarginStep`), and so do the orders that carry it out (`reducer`). Here each of them
is held against its step, in the order of the log: so however often a step or an order comes, from however many writers,
in whatever order, after whatever crash, no more is closed than the step says, and no more than leaves what it means to
leave. An order is counted whole when it is sent; what of it did not fill is given back when it is over. One that is over
only because the venue does not know it counts on for `CERTAIN`: it may have been on its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from tidegate.execution.ids import MARGIN_IDS, SLICE_BITS
from tidegate.execution.state import Cut, LaneOrder, Lost, Reduction, State
from tidegate.model.messages import MarginStep
from tidegate.model.order import ExecInst, Side, TimeInForce
from tidegate.model.time import MINUTE
from tidegate.risk.ledger import Ledger
from tidegate.risk.reasons import Reason

CERTAIN = MINUTE
"""An order that the venue did not know has not filled in so long (ns): it never will."""
_LAST = (1 << SLICE_BITS) - 1


def begin(s: State, m: MarginStep) -> None:
    """A step: it ends the one before it. One that is older, or over, changes nothing. Raises `ValueError`."""
    key = m.account, m.pool
    before = s.reductions.get(key)
    if before is not None and m.plan <= before.plan:
        s.count(Reason.DUPLICATE_COMMAND)
        return
    for instrument, lots, held, began in m.cuts:
        if lots * held >= 0 or not abs(lots) <= abs(held) <= began:
            raise ValueError(f"a cut of {lots} lots of {held} of instrument {instrument}, of {began} once")
    named = (*(cut[0] for cut in m.cuts), *m.cancel)
    if any(not 0 <= n < s.instruments for n in named) or min(m.participation, m.collar) <= 0:
        raise ValueError("a step of instruments or terms that cannot be")
    made = []
    for instrument, lots, held, began in m.cuts:
        s.cuts_made += 1
        made.append(Cut(instrument, lots, held, began, s.cuts_made))
    s.reductions[key] = Reduction(
        m.account, m.pool, m.plan, m.ts, m.until, m.participation, m.collar, made, list(m.cancel)
    )


def stop(s: State, scope: int, why: str) -> None:
    """The scope may send nothing any more: steps whose positions are all under it are over."""
    for reduction in s.reductions.values():
        who = {
            owner
            for cut in reduction.cuts
            for owner, lots in holders(s, reduction.account, cut.instrument)
            if lots
        }
        if (
            who
            and not reduction.ended
            and all(s.gate.covers(scope, reduction.account, owner) for owner in who)
        ):
            reduction.ended = why


def net(s: State, account: int, instrument: int) -> int:
    """What an account holds over all strategies, signed lots."""
    positions = cast(Ledger, s.ledger).positions()
    return sum(p.lots for (owner, _, number), p in positions if owner == account and number == instrument)


def held(s: State, account: int) -> bool:
    """Whether the lane holds anything of an account's."""
    return any(owner == account and p.lots for (owner, _, _), p in cast(Ledger, s.ledger).positions())


def holders(s: State, account: int, instrument: int) -> list[tuple[int, int]]:
    """(strategy, signed lots) of an account; what is nobody's is left out."""
    positions = cast(Ledger, s.ledger).positions()
    return [
        (strategy, p.lots) for (owner, strategy, number), p in positions
        if owner == account and number == instrument and strategy >= 0
    ]  # fmt: skip


def open_orders(s: State, account: int, instrument: int) -> Iterator[LaneOrder]:
    """Open orders of margin calls."""
    for order in s.live.values():
        if order.cmd_id >= MARGIN_IDS and order.account == account and order.instrument == instrument:
            yield order


def left(s: State, reduction: Reduction, cut: Cut) -> int:
    """How many lots may still be sent: of the step, and above what it means to leave, whoever has closed the rest."""
    lots = net(s, reduction.account, cut.instrument)
    if lots * cut.held <= 0:
        return 0
    leaves = abs(cut.held + cut.lots)
    in_flight = sum(order.leaves_qty for order in open_orders(s, reduction.account, cut.instrument))
    lost = [
        one for one in s.lost.values()
        if (one.account, one.instrument) == (reduction.account, cut.instrument) and s.now < one.until
    ]  # fmt: skip
    in_flight += sum(one.lots for one in lost)
    own = sum(one.lots for one in lost if one.cut == cut.number)
    return max(0, min(abs(cut.lots) - cut.used - own, abs(lots) - leaves - in_flight))


def admit(s: State, order: LaneOrder) -> str:
    """Why an order of a margin call is not to be sent; empty where it is."""
    found = _find(s, order)
    if found is None:
        return "no step asks for it now"
    reduction, cut = found
    if reduction.ended or s.now > reduction.until:
        return f"its step is over: {reduction.ended or 'its time is'}"
    if (order.account, order.instrument) != (reduction.account, cut.instrument):
        return "its step is of another account or instrument"
    side = Side.SELL if cut.held > 0 else Side.BUY
    only = (
        order.exec_inst & ExecInst.REDUCE_ONLY and order.time_in_force is TimeInForce.IOC and not order.linked
    )
    if order.side is not side or not only:
        return "it is no immediate, reduce-only order against the position"
    if order.cmd_id & _LAST != cut.given + 1:
        return f"it is not the next of its step: {cut.given} came"
    most = left(s, reduction, cut)
    return f"it is for {order.qty} lots, and {most} may be closed" if order.qty > most else ""


def sent(s: State, order: LaneOrder, passed: bool) -> None:
    """An admitted order has been before the gate."""
    found = _find(s, order)
    if found is None:
        return
    _, cut = found
    cut.given += 1
    if passed:
        cut.used += order.qty
        cut.denied = 0
    else:
        cut.denied += 1
        cut.reason = order.reason


def closed(s: State, order: LaneOrder) -> None:
    """It is over: what did not fill may be sent again, at once where the venue has said that it ended."""
    found = _find(s, order)
    if order.reason == Reason.NOT_FOUND and order.leaves_qty:
        s.lost = {key: one for key, one in s.lost.items() if s.now < one.until}
        s.lost[order.cl_ord_id] = Lost(
            order.cl_ord_id,
            order.account,
            order.instrument,
            _number(order),
            order.leaves_qty,
            s.now + CERTAIN,
        )
    if found is not None:
        found[1].used -= order.leaves_qty
        if not order.cum_qty and order.reason:
            found[1].reason = order.reason


def beyond(s: State, order: LaneOrder, lots: int) -> None:
    """So much has filled beside what was counted: after its end, or more than was ordered."""
    found = _find(s, order)
    if found is not None:
        found[1].used += lots
    lost = s.lost.get(order.cl_ord_id)
    if lost is not None:
        lost.lots = max(0, lost.lots - lots)


def _number(order: LaneOrder) -> int:
    """Of the cut that it was sent for."""
    return (order.cmd_id - MARGIN_IDS) >> SLICE_BITS


def _find(s: State, order: LaneOrder) -> tuple[Reduction, Cut] | None:
    number = _number(order)
    for reduction in s.reductions.values():
        for cut in reduction.cuts:
            if cut.number == number:
                return reduction, cut
    return None


def next_id(cut: Cut, n: int = 1) -> int:
    """The command id of the `n`th order from here."""
    return MARGIN_IDS + (cut.number << SLICE_BITS) + cut.given + n


def filled(s: State, cut: Cut) -> int:
    """How many lots the step has closed so far."""
    first = MARGIN_IDS + (cut.number << SLICE_BITS)
    open_ = [o.leaves_qty for o in s.live.values() if first <= o.cmd_id <= first + _LAST]
    return cut.used - sum(open_)


def saved(s: State) -> tuple[int, list[Reduction]]:
    """For the snapshot."""
    return s.cuts_made, [s.reductions[key] for key in sorted(s.reductions)]


def restore(s: State, kept: tuple[int, list[Reduction]]) -> None:
    """The inverse of `saved`."""
    s.cuts_made = kept[0]
    s.reductions = {(item.account, item.pool): item for item in kept[1]}

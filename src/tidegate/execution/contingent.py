"""Contingent orders: OCO, OTO, brackets. The rules:

1. **OCO.** The first fill of a member, whole or partial, cancels all others of its group; the member that
   filled goes on with what it has left. A member that is cancelled, refused or expired leaves the others
   alone. A new member of a group that has triggered is denied.
2. **OTO.** A child waits as CREATED, uncharged and unsent. For each fill of the parent it is to cover
   `child quantity × parent's CumQty ÷ parent's quantity` lots, rounded down (the parent's quantity is the one
   at the time of the child's command; equal quantities cover what has filled, lot for lot). On the first it
   passes the gate and is sent; for more it grows by a replace, as soon as it is acknowledged and no request
   on it is under way. A child that has already filled (or was immediate, and ended with a rest) is followed
   by a further order of the same cmd_id under a new ClOrdID, for the difference.
3. A child that the gate denied, the venue refused or ended unasked, or its owner cancelled, is over for good;
   what the parent fills beyond it is told on the parent as UNCOVERED. A growth that the gate refuses is tried
   again on each Tick and told once; one that the venue refuses is tried again when the parent fills more.
4. A parent that ends unfilled cancels the children that still wait.
5. **Bracket**: OTO children that are OCO among themselves. The first fill of one ends the entry too: what is
   left of the parent is cancelled, and the siblings are over for good. What the parent fills all the same,
   the child that filled covers.
6. A trade cancel never shrinks a child.
"""

from __future__ import annotations

from tidegate.execution.acts import (
    CREATED,
    NEW,
    PARTIALLY_FILLED,
    cancel_linked,
    deny,
    send_replace,
    submit,
    tell,
    tell_refusal,
)
from tidegate.execution.state import Group, LaneOrder, Link, State
from tidegate.model.messages import NewOrder
from tidegate.model.order import Contingency, ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.reasons import Reason

FILLED, CANCELED, EXPIRED = OrdStatus.FILLED, OrdStatus.CANCELED, OrdStatus.EXPIRED


def admit(
    s: State, order: LaneOrder, parent: LaneOrder | None, command: NewOrder, ref: tuple[int, int, int]
) -> None:
    """Take in an order that is linked to others: send it, or hold it back until its parent fills."""
    ts = order.ts_submit
    group = s.groups.get((order.strategy, order.link_group))
    if group is not None and group.winner:
        s.by_cmd[order.cmd_id] = order
        deny(s, order, Reason.SIBLING_DONE, ts)
        return
    if parent is None:
        if submit(s, order, ref, ts):
            _join(s, order)
        return
    _join(s, order)
    order.linked = parent.linked = True
    order.parent = parent.cl_ord_id
    order.root = parent.root or parent.cl_ord_id
    link = Link(order.parent, order.cl_ord_id, command, order.qty, parent.qty, order.price)
    s.links.setdefault(order.parent, []).append(link)
    s.by_cmd[order.cmd_id] = order
    s.live[order.cl_ord_id] = order
    tell(s, order, None, ts)
    s.touched.append(parent)


def _join(s: State, order: LaneOrder) -> None:
    if order.link_group:
        s.groups.setdefault((order.strategy, order.link_group), Group([])).members.append(order.cl_ord_id)


def react(s: State, order: LaneOrder, ts: int) -> None:
    """A linked order has changed: trigger its group, cover with its children, grow it as a child."""
    if order.link_group and order.cum_qty:
        _trigger(s, order, ts)
    for link in s.links.get(order.cl_ord_id, ()):
        _cover(s, link, order, ts)
        if order.status >= FILLED:
            child = s.live.get(link.child)
            if child is not None and child.status is CREATED:
                cancel_linked(s, child, Reason.PARENT_NOT_OPEN, ts)
    if order.parent:
        own, parent = link_of(s, order), s.find(order.parent)
        if own is not None and parent is not None:
            _cover(s, own, parent, ts)


def link_of(s: State, order: LaneOrder) -> Link | None:
    """The tie of a child to its parent, while this order stands for it."""
    for link in s.links.get(order.parent, ()):
        if link.child == order.cl_ord_id:
            return link
    return None


def give_up(s: State, order: LaneOrder) -> None:
    """A child is cancelled by its owner or by its group: nothing more is released for it."""
    if order.parent:
        link = link_of(s, order)
        if link is not None:
            link.over = True


def _trigger(s: State, order: LaneOrder, ts: int) -> None:
    """Rule 1, and rule 5 where the order is a child."""
    group = s.groups.get((order.strategy, order.link_group))
    if group is None or group.winner:
        return
    group.winner = order.cl_ord_id
    for member in group.members:
        sibling = s.live.get(member)
        if sibling is not None and member != order.cl_ord_id:
            give_up(s, sibling)
            cancel_linked(s, sibling, Reason.SIBLING_DONE, ts)
    parent = s.live.get(order.parent)
    if parent is not None:
        cancel_linked(s, parent, Reason.CHILD_FILLED, ts)


def _cover(s: State, link: Link, parent: LaneOrder, ts: int) -> None:
    """Bring the child to what the parent's fills ask for."""
    child = s.live.get(link.child)
    if child is None and link.child:
        _ended(s, link)
    want = link.full * parent.cum_qty // link.whole
    covered = link.base
    if child is not None and child.sent:
        covered += child.qty
    if want <= covered:
        return
    if link.over:
        if want > link.asked and not _replaced_by_sibling(s, parent, link):
            s.count(Reason.UNCOVERED)
            tell(s, parent, None, ts, Reason.UNCOVERED)
        link.asked = max(link.asked, want)
    elif child is None:
        _follow(s, link, parent, want, ts)
    elif child.status is CREATED:
        _release(s, link, child, want, ts)
    elif want > link.asked:
        _grow(s, link, child, want, ts)


def _ended(s: State, link: Link) -> None:
    """The order that stood for the child is over: keep what it covered, and whether another may follow."""
    child = s.closed.get(link.child)
    link.child = 0
    if child is None:
        link.over = True
        return
    link.base += child.qty if child.sent else 0
    link.price = child.price
    rest = child.status in (CANCELED, EXPIRED) and child.immediate
    if not (child.status is FILLED or rest or (child.reason == Reason.PARENT_NOT_OPEN and not child.sent)):
        link.over = True


def _replaced_by_sibling(s: State, parent: LaneOrder, link: Link) -> bool:
    """Whether the child lost to a sibling, which covers in its place."""
    group = s.groups.get((parent.strategy, link.command.link_group))
    return group is not None and group.winner != 0


def _release(s: State, link: Link, child: LaneOrder, qty: int, ts: int) -> None:
    """Send a child for the first time, for what its parent has filled."""
    link.asked = qty
    child.qty = child.leaves_qty = qty
    child.display_qty = min(child.display_qty, qty)
    if not submit(s, child, _reference(s, link.command), ts):
        link.over = True


def _grow(s: State, link: Link, child: LaneOrder, want: int, ts: int) -> None:
    """Rule 2's replace, if the child can take one now; it is looked at again whenever it changes."""
    if child.status not in (NEW, PARTIALLY_FILLED) or child.pending_qty or child.target is CANCELED:
        return
    qty = want - link.base
    reason = s.gate.check_replace(child, qty, child.price, *_reference(s, link.command), ts)
    if not reason:
        link.asked = want
        link.refusal = 0
        s.owed.pop(child.cl_ord_id, None)
        send_replace(s, child, qty, child.price, ts)
        return
    s.owed[child.cl_ord_id] = child
    if link.refusal != reason:
        link.refusal = reason
        s.count(reason)
        tell_refusal(s, child, ExecType.CANCEL_REJECTED, ts, reason)


def _follow(s: State, link: Link, parent: LaneOrder, want: int, ts: int) -> None:
    """A further order for a child whose earlier one is over: same terms, same cmd_id, new ClOrdID."""
    m = link.command
    ord_type, tif, contingency = OrdType(m.ord_type), TimeInForce(m.time_in_force), Contingency(m.contingency)
    immediate = ord_type is OrdType.MARKET or tif in (TimeInForce.IOC, TimeInForce.FOK)
    qty = want - link.base
    order = LaneOrder(
        s.prefix | (s.seq + 1), m.cmd_id, m.account, m.strategy, m.instrument, Side(m.side), ord_type, tif,
        qty, link.price, m.stop_price, min(m.display_qty, qty), m.offset, m.expire_ts, m.exec_inst,
        leaves_qty=qty, target=FILLED if immediate else NEW, parent=parent.cl_ord_id,
        root=parent.root or parent.cl_ord_id, contingency=contingency, ts_submit=ts, immediate=immediate,
        link_group=m.link_group, linked=True,
    )  # fmt: skip
    s.seq += 1
    link.child = order.cl_ord_id
    link.asked = want
    _join(s, order)
    if not submit(s, order, _reference(s, m), ts):
        link.over = True


def _reference(s: State, command: NewOrder) -> tuple[int, int, int]:
    """The touch to judge a released child by: the last one in the log, else what its command carried."""
    mark = s.marks.get(command.instrument)
    if mark is None or mark[2] < command.ref_ts:
        return command.ref_bid, command.ref_ask, command.ref_ts
    return mark

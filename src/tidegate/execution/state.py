"""What a lane knows: its orders, live and lately closed, whom it waits for, and how they are linked."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from tidegate.execution.ids import HOUSE_IDS, SEQUENCE_BITS
from tidegate.execution.ports import Gate, Ledger
from tidegate.model.instrument import Universe
from tidegate.model.messages import LimitsChange, Message, NewOrder, Report, SlotShare
from tidegate.model.order import Order, OrdStatus
from tidegate.model.time import MS, SECOND
from tidegate.risk.leases.lease import Key, Lease

Fill = tuple[int, int, int]
"""(quantity, price, fee) of one ExecID."""
VOID: Fill = (0, 0, 0)
"""A fill that was busted or corrected away; its ExecID stays known."""


class LaneBroken(RuntimeError):
    """An invariant of the lane does not hold; the message names it. The shell stops this lane, not the
    firm."""


class LaneOrder(Order, array_like=True, gc=False):
    """An order with what only its lane needs to know of it."""

    sent: bool = False
    acked: bool = False
    """The venue has spoken of it: acknowledged, filled, or shown in a status answer."""
    immediate: bool = False
    """Market, IOC or FOK: expected to be over soon after it was sent."""
    linked: bool = False
    """Has a parent, children or OCO siblings."""
    doubt: bool = False
    """The venue refused a request and did not say how the order stands: ask once."""
    ts_sent: int = 0
    """When the last request on it was sent."""
    ts_qty: int = 0
    """Venue time of the quantity and price adopted last."""
    ts_seen: int = 0
    """Venue time of the last word on its fills or its end."""
    deadline: int = 0
    """When to ask about it; 0 while nothing is awaited."""
    asks: int = 0
    """Status requests since the last answer."""
    venue_cum: int = 0
    """CumQty as the venue last told it: more than `cum_qty` means that fills are on their way."""
    closing: OrdStatus = OrdStatus.CREATED
    """The terminal status the venue told while fills were missing; CREATED for none."""
    fills: dict[int, Fill] | None = None
    """By ExecID, each once."""
    early: dict[int, Report] | None = None
    """Trade cancels and corrects that came before their fill, by the fill's ExecID."""
    ts_asked: int = 0
    """When the order or its last change was sent: what a cancel is not."""


class Link(msgspec.Struct, array_like=True, gc=False):
    """A child's tie to its parent (OTO): it covers `full × parent's CumQty ÷ whole` lots."""

    parent: int
    child: int
    """ClOrdID of the order that stands for the child now; 0 when that one is over."""
    command: NewOrder
    full: int
    whole: int
    price: int
    """The child's price as last replaced, for an order that follows."""
    base: int = 0
    """Lots covered by this child's earlier orders, all over."""
    asked: int = 0
    """The cover asked for last: a growth the venue refused is not asked for again until more has filled."""
    refusal: int = 0
    """Why the gate refused to let it grow; told once."""
    over: bool = False
    """Nothing more is released for it."""


class Group(msgspec.Struct, array_like=True, gc=False):
    """Orders that cancel each other (OCO)."""

    members: list[int]
    winner: int = 0
    """The member that filled first."""


class Adopted(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A position that people took into the books (`model.messages.Adopt`)."""

    ts: int
    id: str
    by: str
    account: int
    strategy: int
    instrument: int
    lots: int
    price: int


class Cut(msgspec.Struct, array_like=True, gc=False):
    """What a step of a margin call closes of one position: `lots` against `held`, which was `began` lots once."""

    instrument: int
    lots: int
    held: int
    began: int
    number: int
    """Its own in this lane: its orders' ids follow from it."""
    given: int = 0
    """Orders that came to the gate so far."""
    used: int = 0
    """Lots that have filled, or may."""
    denied: int = 0
    """Orders that the gate refused since one passed."""
    reason: int = 0
    """Why the last order that came to nothing did."""


class Reduction(msgspec.Struct, array_like=True, gc=False):
    """A step of a margin call (`model.messages.MarginStep`), taken at `ts`."""

    account: int
    pool: str
    plan: int
    ts: int
    until: int
    participation: int
    collar: int
    cuts: list[Cut]
    cancel: list[int]
    ended: str = ""
    """Why nothing more is to be sent for it."""


class Lost(msgspec.Struct, array_like=True, gc=False):
    """An order of a margin call that was concluded because the venue did not know it: until `until` (ns) its lots count as
    if they could still fill."""

    cl_ord_id: int
    account: int
    instrument: int
    cut: int
    """The number of the cut that it was sent for."""
    lots: int
    until: int


class Settings(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A lane's parameters, part of its state; times in ns."""

    ack_timeout: int = 2 * SECOND
    """A request unanswered for so long makes its order UNKNOWN."""
    reconciliation_window: int = 10 * SECOND
    """So long after a send, the venue's "not found" still proves nothing."""
    max_backoff: int = 60 * SECOND
    """The longest pause between two status requests for one order."""
    history: int = 8192
    """Closed orders remembered, for late reports and retried commands."""

    def __post_init__(self) -> None:
        for name in ("ack_timeout", "reconciliation_window", "max_backoff", "history"):
            if getattr(self, name) <= 0:
                raise ValueError(f"lane setting {name} is {getattr(self, name)}, must be above 0")
        if self.max_backoff < self.ack_timeout:
            raise ValueError(
                f"lane setting max_backoff {self.max_backoff} is below ack_timeout {self.ack_timeout}"
            )
        if self.ack_timeout < MS:
            raise ValueError(f"lane setting ack_timeout {self.ack_timeout} ns is below one millisecond")


class State:
    """A lane's state but for the gate's and the ledger's own. Changed by the modules of this package only."""

    __slots__ = (
        "adopted", "by_cmd", "closed", "counts", "cuts_made", "error", "factors",
        "figures_at", "flattened", "forgotten", "funded", "gaps", "gate",
        "groups", "halt_epoch", "halts_at", "instruments", "leased", "leases", "ledger", "limits_due", "limits_version", "links",
        "live", "lost", "marks", "now", "number", "out", "owed", "prefix", "reductions", "seq", "settings", "shared",
        "slot_shares", "touched", "universe", "waiting", "withheld",
    )  # fmt: skip

    def __init__(
        self, number: int, universe: Universe, gate: Gate, ledger: Ledger, settings: Settings
    ) -> None:
        self.number = number
        self.prefix = number << SEQUENCE_BITS
        self.universe = universe
        self.instruments = len(universe)
        self.gate = gate
        self.ledger = ledger
        self.settings = settings
        self.seq = 0
        self.now = 0
        self.live: dict[int, LaneOrder] = {}
        """Not terminal, by ClOrdID, oldest first."""
        self.closed: OrderedDict[int, LaneOrder] = OrderedDict()
        """Terminal, by ClOrdID, first closed first; bounded."""
        self.by_cmd: dict[int, LaneOrder] = {}
        self.waiting: dict[int, LaneOrder] = {}
        """Orders with a deadline."""
        self.owed: dict[int, LaneOrder] = {}
        """Orders whose own cancel or growth the gate's throttle put off until a later Tick."""
        self.groups: dict[tuple[int, int], Group] = {}
        """By (strategy, link_group)."""
        self.links: dict[int, list[Link]] = {}
        """By the parent's ClOrdID."""
        self.marks: dict[int, tuple[int, int, int]] = {}
        """(bid, ask, ts) last told of an instrument."""
        self.forgotten: dict[int, int] = {}
        """By strategy: the highest cmd_id among the orders the history has dropped."""
        self.counts: dict[int, int] = {}
        """Refusals and anomalies by reason code."""
        self.adopted: list[Adopted] = []
        """Positions that people took into the books, in their order."""
        self.halt_epoch = 0
        """The last halt that the lane knows of: what it lets pass carries it."""
        self.halts_at: dict[tuple[int, int], int] = {}
        """By (scope, instrument): the place in HALT of the state it was told last."""
        self.flattened: dict[tuple[int, int], int] = {}
        """By (scope, instrument): since when (ns) people flatten it."""
        self.limits_version = 0
        """Of the limits in force; 0 for those of the configuration."""
        self.limits_due: list[LimitsChange] = []
        """Limits that are to come into force at a later time."""
        self.funded: dict[int, int] = {}
        """The time (ns) of the last funding that was booked, by instrument."""
        self.gaps: dict[str, str] = {}
        """What of the risk log is missing, by stream, for people: while anything is, nothing passes but cancels."""
        self.leases: dict[Key, Lease] = {}
        """What was lent to this lane of limits over several lanes."""
        self.shared: frozenset[int] = frozenset()
        """Scopes that lie over several lanes; configuration, no part of the state."""
        self.leased: dict[Key, None] = {}
        """Limits of those that are lent now: by what people have set."""
        self.factors: dict[int, tuple[int, int]] = {}
        """By instrument: the number of the last word on its factor, and the factor in parts per million."""
        self.figures_at: dict[tuple[int, int], int] = {}
        """The number of the last word on a market's size, (0, instrument), and on a venue's equity, (1, venue)."""
        self.withheld: dict[Key, int] = {}
        """What of a lease is not to be used, while all lanes together hold more than a factor leaves."""
        self.slot_shares: dict[tuple[int, int], SlotShare] = {}
        """By scopes of live slot and candidate: how their limits are shared."""
        self.reductions: dict[tuple[int, str], Reduction] = {}
        """The last step of each margin call, by account and pool."""
        self.lost: dict[int, Lost] = {}
        """Orders of margin calls that the venue does not know, by ClOrdID, first concluded first."""
        self.cuts_made = 0
        """Cuts of all steps so far: they are numbered."""
        self.touched: list[LaneOrder] = []
        """Linked orders that changed in this step, for `contingent` to look at; empty between steps."""
        self.out: list[Message] = []
        self.error = ""
        """What was wrong with the last refused command, for the shell's log; no part of the state."""

    def count(self, reason: int) -> None:
        """One more of these."""
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def find(self, cl_ord_id: int) -> LaneOrder | None:
        """The order, live or remembered."""
        return self.live.get(cl_ord_id) or self.closed.get(cl_ord_id)

    def watch(self, order: LaneOrder, deadline: int) -> None:
        """Ask about the order when time reaches `deadline`."""
        order.deadline = deadline
        self.waiting[order.cl_ord_id] = order

    def unwatch(self, order: LaneOrder) -> None:
        """Nothing is awaited of the order any more."""
        if order.deadline:
            order.deadline = 0
            order.asks = 0
            del self.waiting[order.cl_ord_id]

    def retire(self, order: LaneOrder) -> None:
        """A live order has become terminal: it moves to the history, and the oldest there is forgotten."""
        key = order.cl_ord_id
        del self.live[key]
        self.unwatch(order)
        self.owed.pop(key, None)
        self.closed[key] = order
        if len(self.closed) > self.settings.history:
            self._forget(self.closed.popitem(last=False)[1])

    def _forget(self, order: LaneOrder) -> None:
        if self.by_cmd.get(order.cmd_id) is order:
            del self.by_cmd[order.cmd_id]
            if self.forgotten.get(order.strategy, 0) < order.cmd_id < HOUSE_IDS:
                self.forgotten[order.strategy] = order.cmd_id
        if order.linked:
            self.links.pop(order.cl_ord_id, None)
            group = self.groups.get((order.strategy, order.link_group))
            if group is not None and order.cl_ord_id in group.members:
                group.members.remove(order.cl_ord_id)
                if not group.members:
                    del self.groups[order.strategy, order.link_group]

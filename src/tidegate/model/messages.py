"""What crosses a lane: commands in, venue reports in, requests to gateways and order events out.

Prices are ticks, quantities lots, times ns, numbers of accounts, strategies and instruments those of the run.
Every message carries its time: a core never asks for it.
"""

from __future__ import annotations

import msgspec

from tidegate.model.order import Contingency, ExecType, OrdStatus, OrdType, Side, TimeInForce


class Message(msgspec.Struct, tag=True, array_like=True, gc=False, omit_defaults=False):
    """Base of everything a log carries for a lane; encodes as a tagged array (msgpack)."""

    ts: int


class NewOrder(Message):
    """A command: buy or sell. `cmd_id` makes a retry recognisable.

    `ref_bid`, `ref_ask` and `ref_ts` are the touch the sender's shell saw when it wrote the command (ticks,
    ns; 0 for none): collars are judged against them, so that a replay decides the same.
    """

    cmd_id: int
    account: int
    strategy: int
    instrument: int
    side: Side
    ord_type: OrdType
    qty: int
    price: int = 0
    stop_price: int = 0
    time_in_force: TimeInForce = TimeInForce.GTC
    exec_inst: int = 0
    display_qty: int = 0
    offset: int = 0
    expire_ts: int = 0
    ref_bid: int = 0
    ref_ask: int = 0
    ref_ts: int = 0
    contingency: Contingency = Contingency.NONE
    link_group: int = 0
    """Orders of one group: OCO siblings cancel each other."""
    parent_cmd_id: int = 0
    """OTO: the cmd_id of the order whose first fill releases this one, for the quantity filled."""


class CancelOrder(Message):
    """A command: cancel the order that `cmd_id` asked for."""

    cmd_id: int


class ReplaceOrder(Message):
    """A command: change quantity (total, not leaves) and price of a resting order; 0 keeps."""

    cmd_id: int
    qty: int = 0
    price: int = 0
    ref_bid: int = 0
    ref_ask: int = 0
    ref_ts: int = 0


class CancelAll(Message):
    """A command: cancel every open order of a scope; −1 is any."""

    account: int = -1
    strategy: int = -1
    instrument: int = -1


class Report(Message):
    """A venue's word on one order. `ts` is when it reached us, `ts_venue` when the venue said it.

    For TRADE: `last_qty`, `last_px`, `exec_id` (unique at the venue) and `fee` (minor units of the settlement
    currency, positive is paid). `maker` is true where the order rested. For REPLACED: `qty` and `price` are
    the new ones. For ORDER_STATUS: `status`, `cum_qty` and `leaves_qty` as the venue holds them. For
    CANCEL_REJECTED: `qty` and `price` are what a refused replace asked for, both 0 where a cancel was
    refused; `status` is the order's own, where the venue tells it (FIX 39 in 35=9). For RESTATED: `qty`
    (total) and `price` as they are now. `cum_qty` and `leaves_qty` may come with any report; −1 where the
    venue does not say.
    """

    cl_ord_id: int
    exec_type: ExecType
    ts_venue: int = 0
    exec_id: int = 0
    last_qty: int = 0
    last_px: int = 0
    fee: int = 0
    maker: bool = False
    qty: int = 0
    price: int = 0
    cum_qty: int = -1
    leaves_qty: int = -1
    status: OrdStatus = OrdStatus.CREATED
    reason: int = 0
    ref_exec_id: int = 0
    """For TRADE_CANCEL and TRADE_CORRECT: the exec_id concerned."""


class Mark(Message):
    """The world outside, sampled into the log: touch of an instrument (ticks; 0 for none)."""

    instrument: int
    bid: int
    ask: int


class Tick(Message):
    """Time, sampled into the log: acknowledgement time-outs and expiries are judged by it."""


class Funding(Message):
    """A funding payment is due: position × mark value × rate. `rate` is a fraction × 1e8.

    `due` is the venue's time of it (ns): of one time a lane books it once, however often it is told, and tells its
    listeners; 0 is booked each time.
    """

    instrument: int
    rate: int
    price: int
    due: int = 0


class ScopeState(Message):
    """A scope's state changed (RISK_CONTROLS: ACTIVE … KILLED); `scope` is a number of the scope table."""

    scope: int
    state: int
    reason: int = 0
    instrument: int = -1
    """The state is this instrument's where it is ≥ 0; `scope` is then −1."""
    epoch: int = 0
    """Halt epoch: the place of the halt in the log's HALT stream; 0 for a state that came from elsewhere."""
    at: int = 0
    """The place in HALT of what brought the state, which may come late: what is older than the lane has of this scope or
    instrument changes nothing, and the same told again makes a scope stricter at most. 0: it is always followed."""
    flatten: bool = False
    """People flatten it: nothing passes but what the house itself closes."""


class LeaseGrant(Message):
    """The allocator's word: what this lane was ever granted of a limit, in all. The highest counts, so a grant may
    come twice, late or out of order.

    `scope` and `field` name the limit (`risk.leases`), `instrument` where it is one of an instrument (else −1).
    `lane` is whose it is, where the message is not in the lane's own log.
    """

    scope: int
    field: int
    instrument: int
    granted: int
    lane: int = -1


class LeaseReturn(Message):
    """The lane is to give back up to `amount` of a lease: what it does not use goes, at this place in its log."""

    scope: int
    field: int
    instrument: int
    amount: int


class LimitsChange(Message):
    """The limits from here on: the whole document (`risk.limits`, as JSON) and its version. From `effective` (ns) on."""

    version: int
    limits: bytes
    effective: int = 0
    follows: int = 0
    """The version that holds until then; 0 for the configuration's file. A lane that does not know it lacks something."""


class DynamicLimit(Message):
    """An instrument's limits are held to `factor` parts per million of what people set (`risk.dynamic`).

    `number` rises with every word on it, over all who ever say one; 0 says nothing of leases. `withheld` has
    (scope, field, amount): so much of every lane's lease of that limit is not to be used, for all lanes together still
    hold so much more than the factor leaves; 0 of what is not named.
    """

    instrument: int
    factor: int
    number: int = 0
    withheld: tuple[tuple[int, int, int], ...] = ()


class SlotShare(Message):
    """How the limits of a strategy are shared between its live slot and its candidate's, in parts per million of what
    people set (`risk.slots`). `live` and `candidate` are scopes of the scope table."""

    live: int
    candidate: int
    live_ppm: int
    candidate_ppm: int


class HandOver(Message):
    """All that strategy `source` holds in this lane is `target`'s from here on, at the mark. Numbers of strategies."""

    source: int
    target: int


class MarketReference(Message):
    """The market's size, sampled: a day's average volume, open interest, and the depth of bids and of asks within
    10 basis points of the middle. Lots; −1 for what is not known. `number` as of `DynamicLimit`; 0 always counts."""

    instrument: int
    volume: int
    interest: int
    depth_bid: int
    depth_ask: int
    number: int = 0


class VenueEquity(Message):
    """The equity at a venue, sampled: micro-units of the base currency, after haircuts on what it consists of.

    `venue` is its number among the universe's, in the order of their first instruments. `number` as of `DynamicLimit`;
    0 always counts.
    """

    venue: int
    equity: int
    number: int = 0


class Acknowledge(Message):
    """A person has seen a strategy's repeated executions, and it may go on (control 15)."""

    strategy: int
    instrument: int
    side: int = 0
    """`Side`; 0 for both."""
    by: str = ""


class LogGap(Message):
    """Something of `stream`, which the lane must follow for risk, has not come (control 29), or all of it is known again."""

    stream: str
    gap: bool
    text: str = ""


class Adopt(Message):
    """People took a position into the books that was at the venue before us, or of which the fills are lost: `lots`
    (signed) at `price`, where the books hold `ours` of the account's instrument; where they hold another number, the
    position has moved since people looked, and nothing is done. `strategy` −1: nobody's. `id` is their command's.

    `given`: the lots are nobody's in the books already, and become the strategy's.
    """

    account: int
    instrument: int
    lots: int
    ours: int
    price: int
    strategy: int = -1
    by: str = ""
    id: str = ""
    given: bool = False


class MarginStep(Message):
    """The next step of a margin call, to be carried out: of `account` close each of `cuts`, at most, until `until` (ns).

    A cut is (instrument, signed lots, what the account held of it when the step was made, the most that this call has
    found of it: legs go down by equal parts of that). Orders that could make the account larger, in the instruments of
    `cuts` and `cancel`, are cancelled first. `plan` is when the step was made (ns, the risk service's): a later one
    ends an earlier one of the same `pool` (what is margined together); without cuts it only does that.
    `participation` and `collar` are parts per million, of that most for one order, and of the middle.
    """

    plan: int
    account: int
    pool: str
    until: int
    participation: int
    collar: int
    cuts: tuple[tuple[int, int, int, int], ...] = ()
    cancel: tuple[int, ...] = ()


class LaneSkip(Message):
    """Entries of this lane's log that are passed over by everybody who folds it, for they break the lane: for each its
    place, who said so, and why. The last of these messages counts, and names all."""

    skips: tuple[tuple[int, str, str], ...]


class LaneEpoch(Message):
    """A new writer begins here in the lane's log: what follows from later entries, it alone sends out.

    `config` is the hash of what its decisions depend on (limits, scopes, instruments).
    """

    epoch: int
    owner: str
    config: str = ""


# To the gateway.


class SendNew(Message):
    """Place this order at the venue."""

    cl_ord_id: int
    account: int
    instrument: int
    side: Side
    ord_type: OrdType
    qty: int
    price: int
    stop_price: int
    time_in_force: TimeInForce
    exec_inst: int
    display_qty: int
    offset: int
    expire_ts: int
    strategy: int = -1
    halt_epoch: int = 0
    """The last halt the lane knew of when it let the order pass: a gateway that knows a later one drops it."""


class SendCancel(Message):
    """Cancel this order at the venue. Account and instrument are the order's: a gateway need not remember it."""

    cl_ord_id: int
    account: int = 0
    instrument: int = 0


class SendReplace(Message):
    """Change this order at the venue: the new total quantity and price; the rest is the order's."""

    cl_ord_id: int
    qty: int
    price: int
    account: int = 0
    instrument: int = 0
    side: Side = Side.BUY
    strategy: int = -1
    halt_epoch: int = 0


class SendStatus(Message):
    """Ask the venue what became of this order."""

    cl_ord_id: int
    account: int = 0
    instrument: int = 0


# To the allocator of limits.


class LeaseReport(Message):
    """Where a lane stands with a lease: granted and returned in all, and what is used of the difference.

    `wanted` is how much more it would have; `refused`, how much of that an order lacked that was refused. `version` is
    that of the limits it judges by, −1 where they do not lend this one: then `used` says nothing.
    """

    lane: int
    scope: int
    field: int
    instrument: int
    granted: int
    returned: int
    used: int
    wanted: int = 0
    refused: int = 0
    version: int = 0
    at: int = 0
    """In the allocator's own log: the entry of the lane's log that it speaks of."""


# To strategies and everybody who listens.


class OrderEvent(Message):
    """An order changed: its state after the change. A fill carries `last_*`, a denial its figures; `side` is the
    order's, so that fills add up to positions without it."""

    cl_ord_id: int
    cmd_id: int
    account: int
    strategy: int
    instrument: int
    status: OrdStatus
    exec_type: ExecType | None
    leaves_qty: int
    cum_qty: int
    last_qty: int = 0
    last_px: int = 0
    fee: int = 0
    maker: bool = False
    exec_id: int = 0
    reason: int = 0
    limit: int = 0
    value: int = 0
    scope: int = 0
    version: int = 0
    side: Side = Side.BUY

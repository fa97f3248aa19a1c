"""What a run leaves behind: its log of messages, hashed as it grows, and the rows the report's tables are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from tidegate.kernel import engine as k
from tidegate.model.event import Words
from tidegate.model.messages import Message, NewOrder, OrderEvent
from tidegate.model.order import ExecType, OrdStatus
from tidegate.risk.booked import booked
from tidegate.risk.ledger import Ledger

_BATCH = 4096
_NEW, _BUST = ExecType.NEW, ExecType.TRADE_CANCEL
_PENDING_NEW, _FILLED, _DENIED = OrdStatus.PENDING_NEW, OrdStatus.FILLED, OrdStatus.DENIED
Sink = Callable[[list[Message]], None]
Seen = tuple[tuple[int, int], int, int]
"""What a recorder is told beside a report: the exchange's touch and time of a fill, the size ahead of an order."""
Kept = tuple[int, Message, Seen]
"""Journal rows before it, the message, and what was seen with it."""


FundingRows = dict[tuple[int, int, int], list[tuple[int, int]]]
"""(strategy, account, instrument) → (time, amount received in minor units) of each funding payment."""


def pay(rows: FundingRows, ledger: Ledger, instrument: int, rate: int, price: int, ts: int) -> None:
    """Book a funding payment in the ledger and note what each position received."""
    for (account, strategy, number), received in ledger.apply_funding(instrument, rate, price, ts):
        rows.setdefault((strategy, account, number), []).append((ts, received))


class OrderRow(msgspec.Struct, gc=False):
    """One order's row in the making: what was asked, and what became of it."""

    command: NewOrder
    cl_ord_id: int
    ts_ack: int = 0
    ts_done: int = 0
    cum_qty: int = 0
    cum_value: int = 0
    status: OrdStatus = _PENDING_NEW
    reason: int = 0
    queue_ahead: int = -1


class FillRow(msgspec.Struct, gc=False):
    """One fill, with the exchange's touch of its moment."""

    event: OrderEvent
    ts_venue: int
    bid: int
    ask: int

    @property
    def lots(self) -> int:
        """By how much the position moved, signed."""
        sign = -1 if self.event.exec_type is _BUST else 1
        return sign * self.event.side.sign * self.event.last_qty

    @property
    def fee(self) -> int:
        """What was paid, below 0 where it was given back."""
        return -self.event.fee if self.event.exec_type is _BUST else self.event.fee


@dataclass
class Recorder:
    """Collects a run. `sink`, when given, receives every message in batches (the Parquet of all events).

    `keep` retains the messages for a second fold (`sim.audit`); without it memory stays flat but for the tables.
    """

    sink: Sink | None = None
    keep: bool = False
    kept: list[Kept] = field(default_factory=list)
    orders: dict[int, OrderRow] = field(default_factory=dict)
    fills: list[FillRow] = field(default_factory=list)
    """Those that stand."""
    booked: list[FillRow] = field(default_factory=list)
    """All that moved a position, in order: fills, those taken back, and what moved without an order."""
    moves: list[FillRow] = field(default_factory=list)
    """Of these, positions that moved without an order: handed over from one version of a strategy to another, adopted."""
    denials: list[OrderEvent] = field(default_factory=list)
    marks: list[Words] = field(default_factory=list)
    """(time, instrument, bid, ask) as sampled."""
    rows: list[Words] = field(default_factory=list)
    queue_ahead: int = -1
    fill_touch: tuple[int, int] = (0, 0)
    ts_venue: int = 0
    drained: int = 0
    """Journal rows taken off the kernel before the current ones."""
    messages: int = 0

    def __post_init__(self) -> None:
        self._batch: list[Message] = []
        self._asked: dict[int, NewOrder] = {}
        self._hash = hashlib.sha256()
        self._rows_hash = hashlib.sha256()
        self._encode = msgspec.msgpack.Encoder().encode

    def command(self, message: Message, journal_rows: int) -> None:
        """A message that enters a lane, `journal_rows` rows into the kernel's current journal."""
        if type(message) is NewOrder:
            self._asked[message.cmd_id] = message
        if self.keep:
            seen = (self.fill_touch, self.ts_venue, self.queue_ahead)
            self.kept.append((self.drained + journal_rows, message, seen))
        self._add(message)

    def event(self, event: OrderEvent) -> None:
        """An order event that left a lane."""
        self._add(event)
        if not event.cl_ord_id:
            if booked(event):
                self.moves.append(FillRow(event, event.ts, 0, 0))
                self.booked.append(self.moves[-1])
            return
        row = self.orders.get(event.cl_ord_id)
        if row is None:
            asked = self._asked.pop(event.cmd_id, None)
            if asked is None:
                return
            row = self.orders[event.cl_ord_id] = OrderRow(asked, event.cl_ord_id)
        row.status, row.cum_qty = event.status, event.cum_qty
        if event.reason:
            row.reason = event.reason
        kind = event.exec_type
        if booked(event):
            self._fill(row, FillRow(event, self.ts_venue, *self.fill_touch))
        elif kind is _NEW:
            row.ts_ack, row.queue_ahead = event.ts, self.queue_ahead
        if event.status >= _FILLED:
            row.ts_done = event.ts
            if event.status is _DENIED:
                self.denials.append(event)

    def _fill(self, row: OrderRow, fill: FillRow) -> None:
        event = fill.event
        self.booked.append(fill)
        row.cum_value += abs(fill.lots) * event.last_px * (-1 if event.exec_type is _BUST else 1)
        if event.exec_type is not _BUST:
            self.fills.append(fill)
            return
        key = event.cl_ord_id, event.exec_id
        self.fills = [one for one in self.fills if (one.event.cl_ord_id, one.event.exec_id) != key]

    def journal(self, rows: Words) -> None:
        """Journal rows the kernel has written: marks are kept compactly, the rest is for `sim.audit`."""
        marks = rows[rows[:, 0] == k.J_MARK]
        if len(marks):
            self.marks.append(np.ascontiguousarray(marks[:, 1:5]))
        self._rows_hash.update(rows.data)
        if self.keep:
            self.rows.append(rows)
        self.drained += len(rows)

    def _add(self, message: Message) -> None:
        self._batch.append(message)
        if len(self._batch) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Hash, and hand to the sink, what has gathered."""
        if self._batch:
            self.messages += len(self._batch)
            self._hash.update(self._encode(self._batch))
            if self.sink is not None:
                self.sink(self._batch)
            self._batch = []

    def digest(self) -> bytes:
        """SHA-256 over every message and journal row so far, wherever the journal was cut."""
        self.flush()
        return hashlib.sha256(self._hash.digest() + self._rows_hash.digest()).digest()

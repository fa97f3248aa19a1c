"""The shell around Python strategies in a replay: it carries messages between strategies, the lane and the kernel.

A handler's commands go through the lane at once, and what the lane lets through is on its way to the exchange
when the handler returns. Order events are delivered after the handler that caused them, never inside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from tidegate.execution.core import Lane
from tidegate.kernel import engine as k
from tidegate.kernel.layout import ORDER_WORDS, PENDING_NEW
from tidegate.kernel.replay_engine import Engine
from tidegate.kernel.wake import PythonCall
from tidegate.model.event import Words
from tidegate.model.messages import (
    Message,
    OrderEvent,
    Report,
    SendCancel,
    SendNew,
    SendReplace,
)
from tidegate.model.order import ExecType
from tidegate.risk.ledger import Ledger
from tidegate.sim.recorder import FundingRows, Recorder, pay
from tidegate.strategy.runner import Command, Runner
from tidegate.strategy.strategy import Strategy

_ORDER = struct.Struct(f"<{ORDER_WORDS}q")
_REQUEST = struct.Struct("<8q")
_REPORT = struct.Struct("<16q")
_EXEC = {int(kind): kind for kind in ExecType}
_FINAL = frozenset((ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED))
_NEW, _TRADE = ExecType.NEW, ExecType.TRADE


class Shell(Runner):
    """Runs Python strategies over one engine and one lane."""

    def __init__(self, engine: Engine, lane: Lane, ledger: Ledger, recorder: Recorder) -> None:
        self.lane = lane
        self.ledger = ledger
        self.recorder = recorder
        self._slots: dict[int, int] = {}
        self.funding: FundingRows = {}
        self._synced = 0
        super().__init__(engine)

    def _view(self) -> None:
        super()._view()
        state = self.engine.state
        self._free = state.free.data
        self._orders = state.orders.data.cast("B")
        self._inbox = state.inbox.data.cast("B")
        self._report = state.cur.data.cast("B")
        self._journal = state.journal.data.cast("B").cast("q")

    def add(self, strategy: Strategy) -> None:
        """Take a strategy in, and let the kernel call its reports too."""
        super().add(strategy)
        self.engine.bind(strategy.number, k.G_REPORT, PythonCall(self._on_report, None))

    # Messages.

    def journal(self, rows: Words) -> None:
        """Take journal rows off the kernel."""
        self._sync(len(rows))
        self._synced = 0
        self.recorder.journal(rows)

    def _sync(self, written: int) -> None:
        """Let the lane know the marks and fundings among the journal's first rows that it has not seen."""
        journal, seen = self._journal, self._synced
        rows: Iterable[int] = range(seen, written)
        if written - seen > 64:  # mostly orders of compiled strategies: the few others are found at once
            kinds = self.engine.state.journal[seen:written, 0]
            rows = (seen + np.flatnonzero((kinds == k.J_MARK) | (kinds == k.J_FUNDING))).tolist()
        for row in rows:
            at = row * k.JOURNAL_WORDS
            kind = journal[at]
            if kind == k.J_MARK:
                ts, instrument, bid, ask = journal[at + 1 : at + 5]
                self.lane.state.marks[instrument] = (bid, ask, ts)
            elif kind == k.J_FUNDING:
                ts, instrument, rate, price = journal[at + 1 : at + 5]
                pay(self.funding, self.ledger, instrument, rate, price, ts)
        self._synced = written

    def _apply(self, message: Message) -> None:
        """One message enters the lane; what follows from it goes out."""
        written = self.scalars[k.S_JOURNAL]
        if written != self._synced:
            self._sync(written)
        self.recorder.command(message, written)
        self._route(self.lane.apply(message))

    def flush_requests(self) -> None:
        """Put requests made outside the kernel (at the start) on their way, and deliver what is due."""
        self.drain()
        self.engine.send_requests()

    def command(self, message: Command) -> None:
        """A strategy's command enters the lane."""
        self._apply(message)

    def _on_report(self, _argument: None) -> None:
        (
            time, kind, _slot, order_id, ts_venue, exec_id, last_qty, last_px, fee, maker, qty, price, cum, leaves,
            reason, _strategy,
        ) = _REPORT.unpack_from(self._report, 8 * k.C_REPORT)  # fmt: skip
        exec_type = _EXEC[kind]
        if exec_type is _TRADE:
            self.recorder.fill_touch = (qty, price)
            self.recorder.ts_venue = ts_venue
            qty = price = 0
        elif exec_type is _NEW:
            self.recorder.queue_ahead = last_qty
            last_qty = 0
        report = Report(
            time, order_id, exec_type, ts_venue, exec_id, last_qty, last_px, fee, bool(maker), qty, price, cum, leaves,
            reason=reason,
        )  # fmt: skip
        self._apply(report)
        if exec_type in _FINAL or (exec_type is _TRADE and leaves == 0):
            self._slots.pop(order_id, None)

    def _route(self, messages: list[Message]) -> None:
        for message in messages:
            kind = type(message)
            if kind is OrderEvent:
                self.recorder.event(message)  # type: ignore[arg-type]
                self.queue.append(message)  # type: ignore[arg-type]
                self.scalars[k.S_QUEUED] = 1
            elif kind is SendNew:
                self._send_new(message)  # type: ignore[arg-type]
            elif kind is SendCancel:
                self._request(k.Q_CANCEL, message.cl_ord_id, 0, 0)  # type: ignore[attr-defined]
            elif kind is SendReplace:
                self._request(k.Q_REPLACE, message.cl_ord_id, message.qty, message.price)  # type: ignore[attr-defined]
            else:
                raise RuntimeError(f"nothing in a replay answers a {kind.__name__}")

    def _send_new(self, m: SendNew) -> None:
        left = self.scalars[k.S_FREE] - 1
        if left < 0:
            raise RuntimeError("one handler sent more orders than the engine has room for")
        self.scalars[k.S_FREE] = left
        slot = self._free[left]
        self._slots[m.cl_ord_id] = slot
        strategy = self._owner(m.cl_ord_id)
        _ORDER.pack_into(
            self._orders, slot * ORDER_WORDS * 8, m.cl_ord_id, m.ts, m.account, strategy, m.instrument, m.side,
            m.ord_type, m.time_in_force, m.exec_inst, m.qty, m.price, m.stop_price, m.display_qty, m.offset,
            m.expire_ts, PENDING_NEW, m.qty, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
        self._put(k.Q_NEW, slot, m.cl_ord_id, m.qty, m.price, strategy)

    def _request(self, kind: int, cl_ord_id: int, qty: int, price: int) -> None:
        slot = self._slots[cl_ord_id]
        self._put(kind, slot, cl_ord_id, qty, price, self._owner(cl_ord_id))

    def _owner(self, cl_ord_id: int) -> int:
        order = self.lane.order(cl_ord_id)
        if order is None:
            raise RuntimeError(f"the lane sends for order {cl_ord_id}, which it does not know")
        return order.strategy

    def _put(self, kind: int, slot: int, cl_ord_id: int, qty: int, price: int, strategy: int) -> None:
        at = self.scalars[k.S_INBOX]
        if at >= 4096:
            raise RuntimeError("one handler made more than 4096 requests")
        _REQUEST.pack_into(self._inbox, at * 64, 0, kind, slot, cl_ord_id, qty, price, 0, strategy)
        self.scalars[k.S_INBOX] = at + 1

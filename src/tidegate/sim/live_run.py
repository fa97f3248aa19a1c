"""A live run, folded again from its lanes' logs into the tables of a report: the same as a backtest's.

Events are never read back, they follow again from the entries: what the report shows is what the lanes decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

import tidegate
from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind, fold
from tidegate.log.base import Entry
from tidegate.model.instrument import Universe
from tidegate.model.messages import Funding, LaneEpoch, LaneSkip, Mark, Message, OrderEvent, Report, SendNew
from tidegate.model.order import ExecType
from tidegate.model.wire import Unreadable
from tidegate.risk.ledger import Ledger
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.recorder import FundingRows, Recorder

if TYPE_CHECKING:
    from tidegate.analytics.tables import RunTables

_LATENCIES = (ExecType.NEW, ExecType.TRADE, ExecType.CANCELED, ExecType.REPLACED)


@dataclass
class LiveRun:
    """Folds lanes one after another: `begin` each and `take` its entries in order, then `tables`."""

    kind: LaneKind
    universe: Universe
    scopes: ScopeTable
    base_currency: str
    rates: dict[str, str | Decimal]
    name: str
    sample: int
    recorder: Recorder = field(default_factory=Recorder)
    takeovers: list[tuple[int, int, int, str]] = field(default_factory=list)
    """(time, lane, epoch, owner) of every writer."""
    dead: int = 0
    """Entries that could not be read."""

    def __post_init__(self) -> None:
        self._lanes: dict[int, Lane] = {}
        self._skipped: dict[int, Container[int]] = {}
        self._funding: FundingRows = {}
        self._marks: list[tuple[int, int, int, int]] = []
        self._sent: dict[int, int] = {}
        self._accepted: list[tuple[int, int]] = []
        """(time of the command, of the report) of every order the venue accepted."""
        self._delays: dict[str, list[int]] = {}
        self._first = self._last = 0
        self._entries = 0

    def begin(self, number: int, skipped: Container[int] = ()) -> None:
        """A lane's entries follow, from the first; `skipped` are passed over (`lane_log.skips`)."""
        self._lanes[number] = self.kind.make(number)
        self._skipped[number] = skipped

    def take(self, number: int, entries: Iterable[Entry]) -> None:
        """Fold the lane's next entries."""
        lane = self._lanes[number]
        for entry in entries:
            self._entries += 1
            try:
                _, steps = fold(lane, entry, self._skipped[number])
            except Unreadable:
                self.dead += 1
                continue
            for message, outputs in steps:
                self._take(number, message, outputs)

    def trading_after(self, ts: int) -> int:
        """When the venue first accepted an order that was asked for after `ts`; 0: never (times in ns)."""
        return min((told for asked, told in self._accepted if asked > ts), default=0)

    def _take(self, number: int, message: Message, outputs: list[Message]) -> None:
        self._first = min(self._first or message.ts, message.ts)
        self._last = max(self._last, message.ts)
        kind = type(message)
        if kind is Mark:
            if number == 0 or not self._marks or self._marks[-1][0] < message.ts:
                self._marks.append((message.ts, message.instrument, message.bid, message.ask))  # type: ignore[attr-defined]
            return
        if kind is LaneSkip:
            return
        if kind is LaneEpoch:
            self.takeovers.append((message.ts, number, message.epoch, message.owner))  # type: ignore[attr-defined]
            return
        if kind is Report:
            self._report(number, message)  # type: ignore[arg-type]
        if kind is not Funding:
            self.recorder.command(message, 0)
        for out in outputs:
            if type(out) is OrderEvent:
                self.recorder.event(out)
            elif type(out) is SendNew:
                self._sent[out.cl_ord_id] = out.ts
            elif type(out) is Funding:
                ledger = self._lanes[number].state.ledger
                assert isinstance(ledger, Ledger)
                for key, received in ledger.funding_of(out.instrument, out.rate, out.price):
                    self._funding.setdefault(key, []).append((out.ts, received))

    def _report(self, number: int, report: Report) -> None:
        self.recorder.ts_venue = report.ts_venue
        self.recorder.queue_ahead = -1
        order = self._lanes[number].order(report.cl_ord_id)
        if order is None:
            return
        if report.exec_type is ExecType.NEW:
            self._accepted.append((order.ts_submit, report.ts))
        bid, ask, _ = self._lanes[number].state.marks.get(order.instrument, (0, 0, 0))
        self.recorder.fill_touch = (bid, ask)
        venue = self.universe[order.instrument].venue
        if report.ts_venue and report.exec_type in _LATENCIES:
            self._delays.setdefault(f"response {venue}", []).append(report.ts - report.ts_venue)
            if report.exec_type is ExecType.NEW and report.cl_ord_id in self._sent:
                sent = self._sent.pop(report.cl_ord_id)
                self._delays.setdefault(f"entry {venue}", []).append(report.ts_venue - sent)

    def state_hash(self) -> str:
        """SHA-256 over the states of all lanes, in their order."""
        digest = hashlib.sha256()
        for _, lane in sorted(self._lanes.items()):
            digest.update(lane.state_hash().encode())
        return digest.hexdigest()

    def ledgers(self) -> list[Ledger]:
        """The lanes' ledgers."""
        found = [lane.state.ledger for _, lane in sorted(self._lanes.items())]
        return [ledger for ledger in found if isinstance(ledger, Ledger)]

    def tables(self, extra: dict[str, Any] | None = None) -> RunTables:
        """The tables of the report; `extra` is put into its summary."""
        from tidegate.sim.tables import Naming, run_tables

        recorder = self.recorder
        recorder.flush()
        if self._marks:
            recorder.marks = [np.array(sorted(self._marks), np.int64)]
        rates = {
            c: self.universe.number(h) if isinstance(h, str) else float(h) for c, h in self.rates.items()
        }
        naming = Naming(self.universe, self.scopes, self.base_currency, rates)
        latency = {name: np.array(values, np.int64) for name, values in sorted(self._delays.items())}
        return run_tables(
            recorder, naming, self.sample, latency, self._summary() | (extra or {}), self._funding
        )

    def _summary(self) -> dict[str, Any]:
        counters: dict[str, Any] = {}
        for lane in self._lanes.values():
            for code, n in lane.counts.items():
                name = Reason(code).name.lower()
                counters[name] = counters.get(name, 0) + n
        counters["lane_entries"], counters["dead_letters"] = self._entries, self.dead
        wall = (self._last - self._first) / 1e9
        state = self.state_hash()
        return {
            "run_id": state[:12],
            "state_hash": state,
            "config": self.name,
            "version": tidegate.__version__,
            "base_currency": self.base_currency,
            "start": self._first,
            "end": self._last,
            "events": self._entries,
            "wall_s": wall,
            "events_per_s": self._entries / wall if wall else 0.0,
            "data": {},
            "capital": {a.name: float(a.capital) for a in self.scopes.accounts},
            "inverse": [item.id for item in self.universe.instruments if item.inverse],
            "counters": counters,
            "compiled_kernels": True,
            "error": "",
        }

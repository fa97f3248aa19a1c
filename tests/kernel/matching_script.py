"""A book to write scenarios with: one method a command, reports as short readable lines."""

from __future__ import annotations

import numpy as np
from oracle.matching import Oracle

from tidegate.kernel.matching_engine import MatchingEngine
from tidegate.kernel.matching_layout import NO_PRICE, Command, Reason, exec_type, reason, what
from tidegate.kernel.matching_snapshot import S_CUM, S_HIDDEN, S_ID, S_LEAVES, S_PRICE
from tidegate.model.order import ExecInst, ExecType, OrdType, SelfTrade, Side, TimeInForce

BUY, SELL = Side.BUY, Side.SELL
GTC, DAY, GTD, IOC, FOK = (
    TimeInForce.GTC,
    TimeInForce.DAY,
    TimeInForce.GTD,
    TimeInForce.IOC,
    TimeInForce.FOK,
)


def line(row: np.ndarray) -> str:
    """`TRADE 2x1 3@100 left 0/2`, `CANCELED 1 5@100 SELF_TRADE`, `NEW 1 5@- stop 7` …"""
    kind, why = ExecType(int(exec_type(row[0]))), Reason(int(reason(row[0])))
    id, contra, price, qty, leaves, contra_leaves = (int(v) for v in row[1:7])
    at = "-" if price == NO_PRICE else str(price)
    if kind is ExecType.TRADE:
        return f"TRADE {id}x{contra} {qty}@{at} left {leaves}/{contra_leaves}"
    text = f"{kind.name} {id} {qty}@{at}"
    if contra:
        text += f" stop {contra}"
    if kind is ExecType.RESTATED:
        text += f" of {leaves}"
    return f"{text} {why.name}" if why else text


class Script:
    """An engine, and the oracle beside it: every step is checked against both."""

    def __init__(self) -> None:
        self.engine, self.oracle = MatchingEngine(orders=2, reports=16), Oracle()

    def send(self, *row: int) -> list[str]:
        """One command row of eight words."""
        reports = self.engine.apply(np.array([row], np.int64))
        wanted = np.array(self.oracle.apply([row]), np.int64).reshape(-1, 8)
        assert [line(r) for r in reports] == [line(r) for r in wanted], "engine and oracle differ"
        assert np.array_equal(reports, wanted)
        assert self.engine.state_hash() == self.oracle.state_hash()
        return [line(r) for r in reports]

    def new(
        self, id: int, side: int, qty: int, price: int = NO_PRICE, *, kind: int = OrdType.LIMIT, tif: int = GTC,
        owner: int = 0, stp: int = SelfTrade.ALLOW, inst: int = 0, stop: int = NO_PRICE, extra: int = 0,
        expiry: int = 0,
    ) -> list[str]:  # fmt: skip
        """NEW."""
        packed = int(what(Command.NEW, side, kind, tif, stp, inst))
        return self.send(packed, id, owner, qty, price, stop, extra, expiry)

    def market(self, id: int, side: int, qty: int, **rest: int) -> list[str]:
        return self.new(id, side, qty, kind=OrdType.MARKET, **rest)

    def stop(self, id: int, side: int, qty: int, stop: int, **rest: int) -> list[str]:
        return self.new(id, side, qty, kind=OrdType.STOP, stop=stop, **rest)

    def stop_limit(self, id: int, side: int, qty: int, stop: int, price: int, **rest: int) -> list[str]:
        return self.new(id, side, qty, price, kind=OrdType.STOP_LIMIT, stop=stop, **rest)

    def trailing(self, id: int, side: int, qty: int, distance: int, **rest: int) -> list[str]:
        return self.new(id, side, qty, kind=OrdType.TRAILING_STOP, extra=distance, **rest)

    def iceberg(self, id: int, side: int, qty: int, price: int, shown: int, **rest: int) -> list[str]:
        return self.new(id, side, qty, price, kind=OrdType.ICEBERG, extra=shown, **rest)

    def peg(
        self, id: int, side: int, qty: int, to: ExecInst, offset: int = 0, worst: int = NO_PRICE, inst: int = 0,
        **rest: int,
    ) -> list[str]:  # fmt: skip
        return self.new(id, side, qty, worst, kind=OrdType.PEGGED, extra=offset, inst=to | inst, **rest)

    def cancel(self, id: int) -> list[str]:
        return self.send(Command.CANCEL, id, 0, 0, 0, 0, 0, 0)

    def replace(self, id: int, qty: int = 0, price: int = NO_PRICE, stop: int = NO_PRICE) -> list[str]:
        return self.send(Command.REPLACE, id, 0, qty, price, stop, 0, 0)

    def time(self, now: int) -> list[str]:
        return self.send(Command.TIME, 0, 0, 0, 0, 0, 0, now)

    def end_of_day(self) -> list[str]:
        return self.send(Command.END_OF_DAY, 0, 0, 0, 0, 0, 0, 0)

    def mass_cancel(self, owner: int) -> list[str]:
        return self.send(Command.MASS_CANCEL, 0, owner, 0, 0, 0, 0, 0)

    def book(self) -> list[str]:
        """Every order in walking order: `1 5@100`, with `+hidden` and `filled` where there is any."""
        rows = []
        for row in self.engine.orders():
            at = "-" if row[S_PRICE] == NO_PRICE else row[S_PRICE]
            hidden = f"+{row[S_HIDDEN]}" if row[S_HIDDEN] else ""
            filled = f" filled {row[S_CUM]}" if row[S_CUM] else ""
            rows.append(f"{row[S_ID]} {row[S_LEAVES]}{hidden}@{at}{filled}")
        return rows

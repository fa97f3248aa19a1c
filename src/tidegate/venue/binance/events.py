"""What Binance says of orders, on the user stream and in answers to requests, as the platform's reports.

Spot's `executionReport` and the futures' `ORDER_TRADE_UPDATE` name their fields by the same letters; what differs is
that spot's replaced orders are chains (`orders`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tidegate.model.messages import Report
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.time import MS
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.errors import reason
from tidegate.venue.binance.orders import Known, Orders, generation_of, is_replaced_id
from tidegate.venue.binance.products import Product
from tidegate.venue.binance.symbols import Symbol, Symbols
from tidegate.venue.port import cl_ord_id_of

STATUSES = {
    "NEW": OrdStatus.NEW,
    "PENDING_NEW": OrdStatus.NEW,
    "PARTIALLY_FILLED": OrdStatus.PARTIALLY_FILLED,
    "FILLED": OrdStatus.FILLED,
    "CANCELED": OrdStatus.CANCELED,
    "PENDING_CANCEL": OrdStatus.PENDING_CANCEL,
    "REJECTED": OrdStatus.REJECTED,
    "EXPIRED": OrdStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrdStatus.EXPIRED,
}
_EXPIRED = {
    "GTX": Reason.WOULD_CROSS,
    "IOC": Reason.IOC_REMAINDER,
    "FOK": Reason.FOK_NOT_FILLABLE,
}
_REJECTED = {
    "INSUFFICIENT_BALANCE": Reason.INSUFFICIENT_FUNDS,
    "INSUFFICIENT_BALANCES": Reason.INSUFFICIENT_FUNDS,
    "WOULD_MATCH_IMMEDIATELY": Reason.WOULD_CROSS,
    "DUPLICATE_ORDER": Reason.DUPLICATE_CL_ORD_ID,
    "MARKET_CLOSED": Reason.VENUE_CLOSED,
}


class Events:
    """Turns what the venue says into reports, each once, whichever way it came first."""

    def __init__(self, product: Product, symbols: Symbols, orders: Orders, counts: Counter[str]) -> None:
        self._product = product
        self._symbols = symbols
        self._orders = orders
        self._counts = counts

    def order(self, o: dict[str, Any], ts: int) -> list[Report]:
        """An order's event (`executionReport` whole, or the `o` of `ORDER_TRADE_UPDATE`) received at `ts`."""
        text = o.get("C") or o["c"]
        cl_ord_id, symbol = cl_ord_id_of(text), self._symbols.by_name.get(o["s"])
        if not cl_ord_id or symbol is None:
            self._counts["events of foreign orders" if symbol else "events of unknown symbols"] += 1
            if symbol is not None:
                self._orders.owns(symbol.number, o["i"], 0)
            return []
        generation = generation_of(text)
        known = self._orders.get(cl_ord_id, symbol.number, generation)
        known.moved(generation)
        known.has_filled(generation, symbol.qty.steps(o["z"]))
        self._orders.owns(symbol.number, o["i"], cl_ord_id)
        if generation == known.generation:
            known.venue_id = o["i"]
        handler = getattr(self, f"_{o['x'].lower()}", None)
        if handler is None:
            self._counts[f"events not understood: {o['x']}"] += 1
            return []
        report = Report(ts, cl_ord_id, ExecType.NEW, ts_venue=o["T"] * MS)
        report.leaves_qty = max(0, symbol.qty.steps(o["q"]) - symbol.qty.steps(o["z"]))
        base = known.base(generation)
        report.cum_qty = base + symbol.qty.steps(o["z"]) if base >= 0 else -1
        kept: bool = handler(report, o, symbol, known, generation)
        if o["X"] in ("FILLED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED") or (kept and o["X"] == "CANCELED"):
            self._orders.end(known)
        return [report] if kept else []

    # One handler an execution type: completes the report, and says whether it is news.

    def _new(self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int) -> bool:
        if o.get("ot", o["o"]) != o["o"]:  # a futures stop that has become what it triggers
            r.exec_type = ExecType.TRIGGERED
            return known.once(ExecType.TRIGGERED)
        if not generation:
            known.complete = True  # its beginning was seen
            return known.once(ExecType.NEW)
        if generation < known.generation:
            return False
        return self._changed(r, symbol.qty.steps(o["q"]), symbol.price.steps(o["p"]), known, generation)

    def _amendment(self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int) -> bool:
        return self._changed(r, symbol.qty.steps(o["q"]), symbol.price.steps(o["p"]), known, generation)

    def _changed(self, r: Report, qty: int, price: int, known: Known, generation: int) -> bool:
        asked = known.replacing or known.new is None
        r.exec_type = ExecType.REPLACED if asked else ExecType.RESTATED
        r.qty, r.price = max(known.base(generation), 0) + qty, price
        known.qty, known.price, known.replacing = r.qty, price, False
        return known.once(ExecType.REPLACED, r.qty, price)

    def _trade(self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int) -> bool:
        r.exec_type = ExecType.TRADE
        r.exec_id = symbol.exec_id(o["t"])
        r.last_qty, r.last_px = symbol.qty.steps(o["l"]), symbol.price.steps(o["L"])
        r.maker = o["m"]
        r.fee = self.fee(symbol, o.get("n"), o.get("N"), r.last_px)
        known.seen[generation] = known.seen.get(generation, 0) + r.last_qty
        return True

    def _canceled(self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int) -> bool:
        if is_replaced_id(o["c"]) or generation < known.generation:
            return False  # it made room for its successor
        r.exec_type, r.leaves_qty = ExecType.CANCELED, 0
        if known.new is not None and not known.cancel_asked:
            r.reason = int(Reason.VENUE_CANCELED)
        return known.once(ExecType.CANCELED)

    def _expired(self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int) -> bool:
        r.exec_type, r.leaves_qty = ExecType.EXPIRED, 0
        if o["X"] == "EXPIRED_IN_MATCH":
            r.reason = int(Reason.VENUE_SELF_TRADE)
        elif o["o"] == "MARKET":
            r.reason = int(Reason.NO_LIQUIDITY)
        else:
            r.reason = int(_EXPIRED.get(o["f"], Reason.ORDER_EXPIRED))
        return known.once(ExecType.EXPIRED)

    def _rejected(self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int) -> bool:
        r.exec_type, r.leaves_qty = ExecType.REJECTED, 0
        r.reason = int(_REJECTED.get(o.get("r", ""), Reason.VENUE_OTHER))
        return known.once(ExecType.REJECTED)

    def _trade_prevention(
        self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int
    ) -> bool:
        prevented = symbol.qty.steps(o.get("A", "0"))
        r.exec_type = ExecType.RESTATED
        r.leaves_qty = max(0, r.leaves_qty - prevented)
        r.qty = max(known.base(generation), 0) + symbol.qty.steps(o["q"]) - prevented
        r.price = symbol.price.steps(o["p"])
        return True

    def _trade_cancel(
        self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int
    ) -> bool:
        # Binance busts trades without an event; our own venue server tells of it in this one.
        self._trade(r, o, symbol, known, generation)
        known.seen[generation] -= 2 * r.last_qty
        known.filled[generation] = symbol.qty.steps(o["z"])
        r.exec_type, r.ref_exec_id = ExecType.TRADE_CANCEL, r.exec_id
        return True

    def _trade_correct(
        self, r: Report, o: dict[str, Any], symbol: Symbol, known: Known, generation: int
    ) -> bool:
        self._trade(r, o, symbol, known, generation)
        known.seen[generation] = known.filled[generation] = symbol.qty.steps(o["z"])
        r.exec_type, r.ref_exec_id = ExecType.TRADE_CORRECT, r.exec_id
        return True

    def fee(self, symbol: Symbol, amount: str | None, asset: str | None, price: int) -> int:
        """A commission in the settlement currency; one in a third asset is booked as 0, and counted."""
        if not amount or not asset:
            return 0
        fee = symbol.fee(amount, asset, price)
        if fee is None:
            self._counts[f"fees in another asset: {asset}"] += 1
            return 0
        return fee

    # Answers. `ts` is when they came, `venue_now` the venue's time then.

    def placed(self, known: Known, result: dict[str, Any], ts: int, venue_now: int) -> list[Report]:
        """An order was taken."""
        self._orders.owns(known.instrument, result["orderId"], known.cl_ord_id)
        known.venue_id = known.venue_id or result["orderId"]
        if not known.once(ExecType.NEW):
            return []
        return [Report(ts, known.cl_ord_id, ExecType.NEW, ts_venue=_time(result, venue_now))]

    def canceled(self, known: Known, result: dict[str, Any], ts: int, venue_now: int) -> list[Report]:
        """A cancel was done."""
        if result.get("status", "CANCELED") != "CANCELED" or not known.once(ExecType.CANCELED):
            return []
        symbol = self._symbols.by_number[known.instrument]
        known.has_filled(known.generation, symbol.qty.steps(result.get("executedQty", "0")))
        report = Report(ts, known.cl_ord_id, ExecType.CANCELED, ts_venue=_time(result, venue_now))
        report.cum_qty, report.leaves_qty = known.cum, 0
        self._orders.end(known)
        return [report]

    def modified(self, known: Known, result: dict[str, Any], ts: int, venue_now: int) -> list[Report]:
        """A change in place was done. Where it ended the order, the event says so."""
        if STATUSES.get(result["status"], OrdStatus.NEW).terminal:
            return []
        symbol = self._symbols.by_number[known.instrument]
        report = Report(ts, known.cl_ord_id, ExecType.REPLACED, ts_venue=_time(result, venue_now))
        qty, price = symbol.qty.steps(result["origQty"]), symbol.price.steps(result["price"])
        return [report] if self._changed(report, qty, price, known, 0) else []

    def succeeded(self, known: Known, result: dict[str, Any], ts: int, venue_now: int) -> list[Report]:
        """An order was cancelled and its successor placed."""
        symbol = self._symbols.by_number[known.instrument]
        old, new = result["cancelResponse"], result["newOrderResponse"]
        generation = generation_of(new["clientOrderId"])
        known.has_filled(generation - 1, symbol.qty.steps(old["executedQty"]))
        known.moved(generation)
        self._orders.owns(known.instrument, new["orderId"], known.cl_ord_id)
        if generation == known.generation:
            known.venue_id = new["orderId"]
        report = Report(ts, known.cl_ord_id, ExecType.REPLACED, ts_venue=_time(new, venue_now))
        # An ACK names neither quantity nor price: they are what was asked.
        return [report] if self._changed(report, known.sent_qty, known.sent_price, known, generation) else []

    def refused(self, code: int, message: str) -> int:
        """The reason code for the venue's error."""
        return int(reason(code, message, self._product.error_scope))


def _time(result: dict[str, Any], venue_now: int) -> int:
    stamp = result.get("transactTime") or result.get("updateTime")
    return stamp * MS if stamp else venue_now

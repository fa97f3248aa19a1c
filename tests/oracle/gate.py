"""The risk gate, slow and obvious: dictionaries, decimals for the limits, sums taken afresh, rules as written.

It shares with the kernel only numbers of reasons, the rounding rule and the order of controls. State is keyed by
names of things, not by slots; `observe` gives the figures that both sides must agree on.
"""

from __future__ import annotations

from typing import Any

from oracle.gate_books import Open, Window
from oracle.gate_limits import Denied, LimitBook, micro, ppm, whole
from oracle.gate_rules import STOPS, Rules

from tidegate.model.order import ExecInst, Order, OrdType, Side, TimeInForce
from tidegate.risk.limits import Limits
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import State

DAY = 86_400_000_000_000


_STRANGERS = (R.UNKNOWN_INSTRUMENT, R.UNKNOWN_STRATEGY, R.UNKNOWN_ACCOUNT, R.ACCOUNT_NOT_PERMITTED)


class OracleGate(Rules):
    """The whole gate: checks in their order, and what happens to charges and positions."""

    def judge(self, what: Any, *args: Any) -> list[int]:
        """(reason, limit, value, scope, control, warnings) of a check."""
        self.warnings = 0
        try:
            what(*args)
        except Denied as denied:
            return [*denied.figures, self.warnings]
        return [0, 0, 0, 0, 0, self.warnings]

    def check(self, order: Order, ref: tuple[int, int, int], ts: int) -> list[int]:
        self.roll(ts)
        figures = self.judge(self._judge, order, None, order.qty, order.price, ref, ts)
        strangers = figures[0] in _STRANGERS or figures[4] in (10, 23, 24, 27, 29, 30)
        if not figures[0] or not strangers:
            self.outcome(order.strategy, figures[0] != 0)
        return figures

    def check_replace(
        self, order: Order, qty: int, price: int, ref: tuple[int, int, int], ts: int
    ) -> list[int]:
        self.roll(ts)
        return self.judge(self._replace, order, qty, price, ref, ts)

    def _replace(self, order: Order, qty: int, price: int, ref: tuple[int, int, int], ts: int) -> None:
        self.known(order)
        if order.cl_ord_id not in self.open:
            raise Denied(R.NOT_CHARGED, 3, 0, order.cl_ord_id, 0)
        if (qty or order.qty) <= order.cum_qty:
            raise Denied(R.INVALID_QTY, 3, order.cum_qty + 1, qty or order.qty, 0)
        self._judge(order, self.open[order.cl_ord_id], qty or order.qty, price or order.price, ref, ts)

    def check_cancel(self, order: Order, ts: int) -> list[int]:
        self.roll(ts)
        return self.judge(self._cancel, order, ts)

    def _cancel(self, order: Order, ts: int) -> None:
        self.known(order)
        self.throttle(order, "cancel", R.CANCEL_THROTTLE, ts)
        self.send(order, 1, order.leaves_qty)

    def check_parent(self, legs: list[Order], refs: list[tuple[int, int, int]], ts: int) -> list[int]:
        return self.judge(self._parent, legs, refs, ts)

    def _parent(self, legs: list[Order], refs: list[tuple[int, int, int]], ts: int) -> None:
        total = 0
        for order, ref in zip(legs, refs, strict=True):
            self.known(order)
            self.valid(order, order.qty, order.price, ts)
            self.limits_set(order, risk_only=False)
            bid, ask, _, known = self.reference(order.instrument, ref)
            self.needs_reference(order, order.price, known)
            worst, plain, _ = self.prices(order, order.price, bid, ask)
            total += self.charge_value(order, worst, plain, known, bid, ask, order.qty)
            limit, scope = self.rule(order, "parent_value", micro)
            if total > limit:
                raise Denied(R.MAX_PARENT_VALUE, 6, limit, total, scope)

    def _judge(
        self, order: Order, held: Open | None, qty: int, price: int, ref: tuple[int, int, int], ts: int
    ) -> None:
        self.known(order)
        self.limits_set(order, risk_only=False)
        if self.gap:
            raise Denied(R.RISK_LOG_GAP, 29, 0, 1, 0)
        self.permitted(order, ts)
        self.valid(order, qty, price, ts)
        i, buy, chain = order.instrument, order.side is Side.BUY, self.chain(order)
        sign = 1 if buy else -1
        bid, ask, seen, known = self.reference(i, ref)
        leaves = qty if held is None else qty - order.cum_qty
        lots = leaves if held is None else max(0, leaves - held.lots)
        count, sent = (1, qty) if held is None else (2, held.lots + leaves)
        shrinks = held is not None and lots == 0 and sign * (price - order.price) <= 0
        if self.halted[i] is State.WARN:
            self.warnings |= 1 << 27
        safe = shrinks or self.reduces(chain[0], order, lots)
        if not safe:
            if self.halted[i] >= State.REDUCE_ONLY:
                raise Denied(R.INSTRUMENT_REDUCE_ONLY, 27, 0, lots, 0)
            self.limits_set(order, risk_only=True)
            age, scope = self.rule(order, "max_age", int)
            if not known:
                raise Denied(R.MARKET_DATA_MISSING, 10, 0, i, scope)
            if bid > ask:
                raise Denied(R.MARKET_DATA_CROSSED, 10, bid, ask, scope)
            if abs(ts - seen) > age:
                raise Denied(R.MARKET_DATA_STALE, 10, age, abs(ts - seen), scope)
            self.conduct(order, lots, sent, count, seen, ts)
        self.needs_reference(order, price, known)
        worst, plain, base2 = self.prices(order, price, bid, ask)
        value = self.charge_value(order, worst, plain, known, bid, ask, qty)
        self.sizes(order, safe, qty, plain, value)
        stop = order.ord_type in STOPS
        if not stop or self.limited(order, price):
            collar, scope = self.rule(order, "price_collar", ppm)
            off = abs(2 * plain - base2)
            if off > self.width(order, base2):
                parts = whole(float(off) * 1_000_000 / abs(base2)) if base2 else 1 << 60
                raise Denied(R.PRICE_COLLAR, 7, collar, parts, scope)
        through = sign * (worst - (ask if buy else bid))
        takes = stop or (through >= 0 and not order.exec_inst & ExecInst.POST_ONLY)
        if known and not stop:
            if self.limited(order, price):
                self.band(order, through, bid + ask)
            if takes:
                self.drift(order, sign, ts)
        if not stop:
            self.self_match(order, worst)
        more = value
        if held is not None:
            value = self.charge_value(order, worst, plain, known, bid, ask, leaves)
            more = max(0, value - held.value)
        elif len(self.open) == self.capacity:
            raise Denied(R.GATE_FULL, 16, self.capacity, self.capacity + 1, 0)
        unit = self.marked_unit(i) or self.unit(i, bid, ask)
        for s in chain:
            self.scope(s, order, shrinks, lots, more, 1 if held is None else 0, unit)
        if held is None:
            self.duplicates(order, qty, price, ts)
        self.throttle(order, "new", R.ORDER_THROTTLE, ts)
        self.send(order, count, sent)
        if not self.marks[i].ts and known:
            self.marks[i].bid, self.marks[i].ask, self.marks[i].ts = bid, ask, seen
            self.unit_now.clear()
        if held is None:
            rests = order.ord_type in (OrdType.LIMIT, OrdType.ICEBERG)
            rests = rests and order.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK)
            self.open[order.cl_ord_id] = Open(order, 0, 0, worst, takes, bid + ask, chain, rests)
            self.charge(self.open[order.cl_ord_id], lots, value)
        else:
            self.charge(held, held.lots + lots, held.value + more)
            if sign * (worst - held.worst) > 0:
                held.worst = worst

    def charge(self, held: Open, lots: int, value: int) -> None:
        side = self.buys if held.order.side is Side.BUY else self.sells
        for s in held.scopes:
            side[s, held.order.instrument] += lots - held.lots
        held.lots, held.value = lots, value
        if not lots:
            del self.open[held.order.cl_ord_id]

    def recharge(self, order: Order, lots: int, price: int) -> None:
        held = self.open.get(order.cl_ord_id)
        if held is None:
            return
        if lots <= 0:
            self.charge(held, 0, 0)
            return
        mark = self.marks[order.instrument]
        worst, plain, _ = self.prices(order, price, mark.bid, mark.ask)
        held.worst = worst
        self.charge(
            held, lots, self.charge_value(order, worst, plain, mark.ts != 0, mark.bid, mark.ask, lots)
        )

    def replaced(self, order: Order, qty: int, price: int, ts: int) -> None:
        self.happened(ts)
        self.recharge(order, (qty or order.qty) - order.cum_qty, price or order.price)

    def replace_rejected(self, order: Order, qty: int, price: int, ts: int) -> None:
        self.happened(ts)
        self.recharge(order, order.leaves_qty, order.price)

    def release(self, order: Order, qty: int, ts: int, refused: bool = False) -> None:
        self.happened(ts)
        if refused:
            self.refused(order.strategy)
        held = self.open.get(order.cl_ord_id)
        if held is not None:
            left = 0 if qty >= order.leaves_qty else max(0, held.lots - qty)
            self.charge(held, left, whole(float(held.value) * left / held.lots))

    def fill(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        self.happened(ts)
        held = self.open.get(order.cl_ord_id)
        self.filled(order, held, qty, price, ts)
        if held is not None:
            if held.takes:
                self.took(held, price, ts)
            self.release(order, qty, ts)
        self.book(order, qty, price, fee, ts)

    def took(self, held: Open, price: int, ts: int) -> None:
        key = (held.order.strategy, held.order.instrument)
        window = self.windows.get(key)
        if window is None or ts - window.began >= self.beside(held.order, "period_drift", "period_window"):
            self.windows[key] = Window(max(ts, 1), held.mid2 or 2 * price, price, price)
        else:
            window.high, window.low = max(window.high, price), min(window.low, price)

    def book(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        self.happened(ts)
        i, mark = order.instrument, self.marks[order.instrument]
        if not mark.ts:
            mark.bid, mark.ask, mark.ts = price, price, max(ts, 1)
            self.unit_now.clear()
        signed = qty * order.side.sign
        paid = whole(self.settle(i, price, signed), 1 << 61)
        for s in self.chain(order):
            self.pos[s, i] += signed
            self.cash[s, i] += (paid if self.inverse[i] else -paid) - fee
            self.traded[s] = max(0, self.traded[s] + self.value(i, price, qty) * (1 if qty >= 0 else -1))
            self.losses(s)
            self.watch_legs(s)

    def losses(self, s: int) -> None:
        pnl = self.pnl(s)
        self.peak[s] = max(self.peak[s], pnl)
        if self.state[s] >= State.REDUCE_ONLY:
            return
        most = [self.book_of.cap(s, "loss"), self.book_of.cap(s, "drawdown")]
        down = [self.day_pnl[s] - pnl, self.peak[s] - pnl]
        for to, share in ((State.REDUCE_ONLY, lambda x: x), (State.WARN, lambda x: x - x // 2)):
            for reason, limit, value in zip((R.LOSS_LIMIT, R.DRAWDOWN_LIMIT), most, down, strict=True):
                if value > 0 and value >= share(limit):
                    if to > self.state[s]:
                        self.state[s], self.cause[s] = to, (int(reason), limit, value)
                    return

    def mark(self, i: int, bid: int, ask: int, ts: int) -> None:
        self.happened(ts)
        if bid > ask or not self.usable(i, bid, ask):
            return
        mark, mid = self.marks[i], 0.5 * (bid + ask)
        gap = ts - mark.ts
        if mark.ts and gap > 0:
            move = mid - 0.5 * (mark.bid + mark.ask)
            mark.variance += gap / (self.memory + gap) * (move * move / gap - mark.variance)
        mark.count += 1
        for currency, source in self.fx.items():
            if source == self.universe[i].id:
                quote = self.universe[i].quote
                one = mid * float(self.universe[i].tick) * self.rates[quote] * self.units(quote)
                self.rates[currency] = one / self.units(currency)
        mark.bid, mark.ask, mark.ts = bid, ask, max(ts, 1)
        self.unit_now.clear()
        for s in range(len(self.scopes)):
            self.losses(s)
            self.watch_legs(s)

    def funding(self, i: int, rate: int, price: int, ts: int) -> None:
        self.happened(ts)
        for s in range(len(self.scopes)):
            if self.pos[s, i]:
                worth = whole(self.settle(i, price, self.pos[s, i]), 1 << 61)
                self.cash[s, i] -= whole(float(worth) * rate * 1e-8)
                self.losses(s)

    def set_state(self, s: int, state: State, ts: int) -> None:
        self.happened(ts)
        stopped, itself = self.state[s] >= State.REDUCE_ONLY, self.cause[s][0] != 0
        if stopped and itself and state in (State.ACTIVE, State.WARN):
            return
        self.state[s], self.cause[s] = state, (0, 0, 0)
        if stopped and state < State.REDUCE_ONLY:
            self.peak[s] = self.pnl(s)
            self.forget(s)

    def set_market(self, i: int, volume: int, interest: int, bids: int, asks: int, ts: int) -> None:
        self.market[i] = volume, interest, bids, asks

    def set_equity(self, venue: int, equity: int, ts: int) -> None:
        self.equity[list(dict.fromkeys(item.venue for item in self.universe.instruments))[venue]] = max(
            0, equity
        )

    def acknowledge(self, t: int, i: int, side: int, ts: int) -> None:
        for one in Side if not side else (Side(side),):
            self.runs[t, i, one] = 0, 0

    def tick(self, ts: int) -> None:
        self.ticked = max(self.ticked, ts)

    def set_gap(self, gap: bool) -> None:
        self.gap = gap

    def set_instrument_state(self, i: int, state: State, ts: int) -> None:
        self.halted[i] = state

    def set_factor(self, i: int, ppm: int) -> None:
        self.factor_of[i] = ppm

    def set_limit(self, s: int, field: int, i: int, value: int) -> None:
        self.lent[s, field, i] = value

    def set_limits(self, limits: Limits) -> None:
        self.book_of = LimitBook(self.universe, self.scopes, limits)
        self._rules.clear()
        for s in range(len(self.scopes)):
            self.watch_legs(s)

    def happened(self, ts: int) -> None:
        self.fact = max(self.fact, ts)
        self.roll(ts)

    def roll(self, ts: int) -> None:
        if ts >= self.day_ends:
            self.day_ends = (ts - self.day_start) // DAY * DAY + DAY + self.day_start
            self.traded = [0] * len(self.scopes)
            for today in (self.orders_today, self.trades_today):
                today.update(dict.fromkeys(today, (0, 0)))
            self.day_pnl = [self.pnl(s) for s in range(len(self.scopes))]

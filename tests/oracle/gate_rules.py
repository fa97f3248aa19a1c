"""The slow gate's controls on one order and on a scope, each as its rule reads."""

from __future__ import annotations

import math
from fractions import Fraction

from oracle.gate_conduct import Conduct
from oracle.gate_limits import ENDLESS, Denied, micro, number, ppm, remember, whole

from tidegate.model.order import ExecInst, Order, OrdType, Side, TimeInForce
from tidegate.risk.leases.fields import Field
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import Level, State

STOPS = (OrdType.STOP, OrdType.STOP_LIMIT, OrdType.TRAILING_STOP)


class Rules(Conduct):
    """Every control; a denial is raised."""

    def cap(self, s: int, field: str, end: Field) -> int:
        """A scope's total in force: what people set, or what is lent of it."""
        return min(self.book_of.cap(s, field), self.lent.get((s, end, -1), ENDLESS))

    def held(self, i: int, limit: int, safe: bool = False) -> int:
        """An instrument's limit, held to its factor; what only reduces has people's limit."""
        if safe or limit == ENDLESS:
            return limit
        return limit * self.factor_of.get(i, 1_000_000) // 1_000_000

    def known(self, order: Order) -> None:
        if not 0 <= order.instrument < len(self.universe):
            raise Denied(R.UNKNOWN_INSTRUMENT, 1, len(self.universe), order.instrument, 0)
        if not 0 <= order.strategy < len(self.scopes.strategies):
            raise Denied(R.UNKNOWN_STRATEGY, 1, len(self.scopes.strategies), order.strategy, 0)
        if not 0 <= order.account < len(self.scopes.accounts):
            raise Denied(R.UNKNOWN_ACCOUNT, 1, len(self.scopes.accounts), order.account, 0)
        if not self.links(order.account, order.strategy).permitted:
            scope = self.scopes.strategy_scope(order.strategy)
            raise Denied(R.ACCOUNT_NOT_PERMITTED, 1, 0, order.account, scope)

    def permitted(self, order: Order, ts: int) -> None:
        chain, i = self.chain(order), order.instrument
        for s in chain:
            if self.state[s] is State.KILLED:
                raise Denied(R.SCOPE_KILLED, 27, 0, State.KILLED, s)
            if self.state[s] is State.CANCEL_ONLY:
                raise Denied(R.SCOPE_CANCEL_ONLY, 27, 0, State.CANCEL_ONLY, s)
        if self.halted[i] in (State.CANCEL_ONLY, State.KILLED):
            raise Denied(R.INSTRUMENT_HALTED, 27, 0, self.halted[i], 0)
        item, me = self.universe[i], chain[0]
        lists = [self.book_of.total(s, "trade") for s in chain]
        lists = [names for names in lists if names is not None]
        fits = {item.id, "*", f"*.{item.venue}"}
        if not lists or any(not fits & set(names) for names in lists):
            raise Denied(R.INSTRUMENT_NOT_PERMITTED, 1, 0, i, me)
        for field, reason, value in (
            ("sides", R.SIDE_NOT_PERMITTED, order.side),
            ("order_types", R.ORD_TYPE_NOT_PERMITTED, order.ord_type),
            ("time_in_force", R.TIF_NOT_PERMITTED, order.time_in_force),
        ):
            key = (order.account, order.strategy, i, field)
            if key not in self._rules:
                allowed = [self.book_of.at(s, i, field)[0] for s in chain]
                sets = [{name.lower() for name in names} for names in allowed if names is not None]
                kept = set.intersection(*sets) if sets else set()
                self._rules[key] = sum(1 << v for v in type(value) if v.name.lower() in kept)
            if not self._rules[key] >> value & 1:
                raise Denied(reason, 1, self._rules[key], value, me)
        begins, ends = [], []
        for s in chain:
            start, end = (
                self.book_of.at(s, i, "restricted_from")[0],
                self.book_of.at(s, i, "restricted_to")[0],
            )
            if self.book_of.at(s, i, "restricted")[0]:
                raise Denied(R.RESTRICTED, 2, 0, i, 0)
            if start is not None or end is not None:
                begins.append(-ENDLESS if start is None else start)
                ends.append(ENDLESS if end is None else end)
        if begins and min(begins) <= ts < max(ends):
            if max(ends) == ENDLESS:
                raise Denied(R.RESTRICTED, 2, 0, i, 0)
            raise Denied(R.RESTRICTED_WINDOW, 2, max(ends), ts, 0)
        if item.expiry:
            windows = [self.book_of.at(s, i, "expiry_window")[0] for s in chain]
            for window in sorted((w for w in windows if w is not None), reverse=True)[:1]:
                if ts >= item.expiry - window:
                    raise Denied(R.RESTRICTED_WINDOW, 2, item.expiry - window, ts, 0)

    def valid(self, order: Order, qty: int, price: int, ts: int) -> None:
        item, kind, tif, inst = (
            self.universe[order.instrument],
            order.ord_type,
            order.time_in_force,
            order.exec_inst,
        )
        least, most = self.size_range(order.instrument)
        far = max(abs(price), abs(order.stop_price), abs(order.offset))
        at_once = tif in (TimeInForce.IOC, TimeInForce.FOK)
        priced = kind in (OrdType.LIMIT, OrdType.ICEBERG, OrdType.STOP_LIMIT)
        pegs = inst & (ExecInst.PEG_PRIMARY | ExecInst.PEG_MARKET | ExecInst.PEG_MID)
        passive = kind in (OrdType.LIMIT, OrdType.ICEBERG, OrdType.PEGGED) and not at_once
        rules = (
            (qty <= 0, R.INVALID_QTY, 1, qty),
            (qty > 1 << 50, R.OUT_OF_RANGE, 1 << 50, qty),
            (far > 1 << 40, R.OUT_OF_RANGE, 1 << 40, far),
            (qty < least, R.BELOW_MIN_QTY, least, qty),
            (qty > most, R.ABOVE_MAX_QTY, most, qty),
            (item.expiry and ts >= item.expiry, R.INSTRUMENT_EXPIRED, item.expiry, ts),
            (at_once and kind not in (OrdType.MARKET, OrdType.LIMIT), R.INVALID_TIF, 0, tif),
            (tif is TimeInForce.GTD and kind is OrdType.MARKET, R.INVALID_TIF, 0, tif),
            (tif is TimeInForce.GTD and order.expire_ts <= ts, R.INVALID_EXPIRY, ts, order.expire_ts),
            (not item.negative_prices and priced and price <= 0, R.INVALID_PRICE, 1, price),
            (not item.negative_prices and kind is OrdType.PEGGED and price < 0, R.INVALID_PRICE, 1, price),
            (not item.negative_prices and kind in (OrdType.STOP, OrdType.STOP_LIMIT) and order.stop_price <= 0,
             R.STOP_PRICE_MISSING, 1, order.stop_price),
            (kind is OrdType.TRAILING_STOP and order.offset <= 0, R.INVALID_OFFSET, 1, order.offset),
            (not 0 <= order.display_qty <= qty, R.INVALID_DISPLAY, qty, order.display_qty),
            (kind is OrdType.ICEBERG and not order.display_qty, R.INVALID_DISPLAY, qty, order.display_qty),
            (inst & ExecInst.POST_ONLY and not passive, R.INVALID_EXEC_INST, 0, inst),
            ((kind is OrdType.PEGGED) != (pegs.bit_count() == 1), R.INVALID_EXEC_INST, 0, inst),
        )  # fmt: skip
        for broken, reason, limit, value in rules:
            if broken:
                raise Denied(reason, 3, limit, value, 0)

    @remember
    def size_range(self, i: int) -> tuple[int, int]:
        item = self.universe[i]
        least = max(1, math.ceil(item.min_qty / item.lot))
        if item.inverse:
            least = max(least, math.ceil(item.min_notional / item.lot / item.multiplier))
        return least, math.floor(item.max_qty / item.lot) if item.max_qty else ENDLESS

    @remember
    def least_notional(self, i: int) -> float:
        item = self.universe[i]
        if item.inverse:
            return 0.0
        return float(
            Fraction(item.min_notional) / Fraction(item.lot) / Fraction(item.multiplier) / Fraction(item.tick)
        )

    def limits_set(self, order: Order, risk_only: bool) -> None:
        key = (order.account, order.strategy, order.instrument, "lacking", risk_only)
        if key not in self._rules:
            self._rules[key] = self.book_of.lacking(self.chain(order), order.instrument, risk_only)
        if self._rules[key]:
            control, scope = self._rules[key]
            raise Denied(R.NO_LIMIT, 30, control, 0, scope)

    def usable(self, i: int, bid: int, ask: int) -> bool:
        small = abs(bid) <= 1 << 40 and abs(ask) <= 1 << 40
        return small and (self.universe[i].negative_prices or (bid > 0 and ask > 0))

    def reference(self, i: int, ref: tuple[int, int, int]) -> tuple[int, int, int, bool]:
        bid, ask, seen = ref
        if seen and self.usable(i, bid, ask):
            return bid, ask, seen, True
        mark = self.marks[i]
        return mark.bid, mark.ask, mark.ts, mark.ts != 0

    def needs_reference(self, order: Order, price: int, known: bool) -> None:
        if not self.rate(order.instrument):
            raise Denied(R.NO_FX_RATE, 10, 0, order.instrument, 0)
        collar, scope = self.rule(order, "price_collar", ppm)
        if order.ord_type in STOPS:
            needed = order.ord_type is OrdType.TRAILING_STOP and not order.stop_price
        else:
            needed = collar < ENDLESS or not self.limited(order, price)
        if needed and not known:
            raise Denied(R.NO_REFERENCE, 7, collar, 0, scope)

    def limited(self, order: Order, price: int) -> bool:
        kind = order.ord_type
        return kind in (OrdType.LIMIT, OrdType.ICEBERG, OrdType.STOP_LIMIT) or (
            kind is OrdType.PEGGED and price != 0
        )

    def width(self, order: Order, base2: int) -> int:
        collar, _ = self.rule(order, "price_collar", ppm)
        if collar == ENDLESS:
            return ENDLESS
        floor = math.floor(
            self.beside(order, "price_collar", "price_collar_floor") / self.universe[order.instrument].tick
        )
        return max(math.floor(float(collar) * abs(base2) / 1_000_000), 2 * floor)

    def prices(self, order: Order, price: int, bid: int, ask: int) -> tuple[int, int, int]:
        buy = order.side is Side.BUY
        plain, base2 = (ask if buy else bid), bid + ask
        if order.ord_type in STOPS:
            plain = order.stop_price
            if order.ord_type is OrdType.TRAILING_STOP and not plain:
                plain = ask + order.offset if buy else bid - order.offset
            base2 = 2 * plain
        if self.limited(order, price):
            return price, price, base2
        width = self.width(order, base2)
        if width == ENDLESS:
            return plain, plain, base2
        worst = -((-base2 - width) // 2) if buy else (base2 - width) // 2
        if not self.universe[order.instrument].negative_prices:
            worst = max(1, worst)
        return worst, plain, base2

    def charge_value(
        self, order: Order, worst: int, plain: int, known: bool, bid: int, ask: int, lots: int
    ) -> int:
        other = (ask if order.side is Side.BUY else bid) if known else plain
        i = order.instrument
        return max(self.value(i, worst, lots), self.value(i, other, lots))

    def reduces(self, s: int, order: Order, lots: int) -> bool:
        pos = self.pos[s, order.instrument]
        if order.side is Side.BUY:
            return pos < 0 and self.buys[s, order.instrument] + lots <= -pos
        return pos > 0 and self.sells[s, order.instrument] + lots <= pos

    def sizes(self, order: Order, safe: bool, qty: int, plain: int, value: int) -> None:
        item = self.universe[order.instrument]
        least = self.least_notional(order.instrument)
        if float(abs(plain)) * qty < least:
            raise Denied(R.BELOW_MIN_NOTIONAL, 3, whole(least), whole(float(abs(plain)) * qty), 0)
        limit, scope = self.rule(
            order, "order_qty", lambda q: math.floor(q / item.lot) if q.is_finite() else ENDLESS
        )
        limit = self.held(order.instrument, limit, safe)
        if qty > limit:
            raise Denied(R.MAX_ORDER_QTY, 4, limit, qty, scope)
        deep = not safe and self.depth(order, qty)
        limit, scope = self.rule(order, "order_value", micro)
        limit = self.held(order.instrument, limit, safe)
        if value >= 1 << 60:
            raise Denied(R.OUT_OF_RANGE, 5, 1 << 60, value, 0)
        if value > limit:
            raise Denied(R.MAX_ORDER_VALUE, 5, limit, value, scope)
        if value > limit // 2:
            self.warnings |= 1 << 5
        if deep:
            self.warnings |= 1 << 22
        limit, scope = self.rule(order, "parent_value", micro)
        if value > limit:
            raise Denied(R.MAX_PARENT_VALUE, 6, limit, value, scope)

    def band(self, order: Order, through: int, mid2: int) -> None:
        limit, scope = self.rule(
            order, "dynamic_collar", lambda k: math.floor(k * 1000) if k < 1000 else ENDLESS
        )
        mark = self.marks[order.instrument]
        if limit == ENDLESS or mark.count < 20:
            return
        sigma = math.sqrt(mark.variance * self.beside(order, "dynamic_collar", "dynamic_horizon"))
        floor = float(ppm(self.beside(order, "dynamic_collar", "dynamic_floor"))) * abs(mid2) / 2_000_000
        band = whole(max(sigma * limit / 1000, floor))
        if 2 * through > band:
            self.warnings |= 1 << 8
        if through > band:
            raise Denied(R.DYNAMIC_COLLAR, 8, band, through, scope)

    def drift(self, order: Order, sign: int, ts: int) -> None:
        limit, scope = self.rule(order, "period_drift", ppm)
        window = self.windows.get((order.strategy, order.instrument))
        length = self.beside(order, "period_drift", "period_window")
        if window is None or ts - window.began >= length or not window.base:
            return
        moved = sign * (2 * (window.high if sign > 0 else window.low) - window.base)
        parts = whole(float(moved) * 1_000_000 / abs(window.base)) if moved > 0 else 0
        if parts > limit:
            raise Denied(R.PERIOD_COLLAR, 9, limit, parts, scope)

    def group(self, account: int) -> int:
        return self.links(account, 0).group

    def self_match(self, order: Order, worst: int) -> None:
        says = [self.book_of.at(s, order.instrument, "self_match")[0] for s in self.chain(order)]
        if True in says and False not in says:
            return
        group, buy = self.group(order.account), order.side is Side.BUY
        own = [
            o.worst for o in self.open.values()
            if o.rests and o.order.instrument == order.instrument and o.order.side is not order.side
            and self.group(o.order.account) == group
        ]  # fmt: skip
        if own:
            best = min(own) if buy else max(own)
            if (worst >= best) if buy else (worst <= best):
                raise Denied(R.SELF_MATCH, 12, best, worst, group)

    def scope(
        self, s: int, order: Order, shrinks: bool, lots: int, more: int, count: int, unit: float
    ) -> None:
        i, buy, book = order.instrument, order.side is Side.BUY, self.book_of
        pos, state = self.pos[s, i], self.state[s]
        safe = shrinks or self.reduces(s, order, lots)
        mine = [o for o in self.open.values() if s in o.scopes]
        resting = sum(o.value for o in mine)
        if state is State.WARN:
            self.warnings |= 1 << 23
        if state >= State.REDUCE_ONLY and not safe:
            if self.cause[s][0]:
                reason = R(self.cause[s][0])
                raise Denied(reason, reason.control, *self.cause[s][1:], s)
            raise Denied(R.SCOPE_REDUCE_ONLY, 27, abs(pos), lots, s)
        if order.exec_inst & ExecInst.REDUCE_ONLY and lots and self.scopes.levels[s] >= Level.ACCOUNT:
            left = max(0, -pos if buy else pos)
            asked = lots + sum(
                o.lots for o in mine
                if o.order.instrument == i and o.order.side is order.side and o.order.exec_inst & ExecInst.REDUCE_ONLY
            )  # fmt: skip
            if asked > left:
                raise Denied(R.REDUCE_ONLY_EXCEEDED, 27, left, asked, s)
        cut = 4 if state is State.RECOVERING else 1
        most = self.cap(s, "open_orders", Field.ORDERS) // cut
        if count and len(mine) + 1 > most:
            raise Denied(R.OPEN_ORDERS, 16, most, len(mine) + 1, s)
        most = self.cap(s, "open_value", Field.OPEN_VALUE) // cut
        if more and resting + more > most:
            raise Denied(R.OPEN_VALUE, 16, most, resting + more, s)
        if safe:
            return
        if lots:
            would = pos + self.buys[s, i] + lots if buy else self.sells[s, i] + lots - pos
            allowed = self.held(i, book.room(s, i, "long" if buy else "short"))
            allowed = min(allowed, self.lent.get((s, Field.LONG if buy else Field.SHORT, i), ENDLESS))
            allowed //= 4 if self.halted[i] is State.RECOVERING else cut
            if would > allowed:
                raise Denied(R.POSITION_LIMIT, 17, allowed, would, s)
            share = self.concentration(s, i, would)
        traded = self.traded[s] + resting + more
        most = self.cap(s, "traded_value", Field.TRADED)
        if more and traded > most:
            raise Denied(R.TRADED_VALUE, 25, most, traded, s)
        if not lots:
            return
        if would > share // 2:
            self.warnings |= 1 << 22
        gross, net = self.all_gross(s), self.all_net(s, buy)
        # Before the first mark nothing of the instrument is in the totals, and `unit` is the reference's.
        now = self.gross(s, i) if self.marked_unit(i) else 0.0
        then = self.gross(s, i, lots, order.side, unit)
        grown = whole(then) - whole(now)
        most = self.cap(s, "gross", Field.GROSS) // cut
        if grown > 0 and gross + grown > most:
            raise Denied(R.GROSS_NOTIONAL, 18, most, gross + grown, s)
        end = pos + self.buys[s, i] if buy else pos - self.sells[s, i]
        after = net - whole(self.marked_unit(i) * end) + whole(unit * (end + (lots if buy else -lots)))
        # A buy is judged by the worst long, a sell by the worst short, whatever the other is.
        sign = 1 if buy else -1
        most = self.cap(s, "net", Field.NET_LONG if buy else Field.NET_SHORT) // cut
        if sign * after > most and sign * after > sign * net:
            raise Denied(R.NET_NOTIONAL, 18, most, sign * after, s)
        buffer = book.total(s, "margin_buffer")
        if self.scopes.levels[s] is Level.ACCOUNT and buffer is not None and buffer.is_finite():
            capital = self.scopes.accounts[order.account].capital
            allowed = (
                (math.floor(capital * 1_000_000) + self.pnl(s)) * max(0, 1_000_000 - ppm(buffer)) // 1_000_000
            )
            rate = self.margin_rate[i]
            grown = whole(then * rate) - whole(now * rate)
            if grown > 0 and self.all_margin(s) + grown > allowed:
                raise Denied(R.MARGIN, 20, allowed, self.all_margin(s) + grown, s)

    def duplicates(self, order: Order, qty: int, price: int, ts: int) -> None:
        limit, scope = self.rule(order, "duplicate_orders", number)
        window = self.beside(order, "duplicate_orders", "duplicate_window")
        recent, key = (
            self.recent[order.strategy],
            (order.account, order.instrument, order.side, order.ord_type, price or order.stop_price, qty),
        )
        same = 1 + sum(1 for k, when, _ in recent if k == key and when > ts - window)
        replayed = order.cl_ord_id != 0 and any(name == order.cl_ord_id for _, _, name in recent)
        recent.append((key, ts, order.cl_ord_id))
        if replayed:
            raise Denied(R.DUPLICATE_ID, 11, 0, order.cl_ord_id, scope)
        if same > limit:
            raise Denied(R.DUPLICATE_ORDER, 11, limit, same, scope)

    def throttle(self, order: Order, which: str, reason: R, ts: int) -> None:
        rate_field, burst_field = {"new": ("orders_per_second", "order_burst")}.get(
            which, ("cancels_per_second", "cancel_burst")
        )
        buckets = [(s, *self.book_of.bucket(s, rate_field, burst_field)) for s in self.chain(order)]
        tat = self.tat[which]
        for s, gap, ahead in buckets:
            if tat[s] - ahead > ts:
                raise Denied(reason, 13, gap, tat[s] - ahead - ts, s)
        for s, gap, _ in buckets:
            tat[s] = max(ts, tat[s]) + gap

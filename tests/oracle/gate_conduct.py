"""The slow gate's controls on how a strategy behaves (14, 15, 22, 24, 26, 28, 29), each as its rule reads."""

from __future__ import annotations

import math
from typing import Any

from oracle.gate_books import Books, Open
from oracle.gate_limits import ENDLESS, Denied, milli, number, ppm, whole

from tidegate.model.order import Order, Side
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import Level, State


class Conduct(Books):
    """What is noted as orders pass and fill, and what is held back because of it."""

    def rule(self, order: Order, field: str, convert: Any) -> tuple[Any, int]:
        key = (order.account, order.strategy, order.instrument, field)
        if key not in self._rules:
            value, _, scope = self.book_of.tightest(self.chain(order), order.instrument, field)
            self._rules[key] = convert(value), scope
        return self._rules[key]

    def beside(self, order: Order, field: str, companion: str) -> Any:
        key = (order.account, order.strategy, order.instrument, field, companion)
        if key not in self._rules:
            self._rules[key] = getattr(
                self.book_of.tightest(self.chain(order), order.instrument, field)[1], companion
            )
        return self._rules[key]

    def own_rule(self, order: Order, field: str, convert: Any) -> tuple[int, Any, int] | None:
        """(limit, its table, scope) of a limit that need not be set; None where it is not, or has no end."""
        key = (order.account, order.strategy, order.instrument, field, "own")
        if key not in self._rules:
            found = self.book_of.tightest_set(self.chain(order), order.instrument, field)
            self._rules[key] = (
                None if found is None or convert(found[0]) >= ENDLESS else (convert(found[0]), *found[1:])
            )
        return self._rules[key]

    def conduct(self, order: Order, lots: int, sent: int, count: int, seen: int, ts: int) -> None:
        self.clock(order, seen, ts)
        found = self.own_rule(order, "executions", number)
        if found and self.runs[order.strategy, order.instrument, order.side][0] >= found[0]:
            run = self.runs[order.strategy, order.instrument, order.side][0]
            raise Denied(R.REPEATED_EXECUTION, 15, found[0], run, found[2])
        self.ratios(order, sent, count)
        found = self.own_rule(order, "venue_share", ppm)
        share = self.venue_share(order.instrument)
        if found and share > found[0] - found[0] // 5:
            self.warnings |= 1 << 26
        if found and share > found[0]:
            raise Denied(R.VENUE_SHARE, 26, found[0], share, found[2])
        self.legs(order, lots, ts)

    def clock(self, order: Order, seen: int, ts: int) -> None:
        found = self.own_rule(order, "clock_skew", int)
        if not found:
            return
        off = self.fact - ts
        if self.ticked:
            off = max(off, ts - max(self.fact, self.ticked))
        if off > found[0]:
            raise Denied(R.CLOCK_SKEW, 29, found[0], off, found[2])
        if seen - ts > found[0]:
            raise Denied(R.REFERENCE_IN_FUTURE, 29, found[0], seen - ts, found[2])

    def ratios(self, order: Order, sent: int, count: int) -> None:
        key = self.scopes.account_scope(order.account), order.instrument
        (orders, volume), (trades, traded) = self.orders_today[key], self.trades_today[key]
        orders, volume = orders + count, volume + sent
        for field, ordered, done, reason in (
            ("order_ratio", orders, trades, R.ORDER_TRADE_RATIO),
            ("volume_ratio", volume, traded, R.VOLUME_TRADE_RATIO),
        ):
            found = self.own_rule(order, field, milli)
            if not found or orders <= found[1].ratio_free:
                continue
            done = max(1, done)
            if ordered * 1000 > (found[0] // 2 + 1000) * done:
                self.warnings |= 1 << 14
            if ordered * 1000 > (found[0] + 1000) * done:
                raise Denied(reason, 14, found[0], whole(1000.0 * ordered / done) - 1000, found[2])

    def send(self, order: Order, count: int, lots: int) -> None:
        key = self.scopes.account_scope(order.account), order.instrument
        orders, volume = self.orders_today[key]
        self.orders_today[key] = orders + count, volume + lots

    def venue_share(self, i: int) -> int:
        venues = {item.venue for item in self.universe.instruments}
        if len(venues) < 2 or venues - self.equity.keys():
            return -1
        mine, total = self.equity[self.universe[i].venue], sum(self.equity.values())
        return mine * 1_000_000 // total if total else 0

    def leg_names(self, s: int) -> tuple[str, ...]:
        if self.scopes.levels[s] is not Level.STRATEGY or self.book_of.cap(s, "leg_value") == ENDLESS:
            return ()
        return self.book_of.total(s, "legs") or ()

    def leg_delta(self, s: int) -> int:
        legs = [self.universe.number(name) for name in self.leg_names(s)]
        return sum(whole(self.marked_unit(i) * self.pos[s, i]) for i in legs)

    def watch_legs(self, s: int) -> None:
        out = abs(self.leg_delta(s)) > self.book_of.cap(s, "leg_value")
        self.unbalanced[s] = 0 if not out else self.unbalanced[s] or max(self.fact, 1)

    def legs(self, order: Order, lots: int, ts: int) -> None:
        s, i = self.chain(order)[0], order.instrument
        if not self.unbalanced[s] or self.universe[i].id not in self.leg_names(s):
            return
        self.warnings |= 1 << 28
        open_too = (self.buys if order.side is Side.BUY else self.sells)[s, i]
        delta, worth = self.leg_delta(s), whole(self.marked_unit(i) * (lots + open_too))
        within = next(t.leg_time for t in self.book_of.tables(s) if t.leg_value is not None)
        age = ts - self.unbalanced[s]
        if age > within and abs(delta + order.side.sign * worth) > abs(delta):
            raise Denied(R.LEG_RISK, 28, within, age, s)

    def figure(self, i: int, which: int, field: str) -> int:
        """A figure of the market in lots, else what the firm assumes; -1 for nothing."""
        assumed = self.book_of.at(0, i, field)[0]
        if self.market[i][which] >= 0 or assumed is None:
            return self.market[i][which]
        return math.floor(assumed / self.universe[i].lot)

    def concentration(self, s: int, i: int, would: int) -> int:
        caps = [ENDLESS]
        for which, share, figure in ((0, "volume_share", "volume"), (1, "interest_share", "interest")):
            value = self.book_of.at(s, i, share)[0]
            if value is not None and ppm(value) < ENDLESS:
                of = self.figure(i, which, figure)
                caps.append(-1 if of < 0 else of * ppm(value) // 1_000_000)
        if would > min(caps):
            raise Denied(
                R.CONCENTRATION if min(caps) >= 0 else R.NO_MARKET_REFERENCE, 22, min(caps), would, s
            )
        return min(caps)

    def depth(self, order: Order, qty: int) -> bool:
        found = self.own_rule(order, "depth_share", ppm)
        if not found:
            return False
        of = self.figure(order.instrument, 3 if order.side is Side.BUY else 2, "depth")
        most = -1 if of < 0 else of * found[0] // 1_000_000
        if qty > most:
            raise Denied(R.DEPTH_SHARE if most >= 0 else R.NO_MARKET_REFERENCE, 22, most, qty, found[2])
        return qty > most // 2

    def pause(self, s: int, reason: R, limit: int, value: int) -> None:
        if self.state[s] < State.REDUCE_ONLY:
            self.state[s], self.cause[s] = State.REDUCE_ONLY, (int(reason), limit, value)

    def judge_rejects(self, t: int, s: int) -> None:
        past, most = self.outcomes[t], ppm(self.book_of.total(s, "reject_share"))
        if len(past) == 50 and sum(past) * 20_000 > most:
            self.pause(s, R.ANOMALY_REJECTS, most, sum(past) * 20_000)

    def counts_rejects(self, s: int) -> bool:
        share = self.book_of.total(s, "reject_share")
        return share is not None and ppm(share) < ENDLESS

    def outcome(self, t: int, denied: bool) -> None:
        s = self.scopes.strategy_scope(t)
        if self.counts_rejects(s):
            self.outcomes[t].append(int(denied))
            if denied:
                self.judge_rejects(t, s)

    def refused(self, t: int) -> None:
        """By the venue: the last that counted as passed counts as denied."""
        s, past = self.scopes.strategy_scope(t), self.outcomes[t]
        if self.counts_rejects(s) and 0 in past:
            past[len(past) - 1 - [*reversed(past)].index(0)] = 1
            self.judge_rejects(t, s)

    def forget(self, s: int) -> None:
        if self.scopes.levels[s] is Level.STRATEGY:
            t = s - self.scopes.strategy_scope(0)
            self.outcomes[t].clear()
            self.slips[t], self.fill_tat[s] = (0, 0, 0), 0

    def filled(self, order: Order, held: Open | None, qty: int, price: int, ts: int) -> None:
        s, t, i, side = self.chain(order)[0], order.strategy, order.instrument, order.side
        key = self.scopes.account_scope(order.account), i
        trades, traded = self.trades_today[key]
        self.trades_today[key] = trades + 1, traded + qty
        found = self.own_rule(order, "executions", number)
        if found:
            count, began = self.runs[t, i, side]
            anew = count < found[0] and (not count or ts - began >= found[1].execution_window)
            self.runs[t, i, side] = (1, ts) if anew else (count + 1, began)
        gap, ahead = self.book_of.bucket(s, "fills_per_second", "fill_burst")
        if ahead < ENDLESS:
            early = max(ts, self.fill_tat[s]) - ahead - ts
            self.fill_tat[s] = max(ts, self.fill_tat[s]) + gap
            if early > 0:
                self.pause(s, R.ANOMALY_FILLS, gap, early)
        score = self.book_of.total(s, "slippage_score")
        if score is not None and milli(score) < ENDLESS and held is not None and held.takes and held.mid2:
            off = whole(float(side.sign * (2 * price - held.mid2)) * 1_000_000 / abs(held.mid2))
            self.slipped(t, s, max(-1_000_000, min(1_000_000, off)), milli(score))

    def slipped(self, t: int, s: int, ppm_off: int, most: int) -> None:
        n, mean, variance = self.slips[t]
        off = ppm_off * 256 - mean
        if n >= 30 and off > 0:
            found = whole(1000.0 * off / math.sqrt(float(max(variance, 25_600**2))))
            if found > most:
                self.pause(s, R.ANOMALY_SLIPPAGE, most, found)
        self.slips[t] = n + 1, mean + off // 32, variance + (off * off - variance) // 32

"""Strategies that send without end, or whose orders are refused again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.time import SECOND
from tidegate.risk.breakers.settings import OrderRule, RejectRule
from tidegate.risk.breakers.trip import Trip, Window
from tidegate.risk.reasons import Reason

RUNAWAY, REJECTS = "order_rate", "reject_storm"
NOT_ITS_FAULT = frozenset((
    Reason.SCOPE_REDUCE_ONLY, Reason.SCOPE_CANCEL_ONLY, Reason.SCOPE_KILLED, Reason.WOULD_CROSS,
    Reason.TOO_LATE_TO_CANCEL, Reason.NO_LIQUIDITY, Reason.IOC_REMAINDER, Reason.FOK_NOT_FILLABLE, Reason.VENUE_HALTED,
    Reason.VENUE_CLOSED, Reason.GATEWAY_HELD, Reason.VENUE_DOWN, Reason.REQUEST_EXPIRED, Reason.VENUE_SELF_TRADE,
    Reason.ORDER_THROTTLE, Reason.INSTRUMENT_REDUCE_ONLY, Reason.INSTRUMENT_HALTED, Reason.GATEWAY_HALTED,
    Reason.BEFORE_HALT, Reason.CLOCK_SKEW, Reason.REFERENCE_IN_FUTURE, Reason.RISK_LOG_GAP, Reason.MARKET_DATA_MISSING,
    Reason.MARKET_DATA_CROSSED, Reason.MARKET_DATA_STALE, Reason.NO_FX_RATE, Reason.NO_REFERENCE,
    Reason.NO_MARKET_REFERENCE,
))  # fmt: skip
"""Refusals that say nothing of the strategy (the market's, the connection's, a clock's, a gap's, a halt's own: a halted
instrument must not halt who trades others as well), and its throttle's, which `OrderRateBreaker` judges."""

LENT = frozenset((
    Reason.OPEN_ORDERS, Reason.OPEN_VALUE, Reason.POSITION_LIMIT, Reason.GROSS_NOTIONAL, Reason.NET_NOTIONAL,
    Reason.TRADED_VALUE,
))  # fmt: skip
"""Refusals that say nothing either while the limit is 0: a lane that was not lent its part yet."""


def asked(e: OrderEvent) -> bool:
    """Whether the event is the first word on a new order or replace that a strategy asked for."""
    if e.status == OrdStatus.DENIED or (e.exec_type is None and e.status == OrdStatus.PENDING_REPLACE):
        return True
    if e.exec_type is None:
        return e.status == OrdStatus.PENDING_NEW and not e.cum_qty
    return e.exec_type == ExecType.CANCEL_REJECTED and 0 < e.reason < 200


class OrderRateBreaker:
    """Order rate runaway; `per_second` is each strategy's `orders_per_second`, 0 where it is unlimited."""

    def __init__(self, rule: OrderRule, names: Sequence[str], per_second: Sequence[float]) -> None:
        self.rule, self.names = rule, list(names)
        self.most = [self._limit(rate) for rate in per_second]
        self._windows = [Window(rule.window) for _ in names]

    def _limit(self, per_second: float) -> float:
        own = float(self.rule.times) * per_second * self.rule.window / SECOND if per_second else float("inf")
        return min(own, float(self.rule.most))

    def set_rates(self, per_second: Sequence[float]) -> None:
        """The strategies' own limits have changed."""
        self.most = [self._limit(rate) for rate in per_second]

    def apply(self, e: OrderEvent) -> Trip | None:
        """One event of a strategy that is in the table."""
        if not asked(e):
            return None
        n, most = self._windows[e.strategy].add(e.ts), self.most[e.strategy]
        if n <= most:
            return None
        name, span = self.names[e.strategy], self.rule.window / SECOND
        text = f"{name} asked for {n:,} orders within {span:g} s; {most:,.0f} trip"
        return Trip(e.ts, name, self.rule.to, RUNAWAY, text, most, n)

    def rearm(self, strategy: int) -> None:
        """People re-armed it: what it sent before counts no more."""
        self._windows[strategy] = Window(self.rule.window)


class RejectBreaker:
    """Too many of a strategy's last orders were refused."""

    def __init__(self, rule: RejectRule, names: Sequence[str]) -> None:
        self.rule, self.names = rule, list(names)
        self._last: list[deque[bool]] = [deque(maxlen=rule.of) for _ in names]
        self._bad = [0] * len(self.names)

    def apply(self, e: OrderEvent) -> Trip | None:
        """One event of a strategy that is in the table."""
        refused = e.status in (OrdStatus.DENIED, OrdStatus.REJECTED) and e.exec_type == ExecType.REJECTED
        if not refused and not (e.exec_type == ExecType.NEW and e.status == OrdStatus.NEW):
            return None
        if refused and (e.reason in NOT_ITS_FAULT or (e.reason in LENT and not e.limit)):
            return None
        last = self._last[e.strategy]
        if len(last) == last.maxlen:
            self._bad[e.strategy] -= last[0]
        last.append(refused)
        self._bad[e.strategy] += refused
        bad, share = self._bad[e.strategy], self.rule.share
        if (
            not refused
            or len(last) < self.rule.of
            or not share.is_finite()
            or bad <= float(share) * len(last)
        ):
            return None
        name = self.names[e.strategy]
        text = (
            f"{bad} of the last {len(last)} orders of {name} were refused; more than {float(share):.0%} trip"
        )
        return Trip(e.ts, name, self.rule.to, REJECTS, text, float(share), bad / len(last))

    def rearm(self, strategy: int) -> None:
        """People re-armed it: what was refused before counts no more."""
        self._last[strategy].clear()
        self._bad[strategy] = 0

"""The day's loss and the drawdown of every scope, over all lanes (control 23), on marks that one bad tick cannot move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidegate.kernel.gate_state import MICRO, UNLIMITED
from tidegate.risk.breakers.settings import LossRule
from tidegate.risk.breakers.trip import Trip
from tidegate.risk.exposure import Total

LOSS, DRAWDOWN = "loss", "drawdown"


class LossBreaker:
    """`names` are the scopes' texts, `limits` each one's (loss, drawdown) in micro-units, `UNLIMITED` for none."""

    def __init__(
        self, rule: LossRule, names: Sequence[str], limits: Sequence[tuple[int, int]], currency: str
    ) -> None:
        self.rule, self.names, self.currency = rule, list(names), currency
        self.limits = list(limits)
        self._part = float(rule.warn)
        self._warned: set[tuple[int, str]] = set()
        self.near: list[str] = []
        """What people should know of scopes near a limit, in one line each; the reader takes them."""

    def check(self, totals: Sequence[Total], scopes: Iterable[int], ts: int) -> list[Trip]:
        """The scopes whose limit is reached."""
        trips = []
        for scope in scopes:
            if scope >= len(self.limits):
                continue
            total, (loss, drawdown) = totals[scope], self.limits[scope]
            if loss < UNLIMITED and total.loss > 0:
                trips += self._judge(scope, LOSS, "the day's loss", loss, total.loss, ts)
            if drawdown < UNLIMITED and total.drawdown > 0:
                trips += self._judge(scope, DRAWDOWN, "the drawdown", drawdown, total.drawdown, ts)
        return trips

    def rearm(self, scope: int) -> None:
        """People re-armed it: it may warn again."""
        self._warned = {key for key in self._warned if key[0] != scope}

    def _judge(self, scope: int, trigger: str, what: str, limit: int, value: int, ts: int) -> list[Trip]:
        near = value >= self._warn(limit) and (scope, trigger) not in self._warned
        if value < limit and not near:
            return []
        text = (
            f"{what} of {self.names[scope]} is {value / MICRO:,.2f} {self.currency}, "
            f"its limit {limit / MICRO:,.2f}"
        )
        if value >= limit:
            return [Trip(ts, self.names[scope], self.rule.to, trigger, text, limit / MICRO, value / MICRO)]
        self._warned.add((scope, trigger))
        self.near.append(text)
        return []

    def _warn(self, limit: int) -> float:
        return limit * self._part

"""`[risk.breakers]`: what trips a breaker, and what state it brings a scope to. `docs/risk.md` lists the defaults.

Every breaker is on unless its limit is `"unlimited"`, which is a decision, and is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.model.time import MINUTE, SECOND
from tidegate.risk.limits import Duration, Limit, Percent, read_table
from tidegate.risk.scopes import State

STATES = {"reduce_only": State.REDUCE_ONLY, "cancel_only": State.CANCEL_ONLY, "killed": State.KILLED}
_T = TypeVar("_T", bound="Rule")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every breaker's table; `state` is what the scope is brought to."""

    state: str = "reduce_only"

    @property
    def to(self) -> State:
        """The state as such."""
        return STATES[self.state]


class LossRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`loss`: the scope's own `loss` and `drawdown` limits (control 23), over all lanes; alert at `warn` of one."""

    warn: Percent = Percent("0.5")


class OrderRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`orders`: new orders and replaces a strategy asked for within `window`, passed or refused.

    At most `times` its own `orders_per_second`, and at most `most`.
    """

    state: str = "killed"
    times: Limit = Limit(3)
    most: Limit = Limit("Infinity")
    window: Duration = Duration(SECOND)


class RejectRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rejects`: the part of a strategy's last `of` orders that gate or venue refused."""

    share: Percent = Percent("0.2")
    of: int = 50


class FillRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`fills`: a strategy's fills within `window`, `z` deviations above its own mean, and at least `least`."""

    z: Limit = Limit(6)
    least: int = 50
    window: Duration = Duration(SECOND)
    memory: int = 300


class SlippageRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`slippage`: what a strategy's taking fills cost against the middle; the mean of the last `of`.

    `z` deviations above what it was before, or more than `most` of the price.
    """

    z: Limit = Limit(6)
    most: Percent = Percent("0.01")
    of: int = 20
    memory: int = 500


class LatencyRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`latency`: of a venue's last `of` new orders the part `share` was not answered within `limit`."""

    limit: Duration = Duration(2 * SECOND)
    share: Percent = Percent("0.5")
    of: int = 20


class MarketRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`market`: data of an instrument we hold or have open that is older than `stale`, crossed for longer than
    `crossed`, or a confirmed move of more than `jump` between two touches."""

    stale: Duration = Duration(MINUTE)
    crossed: Duration = Duration(5 * SECOND)
    jump: Percent = Percent("0.1")
    confirm: Percent = Percent("0.02")
    """A touch further than this from the last values nothing before it is confirmed."""


class DivergenceRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`divergence`: the same pair at several venues further apart than `limit` for longer than `hold`."""

    limit: Percent = Percent("0.03")
    hold: Duration = Duration(5 * SECOND)


class DepegRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`depeg`: a stablecoin further than `limit` from 1 for longer than `hold`; `coins` names for each the instrument
    whose price it is."""

    coins: dict[str, str] = {}
    limit: Percent = Percent("0.02")
    hold: Duration = Duration(5 * SECOND)


class ClockRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`clock`: a lane's writer and the log's server tell times further apart than `limit`, in each of `of` entries."""

    limit: Duration = Duration(2 * SECOND)
    of: int = 20


class VenueRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`venue`: the venue halted the instrument, or all of its market. People re-arm it, also when the venue trades again."""

    state: str = "cancel_only"


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of `[risk.breakers]`."""

    loss: LossRule = LossRule()
    orders: OrderRule = OrderRule()
    rejects: RejectRule = RejectRule()
    fills: FillRule = FillRule()
    slippage: SlippageRule = SlippageRule()
    latency: LatencyRule = LatencyRule()
    market: MarketRule = MarketRule()
    divergence: DivergenceRule = DivergenceRule()
    depeg: DepegRule = DepegRule()
    clock: ClockRule = ClockRule()
    mismatch: Rule = Rule()
    venue: VenueRule = VenueRule()

    @classmethod
    def load(cls, data: Mapping[str, Any], where: str = "risk.breakers") -> BreakerSettings:
        """From a decoded TOML table; a mistake is a `UserError` that names the place and the nearest key."""
        kinds = {field.name: field.type for field in msgspec.structs.fields(cls)}
        if not isinstance(data, Mapping):
            raise UserError(f"{where}: expected a table, got {data!r}")
        rules: dict[str, Any] = {
            name: _rule(table, kinds.get(name), f"{where}.{name}", kinds) for name, table in data.items()
        }
        return cls(**rules)


def _rule(data: Any, kind: Any, where: str, known: Mapping[str, Any]) -> Rule:
    if kind is None:
        name = where.rpartition(".")[2]
        raise UserError(f"{where}: unknown breaker {name!r}{nearest(name, known)}")
    rule: Rule = read_table(data, kind, where)
    if rule.state not in STATES:
        raise UserError(
            f"{where}.state: {rule.state!r} is none of {', '.join(STATES)}{nearest(rule.state, STATES)}"
        )
    for name in ("of", "least", "memory", "window"):
        if getattr(rule, name, 1) <= 0:
            raise UserError(f"{where}.{name} is {getattr(rule, name)}, must be above 0")
    return rule

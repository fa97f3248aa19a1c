"""Basis and cross-venue arbitrage: two markets of one coin, any of spot, linear and inverse perpetual.

**Signal.** b = ln(far mid / near mid) is the log basis. What it usually is, m, is its exponentially weighted
mean over time (`indicators.HeldMean`): that takes in funding expectations and the gap between USD and USDT.
What can be locked in now, in basis points of the price, is taken from the side of the touch each leg would
hit:

    short the basis (sell far, buy near):   10⁴·( ln(far bid / near ask) − m )
    long the basis  (buy far, sell near):   10⁴·( m − ln(far ask / near bid) )

Enter when one of them is at least `entry_bps` + `costs`, where costs are the taker fees of the four orders of
a round trip, in bps. Leave when giving the basis back at the touch would cost no more than `exit_bps` against
m (by then the fees are paid or reserved: they do not delay leaving); or after `max_hold`; or when it has gone
`stop_bps` further against us. The reasoning is that of any stationary spread: Gatev, Goetzmann & Rouwenhorst,
"Pairs trading", Review of Financial Studies 19 (2006); for perpetuals, Makarov & Schoar, "Trading and
arbitrage in cryptocurrency markets", Journal of Financial Economics 135 (2020).

**Legs.** The far leg leads with an immediate-or-cancel limit order bounded at the price that leaves the edge.
The near leg hedges what the far leg really holds, fill by fill, with market orders (or bounded by
`hedge_slippage`). Both are measured in base currency: a spot or linear lot is lot × multiplier of it at any
price; a lot of an inverse contract of 100 USD is 100/price. The hedge is the nearest whole lot, so the rest
is at most half a near lot. Orders that shrink a leg are reduce-only.

**Leg risk.** If the hedge is not complete `hedge_timeout` after a far fill (denied, no liquidity, halted),
the far leg is taken off at the market as well, and the strategy rests for `cooldown`. While any leg is off
balance no new trade starts. Stale or missing books (older than `max_age`) stop entries; leaving and hedging
go on.

**What it does not handle.** Funding payments while holding; margin and its transfer between venues; the coin
delta of the collateral itself (an inverse leg's margin is in the coin); borrowing to short spot: `directions`
restricts it to what can be done.

**When it loses.** When the basis moves for good (m follows with its half-life, the loss is what it moved),
when fees are above the swing of the basis (majors at retail taker fees: 20 bps a round trip against swings of
1 to 3), when the edge was the latency of one feed against the other, and when legs are filled at worse prices
than the touch that was seen.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, NamedTuple

from tidegate.errors import UserError
from tidegate.model.instrument import Instrument
from tidegate.model.order import Side
from tidegate.model.time import duration
from tidegate.strategy.indicators import HeldMean
from tidegate.strategy.library.checks import above, at_least, durations, one_of
from tidegate.strategy.library.target import PositionTarget
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Fill, Quote

BPS = 1e4
SHORT, LONG = -1, 1


class Phase(StrEnum):
    """Where the strategy stands."""

    FLAT = "flat"
    ENTERING = "entering"
    HELD = "held"
    LEAVING = "leaving"


class BasisArbitrageParams(StrategyParams, frozen=True):
    """Parameters; bps are of the price."""

    near: str
    """The market that hedges, `SYMBOL.VENUE`: the more liquid of the two."""
    far: str
    """The market that leads."""
    qty: float
    """Size of one position, base currency; each leg takes the nearest whole lots."""
    entry_bps: float = 2.0
    """Edge over the usual basis to enter for, after costs."""
    exit_bps: float = 0.0
    """Leave when what is left of the edge at the touch is this or less; may be negative: leave later."""
    stop_bps: float = 20.0
    """Leave when the basis is this much further away than at entry."""
    count_fees: bool = True
    """Add the taker fees of a round trip to the edge that is asked for. Off, it trades the signal and pays
    the fees out of its own pocket: for study, or where fees are rebated elsewhere."""
    half_life: str = "60s"
    """Of the usual basis: longer than a swing lasts, shorter than its drift."""
    warmup: str = "20s"
    max_hold: str = "10m"
    hedge_timeout: str = "1s"
    hedge_slippage: int = 0
    """Bound the hedge by an IOC limit this many ticks through the touch; 0: market orders."""
    cooldown: str = "5s"
    """Rest after a position, and after a hedge that failed."""
    max_age: str = "2s"
    directions: str = "both"
    """both, short (only sell far and buy near) or long (only buy far and sell near)."""

    def __post_init__(self) -> None:
        above(0, qty=self.qty, stop_bps=self.stop_bps)
        at_least(0, hedge_slippage=self.hedge_slippage)
        durations(
            half_life=self.half_life, warmup=self.warmup, max_hold=self.max_hold,
            hedge_timeout=self.hedge_timeout, cooldown=self.cooldown, max_age=self.max_age,
        )  # fmt: skip
        one_of(("both", "short", "long"), directions=self.directions)
        if self.entry_bps <= self.exit_bps:
            raise ValueError(f"entry_bps is {self.entry_bps}, must be above exit_bps ({self.exit_bps})")
        if self.near == self.far:
            raise ValueError(f"near and far are both {self.near}: two markets are needed")


class Touch(NamedTuple):
    """Best prices of both markets, ticks."""

    near_bid: int
    near_ask: int
    far_bid: int
    far_ask: int


class Exposure:
    """What lots of a market are worth in base currency."""

    __slots__ = ("_inverse", "_size")

    def __init__(self, item: Instrument) -> None:
        self._inverse = item.inverse
        self._size = float(item.lot * item.multiplier / (item.tick if item.inverse else 1))

    def per_lot(self, price: float) -> float:
        """Base currency that one lot stands for at `price` (ticks)."""
        return self._size / price if self._inverse else self._size


class BasisArbitrage(Strategy):
    """See the module."""

    Params = BasisArbitrageParams
    params: BasisArbitrageParams

    _restored: dict[str, Any] | None = None

    def on_start(self) -> None:
        p = self.params
        self.near, self.far = self.market(p.near), self.market(p.far)
        if self.near.instrument.base != self.far.instrument.base:
            raise UserError(
                f"strategy {self.name}: {p.near} is on {self.near.instrument.base}, "
                f"{p.far} on {self.far.instrument.base}; both must be on one coin"
            )
        self.usual = HeldMean(duration(p.half_life))
        self.lead = PositionTarget(self, self.far)
        self.hedge = PositionTarget(self, self.near, p.hedge_slippage)
        self.lead.recover()
        self.hedge.recover()
        self._near_size, self._far_size = Exposure(self.near.instrument), Exposure(self.far.instrument)
        self._log_ticks = math.log(self.far.instrument.tick / self.near.instrument.tick)
        self._touch = Touch(0, 0, 0, 0)
        self.costs = self._round_trip_fees() if p.count_fees else 0.0
        self.phase = Phase.HELD if self.far.position else Phase.FLAT
        self.since = self.now
        self.entered_at = 0.0
        self._hedged: int | None = None
        self._unbalanced_since = 0
        self._rest_until = self.now + duration(p.warmup)
        self._max_age, self._max_hold = duration(p.max_age), duration(p.max_hold)
        self._hedge_timeout, self._cooldown = duration(p.hedge_timeout), duration(p.cooldown)
        if self._restored is not None:
            self._take_back(self._restored)
        self.subscribe_quotes(self.near)
        self.subscribe_quotes(self.far)
        self.every("100ms", "work")

    def _round_trip_fees(self) -> float:
        near, far = self.near.instrument.taker_fee, self.far.instrument.taker_fee
        return 2.0 * BPS * float(near + far)

    @property
    def side(self) -> int:
        """The direction held, SHORT or LONG the basis; 0 for none."""
        lots = self.far.position
        return LONG if lots > 0 else SHORT if lots < 0 else 0

    # The signal.

    def _look(self) -> bool:
        """Read both touches; whether there is a price on all four sides."""
        near_bid, near_ask, self._near_seen = self.host.touch(self.near.number)
        far_bid, far_ask, self._far_seen = self.host.touch(self.far.number)
        self._touch = Touch(near_bid, near_ask, far_bid, far_ask)
        return near_bid > 0 and near_ask > 0 and far_bid > 0 and far_ask > 0

    def edge(self, direction: int) -> float:
        """What entering in this direction at the touch locks in against the usual basis, bps before fees."""
        near_bid, near_ask, far_bid, far_ask = self._touch
        if direction == SHORT:
            return BPS * (math.log(far_bid / near_ask) + self._log_ticks - self.usual.value)
        return BPS * (self.usual.value - math.log(far_ask / near_bid) - self._log_ticks)

    def _fresh(self, now: int) -> bool:
        return now - min(self._near_seen, self._far_seen) <= self._max_age

    # Events.

    def on_quote(self, quote: Quote) -> None:
        if self._look():
            near_bid, near_ask, far_bid, far_ask = self._touch
            basis = math.log((far_bid + far_ask) / (near_bid + near_ask)) + self._log_ticks
            self.usual.add(self.now, basis)
            self._work()

    def on_timer(self, name: str) -> None:
        self.work()

    def on_fill(self, fill: Fill) -> None:
        self.work()

    def on_order(self, order: StrategyOrder) -> None:
        if self.lead.on_order(order) or self.hedge.on_order(order):
            self.work()

    def on_stop(self) -> None:
        self.cancel_all()

    # The work: hedge first, then whatever the phase asks for.

    def work(self) -> None:
        """One pass: balance the legs; then enter, leave, or wait for what is in flight."""
        if self._look():
            self._work()

    def _work(self) -> None:
        now = self.now
        if self.phase is not Phase.FLAT or self.far.position or self.near.position:
            self._balance(now)
        if self.lead.order is not None or self.hedge.order is not None:
            return
        if self.phase is Phase.LEAVING:
            self._go_flat(now)
        elif self._unbalanced_since:
            return
        elif self.phase is Phase.ENTERING:
            # What the one order filled is the position.
            self.phase = Phase.HELD if self.far.position else Phase.FLAT
        elif self.phase is Phase.HELD:
            self._consider_leaving(now)
        elif now >= self._rest_until and self._fresh(now):
            self._consider_entering(now)

    def _balance(self, now: int) -> None:
        """Keep the hedge at what the far leg holds: set anew after a far fill, or when off by over a lot."""
        lots = self.far.position
        exposure = -lots * self._far_lot() / self._near_size.per_lot(self.near.mid)
        if lots != self._hedged or abs(exposure - self.hedge.target) > 1.0:
            self._hedged = lots
            self.hedge.target = round(exposure)
        self.hedge.work()
        if self.hedge.gap == 0:
            self._unbalanced_since = 0
        elif not self._unbalanced_since:
            self._unbalanced_since = now
        elif now - self._unbalanced_since > self._hedge_timeout and self.phase is not Phase.LEAVING:
            self._leave()

    def _far_lot(self) -> float:
        """Base currency of one far lot now."""
        return self._far_size.per_lot(self.far.mid)

    def _consider_entering(self, now: int) -> None:
        p = self.params
        for direction, name in ((SHORT, "short"), (LONG, "long")):
            edge = self.edge(direction) if p.directions in ("both", name) else -math.inf
            spare = edge - p.entry_bps - self.costs
            if spare >= 0.0:
                if self.lead.attempt(direction * self._lots(), self._bound(direction, spare)):
                    self.phase, self.since, self.entered_at = Phase.ENTERING, now, edge
                return

    def _lots(self) -> int:
        lots = round(self.params.qty / self._far_lot())
        if lots == 0:
            raise UserError(
                f"strategy {self.name}: qty {self.params.qty} is less than half a lot of {self.far.id}; "
                f"give at least {self._far_lot():.6g}"
            )
        return lots

    def _bound(self, direction: int, spare: float) -> int:
        """The worst price of the far leg: the touch, less what the edge has to spare (bps)."""
        side = Side.BUY if direction == LONG else Side.SELL
        touch = self._touch.far_ask if side is Side.BUY else self._touch.far_bid
        return touch + side.sign * int(touch * math.expm1(spare / BPS))

    def _consider_leaving(self, now: int) -> None:
        p = self.params
        left = -self.edge(-self.side)
        if left <= p.exit_bps or now - self.since > self._max_hold or left - self.entered_at > p.stop_bps:
            self._leave()

    def _leave(self) -> None:
        self.phase = Phase.LEAVING
        self.lead.aim(0)

    def _go_flat(self, now: int) -> None:
        if self.lead.gap:
            self.lead.work()
        elif not self.hedge.gap:
            self.phase = Phase.FLAT
            self._rest_until = now + self._cooldown

    # A restart.

    def save_state(self) -> dict[str, Any]:
        return {"usual": self.usual.state(), "since": self.since, "entered_at": self.entered_at}

    def load_state(self, state: dict[str, Any]) -> None:
        self._restored = state

    def _take_back(self, state: dict[str, Any]) -> None:
        self.usual.restore(state["usual"])
        if self.phase is Phase.HELD:
            self.since, self.entered_at = state["since"], state["entered_at"]

"""All breakers over one exposure: every event goes to each that it concerns, and each trips once until people re-arm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidegate.kernel.gate_state import UNLIMITED
from tidegate.model.instrument import Universe
from tidegate.model.messages import Funding, OrderEvent
from tidegate.risk.booked import booked
from tidegate.risk.breakers.fills import FillRateBreaker, SlippageBreaker
from tidegate.risk.breakers.latency import LatencyBreaker
from tidegate.risk.breakers.loss import LossBreaker
from tidegate.risk.breakers.market import DepegBreaker, DivergenceBreaker, MarketBreaker
from tidegate.risk.breakers.orders import OrderRateBreaker, RejectBreaker
from tidegate.risk.breakers.settings import BreakerSettings
from tidegate.risk.breakers.told import Alert, ClockBreaker, MismatchBreaker, VenueBreaker
from tidegate.risk.breakers.trip import Trip
from tidegate.risk.convert import micro
from tidegate.risk.exposure import Exposure
from tidegate.risk.limits import Limits
from tidegate.risk.marks import Marks
from tidegate.risk.reasons import Reason
from tidegate.risk.scope_name import Kind, name_of, text_of
from tidegate.risk.scopes import ScopeTable
from tidegate.risk.tables import Tables


class Thresholds(NamedTuple):
    """What the limits in force mean for breakers."""

    losses: list[tuple[int, int]]
    """(loss, drawdown) by scope, micro-units."""
    rates: list[float]
    """`orders_per_second` by strategy, 0 for unlimited."""

    @classmethod
    def of(cls, limits: Limits, universe: Universe, scopes: ScopeTable) -> Thresholds:
        """Of limits as people wrote them, not split among lanes."""
        tables = Tables(universe, scopes, limits)
        losses, rates = [], []
        for n in range(len(scopes)):
            values = (tables.total(n, "loss"), tables.total(n, "drawdown"))
            loss, drawdown = (UNLIMITED if value is None else micro(value) for value in values)
            losses.append((loss, drawdown))
        for n in range(len(scopes.strategies)):
            rate = tables.total(scopes.strategy_scope(n), "orders_per_second")
            rates.append(float(rate) if rate is not None and rate.is_finite() else 0.0)
        return cls(losses, rates)


class Panel:
    """`lanes` maps each lane to its accounts. Every method returns what has tripped now, and not before."""

    def __init__(
        self, settings: BreakerSettings, exposure: Exposure, limits: Limits, lanes: Sequence[Sequence[int]]
    ) -> None:
        universe, scopes = exposure.universe, exposure.scopes
        self.settings, self.exposure = settings, exposure
        confirm = settings.market.confirm
        self.marks = Marks(round(confirm * 1_000_000) if confirm.is_finite() else 1 << 60)
        self.tripped: dict[tuple[str, str], Trip] = {}
        """By (scope, trigger), until the scope is re-armed."""
        self._chains: dict[tuple[int, int], tuple[int, ...]] = {}
        names = [name_of(n, scopes) for n in range(len(scopes))]
        self._scopes = {name: n for n, name in enumerate(names)}
        strategies = [text_of(Kind.STRATEGY, item.name) for item in scopes.strategies]
        instruments = [text_of(Kind.INSTRUMENT, item.id) for item in universe.instruments]
        venues = [text_of(Kind.VENUE, venue) for venue in exposure.venues]
        self._strategies = {name: n for n, name in enumerate(strategies)}
        self._venues = {name: n for n, name in enumerate(venues)}
        self._venue_of = [exposure.venues.index(item.venue) for item in universe.instruments]
        accounts = [text_of(Kind.ACCOUNT, account.name) for account in scopes.accounts]
        known = {account.name for account in scopes.accounts}
        thresholds = Thresholds.of(limits, universe, scopes)
        self.loss = LossBreaker(settings.loss, names, thresholds.losses, exposure.base_currency)
        self.orders = OrderRateBreaker(settings.orders, strategies, thresholds.rates)
        self.rejects = RejectBreaker(settings.rejects, strategies)
        self.fills = FillRateBreaker(settings.fills, strategies)
        self.slippage = SlippageBreaker(settings.slippage, strategies)
        self.latency = LatencyBreaker(settings.latency, venues)
        self.market = MarketBreaker(settings.market, instruments)
        self.divergence = DivergenceBreaker(settings.divergence, universe, instruments)
        self.depeg = DepegBreaker(settings.depeg, universe, instruments)
        self.mismatch = MismatchBreaker(
            settings.mismatch,
            lambda text: text_of(Kind.ACCOUNT, name) if (name := text.partition(".")[2]) in known else "firm",
        )
        self._accounts_of = [frozenset(own) for own in lanes]
        self.clock = ClockBreaker(settings.clock, [[accounts[a] for a in own] for own in lanes])
        self.venue = VenueBreaker(settings.venue, instruments)

    def set_limits(self, limits: Limits) -> None:
        """Limits have changed."""
        found = Thresholds.of(limits, self.exposure.universe, self.exposure.scopes)
        self.loss.limits = found.losses
        self.orders.set_rates(found.rates)

    def order(self, e: OrderEvent, told: int = 0) -> list[Trip]:
        """An order event, told by its lane at `told` (ns): the exposure first, then whom it concerns."""
        exposure = self.exposure
        before = exposure.apply(e, told)
        if e.reason == Reason.ADOPTED:
            return []  # nobody traded
        if not 0 <= e.strategy < len(self._strategies) or not 0 <= e.instrument < len(self._venue_of):
            return []
        found = [self.orders.apply(e), self.rejects.apply(e), self.venue.order(e)]
        found.append(self.latency.apply(e, before, self._venue_of[e.instrument]))
        if booked(e):
            if e.cl_ord_id:  # else a position was handed over: nobody traded
                bid, ask, _ = self.marks.good.get(e.instrument, (0, 0, 0))
                found += [self.fills.apply(e), self.slippage.apply(e, bid, ask)]
            if 0 <= e.account < len(exposure.scopes.accounts):
                scopes = self._above(e.account, e.strategy)
                found += self.loss.check(exposure.totals, scopes, e.ts)
        return self._first([trip for trip in found if trip is not None])

    def funding(self, m: Funding, lane: int) -> list[Trip]:
        """A lane has booked a funding payment."""
        if not 0 <= m.instrument < len(self._venue_of):
            return []
        self.exposure.funding(m.instrument, m.rate, m.price, m.ts, self._accounts_of[lane])
        found = self.loss.check(self.exposure.totals, range(len(self._scopes)), m.ts)
        return self._first(found)

    def _above(self, account: int, strategy: int) -> tuple[int, ...]:
        found = self._chains.get((account, strategy))
        if found is None:
            found = self._chains[account, strategy] = self.exposure.scopes.chain(account, strategy).scopes
        return found

    def entry(self, lane: int, written: int, stored: int) -> list[Trip]:
        """An entry of a lane's events: its writer's time, and the log's."""
        return self._first(self.clock.apply(lane, written, stored))

    def touch(self, i: int, bid: int, ask: int, ts: int) -> list[Trip]:
        """A touch of an instrument as its feed tells it, at `ts` by our clock."""
        torn = self.market.touch(i, bid, ask, ts)
        found = [torn] if torn else []
        if self.exposure.worth.usable(i, bid, ask):
            before = self.marks.good.get(i)
            good = self.marks.offer(i, bid, ask, ts)
            if good is not None:
                found += self._good(i, before, good)
        return self._first(found)

    def pulse(self, i: int, ts: int, status: int) -> list[Trip]:
        """Data of an instrument came last at `ts`, and this is its trading status."""
        self.market.seen[i] = max(self.market.seen[i], ts)
        trip = self.venue.status(i, status, ts)
        return self._first([trip]) if trip else []

    def alert(self, alert: Alert) -> list[Trip]:
        """What another service told people."""
        trip = self.mismatch.apply(alert)
        return self._first([trip]) if trip else []

    def time(self, now: int) -> list[Trip]:
        """Time has passed: jumps that stood are good, and silence grows old."""
        self.exposure.tick(now)
        found = []
        before = {i: self.marks.good.get(i) for i in self.marks.waiting}
        for i, touch in self.marks.confirmed(now):
            found += self._good(i, before[i], touch)
        found += self.market.stale(self._concerned, now)
        return self._first(found)

    def untold(self, trips: Iterable[Trip]) -> None:
        """Nobody was told of these: they trip again where it is still so."""
        for trip in trips:
            self.tripped.pop((trip.scope, trip.trigger), None)

    def rearm(self, scope: str) -> None:
        """People brought the scope up: its breakers are armed again, and what tripped them is past."""
        self.tripped = {key: trip for key, trip in self.tripped.items() if key[0] != scope}
        number = self._scopes.get(scope)
        if number is not None:
            self.exposure.forgive(number)
            self.loss.rearm(number)
        strategy = self._strategies.get(scope)
        if strategy is not None:
            for breaker in (self.orders, self.rejects, self.fills, self.slippage):
                breaker.rearm(strategy)
        venue = self._venues.get(scope)
        if venue is not None:
            self.latency.rearm(venue)

    def _good(self, i: int, before: tuple[int, int, int] | None, good: tuple[int, int, int]) -> list[Trip]:
        self.exposure.mark(i, *good)
        torn = self.market.good(i, before, good)
        found = [torn] if torn else []
        found += self.divergence.good(i, good)
        found += self.depeg.good(i, good)
        found += self.loss.check(self.exposure.totals, range(len(self._scopes)), good[2])
        return found

    def _concerned(self, i: int) -> bool:
        cell = self.exposure.cells.get((0, i))
        return cell is not None and bool(cell.lots or cell.buys or cell.sells)

    def _first(self, trips: Iterable[Trip]) -> list[Trip]:
        new = []
        for trip in trips:
            key = trip.scope, trip.trigger
            if key not in self.tripped:
                self.tripped[key] = trip
                new.append(trip)
        return new

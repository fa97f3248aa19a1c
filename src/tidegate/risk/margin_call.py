"""Margin within the risk service: statements in, requests answered, and every second each account judged.

Subjects: `margin.<VENUE>.<account>` (a gateway's `margin_compare.VenueMargin`, for whoever listens), `risk.whatif`
(`margin_whatif`), `risk.margin.reduce` (the next step of a plan, JSON of `Reduction`, for whoever carries it out).
Only the service that acts halts, warns and plans; one that takes over judges every account afresh.
"""

from __future__ import annotations

import msgspec

from tidegate.log.base import Log, Subscription
from tidegate.model.clock import Clock
from tidegate.risk.announce import Announcer
from tidegate.risk.equity_desk import EquityDesk
from tidegate.risk.limits import Limits
from tidegate.risk.margin_book import MarginBook
from tidegate.risk.margin_compare import decode
from tidegate.risk.margin_plan import Plan
from tidegate.risk.scope_name import Kind, text_of

STATEMENTS, WHAT_IF, REDUCE = "margin.>", "risk.whatif", "risk.margin.reduce"


class Reduction(msgspec.Struct, frozen=True):
    """A step: orders by instrument id, signed lots, reduce-only; `cancel` first. Worth nothing some seconds after `ts`."""

    ts: int
    account: str
    venue: str
    cuts: list[tuple[str, int]]
    cancel: list[str]
    enough: bool


class MarginCall:
    """The shell around a `MarginBook`; `equity` tells lanes what venues hold, while this service acts."""

    def __init__(
        self, book: MarginBook, equity: EquityDesk, log: Log, clock: Clock, announcer: Announcer
    ) -> None:
        self.book, self.equity = book, equity
        self._log, self._clock, self._announcer = log, clock, announcer
        self._following: Subscription | None = None
        self._served: Subscription | None = None

    def start(self) -> None:
        """Listen to what venues say."""
        self._following = self._log.subscribe(STATEMENTS, self._on_statement)

    def close(self) -> None:
        """Listen no longer."""
        self.end()
        self.equity.close()
        if self._following is not None:
            self._following.close()
            self._following = None

    def begin(self) -> None:
        """Act from here on."""
        self.book.watches.clear()
        self.equity.begin()
        self._served = self._log.serve(WHAT_IF, lambda data: self.book.what_if(data, self._clock.now()))

    def set_limits(self, limits: Limits) -> None:
        """Limits have changed."""
        self.book.set_limits(limits)
        self.equity.set_limits(limits)

    def end(self) -> None:
        """Another acts, or nobody."""
        if self._served is not None:
            self._served.close()
            self._served = None

    def tick(self, now: int) -> None:
        """Judge every account, if this service acts."""
        if self._served is None:
            return
        self.equity.tick(now)
        for (name, venue, _), _, acts in self.book.step(now):
            scope = text_of(Kind.ACCOUNT, name)
            for said in acts.said:
                self._announcer.alert(said.kind, said.severity, scope, said.text, **said.figures)
            for event in acts.halts:
                self._announcer.halt(event)
            if acts.plan is not None:
                self._log.publish(REDUCE, self._reduction(name, venue, acts.plan, now))

    def _reduction(self, account: str, venue: str, plan: Plan, now: int) -> bytes:
        names = self.book.exposure.universe
        return msgspec.json.encode(
            Reduction(
                now, account, venue, [(names[cut.instrument].id, cut.lots) for cut in plan.cuts],
                [names[n].id for n in plan.cancel], plan.enough,
            )
        )  # fmt: skip

    def _on_statement(self, subject: str, data: bytes) -> None:
        venue, _, account = subject.partition(".")[2].partition(".")
        try:
            self.book.statement(venue, account, decode(data))
        except ValueError:
            self.book.counts["statements_unreadable"] += 1

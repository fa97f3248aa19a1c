"""Margin within the risk service: statements in, requests answered, and every second each account judged.

Subjects: `margin.<VENUE>.<account>` (a gateway's `margin_compare.VenueMargin`, for whoever listens), `risk.whatif`
(`margin.whatif`), `risk.margin` (where each account stands, for `tidegate margin`), `risk.margin.reduce` (the next step
of a plan, `margin_step`: order managers carry it out).
Only the service that acts halts, warns and plans; one that takes over judges every account afresh.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tidegate.log.base import Log, Subscription
from tidegate.model import money
from tidegate.model.clock import Clock
from tidegate.risk.announce import Announcer
from tidegate.risk.equity_desk import EquityDesk
from tidegate.risk.limits import Limits
from tidegate.risk.margin.account import MarginAccount
from tidegate.risk.margin.book import Key, MarginBook
from tidegate.risk.margin.borrowed import BorrowedAccount
from tidegate.risk.margin.compare import decode
from tidegate.risk.margin.plan import Plan
from tidegate.risk.margin.pool import NO_EQUITY
from tidegate.risk.margin.step import REDUCE, Published
from tidegate.risk.margin.watch import Level
from tidegate.risk.scope_name import Kind, text_of

PPM = 1_000_000
STATEMENTS, WHAT_IF, STANDING = "margin.>", "risk.whatif", "risk.margin"


class Margin(msgspec.Struct, frozen=True):
    """Where an account stands: `level` as in `margin_watch.Level`, amounts as shown, the cuts of the last step while
    positions are reduced."""

    account: str
    venue: str
    currency: str
    level: str
    ratio: float
    equity: str
    maintenance: str
    stale: list[str] = []
    cuts: list[tuple[str, int]] = []
    carry_out: bool = True
    margin_level: str = ""
    """Of a spot margin account: assets over debts; empty of any other, and without debts."""


class Standing(msgspec.Struct, frozen=True):
    """The answer at `risk.margin`. Lanes 0 … `lanes` − 1 say at `oms.<lane>.margin` how far they are with steps."""

    lanes: int
    accounts: list[Margin]


class MarginCall:
    """The shell around a `MarginBook`; `equity` tells lanes what venues hold, while this service acts."""

    def __init__(
        self, book: MarginBook, equity: EquityDesk, log: Log, clock: Clock, announcer: Announcer, lanes: int
    ) -> None:
        self.book, self.equity, self.lanes = book, equity, lanes
        self._log, self._clock, self._announcer = log, clock, announcer
        self._following: Subscription | None = None
        self._served: list[Subscription] = []

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

    def begin(self, epoch: Callable[[], int]) -> None:
        """Act from here on; lanes are told by this epoch."""
        self.book.watches.clear()
        self.equity.begin(epoch)
        self._served = [
            self._log.serve(WHAT_IF, lambda data: self.book.what_if(data, self._clock.now())),
            self._log.serve(STANDING, lambda data: self._standing()),
        ]

    def set_limits(self, limits: Limits) -> None:
        """Limits have changed."""
        self.book.set_limits(limits)
        self.equity.set_limits(limits)

    def end(self) -> None:
        """Another acts, or nobody."""
        for served in self._served:
            served.close()
        self._served = []
        self.equity.end()

    def tick(self, now: int) -> None:
        """Judge every account, if this service acts."""
        if not self._served:
            return
        self.equity.tick(now)
        for venue, text in self.equity.unpriced(now):
            self._announcer.alert("wallet_unpriced", "high", text_of(Kind.VENUE, venue), text)
        for key, account, acts in self.book.step(now):
            name = key[0]
            scope = text_of(Kind.ACCOUNT, name)
            for said in acts.said:
                self._announcer.alert(said.kind, said.severity, scope, said.text, **said.figures)
            for event in acts.halts:
                self._announcer.halt(event)
            if acts.plan is not None:
                self._log.publish(REDUCE, self._step(key, account, acts.plan, now))
            elif acts.over:
                over = Published(now, *key[:2], [], [], True, key[2], now + self.book.settings.lifetime)
                self._log.publish(REDUCE, over.encode())

    def _step(self, key: Key, account: MarginAccount, plan: Plan, now: int) -> bytes:
        names, settings, watch = self.book.exposure.universe, self.book.settings, self.book.watches[key]
        found = {cut.instrument: account.find(cut.instrument) for cut in plan.cuts}
        return Published(
            now, *key[:2], [(names[cut.instrument].id, cut.lots) for cut in plan.cuts],
            [names[n].id for n in plan.cancel], plan.enough, key[2], now + settings.lifetime,
            {names[n].id: pair[1].lots for n, pair in found.items() if pair},
            {names[n].id: watch.began[n] for n in found},
            int(settings.slice * PPM), int(settings.collar * PPM), settings.carry_out,
        ).encode()  # fmt: skip

    def _standing(self) -> bytes:
        names, now, found = self.book.exposure.universe, self._clock.now(), list[Margin]()
        for key, account in self.book.accounts(now):
            watch = self.book.watches.get(key)
            cuts = watch.plan.cuts if watch is not None and watch.plan is not None else ()
            found.append(
                Margin(
                    *key, (watch.level if watch else Level.FINE).name, float(min(account.ratio, NO_EQUITY)),
                    money.show(account.equity, account.currency, 2), money.show(account.maintenance, account.currency, 2),
                    list(account.stale), [(names[cut.instrument].id, cut.lots) for cut in cuts],
                    self.book.settings.carry_out, _margin_level(account),
                )
            )  # fmt: skip
        return msgspec.json.encode(Standing(self.lanes, found))

    def _on_statement(self, subject: str, data: bytes) -> None:
        venue, _, account = subject.partition(".")[2].partition(".")
        try:
            self.book.statement(venue, account, decode(data))
        except ValueError:
            self.book.counts["statements_unreadable"] += 1


def _margin_level(account: MarginAccount) -> str:
    level = account.figures.level if isinstance(account, BorrowedAccount) else None
    return f"{float(level):.3f}" if level is not None else ""

"""The margin call path of one account: warn, only reduce, reduce. Pure: time and figures come in, acts go out.

The *ratio* is maintenance margin and the fees to close, over equity: at 1 the venue liquidates. Each level begins at
its threshold and ends a little below it, so that a ratio at a threshold does not flutter; reducing ends at the target.
Levels that were reached halt the account (`HaltEvent`: WARN, then REDUCE_ONLY); nothing here ever lifts a halt, that
takes people. On a mark that is too old nothing is decided and nothing closed: it is said, once, and the level stays.
"""

from __future__ import annotations

from enum import IntEnum
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from tidegate.errors import UserError
from tidegate.model import money
from tidegate.model.time import SECOND
from tidegate.risk.halt import HaltEvent
from tidegate.risk.limits import Duration, Percent, read_table
from tidegate.risk.margin.account import MarginAccount
from tidegate.risk.margin.plan import Plan, plan
from tidegate.risk.margin.pool import NO_EQUITY
from tidegate.risk.scope_name import Kind, text_of
from tidegate.risk.scopes import State

TRIGGER = "margin"


class Level(IntEnum):
    """How far an account has come."""

    FINE = 0
    WARN = 1
    REDUCE_ONLY = 2
    REDUCE = 3


class MarginSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[risk.margin]`: ratios at which the levels begin, and how the last one reduces."""

    warn: Percent = Percent("0.5")
    reduce_only: Percent = Percent("0.65")
    reduce: Percent = Percent("0.8")
    target: Percent = Percent("0.5")
    """Reducing ends here."""
    below: Percent = Percent("0.05")
    """A level ends so far below where it begins."""
    part: Percent = Percent("0.25")
    """The most of a position that one step closes."""
    pause: Duration = Duration(2 * SECOND)
    """Between two steps."""
    max_age: Duration = Duration(5 * SECOND)
    """Marks older than this decide nothing."""
    carry_out: bool = True
    """Whether the lanes carry steps out; else they are published and told to people."""
    slice: Percent = Percent("0.1")
    """The most of a position that one order closes."""
    collar: Percent = Percent("0.005")
    """How far from the middle an order may trade."""
    lifetime: Duration = Duration(6 * SECOND)
    """A step is worth nothing after so long."""

    @classmethod
    def load(cls, data: Any, where: str = "risk.margin") -> MarginSettings:
        """From a decoded TOML table; a mistake is a `UserError` that names the place and the nearest key."""
        found = read_table(data, cls, where)
        found.check(where)
        return found

    def check(self, where: str) -> None:
        """Raise `UserError` for what cannot be."""
        if not 0 < self.warn < self.reduce_only < self.reduce <= 1:
            raise UserError(
                f"{where}: 0 < warn < reduce_only < reduce ≤ 1 must hold, and they are {self.warn}, "
                f"{self.reduce_only}, {self.reduce}"
            )
        if not 0 < self.target < self.reduce:
            raise UserError(
                f"{where}: target is {self.target}, must be above 0 and below reduce, {self.reduce}"
            )
        if not 0 <= self.below < self.warn or not 0 < self.part <= 1:
            raise UserError(
                f"{where}: below is {self.below} and part {self.part}: 0 ≤ below < warn, 0 < part ≤ 1 must hold"
            )
        if self.pause < 0 or self.max_age <= 0:
            raise UserError(f"{where}: pause must not be below 0, and max_age must be above")
        if not 0 < self.slice <= 1 or not 0 < self.collar < 1:
            raise UserError(
                f"{where}: slice is {self.slice} and collar {self.collar}: 0 < slice ≤ 1, 0 < collar < 1 must hold"
            )
        if self.lifetime < self.pause or self.lifetime <= 0:
            raise UserError(
                f"{where}: lifetime must be above 0, and not below pause: the next step would come too late"
            )


class Said(NamedTuple):
    """For people: kind, severity and text of an alert, with its figures."""

    kind: str
    severity: str
    text: str
    figures: dict[str, Any]


class Acts(NamedTuple):
    """What is to be done now. A plan is the next step only; the one after follows from what this one did. `over`: the
    account is back at the target, and what is being closed is to stop."""

    said: tuple[Said, ...] = ()
    halts: tuple[HaltEvent, ...] = ()
    plan: Plan | None = None
    over: bool = False


NOTHING = Acts()


class MarginWatch:
    """One account at one venue, or as a whole. `level` is where it is, `ratio` the last that was judged."""

    def __init__(self, settings: MarginSettings, source: str = "risk") -> None:
        self.settings, self.source = settings, source
        self.level = Level.FINE
        self.ratio = Fraction(0)
        self.stale = False
        self._begins = [Fraction(v) for v in (0, settings.warn, settings.reduce_only, settings.reduce)]
        self.plan: Plan | None = None
        """The last step, while positions are reduced."""
        self.began: dict[int, int] = {}
        """The most lots of each instrument held since reducing began: legs go down by equal parts of that."""
        self._halted = Level.FINE
        self._next_step = 0

    def rearm(self) -> None:
        """People have lifted a halt of the account: if it is still where it was, it is halted again."""
        self._halted = Level.FINE

    def step(self, account: MarginAccount, now: int) -> Acts:
        """Judge the account at `now` (ns). While it is to be reduced there is a step every `pause`, from what it holds
        then: so one that was lost, or given up, is followed by another."""
        if account.stale:
            if self.stale:
                return NOTHING
            self.stale = True
            names = ", ".join(account.stale)
            text = f"margin of {_who(account)} is not judged: no mark of {names} that is fresh"
            return Acts((Said("margin_stale", "high", text, {"instruments": names}),))
        self.stale = False
        self.ratio = account.ratio
        said: list[Said] = []
        level, before = self._level(self.ratio), self.level
        if level is not before:
            said.append(self._told(account, level))
        self.level = level
        halts = self._halts(account, now)
        if level is not Level.REDUCE:
            self.plan = None
            self.began.clear()
            return Acts(tuple(said), halts, over=before is Level.REDUCE)
        step = self._reduce(account, now)
        if step is not None:
            said.append(_planned(account, step, self.settings.carry_out))
        return Acts(tuple(said), halts, step)

    def _level(self, ratio: Fraction) -> Level:
        """Up at a threshold, down a little below it; reducing lasts until the target."""
        reached = max(level for level in Level if ratio >= self._begins[level])
        if reached >= self.level:
            return reached
        if self.level is Level.REDUCE:
            return reached if ratio <= Fraction(self.settings.target) else Level.REDUCE
        low = max(level for level in Level if ratio >= self._begins[level] - Fraction(self.settings.below))
        return min(self.level, low)

    def _halts(self, account: MarginAccount, now: int) -> tuple[HaltEvent, ...]:
        """WARN, then REDUCE_ONLY, each once until people lift it."""
        wanted = min(self.level, Level.REDUCE_ONLY)
        if wanted <= self._halted:
            return ()
        self._halted = wanted
        state = State.WARN if wanted is Level.WARN else State.REDUCE_ONLY
        reason = f"margin ratio of {_who(account)} is {percent(self.ratio)}"
        return (
            HaltEvent(
                ts=now, scope=text_of(Kind.ACCOUNT, account.name), state=state, reason=reason, trigger=TRIGGER,
                source=self.source,
            ),
        )  # fmt: skip

    def _reduce(self, account: MarginAccount, now: int) -> Plan | None:
        if now < self._next_step:
            return None
        made = plan(account, Fraction(self.settings.target), Fraction(self.settings.part))
        if not made.cuts and not made.cancel:
            return None
        self._next_step = now + self.settings.pause
        self.plan = made
        for pool in account.pools:
            for holding in pool.holdings:
                number = holding.contract.number
                self.began[number] = max(self.began.get(number, 0), abs(holding.lots))
        return made

    def _told(self, account: MarginAccount, level: Level) -> Said:
        figures = {
            "ratio": f"{float(self.ratio):.4f}",
            "equity": money.show(account.equity, account.currency, 2),
            "maintenance": money.show(account.maintenance, account.currency, 2),
            "initial": money.show(account.initial, account.currency, 2),
        }
        if level < self.level:
            text = f"margin ratio of {_who(account)} is back at {percent(self.ratio)}"
            return Said("margin_back", "info", text, figures)
        last = "positions are reduced" if self.settings.carry_out else "positions are to be reduced"
        if not account.reducible:
            last = "nothing here repays: pay in, or sell and repay at the venue, before it liquidates"
        does = ("", "it is near its margin", "it only reduces", last)[level]
        text = f"margin ratio of {_who(account)} is {percent(self.ratio)}: {does}"
        return Said("margin_call", "high" if level is Level.WARN else "critical", text, figures)


def _planned(account: MarginAccount, step: Plan, carried_out: bool) -> Said:
    are = "are" if carried_out else "should be (nothing here does it: risk.margin.carry_out is false)"
    text = (
        f"{_who(account)}: {len(step.cuts)} positions {are} cut, margin ratio {percent(step.ratio)} → "
        f"{percent(step.after)}{'' if step.enough else ', more steps follow'}"
    )
    return Said("margin_reduce", "critical", text, {"cuts": [list(cut) for cut in step.cuts]})


def _who(account: MarginAccount) -> str:
    return f"{account.name} at {account.venue}" if account.venue else account.name


def percent(ratio: Fraction) -> str:
    """A ratio for people."""
    return "over all equity" if ratio >= NO_EQUITY else f"{float(ratio):.1%}"

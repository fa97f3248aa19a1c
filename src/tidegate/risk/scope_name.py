"""Scopes as people and logs write them: `firm`, `desk:NAME`, `account:NAME`, `strategy:NAME`, `instrument:ID`, `venue:NAME`."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from tidegate.errors import UserError, nearest
from tidegate.model.instrument import Universe
from tidegate.risk.scopes import Level, ScopeTable


class Kind(StrEnum):
    """What a scope is."""

    FIRM = "firm"
    DESK = "desk"
    ACCOUNT = "account"
    STRATEGY = "strategy"
    INSTRUMENT = "instrument"
    VENUE = "venue"


_LEVELS = {
    Kind.FIRM: Level.FIRM, Kind.DESK: Level.DESK, Kind.ACCOUNT: Level.ACCOUNT, Kind.STRATEGY: Level.STRATEGY,
}  # fmt: skip
FIRM = Kind.FIRM.value


class ScopeRef(NamedTuple):
    """A scope of one run. `number` is its place in the scope table, of an instrument that in the universe, of a venue −1."""

    kind: Kind
    name: str
    number: int

    def __str__(self) -> str:
        return text_of(self.kind, self.name)


def text_of(kind: Kind, name: str = "") -> str:
    """The scope's text; the firm needs no name."""
    return FIRM if kind is Kind.FIRM else f"{kind.value}:{name}"


def split(text: str) -> tuple[Kind, str]:
    """Kind and name, whether there is such a scope or not; raises `UserError` where the text names none."""
    if text == FIRM:
        return Kind.FIRM, ""
    word, colon, name = text.partition(":")
    try:
        kind = Kind(word)
    except ValueError:
        hint = nearest(word, [k.value for k in Kind])
        raise UserError(
            f"scope {text!r}: write firm, or desk, account, strategy, instrument or venue and a name: desk:NAME{hint}"
        ) from None
    if kind is Kind.FIRM or not colon or not name:
        raise UserError(f"scope {text!r}: write {'firm' if kind is Kind.FIRM else f'{word}:NAME'}")
    return kind, name


def parse(text: str, scopes: ScopeTable, universe: Universe) -> ScopeRef:
    """The scope that `text` names in this run; raises `UserError` with the nearest known name."""
    kind, name = split(text)
    if kind is Kind.FIRM:
        return ScopeRef(kind, "", 0)
    if kind is Kind.INSTRUMENT:
        number = universe.index.get(name)
        if number is None:
            raise UserError(f"scope {text!r}: unknown instrument {name!r}{nearest(name, universe.index)}")
        return ScopeRef(kind, name, number)
    if kind is Kind.VENUE:
        venues = dict.fromkeys(item.venue for item in universe.instruments)
        if name not in venues:
            raise UserError(f"scope {text!r}: unknown venue {name!r}{nearest(name, venues)}")
        return ScopeRef(kind, name, -1)
    return ScopeRef(kind, name, scopes.number(_LEVELS[kind], name))


def name_of(scope: int, scopes: ScopeTable) -> str:
    """The text of a scope of the table: the inverse of `parse` for firm, desks, accounts and strategies."""
    return text_of(Kind(scopes.levels[scope].name.lower()), scopes.names[scope])


def chain_names(
    account: int, strategy: int, instrument: int, scopes: ScopeTable, universe: Universe
) -> tuple[str, ...]:
    """Every scope that an order of this strategy on this account in this instrument is under. A number below 0, or one
    that the run does not know, has no scope."""
    names = [FIRM]
    if 0 <= account < len(scopes.accounts):
        desk = scopes.accounts[account].desk
        if desk:
            names.append(text_of(Kind.DESK, desk))
        names.append(text_of(Kind.ACCOUNT, scopes.accounts[account].name))
    if 0 <= strategy < len(scopes.strategies):
        names.append(text_of(Kind.STRATEGY, scopes.strategies[strategy].name))
    if 0 <= instrument < len(universe):
        item = universe[instrument]
        names += [text_of(Kind.VENUE, item.venue), text_of(Kind.INSTRUMENT, item.id)]
    return tuple(names)

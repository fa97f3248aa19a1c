"""Scopes as people and logs write them: `firm`, `desk:NAME`, `account:NAME`, `strategy:NAME`, `instrument:ID`, `venue:NAME`."""

from __future__ import annotations

from collections.abc import Sequence
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


def is_known(text: str, scopes: ScopeTable, universe: Universe) -> bool:
    """Whether `text` names a scope of this run."""
    try:
        parse(text, scopes, universe)
    except UserError:
        return False
    return True


def name_of(scope: int, scopes: ScopeTable) -> str:
    """The text of a scope of the table: the inverse of `parse` for firm, desks, accounts and strategies."""
    return text_of(Kind(scopes.levels[scope].name.lower()), scopes.names[scope])


def above(scopes: ScopeTable, universe: Universe, lanes: Sequence[int] = ()) -> dict[str, tuple[str, ...]]:
    """Every scope's text, with the scopes that it wholly lies below, the firm aside: an account below its desk; a
    strategy below what all its accounts are below, a candidate's slot below its strategy; an instrument below its venue.
    `lanes` are those of the accounts, by number: `lane:N` lies below a desk whose accounts alone use it."""
    desks = {a.name: (text_of(Kind.DESK, a.desk),) if a.desk else () for a in scopes.accounts}
    found: dict[str, tuple[str, ...]] = {text_of(Kind.DESK, name): () for name in scopes.desks}
    found |= {text_of(Kind.ACCOUNT, name): over for name, over in desks.items()}
    for one in scopes.strategies:
        over = [{text_of(Kind.ACCOUNT, name), *desks[name]} for name in one.accounts]
        shared = set.intersection(*over) if over else set()
        slot = [text_of(Kind.STRATEGY, one.slot_of)] if one.slot_of else []
        found[text_of(Kind.STRATEGY, one.name)] = (*slot, *sorted(shared))
    found |= {text_of(Kind.INSTRUMENT, i.id): (text_of(Kind.VENUE, i.venue),) for i in universe.instruments}
    found |= {text_of(Kind.VENUE, item.venue): () for item in universe.instruments}
    users: dict[int, set[tuple[str, ...]]] = {}
    for account, lane in zip(scopes.accounts, lanes, strict=False):
        users.setdefault(lane, set()).add(desks[account.name])
    for lane, over_all in users.items():
        found[f"lane:{lane}"] = next(iter(over_all)) if len(over_all) == 1 else ()
    return found


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

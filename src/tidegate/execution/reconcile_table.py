"""What follows from our state of an order and the venue's: one table, which `reconcile` looks its acts up in.

`python -m tidegate.execution.reconcile_table docs/recovery.md` prints it into the document, between its markers.
"""

from __future__ import annotations

import sys
from enum import Enum, StrEnum
from pathlib import Path


class Ours(StrEnum):
    """How our books hold an order."""

    MOVING = "sent or changed after the look at the venue began"
    PENDING_NEW = "sent, not acknowledged"
    NEW = "acknowledged"
    PARTIALLY_FILLED = "acknowledged, part filled"
    PENDING_REPLACE = "a replace is unanswered"
    PENDING_CANCEL = "a cancel is unanswered"
    UNKNOWN = "not answered in time"
    CREATED = "waits for its parent; never sent"
    DENIED = "refused by our gate; never sent"
    CLOSED = "filled, canceled, rejected or expired"
    FORGOTTEN = "closed so long ago that the lane has forgotten it"
    NEVER_GIVEN = "our kind of id, of one of our lanes, which never gave it"
    FOREIGN = "no id of ours, or of a lane that is not served here"


class Theirs(StrEnum):
    """What the venue says of it."""

    OPEN = "open; whatever its figures"
    SAME = "open, as in our books"
    AHEAD = "open, more filled than in our books"
    BEHIND = "open, less filled than in our books"
    CHANGED = "open, quantity or price not as in our books"
    GONE = "not among its open orders"
    FILL = "a fill in its history that its stream has not told"
    STATUS = "asked about it, it answers how the order stands"
    NOT_FOUND = "asked about it, it does not know the order"


class Act(Enum):
    """What is done. `second` acts wait until a second look has found the same."""

    text: str
    second: bool

    def __new__(cls, text: str, second: bool = False) -> Act:
        member = object.__new__(cls)
        member._value_ = text
        member.text = text
        member.second = second
        return member

    NOTHING = "nothing"
    ADOPT = "append ORDER_STATUS as the venue shows it"
    ASK = "ask the venue about this order"
    ASK_ALERT = "ask; alert if a second look finds the same"
    APPEND = "append the venue's word"
    APPEND_ALERT = "append it, and alert: the lane books no such order"
    CLOSE = "append the answer; after a second look append CANCELED (NOT_FOUND), and alert", True
    CANCEL = "cancel it at the venue, and alert", True
    ALERT = "alert; not touched"


_O, _T, _A = Ours, Theirs, Act
_ANSWERS = (_T.STATUS, _T.NOT_FOUND)
_REQUESTED = (_O.PENDING_REPLACE, _O.PENDING_CANCEL)
_AWAITED = (_O.PENDING_NEW, *_REQUESTED, _O.UNKNOWN)
_STANDING = (_O.NEW, _O.PARTIALLY_FILLED)
_NEVER_SENT = (_O.CREATED, _O.DENIED)
_NOT_IN_BOOKS = (_O.FORGOTTEN, _O.NEVER_GIVEN)

ORDERS: dict[tuple[Ours, Theirs], Act] = {
    # What moves proves nothing, but a fill is a fill.
    **{(_O.MOVING, t): _A.NOTHING for t in (_T.OPEN, _T.GONE)},
    **{(_O.MOVING, t): _A.APPEND for t in (_T.FILL, *_ANSWERS)},
    # An order in our books as open, and at the venue.
    **{(o, _T.SAME): _A.NOTHING for o in (*_STANDING, *_REQUESTED)},
    **{(_O.PENDING_NEW, t): _A.ADOPT for t in (_T.SAME, _T.AHEAD, _T.CHANGED)},
    **{(_O.UNKNOWN, t): _A.ASK for t in (_T.SAME, _T.AHEAD, _T.CHANGED)},
    **{(o, _T.AHEAD): _A.ADOPT for o in (*_STANDING, *_REQUESTED)},
    **{(o, _T.BEHIND): _A.ASK_ALERT for o in (_O.PARTIALLY_FILLED, *_REQUESTED, _O.UNKNOWN)},
    **{(o, _T.CHANGED): _A.ADOPT for o in _STANDING},
    # The answer to its own request is still to come; if not, the lane's time-out asks.
    **{(o, _T.CHANGED): _A.NOTHING for o in _REQUESTED},
    # That it is not among the open ones ends no order: the answer about it does.
    **{(o, _T.GONE): _A.ASK for o in (*_STANDING, *_AWAITED)},
    **{(o, _T.FILL): _A.APPEND for o in (*_STANDING, *_AWAITED, _O.CLOSED)},
    **{(o, _T.STATUS): _A.APPEND for o in (*_STANDING, *_AWAITED)},
    **{(o, _T.NOT_FOUND): _A.APPEND for o in _AWAITED},
    **{(o, _T.NOT_FOUND): _A.CLOSE for o in _STANDING},
    # An order that should not be open at the venue.
    **{(o, _T.OPEN): _A.CANCEL for o in (*_NEVER_SENT, _O.CLOSED, *_NOT_IN_BOOKS)},
    **{(o, _T.GONE): _A.NOTHING for o in (*_NEVER_SENT, _O.CLOSED)},
    **{(o, _T.FILL): _A.APPEND_ALERT for o in (*_NEVER_SENT, *_NOT_IN_BOOKS)},
    # Somebody else's.
    **{(_O.FOREIGN, t): _A.ALERT for t in (_T.OPEN, _T.FILL)},
}
"""(our state, the venue's word) → act. A pair that is absent cannot be: such an order is not asked about, or there
are no figures of ours to compare with."""


class Holding(StrEnum):
    """What is held at the venue, beside our books."""

    POSITION = "position of an instrument"
    BALANCE = "balance of an asset"


class Finding(StrEnum):
    """How it compares once all fills are accounted for."""

    EQUAL = "equal"
    UNSETTLED = "differs, while fills come or are known to be missing"
    DIFFERS = "differs"
    ACCEPTED = "differs as when it was last told"


class Measure(StrEnum):
    """What is done about it."""

    NOTHING = "nothing"
    LOOK_AGAIN = "look again; after five looks with the same difference: as *differs*"
    RESTRICT = "after a second look: alert, and the account's scope goes to REDUCE_ONLY until people clear it"
    ALERT = "after a second look: alert"


HOLDINGS: dict[tuple[Holding, Finding], Measure] = {
    (Holding.POSITION, Finding.EQUAL): Measure.NOTHING,
    (Holding.POSITION, Finding.UNSETTLED): Measure.LOOK_AGAIN,
    (Holding.POSITION, Finding.DIFFERS): Measure.RESTRICT,
    (Holding.POSITION, Finding.ACCEPTED): Measure.NOTHING,
    (Holding.BALANCE, Finding.EQUAL): Measure.NOTHING,
    (Holding.BALANCE, Finding.UNSETTLED): Measure.LOOK_AGAIN,
    (Holding.BALANCE, Finding.DIFFERS): Measure.ALERT,
    (Holding.BALANCE, Finding.ACCEPTED): Measure.NOTHING,
}

_MARK = "<!-- {}: written by python -m tidegate.execution.reconcile_table -->"


def _words() -> str:
    lines = ["| our books | meaning |", "|---|---|"]
    lines += [f"| {ours.name} | {ours.value} |" for ours in Ours]
    lines += ["", "| the venue | meaning |", "|---|---|"]
    lines += [f"| {theirs.name} | {theirs.value} |" for theirs in Theirs]
    lines += ["", "| act | what is done |", "|---|---|"]
    lines += [f"| {_name(act)} | {act.text} |" for act in Act]
    return "\n".join(lines)


def _name(act: Act) -> str:
    return f"{act.name} ²" if act.second else act.name


def _orders() -> str:
    lines = ["| our books \\ the venue | " + " | ".join(theirs.name for theirs in Theirs) + " |"]
    lines.append("|---" * (len(Theirs) + 1) + "|")
    for ours in Ours:
        acts = [ORDERS.get((ours, theirs)) for theirs in Theirs]
        cells = ["" if act is None else _name(act) for act in acts]
        lines.append(f"| **{ours.name}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _holdings() -> str:
    lines = ["| | " + " | ".join(finding.value for finding in Finding) + " |"]
    lines.append("|---" * (len(Finding) + 1) + "|")
    for holding in Holding:
        cells = [HOLDINGS[holding, finding].value for finding in Finding]
        lines.append(f"| **{holding.value}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """What stands between each pair of markers."""
    return {"words": _words(), "orders": _orders(), "holdings": _holdings()}


def write_into(text: str) -> str:
    """The document with its tables as they are now; raises `ValueError` where a marker is missing."""
    for name, table in tables().items():
        begin, end = _MARK.format(name), _MARK.format(f"end of {name}")
        if begin not in text or end not in text:
            raise ValueError(f"the document lacks the markers {begin!r} and {end!r}")
        before, rest = text.split(begin, 1)
        text = f"{before}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}"
    return text


def main() -> None:
    path = Path(sys.argv[1])
    path.write_text(write_into(path.read_text()))


if __name__ == "__main__":
    main()

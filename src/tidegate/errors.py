"""Errors a user can mend: one line that says what, where, the value and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in a file, configuration, flag or symbol. The command line prints it and exits with 2."""


class NotYet(UserError):
    """Something that we need is not there now, and may come without anybody's doing: a server that does not answer. To a
    person it is a mistake like others. A process that is kept alive ends with `CODE` instead, and is started again."""

    CODE = 75
    """As in sysexits.h: a failure that passes."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known name, or the list of what is known."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""

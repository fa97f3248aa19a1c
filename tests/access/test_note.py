"""What is noted of a command that is not believed."""

from __future__ import annotations

from tidegate.access import command
from tidegate.access.note import unbelieved
from tidegate.access.signer import Signer

MADE = command.sign(command.new("halt", "desk:arb", "drill", "ann", 1_000), Signer.new("ann"))


def noted(*args, **more):
    """The one note that comes of it."""
    notes = []
    unbelieved(lambda *note: notes.append(note), *args, **more)
    (found,) = notes
    return found


def test_a_command_that_is_not_believed_is_noted_as_what_it_says_of_itself():
    expected = (
        "ann (not verified)", "halt", "desk:arb", "refused: BAD_SIGNATURE: not hers", "gw.X.main", MADE.encode(),
    )  # fmt: skip
    assert noted(MADE.encode(), "BAD_SIGNATURE: not hers", "gw.X.main") == expected
    assert noted(MADE, "BAD_SIGNATURE: not hers", "gw.X.main") == expected


def test_what_cannot_be_read_is_nobodys():
    assert noted(b"{}", "MALFORMED") == ("nobody", "?", "?", "refused: MALFORMED", "", b"{}")
    assert noted(b"\xff", "MALFORMED", do="limits")[:3] == ("nobody", "limits", "?")

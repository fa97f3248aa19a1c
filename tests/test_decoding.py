"""What is decoded came from outside: every way in which it may be no message is one that is caught."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tidegate.errors import UserError
from tidegate.log.base import KvEntry
from tidegate.model.messages import LaneEpoch, Tick
from tidegate.model.wire import Unreadable, decode, pack, peek
from tidegate.venue.gateway.lifeline import Lifeline

SOURCES = Path(__file__).parents[1] / "src" / "tidegate"
NARROW = re.compile(r"(except|suppress).*msgspec\.(MsgspecError|DecodeError)")


@pytest.mark.parametrize("text", [b"\xff\xfe\xfd\xfc\xfb", b"\xc3own\xc3"])
def test_text_that_is_no_utf_8_is_unreadable_like_all_else(text):
    """A strategy may write any bytes on its subject: they must not stop who reads them."""
    with pytest.raises(Unreadable):
        decode(pack([LaneEpoch(1, 1, "owner")]).replace(b"owner", text))
    with pytest.raises(Unreadable):
        decode(pack([Tick(1)]).replace(b"Tick", text[:4]))
    assert peek(pack([Tick(1)], ts=5).replace(b"Tick", text[:4])) == (1, 5)


def test_a_lease_that_is_no_text_is_no_sign_of_life():
    line = Lifeline(1.0, 10.0)
    line.begin(0.0)
    line.hear(KvEntry("risk.acting", b'{"owner":"\xff"}', 1), 0.5)
    assert not line.owner
    assert line.lost(1.5)


def test_msgspec_s_own_errors_are_not_all():
    """Of text that is no UTF-8 it raises `UnicodeDecodeError`; both are `ValueError`s, and ours are not."""
    assert not issubclass(UserError, ValueError)
    for path in SOURCES.rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not NARROW.search(line) or "UnicodeDecodeError" in line, f"{path}:{number}: {line.strip()}"

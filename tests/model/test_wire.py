"""The envelope: what goes in comes out; what cannot be read is told apart from what is newer."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.model.messages import LaneEpoch, Mark, NewOrder, Report, SendCancel, Tick
from tidegate.model.order import ExecType, OrdType, Side
from tidegate.model.wire import VERSION, Envelope, Newer, Unreadable, decode, encode, pack


def test_messages_of_every_direction_come_back():
    messages = [
        NewOrder(5, 1, 0, 0, 2, Side.SELL, OrdType.LIMIT, 10, 99),
        Report(6, 1 << 40 | 1, ExecType.TRADE, 5, 77, 10, 99, 3, True),
        Tick(7), Mark(8, 2, 98, 99), LaneEpoch(9, 3, "oms-1", "abc"), SendCancel(10, 5, 1, 2),
    ]  # fmt: skip
    envelope = Envelope(messages, trace=4, ts=11, lane=1, epoch=3, seq=9, part=2)
    assert decode(encode(envelope)) == envelope
    assert decode(pack(messages, trace=4, ts=11, lane=1, epoch=3, seq=9, part=2)) == envelope


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"hello", msgspec.msgpack.encode([["Nonsense", 1]]), b"\x91\xc0"]
)
def test_what_is_no_envelope_is_unreadable(data):
    with pytest.raises(Unreadable):
        decode(data)


def test_a_later_version_is_newer_even_where_its_messages_cannot_be_read():
    for messages in ([], [["MessageOfTomorrow", 1, 2]], [7]):
        with pytest.raises(Newer, match=f"version {VERSION + 1}"):
            decode(msgspec.msgpack.encode([messages, 0, 0, 0, 0, 0, VERSION + 1]))


def test_fields_a_later_version_adds_at_the_end_are_passed_over():
    data = msgspec.msgpack.encode([[["Tick", 5, "new"]], 0, 1, 0, 0, 0, VERSION, 0, "more"])
    assert decode(data).messages == [Tick(5)]

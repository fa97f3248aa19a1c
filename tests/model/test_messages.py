"""Messages: what is written is what is read."""

from __future__ import annotations

import functools
import operator
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model import messages
from tidegate.model.messages import Message

KINDS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]
decoder = msgspec.msgpack.Decoder(functools.reduce(operator.or_, KINDS))
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def of_field(kind):
    """A strategy for a field's type."""
    if kind is int:
        return INT64
    if kind is bool:
        return st.booleans()
    if kind is str:
        return st.text()
    if kind is bytes:
        return st.binary()
    if typing.get_origin(kind) is tuple:
        first, *more = typing.get_args(kind)
        if more == [...]:
            return st.lists(of_field(first), max_size=3).map(tuple)
        return st.tuples(*(of_field(part) for part in (first, *more)))
    if typing.get_args(kind):
        return st.one_of(*(of_field(part) for part in typing.get_args(kind)))
    return st.none() if kind is type(None) else st.sampled_from(kind)


def of_kind(kind):
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{name: of_field(hints[name]) for name in kind.__struct_fields__})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_message_survives_the_log(kind, data):
    message = data.draw(of_kind(kind))
    again = decoder.decode(msgspec.msgpack.encode(message))
    assert type(again) is kind
    assert again == message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_carries_its_time_first(kind):
    assert kind.__struct_fields__[0] == "ts"


def test_an_unknown_kind_of_message_is_an_error():
    with pytest.raises(msgspec.ValidationError, match="Invalid value 'Nonsense'"):
        decoder.decode(msgspec.msgpack.encode(["Nonsense", 1]))


@pytest.mark.parametrize(
    "body", [["CancelOrder", 1], ["CancelOrder", 1, "x"], ["CancelOrder", 1.5, 2], ["Tick"]]
)
def test_a_message_with_a_wrong_field_is_an_error(body):
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(msgspec.msgpack.encode(body))

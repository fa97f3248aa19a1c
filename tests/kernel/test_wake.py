"""Calling Python from a kernel: the call, its argument, and exceptions."""

from __future__ import annotations

import gc
import sys

import pytest
from numba import int64

from tidegate.kernel.jit import kernel
from tidegate.kernel.wake import PythonCall, call_python


@kernel(int64(int64, int64))
def call_times(address, times):
    """How many calls came back with 0 before one did not, or all did."""
    for n in range(times):
        if call_python(address) != 0:
            return n
    return times


def test_a_call_hands_over_its_argument():
    seen = []
    call = PythonCall(seen.append, "the quote")
    assert call_times(call.address, 4) == 4
    assert seen == ["the quote"] * 4
    assert call.take_error() is None


def test_calls_keep_no_reference_to_what_they_return_or_are_given():
    made = object()
    call = PythonCall(lambda argument: argument, made)
    before = sys.getrefcount(made)
    call_times(call.address, 1000)
    assert sys.getrefcount(made) == before


def test_function_and_argument_live_as_long_as_the_call():
    seen = []

    class Handler:
        def on_quote(self, view):
            seen.append(len(view))

    call = PythonCall(Handler().on_quote, list(range(1000)))
    gc.collect()
    assert call_times(call.address, 2) == 2
    assert seen == [1000, 1000]


@pytest.mark.parametrize("raised", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_stops_the_kernel_and_is_kept_with_its_traceback(raised):
    calls = []

    def handler(_: None) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise raised

    call = PythonCall(handler, None)
    assert call_times(call.address, 10) == 2
    assert len(calls) == 3
    assert call.take_error() is raised
    assert call.take_error() is None
    traceback = raised.__traceback__
    names = []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == "handler"


def test_an_exception_that_c_code_raises_is_kept_too():
    call = PythonCall(int, "no number")
    assert call_times(call.address, 10) == 0
    assert isinstance(call.take_error(), ValueError)

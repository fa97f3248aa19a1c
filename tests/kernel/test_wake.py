"""Calling back into Python from a kernel: the call, what follows it, and exceptions."""

from __future__ import annotations

import pytest
from numba import int64

from tidegate.kernel.jit import kernel
from tidegate.kernel.wake import PythonCall, call1


@kernel(int64(int64, int64, int64))
def call_times(address, kind, times):
    """How many calls came back with 0 before one did not, or all did."""
    for n in range(times):
        if call1(address, kind) != 0:
            return n
    return times


def test_a_call_hands_over_its_argument():
    seen = []
    call = PythonCall(seen.append, "the quote", (), lambda: None)
    assert call_times(call.address, 3, 4) == 4
    assert seen == ["the quote"] * 4
    assert call.error is None
    call.close()


def test_what_the_handler_leaves_in_the_queue_is_delivered_after_it():
    queue: list[int] = []
    seen = []

    def handler(_: None) -> None:
        queue.append(len(seen))
        seen.append("handler")

    def after() -> None:
        seen.append(f"after {queue.pop()}")

    call = PythonCall(handler, None, queue, after)
    call_times(call.address, 0, 2)
    assert seen == ["handler", "after 0", "handler", "after 2"]
    quiet = PythonCall(lambda _: seen.clear(), None, queue, after)
    call_times(quiet.address, 0, 1)
    assert seen == [], "nothing queued, nothing after"


@pytest.mark.parametrize("raised", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_stops_the_kernel_and_is_kept_with_its_traceback(raised):
    calls = []

    def handler(_: None) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise raised

    call = PythonCall(handler, None, (), lambda: None)
    assert call_times(call.address, 0, 10) == 2
    assert len(calls) == 3
    assert call.error is raised
    traceback = raised.__traceback__
    names = []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == "handler"


def test_an_exception_in_what_follows_a_handler_stops_the_kernel_too():
    def after() -> None:
        raise RuntimeError("delivering")

    call = PythonCall(lambda _: None, None, [1], after)
    assert call_times(call.address, 0, 10) == 0
    assert str(call.error) == "delivering"

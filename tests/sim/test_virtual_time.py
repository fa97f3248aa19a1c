"""Virtual time: timers in order, no waiting, the same every time."""

from __future__ import annotations

import asyncio

import pytest

from tidegate.sim.virtual_time import START, Stuck, VirtualClock, run


def test_timers_fire_in_order_at_their_times():
    async def main():
        loop = asyncio.get_running_loop()
        clock = VirtualClock(loop)
        seen = []
        for delay in (5.0, 1.0, 86_400.0, 1.0):
            loop.call_later(delay, lambda delay=delay: seen.append((delay, clock.now() - START)))
        await asyncio.sleep(86_401)
        return seen

    seen = run(main())
    assert seen == [(d, round(d * 1e9)) for d in (1.0, 1.0, 5.0, 86_400.0)]


def test_what_is_ready_runs_before_time_moves():
    async def main():
        loop = asyncio.get_running_loop()
        seen = []

        async def work(n):
            for _ in range(3):
                await asyncio.sleep(0)
                seen.append((n, loop.time()))

        loop.call_later(0.5, seen.append, "timer")
        await asyncio.gather(work(1), work(2))
        await asyncio.sleep(1)
        return seen

    seen = run(main())
    assert seen == [(1, 0.0), (2, 0.0), (1, 0.0), (2, 0.0), (1, 0.0), (2, 0.0), "timer"]


def test_time_outs_and_cancelled_timers_work():
    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3)
        handle = loop.call_later(1, pytest.fail)
        handle.cancel()
        await asyncio.sleep(2)
        return loop.time()

    assert run(main()) == 5.0


def test_waiting_for_what_cannot_come_is_an_error():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(main())


def test_the_same_program_takes_the_same_course():
    async def main():
        loop = asyncio.get_running_loop()
        course = []

        async def walk(n):
            for step in range(20):
                await asyncio.sleep(((n * 7 + step * 13) % 11) / 10)
                course.append((n, step, loop.time()))

        await asyncio.gather(*(walk(n) for n in range(5)))
        return course

    assert run(main()) == run(main())


def test_waiting_until_a_time_gets_there_whatever_floats_do():
    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.1)
        turns = 0
        for n in range(1, 2000):
            due = 0.1 + n * 0.3
            while loop.time() < due:
                turns += 1
                await asyncio.sleep(due - loop.time())
            assert loop.time() - due < 1e-8
        return turns

    assert run(main()) < 4000

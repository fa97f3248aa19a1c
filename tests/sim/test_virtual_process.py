"""Processes on a virtual loop: what `kill -9` and SIGSTOP do, and no more."""

from __future__ import annotations

import asyncio
import itertools

from tidegate.sim.virtual_process import Machine, Outside, ProcessClock, ProcessLoop, VirtualProcess, current


def run(main):
    with asyncio.Runner(loop_factory=ProcessLoop) as runner:
        return runner.run(main)


async def beat(seen, name):
    try:
        while True:
            await asyncio.sleep(1)
            seen.append((name, asyncio.get_running_loop().time()))
    finally:
        asyncio.get_running_loop().call_soon(seen.append, "finally")


def test_a_killed_process_never_runs_again_and_others_go_on():
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        a, b = VirtualProcess("a", loop), VirtualProcess("b", loop)
        for process in (a, b):
            process.spawn(beat(seen, process.name))
        a.run(loop.call_later, 2.5, seen.append, "a's timer")
        await asyncio.sleep(2.2)
        a.kill()
        await asyncio.sleep(2)
        return list(seen)

    assert run(main()) == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("b", 3), ("b", 4)]


def test_a_paused_process_runs_late_what_fell_due():
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        a = VirtualProcess("a", loop)
        for delay in (1, 3, 2):
            a.run(loop.call_later, delay, lambda delay=delay: seen.append((delay, loop.time())))
        await asyncio.sleep(0.5)
        a.pause()
        await asyncio.sleep(10)
        a.resume()
        await asyncio.sleep(0)
        return seen

    assert run(main()) == [(1, 10.5), (2, 10.5), (3, 10.5)]


def test_a_timer_cancelled_while_held_does_not_run():
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        a = VirtualProcess("a", loop)
        second = a.run(loop.call_later, 2, seen.append, "second")
        a.run(loop.call_later, 1, second.cancel)
        a.pause()
        await asyncio.sleep(5)
        a.resume()
        await asyncio.sleep(1)
        return seen

    assert run(main()) == []


def test_what_a_callback_makes_is_its_process_own_and_the_outside_is_nobody_s():
    async def main():
        loop = asyncio.get_running_loop()
        outside = Outside(loop)
        seen = []
        a = VirtualProcess("a", loop)

        async def inner():
            seen.append(current())
            outside.call_later(1, lambda: seen.append(current()))
            await asyncio.get_running_loop().create_task(asyncio.sleep(0.1))
            seen.append(current())

        a.spawn(inner())
        await asyncio.sleep(0.5)
        a.kill()
        await asyncio.sleep(2)
        return [None if process is None else process.name for process in seen]

    assert run(main()) == ["a", "a", None]


def test_a_clock_follows_a_step_slowly_and_never_goes_back():
    async def main():
        loop = asyncio.get_running_loop()
        machine = Machine()
        clock = ProcessClock(loop, machine)
        first = clock.now()
        machine.step = -2 * 10**9
        seen = []
        for _ in range(300):
            await asyncio.sleep(1)
            seen.append(clock.now() - first)
        return seen, ProcessClock(loop, machine).now() - first

    seen, fresh = run(main())
    assert seen[0] == 990_000_000
    assert all(after > before for before, after in itertools.pairwise(seen))
    assert seen[-1] == fresh == 298 * 10**9

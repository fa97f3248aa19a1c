"""Unix sockets between virtual processes: lines asked and answered, and what a killed or stopped process leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tidegate.ops.control import ask, serve
from tidegate.sim.virtual_process import ProcessLoop, VirtualProcess

PATH = Path("/nowhere/door.sock")


def run(main):
    with asyncio.Runner(loop_factory=ProcessLoop) as runner:
        return runner.run(main)


class Door:
    """A process that answers on a socket, after a while."""

    def __init__(self, tmp_path, pause=0.0):
        self.loop = asyncio.get_running_loop()
        self.process = VirtualProcess("door", self.loop)
        self.path, self.pause = tmp_path / "door.sock", pause
        self.heard = []

    async def open(self):
        self.process.spawn(self._serve())
        await asyncio.sleep(0.1)

    async def _serve(self):
        await serve(self.path, self._answer)

    async def _answer(self, order):
        self.heard.append((order["n"], self.loop.time()))
        await asyncio.sleep(self.pause)
        return {"twice": 2 * order["n"]}


def test_what_is_asked_is_answered(tmp_path):
    async def main():
        door, told = Door(tmp_path), []
        await door.open()
        door.loop.sockets.heard = lambda name, process, data: told.append((name, process, data[-2:]))
        assert [await ask(door.path, {"n": n}) for n in (3, 4)] == [{"twice": 6}, {"twice": 8}]
        assert told == [("door.sock", door.process, b"}\n")] * 2

    run(main())


def test_where_nobody_listens_nobody_is_found(tmp_path):
    async def main():
        with pytest.raises(FileNotFoundError):
            await ask(PATH, {"n": 1})
        door = Door(tmp_path)
        await door.open()
        door.process.kill()
        with pytest.raises(ConnectionRefusedError):
            await ask(door.path, {"n": 1})
        again = Door(tmp_path)
        await again.open()
        assert await ask(door.path, {"n": 1}) == {"twice": 2}

    run(main())


def test_who_asks_a_process_that_is_killed_is_told_at_once(tmp_path):
    async def main():
        door = Door(tmp_path, pause=5)
        await door.open()
        door.loop.call_later(1, door.process.kill)
        with pytest.raises(ConnectionResetError):
            await ask(door.path, {"n": 1}, timeout=60)
        assert door.loop.time() == pytest.approx(1.1, abs=0.01)

    run(main())


def test_a_stopped_process_answers_when_it_goes_on(tmp_path):
    async def main():
        door = Door(tmp_path)
        await door.open()
        door.process.pause()
        with pytest.raises(TimeoutError):
            await ask(door.path, {"n": 1}, timeout=2)
        door.loop.call_later(2, door.process.resume)
        assert await ask(door.path, {"n": 2}, timeout=5) == {"twice": 4}
        assert [n for n, _ in door.heard] == [1, 2]

    run(main())

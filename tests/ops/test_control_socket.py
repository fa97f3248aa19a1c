"""The control socket against who is at the other end: half a line, a line without end, bytes that are no text."""

from __future__ import annotations

import asyncio

import pytest

from tidegate.ops.control import LONGEST, ask, serve
from tidegate.ops.folder import DataFolder
from tidegate.ops.gateways import ask_all, gateways

ANSWERS = {
    "endless": b"x" * (LONGEST + 10),
    "half": b'{"ok": tr',
    "binary": b'{"ok": "\xff\xfe"}\n',
    "list": b"[1]\n",
    "nothing": b"",
}


async def liar(path, answer):
    """A process that answers so, and hangs up."""

    async def talk(reader, writer):
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(talk, str(path))


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_gateway_that_answers_what_is_no_answer_keeps_none_from_being_asked(tmp_path, kind):
    async def work():
        folder = DataFolder(tmp_path)
        folder.make()
        bad = await liar(folder.run / "gw.A.one.sock", ANSWERS[kind])
        good = await serve(folder.run / "gw.B.two.sock", answers)
        first, second = await ask_all(gateways(folder), {"do": "state"}, 5.0)
        assert first.error.startswith("not reached: ")
        assert "\n" not in first.error
        assert len(first.error) < 200
        assert (second.error, second.said["done"]) == ("", "state")
        bad.close()
        good.close()

    async def answers(request):
        return {"ok": True, "done": request["do"]}

    asyncio.run(work())


def test_who_never_ends_a_line_is_no_matter_to_others(tmp_path):
    async def work():
        path = tmp_path / "up.sock"

        async def answer(request):
            return {"ok": True}

        server = await serve(path, answer)
        writers = []
        for data in (b'{"do": "ps"', b"x" * (LONGEST // 2), b"\xff\xff\n", b"[]\n", b"{}\n" * 1000):
            _, writer = await asyncio.open_unix_connection(str(path))
            writer.write(data)
            writers.append(writer)
        assert await ask(path, {"do": "ps"}, 5.0) == {"ok": True}
        for writer in writers:
            writer.close()
        server.close()

    asyncio.run(work())

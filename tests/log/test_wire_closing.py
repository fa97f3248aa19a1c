"""What is written in the turn in which a connection is lost, on the loop that the roles run on."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from tidegate.log.base import LogDown
from tidegate.log.embedded import Embedded
from tidegate.log.nats import connect
from tidegate.log.streams import declared


def test_a_write_to_a_connection_that_is_being_closed_is_no_failure(tmp_path):
    async def scenario() -> list[dict[str, Any]]:
        server = Embedded(tmp_path, "process")
        running = await server.start()
        log = await connect(
            running.url, name="test", declared=declared(1), user=running.user, password=running.password
        )
        failures: list[dict[str, Any]] = []
        log._loop.set_exception_handler(lambda loop, context: failures.append(context))
        log.wire._raw.close()
        future = log.append("lane.0.cmd", b"late", timeout=0.5)  # written out at the end of this turn
        (told,) = await asyncio.gather(future, return_exceptions=True)
        assert isinstance(told, LogDown)
        await log.close()
        await server.stop()
        return failures

    assert uvloop.run(scenario()) == []

"""A process that floods the log is known by the server's own count, within a look or two; who was cut off is not judged."""

from __future__ import annotations

import asyncio
import math

import pytest

from tidegate.errors import UserError
from tidegate.log.embedded import Embedded
from tidegate.log.grants import Grant, User
from tidegate.log.nats import connect
from tidegate.log.server_process import binary
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
from tidegate.model.time import MS, SECOND
from tidegate.ops.connection_watch import AFTER_LOSS, Allowed, Connection, ConnectionWatch, allowed
from tidegate.risk.limits import Limit, ScopeLimits
from tidegate.risk.pace import Pace, pace_in

START = 1_700_000_000 * SECOND


class Lost:
    """A log that is never asked in these tests."""

    connected = True


def watch(**users: Allowed) -> tuple[ConnectionWatch, list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    return ConnectionWatch(Lost(), SystemClock(), users, lambda user, text: told.append((user, text))), told  # type: ignore[arg-type]


def test_what_a_process_may_send_follows_from_its_strategies_limits():
    paces = [Pace(100, 50, 20, 20), Pace(10, 10, 10, 10)]
    assert allowed(paces) == Allowed(4 * 140 + 100, 50 + 20 + 100)
    assert allowed([Pace(math.inf, math.inf, 1, 1)]).burst == math.inf


def test_a_flood_is_told_once_with_what_was_seen_and_only_of_whom_it_is():
    seen, told = watch(rogue=Allowed(1000, 500), honest=Allowed(1000, 500))
    for look in range(20):  # 20,000 a second against 1,000, over two connections
        seen.judge(
            [
                Connection(1, 500 * look, "rogue"), Connection(2, 500 * look, "rogue"),
                Connection(3, 50 * look, "honest"), Connection(4, 10**6 * look, "gateway"),
            ],
            START + look * 50 * MS,
        )  # fmt: skip
        if told:
            break
    assert told == [
        ("rogue", "it writes to the log faster than 4 times its limits allow: 1000 messages in 50 ms")
    ]
    assert look == 1


def test_a_connection_that_is_new_counts_from_its_beginning_and_one_seen_first_does_not():
    seen, told = watch(s=Allowed(1000, 500))
    seen.judge([Connection(1, 100_000, "s")], START)  # before we looked
    seen.judge([Connection(1, 100_040, "s")], START + 50 * MS)
    assert told == []
    seen.judge([Connection(1, 100_080, "s"), Connection(9, 600, "s")], START + 100 * MS)
    assert len(told) == 1


def test_after_our_own_loss_nobody_is_judged_for_a_while():
    seen, told = watch(s=Allowed(1000, 500))
    seen.judge([Connection(1, 0, "s")], START)
    seen._lost_at = START + SECOND
    seen.judge([Connection(1, 50_000, "s")], START + 2 * SECOND)
    seen.judge([Connection(1, 60_000, "s")], START + SECOND + AFTER_LOSS - 1)
    assert told == []
    seen.judge([Connection(1, 120_000, "s")], START + 2 * SECOND + AFTER_LOSS)
    assert len(told) == 1


def test_without_limits_nothing_is_a_flood():
    seen, told = watch(s=Allowed(math.inf, math.inf))
    for look in range(10):
        seen.judge([Connection(1, 10**6 * look, "s")], START + look * 50 * MS)
    assert told == []


def test_the_pace_of_tables_is_that_of_the_most_specific_that_says_it():
    tables = [ScopeLimits(orders_per_second=Limit(40)), ScopeLimits(
        orders_per_second=Limit(5), cancels_per_second=Limit("Infinity"), order_burst=9)]  # fmt: skip
    assert pace_in(tables) == Pace(40.0, 40.0, math.inf, math.inf)
    assert pace_in([]) == Pace(0.0, 0.0, 0.0, 0.0)


def test_a_real_server_counts_a_connection_of_the_processs_own_by_its_password(tmp_path):
    try:
        binary()
    except UserError as error:
        pytest.skip(str(error))

    async def scenario() -> str:
        server = Embedded(tmp_path, "process", users=[User("strategy-a", "secret", Grant(("lane.0.cmd.1",)))])
        running = await server.start()
        what = declared(1, "process")
        ours = await connect(
            running.url, name="up", declared=what, user=running.user, password=running.password
        )
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def told(user: str, text: str) -> None:
            if not found.done():
                found.set_result(f"{user}: {text}")

        seen = ConnectionWatch(ours, SystemClock(), {"strategy-a": Allowed(1000, 500)}, told)
        task = asyncio.create_task(seen.run())
        while not seen.looks:
            await asyncio.sleep(0.01)
        port = int(running.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        hello = '{"user":"strategy-a","pass":"secret","verbose":false,"name":"gateway-1"}'
        writer.write(f"CONNECT {hello}\r\n".encode() + b"PUB lane.0.cmd.1 2\r\nhi\r\n" * 3000)
        try:
            async with asyncio.timeout(10):
                return await found
        finally:
            task.cancel()
            writer.close()
            await ours.close()
            await server.stop()

    text = asyncio.run(scenario())
    assert text.startswith("strategy-a: it writes to the log faster than 4 times its limits allow")

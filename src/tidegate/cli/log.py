"""A client of a running system's log, for a command."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.access.command import Signed
    from tidegate.execution.signed_ear import Answer
    from tidegate.log.base import Log

ANSWERED_S = 5.0
"""Seconds that order managers have for a command, where it does not take them longer."""


@contextlib.asynccontextmanager
async def command_log(data: Path, config: Path | None = None) -> AsyncIterator[Log]:
    """The log of the system on `data`; it is not waited for. Raises `UserError` where there is none, `LogDown` where it
    does not answer."""
    from tidegate.config import load
    from tidegate.errors import UserError
    from tidegate.log import embedded
    from tidegate.log.nats import connect
    from tidegate.log.opening import open_log
    from tidegate.log.streams import Declared, declared
    from tidegate.model.clock import SystemClock

    clock = SystemClock()
    section = load(config).log if config is not None else None
    if config is not None and section is not None and section.url:
        log = await open_log(section, config, data, "command", clock, 0.0)
    else:
        running = embedded.find(data)
        if running is None:
            raise UserError(
                f"no log's server runs on {data}; start a system with `tidegate up`, or say --config"
            )
        all_of_it = declared(1, running.durability)
        streams, buckets = (all_of_it.stream("HALT"),), (all_of_it.bucket("STATE"),)
        needed = Declared(1, running.durability, streams, buckets)  # a command sets nothing else up
        log = await connect(
            running.url, name="command", declared=needed, user=running.user, password=running.password, clock=clock
        )  # fmt: skip
    try:
        yield log
    finally:
        await log.close()


async def tell_order_managers(
    subject: str, made: Signed, data: Path, config: Path | None, timeout: float = ANSWERED_S
) -> Answer:
    """What whoever writes the lane says to a signed command. Raises `UserError` where nobody answers."""
    import msgspec

    from tidegate.errors import UserError
    from tidegate.execution.signed_ear import Answer
    from tidegate.log.base import LogError

    async with command_log(data, config) as log:
        try:
            return msgspec.json.decode(await log.request(subject, made.encode(), timeout), type=Answer)
        except LogError as error:
            raise UserError(f"no order manager answers: {error}") from None

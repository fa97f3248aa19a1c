"""A client of a running system's log, for a command."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.log.base import Log


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

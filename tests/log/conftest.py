"""Runs a test's body on each kind of log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from log_worlds import PATIENCE, World, world


@pytest.fixture(params=["memory", "nats"])
def run(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    """Runs a coroutine function in a fresh world of each kind."""

    async def live(body: Callable[[World], Awaitable[None]]) -> None:
        async with asyncio.timeout(3 * PATIENCE), world(request.param, tmp_path) as here:
            await body(here)

    return lambda body: asyncio.run(live(body))

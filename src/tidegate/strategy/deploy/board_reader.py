"""A service's own fold of DEPLOY: what is in the stream first, then what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.log.base import Entry, Log, LogError, Subscription
from tidegate.strategy.deploy.stages import STREAM, Change, DeployBoard

_PAUSE = 0.2


async def open_board(
    log: Log, board: DeployBoard, told: Callable[[Change], None], refused: Callable[[str], None] = lambda text: None
) -> Subscription:  # fmt: skip
    """Bring the board up to date, then tell of every change, and of what is not followed, until it is closed."""
    while True:
        try:
            last = await log.last(STREAM)
            async for entries in log.read(STREAM, board.seq, last.seq if last is not None else 0):
                for entry in entries:
                    board.apply(entry)
            break
        except LogError:
            await asyncio.sleep(_PAUSE)

    def follow(entries: list[Entry]) -> None:
        for entry in entries:
            change = board.apply(entry)
            if change is not None:
                told(change)
            elif board.refused:
                refused(board.refused)

    return log.follow(STREAM, follow, after=board.seq)

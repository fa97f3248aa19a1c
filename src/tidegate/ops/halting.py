"""A halt, a flatten, a resume, on their way: to the gateways' sockets and to the log at once, whatever of them lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from tidegate.access.command import Signed
from tidegate.errors import UserError
from tidegate.log.base import Log, LogDown, LogError
from tidegate.ops.gateways import Answer, Gateway, ask_all, command
from tidegate.risk.halt import Ignored, Status, cancels, commanded, post
from tidegate.risk.halt_feed import BOARD, Board
from tidegate.risk.scopes import State

LOG_S = 3.0
"""Seconds that a command waits for the log; the gateways post what it could not."""
_REST = {state.name for state in State if not cancels(state)}
"""States in which open orders rest."""
OpenLog = Callable[[], contextlib.AbstractAsyncContextManager[Log]]


class Outcome(NamedTuple):
    """`epoch` is the event's place in HALT, 0 where the log was not reached (`log_error` says why)."""

    answers: list[Answer]
    epoch: int
    log_error: str


async def halt(chosen: list[Gateway], signed: Signed, now: int, open_log: OpenLog) -> Outcome:
    """Tell gateways and log, at once; neither waits for the other."""
    try:
        event = commanded(signed.encode(), signed.command, now)
    except Ignored as error:
        raise UserError(str(error)) from None

    async def to_log() -> tuple[int, str]:
        try:
            async with asyncio.timeout(LOG_S), open_log() as log:
                return await post(log, event), ""
        except (LogError, UserError, OSError) as why:
            return 0, str(why) or "no answer"

    answers, (epoch, log_error) = await asyncio.gather(command(chosen, signed), to_log())
    return Outcome(answers, epoch, log_error)


async def board(log: Log) -> Board:
    """The board, from whichever order manager answers; raises `LogDown`."""
    return msgspec.json.decode(await log.request(BOARD, b"", LOG_S), type=Board)


async def judged(log: Log, seq: int) -> str:
    """Why the order managers do not follow entry `seq` of HALT; empty where they do. Waits until one that has judged it
    answers."""
    while True:
        with contextlib.suppress(LogDown):
            found = await board(log)
            if found.seq >= seq:
                return found.refused.get(str(seq), "")
        await asyncio.sleep(0.1)


async def reconciled(chosen: list[Gateway], scope: str, fresh: float) -> list[str]:
    """Why the scope may not come up yet: gateways of it that are not cleanly reconciled, in words; empty where it may."""
    found = []
    for answer in await ask_all(chosen, {"do": "state", "scope": scope}):
        if answer.error:
            found.append(f"gateway {answer.gateway}: {answer.error}")
        elif answer.concerned:
            why, age = answer.said.get("not_clean", ""), float(answer.said.get("age", 1e9))
            if why or age > fresh:
                found.append(
                    f"gateway {answer.gateway}: {why or f'reconciled {age:.0f} s ago, not {fresh:.0f}'}"
                )
    return found


async def follow_up(log: Log, scope: str, seq: int) -> Status:
    """The scope's state once entry `seq` has been judged; raises `UserError` where it was not followed."""
    for _ in range(50):
        with contextlib.suppress(LogDown):
            found = await board(log)
            if found.seq >= seq:
                if str(seq) in found.refused:
                    raise UserError(found.refused[str(seq)])
                return found.status(scope)
        await asyncio.sleep(0.1)
    raise UserError("no order manager has answered what became of it; see `tidegate halts`")


def done(said: dict[str, Any]) -> bool:
    """Whether a gateway's answer says that what is to be canceled is gone: what it does not say is not so. A state in
    which orders rest cancels none; an answer without a state is to `cancel-all`."""
    return bool(said.get("empty", said.get("state") in _REST))


def orders(said: dict[str, Any]) -> str:
    """`3 orders: 2 canceled, 1 filled`, of a gateway's answer; empty where orders rest."""
    if "empty" not in said:
        return "" if done(said) else "what became of its open orders is not known"
    found = list(said.get("orders", {}).values())
    counts = ", ".join(f"{found.count(end)} {end}" for end in sorted(set(found)))
    text = f"{len(found)} orders: {counts}" if found else "no orders" if said["empty"] else "not empty"
    left = "; the venue still shows some open" if found and not said["empty"] else ""
    return f"{text}{left}" + (f" ({said['failed']})" if said.get("failed") else "")

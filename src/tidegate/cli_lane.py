"""`tidegate take-up`: a lane that broke is written again, when two people have looked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli_live import DEFAULT_DATA, DataOption, _folder
from tidegate.cli_log import ConfigOption, command_log
from tidegate.cli_sign import AndOption, ApproveOption, AsOption, OutOption, ReasonOption, approved, by_two
from tidegate.errors import UserError

if TYPE_CHECKING:
    from tidegate.access.command import Signed
    from tidegate.execution.take_up import Answer


def take_up(
    lane: Annotated[int, typer.Argument(help="The lane's number.")],
    reason: ReasonOption = "",
    approve: ApproveOption = None,
    signer: AsOption = "",
    second: AndOption = "",
    out: OutOption = None,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Let a broken lane be written again. It takes two risk officers; `tidegate ps` says what broke it.

    A lane whose log still breaks it breaks again at once: mend the cause first, or start a version that can follow it.
    """
    from tidegate.execution.take_up import DO, scope

    name, folder = scope(lane), _folder(data)
    if approve is not None:
        made = approved(approve, DO, name, data, signer)
    else:
        path = out or folder.run / f"take-up-{lane}.json"
        found = by_two(DO, name, reason, data, signer, second, path, f"take-up {lane}", {})
        if found is None:
            return
        made = found
    answer = asyncio.run(_ask(made, data, config))
    if answer.error:
        raise UserError(f"{name} stays as it is: {answer.error}")
    if approve is not None:
        approve.unlink(missing_ok=True)
    print(f"{name} may be written again; it was broken by: {answer.was}")


async def _ask(made: Signed, data: Path, config: Path | None) -> Answer:
    import msgspec

    from tidegate.execution.take_up import SUBJECT, Answer
    from tidegate.log.base import LogError

    async with command_log(data, config) as log:
        try:
            return msgspec.json.decode(await log.request(SUBJECT, made.encode()), type=Answer)
        except LogError as error:
            raise UserError(f"no order manager answers: {error}") from None


def register(app: typer.Typer) -> None:
    """Put the command on the lead one."""
    app.command("take-up")(take_up)

"""What people tell order managers: `tidegate take-up` (a lane that broke is written again, when two have looked) and
`tidegate acknowledge` (a strategy's repeated executions were seen, it may go on)."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from tidegate.cli.log import tell_order_managers
from tidegate.cli.options import DEFAULT_DATA, ConfigOption, DataOption, folder_of
from tidegate.cli.sign import (
    AndOption,
    ApproveOption,
    AsOption,
    OutOption,
    ReasonOption,
    approved,
    by_two,
    signed,
)
from tidegate.errors import UserError


def take_up(
    lane: Annotated[int, typer.Argument(help="The lane's number.")],
    skip: Annotated[int, typer.Option(help="Pass over this entry of its log, which breaks it.")] = 0,
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
    If none can, --skip passes the entry over, for good and for everybody; the lane's accounts then only reduce until they
    are reconciled and two people let them trade (`tidegate resume`).
    """
    from tidegate.execution.take_up import DO, SUBJECT, scope

    name, folder = scope(lane), folder_of(data)
    if approve is not None:
        made = approved(approve, DO, name, data, signer)
    else:
        path = out or folder.run / f"take-up-{lane}.json"
        args = {"skip": str(skip)} if skip else {}
        found = by_two(DO, name, reason, data, signer, second, path, f"take-up {lane}", args)
        if found is None:
            return
        made = found
    passed = made.command.args.get("skip", "")
    if approve is not None and passed:
        print(f"to be passed over: entry {passed} of lane {lane}'s log")
    answer = asyncio.run(tell_order_managers(SUBJECT, made, data, config))
    if answer.error:
        raise UserError(f"{name} stays as it is: {answer.error}")
    if approve is not None:
        approve.unlink(missing_ok=True)
    print(f"{name} may be written again; it was broken by: {answer.was}")
    if passed:
        print(
            f"entry {passed} is passed over and kept in DEAD; the lane's accounts only reduce until you resume them"
        )


def acknowledge(
    scope: Annotated[str, typer.Argument(help="strategy:NAME")],
    instrument: Annotated[str, typer.Option(help="Only this instrument's executions; else all.")] = "",
    reason: ReasonOption = "",
    signer: AsOption = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Let a strategy go on that control 15 has stopped: its repeated executions have been seen."""
    from tidegate.execution.acknowledge import DO, SUBJECT

    if not reason:
        raise UserError(f"--reason is missing: say why {scope} may go on")
    args = {"instrument": instrument} if instrument else {}
    answer = asyncio.run(
        tell_order_managers(SUBJECT, signed(DO, scope, reason, data, signer, **args), data, config)
    )
    if answer.error:
        raise UserError(f"{scope} is not acknowledged: {answer.error}")
    print(f"{scope}: its executions{' in ' + instrument if instrument else ''} are acknowledged")


def register(app: typer.Typer) -> None:
    """Put the commands on the lead one."""
    app.command("take-up")(take_up)
    app.command()(acknowledge)

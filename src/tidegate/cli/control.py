"""`tidegate halt`, `cancel-all`, `flatten`, `resume`, `halts`: people stop a scope, and let it up again by two."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.log import command_log
from tidegate.cli.options import DEFAULT_DATA, NOT_WELL, ConfigOption, DataOption, folder_of
from tidegate.cli.sign import (
    AndOption,
    ApproveOption,
    AsOption,
    OutOption,
    ReasonOption,
    approved,
    by_two,
    reasoned,
    signed,
)
from tidegate.errors import UserError, nearest

if TYPE_CHECKING:
    from tidegate.access.command import Signed
    from tidegate.ops.gateways import Answer
    from tidegate.ops.halting import Outcome
    from tidegate.risk.halt import Status
    from tidegate.risk.halt_feed import Board

JUDGED_S = 5.0
"""Seconds to wait for what order managers say of a command that every gateway has refused."""
FRESH_S = 120.0
"""A reconciliation counts for so long, seconds."""
ScopeArgument = Annotated[
    str, typer.Argument(help="firm, desk:NAME, account:NAME, strategy:NAME, instrument:ID or venue:NAME.")
]


def halt(
    scope: ScopeArgument,
    reason: ReasonOption,
    state: Annotated[str, typer.Option(help="reduce_only, cancel_only or killed.")] = "killed",
    signer: AsOption = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Halt a scope now, and cancel its open orders: by every gateway's own socket and by the log; each works alone.

    It takes one operator; up again takes two risk officers (`tidegate resume`). Exit code 1 when a gateway was not
    reached, or does not say that its open orders are gone.
    """
    _choice("--state", state, ("reduce_only", "cancel_only", "killed"))
    made = _signed("halt", scope, reason, data, signer, state=state.upper())
    _halt(made, data, config)


def cancel_all(
    scope: Annotated[str, typer.Argument(help="firm, desk:NAME, account:NAME, strategy:NAME …")] = "firm",
    reason: ReasonOption = "asked for on the command line",
    signer: AsOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Cancel every open order of a scope at the venues, by their gateways; nothing is halted. Works with the log dead.

    Exit code 1 when a gateway did not do it, or its venue still shows open orders.
    """
    from tidegate.ops.gateways import command, gateways

    made = _signed("cancel-all", scope, reason, data, signer)
    chosen = gateways(folder_of(data))
    if not chosen:
        raise UserError(f"no gateway has a socket in {data}/run; say which system with --data")
    _end(asyncio.run(command(chosen, made)))


def flatten(
    scope: ScopeArgument,
    reason: ReasonOption,
    participation: Annotated[str, typer.Option(help="Most of what was held in one step.")] = "10%",
    collar: Annotated[str, typer.Option(help="Farthest from the middle that is paid.")] = "0.5%",
    signer: AsOption = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Reduce a scope to nothing: it only reduces from now on, and its positions are closed in steps, hedges together.

    It takes a risk officer. No position crosses zero, nothing is done on stale prices; a kill ends it.
    """
    from tidegate.execution.closing import Terms

    terms = Terms.of({"participation": participation, "collar": collar})
    made = _signed("flatten", scope, reason, data, signer, **terms.args())
    _halt(made, data, config)


def resume(
    scope: ScopeArgument,
    reason: ReasonOption = "",
    approve: ApproveOption = None,
    to: Annotated[
        str, typer.Option(help="recovering; or only up to cancel_only or reduce_only.")
    ] = "recovering",
    recover: Annotated[str, typer.Option("--for", help="How long it has reduced limits.")] = "10m",
    signer: AsOption = "",
    second: AndOption = "",
    out: OutOption = None,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Let a halted scope up again: RECOVERING with reduced limits, then ACTIVE by time. It takes two risk officers.

    The first writes a request; the second gives it as --approve within 15 minutes. Every gateway of the scope must be
    cleanly reconciled. A request is of one halt: a later one is not lifted by it.
    """
    _check_scope(scope)
    if approve is not None:
        _resume(approved(approve, "resume", scope, data, signer), data, config)
        approve.unlink(missing_ok=True)
        return
    reasoned(reason, f"resume {scope}")
    _choice("--to", to, ("recovering", "cancel_only", "reduce_only"))
    status = asyncio.run(_status(scope, data, config))
    args = {"epoch": str(status.epoch), "state": to.upper(), "recover": str(_duration(recover))}
    path = out or data / "run" / f"resume-{scope.replace(':', '-')}-{status.epoch}.json"
    made = by_two("resume", scope, reason, data, signer, second, path, f"resume {scope}", args)
    if made is not None:
        _resume(made, data, config)


def halts(
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show what is halted: state, since when, by whom, why, and the halt epoch. With the log dead, what gateways hold."""
    import msgspec

    from tidegate.log.base import LogError
    from tidegate.model.time import iso
    from tidegate.ops.gateways import ask_all, gateways
    from tidegate.ops.halting import board

    async def ask() -> Board:
        async with command_log(data, config) as log:
            return await board(log)

    folder = folder_of(data)
    try:
        answered = asyncio.run(ask())
    except (LogError, UserError) as error:
        print(f"tidegate: no order manager answers ({error}); what the gateways hold:", file=sys.stderr)
        for answer in asyncio.run(ask_all(gateways(folder), {"do": "state", "scope": "firm"})):
            for name, text in answer.said.get("halts", {}).items() or [
                ("-", answer.error or "nothing is halted")
            ]:
                print(f"{answer.gateway}  {name}  {text}")
        raise typer.Exit(NOT_WELL) from None
    found = answered.scopes
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    elif not found:
        print("nothing was ever halted")
    else:
        head = ("scope", "state", "since", "epoch", "by", "trigger", "why")
        rows = [
            (
                one.scope,
                one.state.name,
                iso(one.since),
                str(one.epoch),
                " and ".join(one.by),
                one.trigger,
                one.reason,
            )
            for one in sorted(found, key=lambda status: status.scope)
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        for name, why in sorted(answered.waits.items()):
            print(f"the flattening of {name} waits: {why}")


# What they share.


def _check_scope(scope: str) -> None:
    from tidegate.risk.scope_name import split

    split(scope)


def _choice(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{option}: {value!r} is none of {', '.join(known)}{nearest(value, known)}")


def _duration(text: str) -> int:
    from tidegate.model.time import duration

    try:
        return duration(text)
    except ValueError as error:
        raise UserError(f"--for: {error}") from None


def _signed(do: str, scope: str, reason: str, data: Path, signer: str, **args: str) -> Signed:
    _check_scope(scope)
    folder_of(data)
    return signed(do, scope, reason, data, signer, **args)


def _halt(made: Signed, data: Path, config: Path | None) -> None:
    """To sockets and log, and what came of it."""
    from tidegate.ops.gateways import gateways
    from tidegate.ops.halting import halt

    chosen = gateways(folder_of(data))
    done = asyncio.run(halt(chosen, made, time.time_ns(), lambda: command_log(data, config)))
    why = _refused(done, data, config)
    if why:
        raise UserError(f"nothing is done: {why}")
    if done.epoch:
        print(f"log  halt epoch {done.epoch}")
    else:
        print(f"log  not reached: {done.log_error}; the gateways append it when it is back")
    if not done.epoch and all(answer.error for answer in done.answers):
        _end(done.answers, quiet=True)
        raise UserError("neither the log nor a gateway took it: nothing is halted")
    if not done.answers:
        if why is None:
            print(
                "no gateway has a socket here, and no order manager answers: whether it is followed is not known"
            )
            raise typer.Exit(NOT_WELL)
        print("no gateway has a socket here; the order managers follow it")
    _end(done.answers)


def _refused(done: Outcome, data: Path, config: Path | None) -> str | None:
    """Why nobody obeys it, where that is so: every gateway has refused it, or there is none here, and the order managers
    do not follow it. Empty where somebody obeys; None where the order managers were to say so and do not."""
    from tidegate.log.base import LogError
    from tidegate.ops.halting import judged

    if not done.epoch or not all(answer.refused for answer in done.answers):
        return ""

    async def asked() -> str | None:
        try:
            async with asyncio.timeout(JUDGED_S), command_log(data, config) as log:
                why = await judged(log, done.epoch)
                return done.answers[0].error if why and done.answers else why
        except (LogError, UserError, TimeoutError):
            return None

    return asyncio.run(asked())


def _end(answers: list[Answer], quiet: bool = False) -> None:
    """A line a gateway, and the exit code."""
    from tidegate.ops.halting import done, orders

    well = True
    for answer in answers:
        if answer.error:
            print(f"{answer.gateway}  {answer.error}")
            well = False
        elif not answer.concerned:
            print(f"{answer.gateway}  not concerned")
        else:
            print(f"{answer.gateway}  {answer.said.get('state', 'done')}  {orders(answer.said)}".rstrip())
            well = well and done(answer.said)
    if not well and not quiet:
        raise typer.Exit(NOT_WELL)


async def _status(scope: str, data: Path, config: Path | None) -> Status:
    """A halted scope's state, as the order managers know it."""
    from tidegate.log.base import LogError
    from tidegate.ops.halting import board
    from tidegate.risk.scopes import State

    try:
        async with command_log(data, config) as log:
            status = (await board(log)).status(scope)
    except LogError as error:
        raise UserError(f"nothing comes up while the log is away: {error}") from None
    if status.state in (State.ACTIVE, State.RECOVERING):
        raise UserError(f"{scope} is {status.state.name}: there is nothing to lift; see `tidegate halts`")
    return status


def _resume(made: Signed, data: Path, config: Path | None) -> None:
    """Two have signed: see that the gateways are reconciled, and append it."""
    from tidegate.log.base import LogError
    from tidegate.ops.gateways import gateways
    from tidegate.ops.halting import follow_up, reconciled
    from tidegate.risk.halt import Ignored, commanded, post

    scope = made.command.scope

    async def go() -> Status:
        if why := await reconciled(gateways(folder_of(data)), scope, FRESH_S):
            raise UserError(f"{scope} may not come up yet: {'; '.join(why)}")
        async with command_log(data, config) as log:
            seq = await post(log, commanded(made.encode(), made.command, time.time_ns()))
            return await follow_up(log, scope, seq)

    try:
        status = asyncio.run(go())
    except (LogError, Ignored) as error:
        raise UserError(f"{scope} stays as it is: {error}") from None
    text = f"{scope} is {status.state.name}, by {' and '.join(status.by)}"
    print(f"{text}; full limits in {(status.until - status.since) / 1e9:.0f} s" if status.until else text)


def register(app: typer.Typer) -> None:
    """Put the commands on the lead one."""
    app.command("halt")(halt)
    app.command("cancel-all")(cancel_all)
    app.command("flatten")(flatten)
    app.command("resume")(resume)
    app.command("halts")(halts)

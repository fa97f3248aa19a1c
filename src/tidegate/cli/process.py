"""`tidegate stop`, `restart`, `kill`: a running system's processes, by commands that people sign."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.options import DEFAULT_DATA, DataOption, folder_of
from tidegate.cli.sign import AsOption, reasoned, signed
from tidegate.errors import UserError

if TYPE_CHECKING:
    from tidegate.ops.folder import DataFolder

ReasonOption = Annotated[str, typer.Option(help="Why; goes into the audit trail.")]
ASKED = "asked for on the command line"
PATIENCE = 60.0
"""Seconds to wait for a system to end."""


def stop(
    name: Annotated[
        str, typer.Argument(help="The process, as `tidegate ps` names it; the whole system.")
    ] = "",
    reason: ReasonOption = ASKED,
    signer: AsOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Stop a running system in its order, or one process of it. It takes an operator; to halt trading, see `halt`.

    What rests at venues is dealt with as `topology.on_stop` says. A process that was stopped stays so until `restart`.
    """
    folder = folder_of(data)
    _ask("stop", name, reason, signer, data)
    if name:
        print(f"{name} is stopped")
        return
    print("stopping", flush=True)
    end = time.monotonic() + PATIENCE
    while folder.socket.exists():
        if time.monotonic() > end:
            raise UserError(f"it has not ended within {PATIENCE:g} s; see `tidegate ps`")
        time.sleep(0.05)
    print("stopped")


def restart(
    name: Annotated[str, typer.Argument(help="The process, as `tidegate ps` names it.")],
    reason: ReasonOption = ASKED,
    signer: AsOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Stop one process of a running system cleanly, and start it again. It takes an operator."""
    _ask("restart", name, reason, signer, data)
    print(f"{name} is started again; `tidegate ps` says when it is well")


def kill(
    name: Annotated[str, typer.Argument(help="The process, as `tidegate ps` names it.")],
    reason: ReasonOption = ASKED,
    number: Annotated[
        str, typer.Option("--signal", help="KILL, TERM, STOP, CONT …, or its number.")
    ] = "KILL",
    signer: AsOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Send a signal to one process of a running system: a drill, or the end of what does not end otherwise. It takes an
    operator; what was killed is started again."""
    from tidegate.ops.orders import signal_of

    said = signal_of(number)
    pid = _ask("kill", name, reason, signer, data, signal=str(said))
    print(f"{name}, process {pid}: signal {said} sent")


def _ask(do: str, name: str, reason: str, signer: str, data: Path, **args: str) -> int:
    """Sign it and give it to the supervisor; the id of the process."""
    from tidegate.ops.orders import PROCESS, SYSTEM, order

    folder: DataFolder = folder_of(data)
    reasoned(reason, f"{do} {name or 'the system'}")
    if not folder.socket.exists():
        raise UserError(f"no system runs on {data}; start one with `tidegate up`, or say --data")
    made = signed(do, PROCESS + name if name else SYSTEM, reason, data, signer, **args)
    try:
        return int(asyncio.run(order(folder.socket, made))["pid"])
    except OSError as error:
        raise UserError(f"the supervisor on {data} does not answer: {error.strerror or error}") from None


def register(app: typer.Typer) -> None:
    """Put the commands on the lead one."""
    app.command("stop")(stop)
    app.command("restart")(restart)
    app.command("kill")(kill)

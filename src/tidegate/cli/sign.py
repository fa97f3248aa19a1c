"""Commands that people sign at the command line: one at once, or one after the other by way of a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.errors import UserError

if TYPE_CHECKING:
    from tidegate.access.command import Signed

ReasonOption = Annotated[str, typer.Option(help="Why; goes into the log and the audit trail.")]
AsOption = Annotated[str, typer.Option("--as", help="Who signs, where there are several keys.")]
AndOption = Annotated[str, typer.Option("--and", help="Who signs too, whose key is here.")]
ApproveOption = Annotated[
    Path | None, typer.Option("--approve", help="Sign what another asked for, and have it done.")
]
OutOption = Annotated[Path | None, typer.Option(help="Where the request is written.")]


def signed(do: str, scope: str, reason: str, data: Path, signer: str = "", **args: str) -> Signed:
    """A command by one person."""
    from tidegate.access import command
    from tidegate.access.signer import find

    who = find(data, signer)
    return command.sign(command.new(do, scope, reason, who.name, time.time_ns(), args=args), who)


def reasoned(reason: str, what: str) -> None:
    """Refuse what is asked for without a reason."""
    if not reason.strip():
        raise UserError(f"--reason is missing: say why to {what}")


def by_two(
    do: str, scope: str, reason: str, data: Path, signer: str, second: str, out: Path, again: str, args: dict[str, str]
) -> Signed | None:  # fmt: skip
    """A command by two people, where both keys are here; else a request for the other one in the file `out`, and None.

    `again` is the command line by which the second person approves it, without its file and name.
    """
    from tidegate.access import command
    from tidegate.access.signer import find

    reasoned(reason, f"{do} {scope}")
    first, life = find(data, signer), command.APPROVAL_LIFE
    made = command.sign(command.new(do, scope, reason, first.name, time.time_ns(), life, args), first)
    if second:
        return command.approve(made, find(data, second))
    out.write_bytes(made.encode())
    print(f"{out}: signed by {first.name}; within {life / 6e10:g} minutes a second person approves it with")
    print(f"  tidegate {again} --approve {out} --as NAME --data {data}")
    return None


def asked_in(path: Path, do: str, scope: str, data: Path) -> Signed:
    """What the first person asked for in that file, and why; raises `UserError` where it is something else."""
    from tidegate.access import command
    from tidegate.access.identity_file import AccessSection
    from tidegate.access.keyring import Keyring

    try:
        made = command.Signed.decode(path.read_bytes())
        asked = made.command
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name what the first person's command wrote") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if (asked.do, asked.scope) != (do, scope):
        raise UserError(f"{path}: it is a command to {asked.do} {asked.scope}, not to {do} {scope}")
    if not made.signatures or made.signatures[0].name != asked.by:
        raise UserError(
            f"{path}: it is not signed by {asked.by}, in whose name it is: have it asked for again"
        )
    first = Keyring(data, AccessSection()).identities.get(asked.by)
    if first is not None and not command.is_mine(made, 0, first.public):
        raise UserError(
            f"{path}: {asked.by} did not sign this, or it was changed since: have it asked for again"
        )
    print(f"{asked.by} asks, because: {asked.reason}")
    return made


def approved(path: Path, do: str, scope: str, data: Path, signer: str) -> Signed:
    """What the first person asked for in that file, signed by the second."""
    from tidegate.access import command
    from tidegate.access.signer import find

    return command.approve(asked_in(path, do, scope, data), find(data, signer))

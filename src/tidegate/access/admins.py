"""An admin's signature under a change of who may do what. Until there is an admin, the data folder's owner decides."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from tidegate.access import command
from tidegate.access.command import Signed
from tidegate.access.identity import Identities, Role
from tidegate.access.reach import FIRM, kept
from tidegate.access.signer import ENVIRONMENT, Signer, find, keys_folder
from tidegate.access.verify import Denied, Verifier
from tidegate.errors import UserError


def valid(known: Identities, now: int) -> list[str]:
    """The names of those who are admins at `now`, ns."""
    return [
        one.name
        for one in known
        if one.role is Role.ADMIN
        and not (one.revoked and one.revoked <= now)
        and not (one.expires and one.expires <= now)
        and one.not_before <= now
    ]


def signed(
    do: str, args: dict[str, str], over: Collection[str], reason: str, known: Identities, data: Path, now: int,
    name: str = "",
) -> Signed | None:  # fmt: skip
    """The command `do` over these scopes, by the admin `name`, or by one whose key is here and who may. None where there
    is no admin yet. Raises `Denied` where those whose keys are here may not, `UserError` where none is here."""
    admins = valid(known, now)
    if not admins and not name:
        return None
    judge = Verifier(known, above=kept(data))
    denied: Denied | None = None
    scope = next(iter(over)) if len(over) == 1 else FIRM
    for signer in _signers(data, name, admins):
        made = command.sign(command.new(do, scope, reason, signer.name, now, args=args), signer)
        try:
            judge.verify(made, now, over=over)
        except Denied as error:
            denied = denied or error
        else:
            return made
    raise denied or UserError(
        f"{do} needs an admin's key, and none is here: that of {' or '.join(admins)}, in {ENVIRONMENT} or "
        f"{keys_folder(data)}"
    )


def _signers(data: Path, name: str, admins: Collection[str]) -> list[Signer]:
    """Who may be asked: the one named, the environment's, else the admins whose keys are in the data folder."""
    if name or os.environ.get(ENVIRONMENT):
        return [find(data, name)]
    found = [keys_folder(data) / f"{admin}.key" for admin in admins]
    return [Signer.from_file(path) for path in found if path.exists()]

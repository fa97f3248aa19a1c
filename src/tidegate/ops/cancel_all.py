"""Cancel every resting order: asked of each gateway directly, so it works with log and order managers dead."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.errors import UserError, nearest
from tidegate.ops.control import ask
from tidegate.ops.folder import DataFolder

TIMEOUT_S = 10.0


class Gateway(NamedTuple):
    """A gateway's socket, and what its name says."""

    venue: str
    account: str
    path: Path


class Answer(NamedTuple):
    """What a gateway said; `error` is empty where it has done it."""

    gateway: Gateway
    error: str
    said: dict[str, Any]


def gateways(folder: DataFolder, venue: str = "", account: str = "") -> list[Gateway]:
    """The gateways of this venue and account (empty: of all). Raises `UserError` where there are none."""
    found = [
        Gateway(venue_, account_, path)
        for path in folder.gateways()
        for venue_, _, account_ in [path.name.removeprefix("gw.").removesuffix(".sock").partition(".")]
    ]
    if not found:
        raise UserError(f"no gateway has a socket in {folder.run}; say which system with --data")
    for option, value, known in (
        ("--venue", venue, {g.venue for g in found}),
        ("--account", account, {g.account for g in found}),
    ):
        if value and value not in known:
            raise UserError(f"{option} {value}: no gateway of that name{nearest(value, known)}")
    chosen = [g for g in found if venue in ("", g.venue) and account in ("", g.account)]
    if not chosen:
        raise UserError(f"account {account} has no gateway at {venue}")
    return chosen


def user() -> str:
    """Who asks."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


async def cancel_all(chosen: list[Gateway], reason: str, timeout: float = TIMEOUT_S) -> list[Answer]:
    """Ask all of them at once; an answer of each, in their order. One that is silent delays no other."""

    async def one(gateway: Gateway) -> Answer:
        request = {"do": "cancel_all", "instrument": None, "reason": reason, "by": user()}
        try:
            said = await ask(gateway.path, request, timeout)
        except OSError as error:
            return Answer(gateway, f"not done: {error.strerror or error}", {})
        return Answer(
            gateway, "" if said.get("ok", "error" not in said) else str(said.get("error", "refused")), said
        )

    return list(await asyncio.gather(*(one(gateway) for gateway in chosen)))

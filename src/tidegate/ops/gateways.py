"""The gateways of a data folder, asked directly by their sockets: works with log, lanes and risk service dead."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tidegate.access.command import Signed
from tidegate.ops.control import ask
from tidegate.ops.folder import DataFolder

TIMEOUT_S = 15.0
"""Longer than a gateway goes on sweeping."""


class Gateway(NamedTuple):
    """A gateway's socket, and what its name says."""

    venue: str
    account: str
    path: Path

    def __str__(self) -> str:
        return f"{self.venue}.{self.account}"


class Answer(NamedTuple):
    """What a gateway said; `error` is empty where it has done it."""

    gateway: Gateway
    error: str
    said: dict[str, Any]

    @property
    def refused(self) -> bool:
        """Whether it was reached, and would not."""
        return bool(self.error) and bool(self.said)

    @property
    def concerned(self) -> bool:
        """Whether the scope covers any of its orders, as far as it said."""
        return bool(self.said.get("concerned", True))


def gateways(folder: DataFolder) -> list[Gateway]:
    """Those that have a socket there."""
    return [
        Gateway(venue, account, path)
        for path in folder.gateways()
        for venue, _, account in [path.name.removeprefix("gw.").removesuffix(".sock").partition(".")]
    ]


async def ask_all(
    chosen: Sequence[Gateway], request: dict[str, Any], timeout: float = TIMEOUT_S
) -> list[Answer]:
    """Ask all of them at once; an answer of each, in their order. One that is silent delays no other."""

    async def one(gateway: Gateway) -> Answer:
        try:
            said = await ask(gateway.path, request, timeout)
        except OSError as error:
            return Answer(gateway, f"not reached: {error.strerror or error}", {})
        done = said.get("ok", "error" not in said)
        return Answer(gateway, "" if done else str(said.get("error", "refused")), said)

    return list(await asyncio.gather(*(one(gateway) for gateway in chosen)))


async def command(chosen: Sequence[Gateway], signed: Signed, timeout: float = TIMEOUT_S) -> list[Answer]:
    """Give all of them a signed command."""
    return await ask_all(chosen, {"do": "command", "signed": msgspec.to_builtins(signed)}, timeout)

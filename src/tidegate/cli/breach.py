"""A drill: a breach is waited for, what became of it is taken from the venue's own record, and two people let it up again.

`tidegate up examples/breach.toml --for 25s --breach`. On a simulated venue only: a real one is not drilled.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.access import command, local
from tidegate.access.identity import Role
from tidegate.access.signer import find, keys_folder
from tidegate.cli.log import command_log
from tidegate.errors import UserError
from tidegate.log.base import Entry
from tidegate.ops.folder import DataFolder
from tidegate.ops.gateways import gateways
from tidegate.ops.halting import follow_up, reconciled
from tidegate.risk import halt
from tidegate.risk.halt import HaltEvent
from tidegate.risk.scope_name import Kind, split
from tidegate.risk.scopes import State

if TYPE_CHECKING:
    from rich.console import Console

    from tidegate.world import World

PEOPLE = ("ann", "bob")
WATCH_S = 5.0
"""Seconds for which the venue's record is watched after the halt."""
FRESH_S = 120.0
_PAGE = 20_000


@dataclass
class Breach:
    """What happened; `lines` is the story for people. Times in ns."""

    world: World
    data: Path
    simulated: Callable[[], Any]
    """The simulated venue as its data folder has it (`roles.simulated`)."""
    lines: list[str] = field(default_factory=list)
    event: HaltEvent | None = None

    def people(self) -> None:
        """Two risk officers with keys in the data folder, where they are not there yet."""
        for name in PEOPLE:
            if not (keys_folder(self.data) / f"{name}.key").exists():
                local.add(self.data, self.world.config.access, name, Role.RISK_OFFICER, name)

    @property
    def ended(self) -> tuple[str, ...]:
        """The process of a strategy that was killed: it is not started again, rightly."""
        level, name = split(self.event.scope) if self.event else (Kind.FIRM, "")
        return (f"strategy-{name}",) if level is Kind.STRATEGY else ()

    def show(self, console: Console) -> None:
        """The story, once the system has stopped."""
        console.rule("the breach")
        for line in self.lines or ["nothing was killed while the system ran"]:
            console.print(line, highlight=False, soft_wrap=True)

    async def run(self) -> None:
        """Wait for a scope to be killed, look at what follows, let it up again."""
        async with command_log(self.data) as log:
            heard: asyncio.Queue[list[Entry]] = asyncio.Queue()
            following = log.follow(halt.STREAM, heard.put_nowait)
            try:
                halts: list[tuple[Entry, HaltEvent]] = []
                while not halts or halts[-1][1].state is not State.KILLED:
                    for entry in await heard.get():
                        halts.append((entry, halt.decode(entry.data)))
            finally:
                following.close()
            entry, self.event = halts[-1]
            await asyncio.sleep(WATCH_S)
            self._tell(halts, await asyncio.to_thread(self._record))
            await self._resume(self.event.scope, entry.seq)

    def _tell(self, halts: list[tuple[Entry, HaltEvent]], happened: list[dict[str, Any]]) -> None:
        """The story of the halt, by the venue's own record. Times count from the breaker that killed."""
        entry, event = halts[-1]
        began = event.ts
        level, name = split(event.scope)
        accounts = self.world.config.strategies[name].account if level is Kind.STRATEGY else name
        mine = [row for row in happened if row["account"] == accounts]
        new = [row["ts"] for row in mine if row["what"] == "NEW"]
        after = [ts for ts in new if ts > entry.ts]
        cancels = [row["ts"] for row in mine if row["what"] == "CANCELED" and row["ts"] >= event.ts]
        last = {row["order"]: row for row in mine}
        left = [row for row in last.values() if row["status"] in ("NEW", "PARTIALLY_FILLED")]
        others = [
            r for r in happened if r["account"] != accounts and r["what"] == "NEW" and r["ts"] > entry.ts
        ]
        filled = sum(row["what"] == "TRADE" for row in mine)

        def at(ts: int) -> str:
            return f"{(ts - began) / 1e6:+10.1f} ms"

        first = min(new, default=began)
        self.lines.append(
            f"{at(first)}  {event.scope} begins; the venue accepts {len(new)} of its orders, {filled} fills"
        )
        for stored, told in halts:
            self.lines.append(f"{at(told.ts)}  a breaker trips: {told.reason}")
            self.lines.append(
                f"{at(stored.ts)}  in the log: {told.scope} is {told.state.name}, halt epoch {stored.seq}"
            )
        if after:
            self.lines.append(
                f"{at(max(after))}  the last of {len(after)} orders that were on their way is accepted"
            )
        if cancels:
            self.lines.append(f"{at(min(cancels))}  the first cancel at the venue")
            self.lines.append(
                f"{at(max(cancels))}  the last of {len(cancels)}; open at the venue: {len(left)}"
            )
        self.lines.append(
            f"{at(entry.ts + round(WATCH_S * 1e9))}  accepted since the halt: of it {len(after)}, of the others {len(others)}"
        )

    async def _resume(self, scope: str, epoch: int) -> None:
        """One person is not enough; two are."""
        first, second = (find(self.data, name) for name in PEOPLE)
        args = {"epoch": str(epoch), "state": State.RECOVERING.name, "recover": str(halt.RECOVERING_FOR)}

        def asked() -> command.Signed:
            """A command of its own each time: one that was judged is not judged again."""
            life = command.APPROVAL_LIFE
            new = command.new("resume", scope, "the drill is over", first.name, time.time_ns(), life, args)
            return command.sign(new, first)

        for who, signed in (
            (first.name, asked()),
            (f"{first.name} and {second.name}", command.approve(asked(), second)),
        ):
            self.lines.append(f"{'':13}  resume, signed by {who}: {await self._ask(scope, signed)}")

    async def _ask(self, scope: str, signed: command.Signed) -> str:
        if why := await reconciled(gateways(DataFolder(self.data)), scope, FRESH_S):
            return f"refused: {'; '.join(why)}"
        async with command_log(self.data) as log:
            event = halt.commanded(signed.encode(), signed.command, time.time_ns())
            try:
                status = await follow_up(log, scope, await halt.post(log, event))
            except UserError as error:
                return f"refused: {error}"
        return f"{status.state.name}; full limits in {(status.until - status.since) / 60e9:.0f} minutes"

    def _record(self) -> list[dict[str, Any]]:
        """All that happened to orders, by the venue."""
        venue = self.simulated()
        found: list[dict[str, Any]] = []
        if venue is None:
            raise UserError("--breach needs a simulated venue: a section [simulated]")
        while True:
            url = (
                f"{venue.url}/admin/record?happenings_from={len(found)}&requests_from={1 << 60}&limit={_PAGE}"
            )
            request = urllib.request.Request(url, headers={"X-Admin-Token": venue.token})
            with urllib.request.urlopen(request, timeout=10) as answer:
                page = json.load(answer)["happenings"]
            found += page
            if not page:
                return found

"""A real system for halts by every scope: two honest strategies and two that spin, each order known by the venue's record."""

from __future__ import annotations

import asyncio
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from rounds_system import ROOT, SIZES, System, toml

from tidegate.access import command, local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.signer import Signer, find, keys_folder
from tidegate.cli.log import command_log
from tidegate.ops import halting
from tidegate.ops.gateways import ask_all, gateways
from tidegate.risk.halt import HaltEvent, Status, commanded, post
from tidegate.risk.scopes import State
from tidegate.world import World

USDM, COINM = "BTCUSDT.BINANCE_USDM", "BTCUSD_PERP.BINANCE_COINM"
SPINNING = {"spin": USDM, "spun": COINM}
"""Strategies on the account `arbitrage` that leave one order each and then never return from a handler."""
HOUR = 3600 * 10**9
ENTERED = ("NEW", "REPLACED", "AMENDMENT")
OPEN = ("NEW", "PARTIALLY_FILLED")
Row = dict[str, Any]


def spinning(home: Path) -> System:
    """`left` on the account `making`, of the desk `first`; `right` and those that spin on `arbitrage`."""
    system = System(home, rate=40.0, lanes=1)
    config = tomllib.loads(system.path.read_text())
    config["accounts"]["making"]["desk"] = "first"
    # They are halted, not stopped.
    config["topology"] = {"on_stop": "keep", "strategies": "each", "cell": {"hung_after": "120s"}}
    for name, market in SPINNING.items():
        params = {"market": market, "act": "spin", "size": SIZES[market], "folder": str(home)}
        kind = f"{ROOT / 'benchmarks/rogue_strategy.py'}:Rogue"
        config["strategies"][name] = {"type": kind, "account": "arbitrage", "params": params}
    system.path.write_text(toml(config) + "\n")
    system.world = World.load(system.path)
    system.strategies = ["left", "right"]
    return system


class People(NamedTuple):
    """Whoever signs here."""

    first: Signer
    second: Signer

    def signed(self, do: str, scope: str, two: bool = False, **args: str) -> command.Signed:
        """A command by the first, and by the second too."""
        made = command.sign(
            command.new(do, scope, "drill", self.first.name, time.time_ns(), args=args), self.first
        )
        return command.approve(made, self.second) if two else made


def people(system: System) -> People:
    """The admin that the first start made, and a second risk officer."""
    path = keys_folder(system.data) / "second.key"
    local.add(system.data, AccessSection(), "second", Role.RISK_OFFICER, "the second", path)
    me = next(p.stem for p in keys_folder(system.data).glob("*.key") if p.stem != "second")
    return People(find(system.data, me), find(system.data, "second"))


async def halt(system: System, who: People, scope: str) -> int:
    """By a person, to sockets and log: when every gateway had answered that nothing is open, ns."""
    signed = who.signed("halt", scope)
    done = await halting.halt(
        gateways(system.folder), signed, time.time_ns(), lambda: command_log(system.data)
    )
    assert done.epoch, done.log_error
    for answer in done.answers:
        assert not answer.error, answer
        assert not answer.concerned or answer.said["empty"], answer
    assert any(answer.concerned for answer in done.answers)
    return time.time_ns()


async def breach(system: System, scope: str) -> int:
    """By the log alone, as a component posts it: when every gateway had followed it and swept, ns."""
    event = HaltEvent(
        ts=time.time_ns(), scope=scope, state=State.KILLED, reason="drill", trigger="drill", source="test"
    )
    async with command_log(system.data) as log:
        seq = str(await post(log, event))
    chosen, blocked = gateways(system.folder), 0
    async with asyncio.timeout(10):
        while not blocked:
            answers = await ask_all(chosen, {"do": "state", "scope": scope})
            seen = [answer.said.get("followed", {}).get(seq) for answer in answers]
            blocked = time.time_ns() if all(seen) else 0
    await until(lambda: resting(system, under(system, scope)), False)
    return max(blocked, time.time_ns())


async def by_socket(system: System, scope: str) -> int:
    """By the gateways' sockets alone, as the risk service tells them: when all had answered, ns."""
    event = HaltEvent(
        ts=time.time_ns(), scope=scope, state=State.KILLED, reason="drill", trigger="drill", source="test"
    )
    request = {"do": "halt", "event": msgspec.to_builtins(event)}
    for answer in await ask_all(gateways(system.folder), request):
        assert not answer.error, answer
        assert answer.said["state"] == "KILLED"
    return time.time_ns()


async def resume(system: System, who: People, scope: str) -> None:
    """By two people, once the gateways are reconciled."""
    async with asyncio.timeout(20):
        while await halting.reconciled(gateways(system.folder), scope, 120.0):
            await asyncio.sleep(0.1)
    async with command_log(system.data) as log:
        epoch = (await halting.board(log)).status(scope).epoch
        signed = who.signed("resume", scope, two=True, epoch=str(epoch), state="RECOVERING", recover="1")
        seq = await post(log, commanded(signed.encode(), signed.command, time.time_ns()))
        await halting.follow_up(log, scope, seq)


async def status(system: System, scope: str) -> Status:
    """As the order managers know it."""
    async with command_log(system.data) as log:
        return (await halting.board(log)).status(scope)


# What the venue's own record says.


def under(system: System, scope: str) -> Callable[[Row], bool]:
    """Whether a happening is of an order under this scope, of strategies only where an account tells."""
    kind, _, name = scope.partition(":")
    desks = {n: section.desk for n, section in system.world.config.accounts.items()}
    return {
        "account": lambda row: row["account"] == name,
        "desk": lambda row: desks[row["account"]] == name,
        "instrument": lambda row: row["instrument"] == name,
        "venue": lambda row: row["instrument"].rpartition(".")[2] == name,
    }[kind]


async def accepted(system: System, after: int, of: Callable[[Row], bool]) -> list[Row]:
    """New orders and replaced ones that the venue accepted after a time (ns)."""
    found = [row for row in await system.record("happenings") if row["what"] in ENTERED and of(row)]
    soon = time.time_ns() + HOUR
    if any(
        row["ts"] > soon for row in found
    ):  # where the replayed market ends and begins again, it has no time
        asked = {(r["account"], r["client_id"]): r["received_ns"] for r in await system.record("requests")}
        for row in found:
            if row["ts"] > soon:
                row["ts"] = asked.get((row["account"], row["client_id"]), row["ts"])
    return [row for row in found if row["ts"] > after]


async def resting(system: System, of: Callable[[Row], bool]) -> bool:
    """Whether any order of these is open, by what happened last to it."""
    last: dict[tuple[str, int], Row] = {}
    for row in await system.record("happenings"):
        last[row["instrument"], row["order"]] = row
    return any(row["status"] in OPEN and of(row) for row in last.values())


async def far(system: System) -> set[str]:
    """Markets in which an order of those that spin rests: a hundredth away, where nobody else's does."""
    rows = (await system.admin("state"))["arbitrage"]["orders"]
    top: dict[str, float] = {}
    for row in rows:
        top[row["symbol"]] = max(top.get(row["symbol"], 0.0), float(row["price"]))
    return {
        f"{row['symbol']}.{row['venue']}"
        for row in rows
        if row["status"] in OPEN and float(row["price"]) < 0.995 * top[row["symbol"]]
    }


async def until(look: Callable[[], Any], wanted: bool = True, seconds: float = 20.0) -> None:
    """Until it is so."""
    async with asyncio.timeout(seconds):
        while bool(await look()) is not wanted:
            await asyncio.sleep(0.05)

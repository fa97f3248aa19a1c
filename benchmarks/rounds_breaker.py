"""A breaker trips while the log has no leader: gateways refuse within a second, and afterwards all agree what is halted.

The node that leads HALT is killed; then the market jumps, as its feed would tell it. The breaker's halt cannot be stored
before another leader is elected. It goes by the gateways' sockets and by `now.halt` meanwhile. When the log is whole
again it must have the halt once, order managers, lanes, gateways and risk service must say the same of it, and two people
let the scope up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rounds_acts import Blow, Part, Replicated, now, replicated, trading
from rounds_system import System, Trouble, toml

from tidegate.access import command, local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.signer import Signer, find, keys_folder
from tidegate.log.base import LogError
from tidegate.log.nats import NatsLog
from tidegate.model.messages import Mark, ScopeState
from tidegate.model.wire import decode, pack
from tidegate.ops import halting
from tidegate.ops.gateways import ask_all, gateways
from tidegate.risk.halt import HaltEvent, Status, commanded, post
from tidegate.risk.halt import decode as event_of
from tidegate.risk.scopes import State

MARKET = "BTCUSDT.BINANCE_USDM"
SCOPE = f"instrument:{MARKET}"
JUMP = 1.3
WITHIN = 1.0
"""Seconds from the breaker's trip until the last gateway refuses."""
NOTICED = 10.0
"""Seconds until the risk service has seen the jump: it may have lost its node, and its touches with that."""
AGREE = 60.0
TELL = 0.05
"""Seconds between two touches: whoever lost its node misses some."""


@asynccontextmanager
async def strict(home: Path, rate: float) -> AsyncIterator[System]:
    """A system on three nodes whose `market` breaker kills."""

    def kill(path: Path) -> None:
        config = tomllib.loads(path.read_text())
        config["risk"]["breakers"] = {"market": {"state": "killed"}}
        path.write_text(toml(config) + "\n")

    async with replicated(home, rate, kill) as system:
        yield system


async def breaker(system: System, notes: list[str]) -> list[Blow]:
    """See the module."""
    assert isinstance(system, Replicated)
    assert system.cluster is not None
    assert system.client is not None
    log = system.client
    people = _people(system)
    early, bid = await _early(system), await _market(system, log)
    node = await system.cluster.leader(log, "HALT")
    blow = now()
    await system.cluster.kill(node)
    jumped = now()
    refused = await _jump(system, log, bid)
    if await _early(system) == early:
        raise Trouble("no gateway was told the quick way: the log was not without a leader")
    status = await _stored(log)
    stored = now()
    event = await _event(log, status)
    late = (max(one["held"][event.id] for one in await _ask(system, scope=SCOPE)) - event.ts) / 1e9
    if late > WITHIN:
        raise Trouble(f"the last gateway refused {late:.2f} s after the breaker tripped")
    in_log = (stored - jumped) / 1e9
    notes.append(
        f"leader dead: every gateway refuses {late * 1e3:.0f} ms after the breaker's trip; in HALT after {in_log:.1f} s"
    )
    await node.start()
    await _caught_up(system)
    await _agree(system, log, status)
    await _nothing(system, refused)
    await _up(system, log, people, status.epoch)
    await trading(system, now())
    return [Blow(blow)]


async def _caught_up(system: Replicated) -> None:
    end = time.monotonic() + AGREE
    while time.monotonic() < end:
        with contextlib.suppress(LogError):  # an election goes on
            if await system.replicas_current():
                return
        await asyncio.sleep(0.1)
    raise Trouble("a node that came back did not catch up in a minute")


def _people(system: System) -> tuple[Signer, Signer]:
    """Whoever started it, and a second risk officer."""
    path = keys_folder(system.data) / "second.key"
    if not path.exists():
        local.add(system.data, AccessSection(), "second", Role.RISK_OFFICER, "the second", path)
    me = next(p.stem for p in keys_folder(system.data).glob("*.key") if p.stem != "second")
    return find(system.data, me), find(system.data, "second")


async def _ask(system: System, **request: Any) -> list[dict[str, Any]]:
    return [answer.said for answer in await ask_all(gateways(system.folder), {"do": "state", **request}, 2.0)]


async def _early(system: System) -> int:
    """How many halts came to gateways before the log had them."""
    said = await _ask(system)
    return sum(int(one["health"]["counters"].get("halts_early", 0)) for one in said if "health" in one)


async def _market(system: System, log: NatsLog) -> int:
    """A bid of the market, ticks, that the risk service has heard, too: without one it does not see a jump."""
    await system.until(
        lambda: (
            system.health("risk-1").get("services", {}).get("risk", {}).get("risk", {}).get("state")
            == "acting"
        ),
        "the risk service to act",
    )
    number = system.world.universe.number(MARKET)
    heard: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def hear(_: str, data: bytes) -> None:
        for mark in decode(data).messages:
            if isinstance(mark, Mark) and mark.instrument == number and not heard.done():
                heard.set_result(mark.bid)

    listening = log.subscribe(f"touch.{system.world.universe[number].venue}", hear)
    try:
        async with asyncio.timeout(AGREE):
            return await heard
    finally:
        listening.close()


async def _jump(system: System, log: NatsLog, bid: int) -> int:
    """The market jumps, until every gateway concerned refuses it; when the last was seen to."""
    number = system.world.universe.number(MARKET)
    item, ticks = system.world.universe[number], round(bid * JUMP)
    end = time.monotonic() + NOTICED
    while time.monotonic() < end:
        at = now()
        log.publish(f"touch.{item.venue}", pack([Mark(at, number, ticks, ticks + 1)] * 2, ts=at))
        said = await _ask(system, scope=SCOPE)
        if said and all(
            "KILLED" in one.get("halts", {}).get(SCOPE, "") for one in said if one.get("concerned")
        ):
            return now()
        await asyncio.sleep(TELL)
    risk = system.health("risk-1").get("services", {}).get("risk", {})
    raise Trouble(
        f"the gateways do not refuse {SCOPE} {NOTICED:g} s after the jump; the risk service: {risk}"
    )


async def _stored(log: NatsLog) -> Status:
    """The scope's state, once the order managers know it from the log."""
    end = time.monotonic() + AGREE
    while time.monotonic() < end:
        try:
            status = (await halting.board(log)).status(SCOPE)
            if status.state is State.KILLED:
                return status
        except Exception:  # no leader yet
            pass
        await asyncio.sleep(0.1)
    raise Trouble(f"{SCOPE} is not in the log {AGREE:g} s after the breaker")


async def _event(log: NatsLog, status: Status) -> HaltEvent:
    """The halt in force, and no event is in the log twice."""
    ids: Counter[str] = Counter()
    last: HaltEvent | None = None
    async for entries in log.read("HALT"):
        for entry in entries:
            one = event_of(entry.data)
            ids[one.id] += 1
            last = one if entry.seq == status.epoch else last
    doubled = [key for key, n in ids.items() if n > 1]
    if doubled or last is None or last.scope != SCOPE:
        raise Trouble(f"HALT has {doubled} twice, and at {status.epoch} {last}")
    return last


async def _agree(system: System, log: NatsLog, status: Status) -> None:
    """The log has every halt once; lanes, gateways and risk service have this one, under the same epoch."""
    await _event(log, status)
    number, missing = system.world.universe.number(MARKET), "everybody"
    end = time.monotonic() + AGREE
    while missing and time.monotonic() < end:
        missing = ""
        for lane in range(system.lanes):
            told = [
                m
                async for entries in log.read(f"LANE_{lane}")
                for entry in entries
                if entry.subject.endswith(".sys")
                for m in decode(entry.data).messages
                if isinstance(m, ScopeState) and m.instrument == number
            ]
            if not told or (told[-1].state, told[-1].epoch) != (int(State.KILLED), status.epoch):
                missing = f"lane {lane}"
        risk = system.health("risk-1").get("services", {}).get("risk", {}).get("risk", {}).get("halted", {})
        if risk.get(SCOPE) != "KILLED":
            missing = "the risk service"
        for one in await _ask(system, scope=SCOPE):
            followed = str(status.epoch) in one.get("followed", {})
            if one.get("concerned") and not (followed and "KILLED" in one["halts"].get(SCOPE, "")):
                missing = "a gateway"
        await asyncio.sleep(0.2 if missing else 0)
    if missing:
        raise Trouble(f"{missing} does not have halt {status.epoch} of {SCOPE} {AGREE:g} s after")


async def _nothing(system: System, refused: int) -> None:
    """The venue's own record has no new order of the scope from after the last gateway refused."""
    rows = await system.record("happenings")
    after = [r for r in rows if r["what"] == "NEW" and r["instrument"] == MARKET and r["ts"] > refused]
    if after:
        raise Trouble(f"the venue accepted {len(after)} orders of {SCOPE} after the block")


async def _up(system: System, log: NatsLog, people: tuple[Signer, Signer], epoch: int) -> None:
    first, second = people
    for _ in range(200):
        if not await halting.reconciled(gateways(system.folder), SCOPE, 120.0):
            break
        await asyncio.sleep(0.1)
    args = {"epoch": str(epoch), "recover": "1"}
    made = command.sign(command.new("resume", SCOPE, "rounds", first.name, time.time_ns(), args=args), first)
    signed = command.approve(made, second)
    seq = await post(log, commanded(signed.encode(), signed.command, time.time_ns()))
    await halting.follow_up(log, SCOPE, seq)


PART = Part("breaker", breaker, strict, bound=10.0, pause=1.0)

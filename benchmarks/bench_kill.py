"""The kill switch under load: from a breach to every gateway refusing, and to the venue, by every way a halt may come.

A whole system as in `bench_live.py`, a process a role, at twice its load (`--ticks`). Again and again an account is
killed, and two people let it up. The ways:

- *log*: a breach on the log, as any component appends it (an event in the stream HALT): what the goals are of;
- *breaker*: as the risk service says it: `now.halt`, the gateways' sockets and the log at once;
- *person*: a signed command, by the gateways' sockets and the log at once, as `tidegate halt` sends it;
- *socket*: a component's halt by the gateways' sockets alone, as when the log is dead.

For each kill: *refusing*: from the call until the last gateway refuses, by the gateways' own note of it; *first cancel*:
until the venue has read the first mass cancel off its socket; *after the block*: orders in the venue's own record that
left their gateway after it refused, until the resume; *on the wire*: those that had left before and were read by the
venue later, and how much later the last was.

Goals: refusing p99 ≤ 50 ms and first cancel p99 ≤ 100 ms after a breach on the log; nothing after the block, whatever the
way. Exit code 1 where one is missed. Run on an idle machine: `python benchmarks/bench_kill.py [--kills 40] [--json FILE]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import machine
import msgspec
import numpy as np
from live_hops import read
from live_system import APART, OUT, Load, System

from tidegate.access import command, local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.signer import Signer, find, keys_folder
from tidegate.cli.log import command_log
from tidegate.log.base import Log
from tidegate.ops.gateways import Gateway, ask_all, gateways
from tidegate.ops.gateways import command as tell
from tidegate.ops.halting import board, follow_up, reconciled
from tidegate.ops.hops import HOPS
from tidegate.ops.quick_sockets import QuickSockets
from tidegate.risk.halt import HaltEvent, commanded, post
from tidegate.risk.quick import SUBJECT
from tidegate.risk.scopes import State
from tidegate.venue.port import cl_ord_id_of

SAMPLE_TICKS = 469.6
"""Frames a second of the sample at its own speed."""
SCOPE = "account:bench"
PEOPLE = ("first", "second")
WARM_S, TRADE_S = 4.0, 1.0
NEW = ("order.place", "order.modify", "order.cancelReplace")
GOAL_REFUSING, GOAL_CANCEL = 50.0, 100.0
LIVE_TICKS = 2000.0
"""Messages a second of bench_live.py."""


class Kill(NamedTuple):
    """One of them; ns."""

    way: str
    asked: int
    refusing: int
    resumed: int


@dataclass
class Row:
    """What the kills of one way came to; ms."""

    way: str
    kills: int
    refusing_p50: float
    refusing_p99: float
    refusing_most: float
    cancel_p50: float
    cancel_p99: float
    cancel_most: float
    after_block: int
    on_wire: int
    on_wire_last: float


class Desk(NamedTuple):
    """What a kill needs."""

    system: System
    log: Log
    chosen: list[Gateway]
    people: tuple[Signer, Signer]

    @property
    def now(self) -> int:
        """By the clock of the whole system, ns."""
        return self.system.supervisor.clock.now()


def breach(now: int) -> HaltEvent:
    """A component's halt."""
    return HaltEvent(ts=now, scope=SCOPE, state=State.KILLED, reason="bench", trigger="bench", source="bench")


# The ways: each says it, and returns the event's id; it is on the log when it returns.


async def by_log(desk: Desk, now: int) -> str:
    """An entry of HALT."""
    event = breach(now)
    await post(desk.log, event)
    return event.id


async def by_breaker(desk: Desk, now: int) -> str:
    """As the risk service's `Teller`."""
    event = breach(now)
    desk.log.publish(SUBJECT, event.encode())
    QuickSockets(desk.system.data)(event)
    await post(desk.log, event)
    return event.id


async def by_person(desk: Desk, now: int) -> str:
    """As `ops.halting.halt`, with the connection to the log made before."""
    signed = command.sign(command.new("halt", SCOPE, "bench", desk.people[0].name, now), desk.people[0])
    event = commanded(signed.encode(), signed.command, now)
    await asyncio.gather(tell(desk.chosen, signed), post(desk.log, event))
    return event.id


async def by_socket(desk: Desk, now: int) -> str:
    """The gateways append it themselves."""
    event = breach(now)
    await ask_all(desk.chosen, {"do": "halt", "event": msgspec.to_builtins(event)})
    return event.id


WAYS: dict[str, Callable[[Desk, int], Awaitable[str]]] = {
    "log": by_log, "breaker": by_breaker, "person": by_person, "socket": by_socket,
}  # fmt: skip


async def kill(desk: Desk, way: str) -> Kill:
    """A kill, and up again."""
    asked = desk.now
    event = await WAYS[way](desk, asked)
    async with asyncio.timeout(30):
        noted: list[int | None] = [None]
        while not all(noted):
            answers = await ask_all(desk.chosen, {"do": "state", "scope": SCOPE})
            noted = [answer.said.get("held", {}).get(event) for answer in answers]
            await asyncio.sleep(0.02)
        while (status := (await board(desk.log)).status(SCOPE)).state is not State.KILLED:
            await asyncio.sleep(0.02)
    await asyncio.sleep(TRADE_S)
    async with asyncio.timeout(30):
        while await reconciled(desk.chosen, SCOPE, 120.0):
            await asyncio.sleep(0.05)
    first, second = desk.people
    args = {"epoch": str(status.epoch), "recover": "1"}
    resumed = desk.now
    wanted = command.new("resume", SCOPE, "bench", first.name, resumed, args=args)
    made = command.approve(command.sign(wanted, first), second)
    up = await post(desk.log, commanded(made.encode(), made.command, resumed))
    await follow_up(desk.log, SCOPE, up)
    await asyncio.sleep(TRADE_S)
    return Kill(way, asked, max(one for one in noted if one), resumed)


async def measure(kills: int, ticks: float, ways: list[str], out: Path | None) -> bool:
    """Run them and print what they took; whether all goals are met."""
    folder = OUT / "kill"
    shutil.rmtree(folder, ignore_errors=True)
    system = System(folder, Load(APART, "machine", ticks / SAMPLE_TICKS), hops=True)
    system.data.make()
    for name in PEOPLE:
        key = keys_folder(system.data.path) / f"{name}.key"
        local.add(system.data.path, AccessSection(), name, Role.RISK_OFFICER, name, key)
    async with system, command_log(system.data.path) as log:
        people = find(system.data.path, PEOPLE[0]), find(system.data.path, PEOPLE[1])
        desk = Desk(system, log, gateways(system.data), people)
        await asyncio.to_thread(system.admin, "start", {})
        await asyncio.sleep(WARM_S)
        began, heard = desk.now, messages(system)
        done = [await kill(desk, way) for _ in range(kills) for way in ways]
        seconds = (desk.now - began) / 1e9
        rate = (messages(system) - heard) / seconds
        requests = await asyncio.to_thread(system.orders)
    sent = left(folder)
    rows = [row(way, [k for k in done if k.way == way], requests, sent) for way in ways]
    orders = sum(began < r["received_ns"] and r["kind"] in NEW for r in requests) / seconds
    return show(rows, ticks, rate, orders, len(desk.chosen), out)


def messages(system: System) -> int:
    """How many frames of venues the feed has read."""
    said = system.health("feed-1").get("services", {}).get("feed", {})
    return sum(int(feed["frames"]) for feed in said.get("feeds", []))


def left(folder: Path) -> dict[int, int]:
    """When each order left its gateway, ns, by ClOrdID."""
    rows = np.concatenate([read(path) for path in folder.glob("gateway*.hops")])
    rows = rows[rows[:, 0] == HOPS.index("gateway.out")]
    return dict(zip(rows[:, 3].tolist(), rows[:, 2].tolist(), strict=True))


def row(way: str, done: list[Kill], requests: list[dict[str, Any]], sent: dict[int, int]) -> Row:
    """The figures of one way."""
    mass = np.array(sorted(r["received_ns"] for r in requests if "DELETE" in r["kind"]))
    refusing = np.array([(k.refusing - k.asked) / 1e6 for k in done])
    cancels = np.array([(mass[np.searchsorted(mass, k.asked)] - k.asked) / 1e6 for k in done])
    late = [
        (k, r["received_ns"], sent.get(cl_ord_id_of(r["client_id"]), r["received_ns"]))
        for k in done
        for r in requests
        if r["kind"] in NEW and k.refusing < r["received_ns"] < k.resumed
    ]
    wire = [(arrived - k.refusing) / 1e6 for k, arrived, gone in late if gone <= k.refusing]
    return Row(
        way, len(done),
        *(float(q) for figures in (refusing, cancels) for q in (*np.quantile(figures, (0.5, 0.99)), figures.max())),
        sum(gone > k.refusing for k, _, gone in late), len(wire), max(wire, default=0.0),
    )  # fmt: skip


def verdicts(rows: list[Row]) -> list[tuple[bool, str]]:
    """Each goal: whether it is met, and in words."""
    found = []
    for one in rows:
        if one.way == "log":
            found += [
                (one.refusing_p99 <= GOAL_REFUSING,
                 f"breach on the log → every gateway refusing: p99 {one.refusing_p99:.1f} ms (goal ≤ {GOAL_REFUSING:.0f} ms)"),
                (one.cancel_p99 <= GOAL_CANCEL,
                 f"breach on the log → first cancel at the venue: p99 {one.cancel_p99:.1f} ms (goal ≤ {GOAL_CANCEL:.0f} ms)"),
            ]  # fmt: skip
    after = sum(one.after_block for one in rows)
    found.append((after == 0, f"orders at the venue after the block, by its own record: {after} (goal 0)"))
    return found


def show(rows: list[Row], ticks: float, rate: float, orders: float, gates: int, out: Path | None) -> bool:
    """A table for people, a verdict a goal, and all of it as JSON where asked for."""
    print(
        f"{sum(r.kills for r in rows)} kills of {SCOPE}, {gates} gateways, a process a role; "
        f"{rate:.0f} messages/s ({ticks:.0f} wanted: {ticks / LIVE_TICKS:g} times make bench-live), {orders:.0f} orders/s\n"
    )
    head = (
        "way",
        "kills",
        "refusing p50",
        "p99",
        "most",
        "first cancel p50",
        "p99",
        "most",
        "after block",
        "on the wire",
    )
    lines = [
        (r.way, str(r.kills), *(f"{v:.1f} ms" for v in (
            r.refusing_p50, r.refusing_p99, r.refusing_most, r.cancel_p50, r.cancel_p99, r.cancel_most)),
         str(r.after_block), f"{r.on_wire}, last {r.on_wire_last:.1f} ms later" if r.on_wire else "0")
        for r in rows
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
    print()
    found = verdicts(rows)
    for met, text in found:
        print(f"{'met   ' if met else 'MISSED'}  {text}")
    if out is not None:
        said = {
            "machine": machine.describe(), "ticks": ticks, "messages_per_second": rate, "orders_per_second": orders,
            "ways": [asdict(one) for one in rows], "verdicts": [{"met": met, "goal": text} for met, text in found],
        }  # fmt: skip
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(said, indent=1) + "\n")
    return all(met for met, _ in found)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=40, help="of each way")
    parser.add_argument("--ticks", type=float, default=2 * LIVE_TICKS, help="messages a second")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not asyncio.run(measure(args.kills, args.ticks, args.ways, args.json)):
        raise SystemExit("bench_kill: a goal is missed")


if __name__ == "__main__":
    main()

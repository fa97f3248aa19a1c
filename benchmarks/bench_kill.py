"""The kill switch under load: from a breach on the log to every gateway refusing, and to the venue.

A whole system as in `bench_live.py`, a process a role, at twice its load (`--ticks`). N times a breach kills the account
(an event appended to HALT, as a breaker appends it), and two people let it up again. For each kill:

- *refusing*: from the append's call until the last gateway refuses, by the gateways' own note of it;
- *first cancel*: until the venue has read the first mass cancel off its socket, by the venue's own record;
- *after the block*: orders in the venue's record that left their gateway after it refused, until the resume; *on the
  wire*: those that had left before and were read by the venue later, and how much later the last was.

Goals: refusing p99 ≤ 50 ms, first cancel ≤ 100 ms, nothing after the block. Run: `python benchmarks/bench_kill.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from live_hops import read
from live_system import APART, OUT, Load, System

from tidegate.access import command, local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.signer import find, keys_folder
from tidegate.cli.log import command_log
from tidegate.log.base import Log
from tidegate.ops.gateways import ask_all, gateways
from tidegate.ops.halting import follow_up
from tidegate.ops.hops import HOPS
from tidegate.risk.halt import HaltEvent, commanded, post
from tidegate.risk.scopes import State
from tidegate.venue.port import cl_ord_id_of

SAMPLE_TICKS = 469.6
"""Frames a second of the sample at its own speed."""
SCOPE = "account:bench"
PEOPLE = ("first", "second")
WARM_S, TRADE_S = 4.0, 1.0
NEW = ("order.place", "order.modify", "order.cancelReplace")
GOAL_REFUSING, GOAL_CANCEL = 50.0, 100.0


class Kill(NamedTuple):
    """One of them; ns."""

    asked: int
    refusing: int
    resumed: int


async def kill(system: System, log: Log) -> Kill:
    """A breach, and up again."""
    clock, chosen = system.supervisor.clock, gateways(system.data)
    asked = clock.now()
    tripped = HaltEvent(
        ts=asked, scope=SCOPE, state=State.KILLED, reason="bench", trigger="bench", source="bench"
    )
    seq = await post(log, tripped)
    while True:
        answers = await ask_all(chosen, {"do": "state", "scope": SCOPE})
        noted = [answer.said.get("followed", {}).get(str(seq)) for answer in answers]
        if all(noted):
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(TRADE_S)
    first, second = (find(system.data.path, name) for name in PEOPLE)
    args = {"epoch": str(seq), "recover": "1"}
    wanted = command.new("resume", SCOPE, "bench", first.name, clock.now(), args=args)
    made = command.approve(command.sign(wanted, first), second)
    resumed = clock.now()
    up = await post(log, commanded(made.encode(), made.command, resumed))
    await follow_up(log, SCOPE, up)
    await asyncio.sleep(TRADE_S)
    return Kill(asked, max(noted), resumed)


async def measure(kills: int, ticks: float) -> bool:
    """Run them and print what they took; whether all goals are met."""
    folder = OUT / "kill"
    shutil.rmtree(folder, ignore_errors=True)
    system = System(folder, Load(APART, "machine", ticks / SAMPLE_TICKS), hops=True)
    system.data.make()
    for name in PEOPLE:
        key = keys_folder(system.data.path) / f"{name}.key"
        local.add(system.data.path, AccessSection(), name, Role.RISK_OFFICER, name, key)
    async with system, command_log(system.data.path) as log:
        await asyncio.to_thread(system.admin, "start", {})
        await asyncio.sleep(WARM_S)
        done = [await kill(system, log) for _ in range(kills)]
        requests = await asyncio.to_thread(system.orders)
    return show(done, requests, left(folder), ticks)


def left(folder: Path) -> dict[int, int]:
    """When each order left its gateway, ns, by ClOrdID."""
    rows = np.concatenate([read(path) for path in folder.glob("gateway*.hops")])
    rows = rows[rows[:, 0] == HOPS.index("gateway.out")]
    return dict(zip(rows[:, 3].tolist(), rows[:, 2].tolist(), strict=True))


def show(done: list[Kill], requests: list[dict[str, Any]], sent: dict[int, int], ticks: float) -> bool:
    """The table, and whether the goals are met."""
    orders = np.array(sorted(r["received_ns"] for r in requests if r["kind"] in NEW))
    mass = np.array(sorted(r["received_ns"] for r in requests if "DELETE" in r["kind"]))
    refusing = np.array([(k.refusing - k.asked) / 1e6 for k in done])
    cancels = np.array([(mass[np.searchsorted(mass, k.asked)] - k.asked) / 1e6 for k in done])
    late = [
        (k, r["received_ns"], sent.get(cl_ord_id_of(r["client_id"]), r["received_ns"]))
        for k in done
        for r in requests
        if r["kind"] in NEW and k.refusing < r["received_ns"] < k.resumed
    ]
    after = sum(gone > k.refusing for k, _, gone in late)
    wire = [(arrived - k.refusing) / 1e6 for k, arrived, gone in late if gone <= k.refusing]
    span = (done[-1].asked - done[0].asked) / 1e9 or 1.0
    trading = int(((orders > done[0].asked) & (orders < done[-1].asked)).sum()) / span
    print(
        f"{len(done)} kills of {SCOPE} at {ticks:.0f} messages/s, {trading:.0f} orders/s over all, a process a role"
    )
    for name, figures, goal in (
        ("refusing", refusing, GOAL_REFUSING),
        ("first cancel", cancels, GOAL_CANCEL),
    ):
        p50, p99 = np.quantile(figures, (0.5, 0.99))
        print(
            f"  {name:13} p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  most {figures.max():7.2f} ms  goal {goal:.0f} ms"
        )
    print(f"  after the block: {after} orders at the venue (goal 0)")
    print(f"  on the wire at the block: {len(wire)}, the last read {max(wire, default=0.0):.2f} ms later")
    return bool(np.quantile(refusing, 0.99) <= GOAL_REFUSING and cancels.max() <= GOAL_CANCEL and after == 0)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--ticks", type=float, default=4000.0, help="a second: twice that of bench_live.py")
    args = parser.parse_args()
    if not asyncio.run(measure(args.kills, args.ticks)):
        raise SystemExit("a goal is missed")


if __name__ == "__main__":
    main()

"""What one order costs its lane's process, part by part: CPU time of each step of a life (command, sent, acknowledged,
ended), measured over many orders in one process with a real log. Part of `bench_live.py`."""

from __future__ import annotations

import asyncio
import gc
import shutil
import time
from collections.abc import Callable
from typing import Any

from live_system import OUT, lanes_configuration

from tidegate.execution.core import Lane
from tidegate.log.embedded import Embedded
from tidegate.log.nats import connect
from tidegate.log.streams import declared
from tidegate.model.messages import Message, NewOrder, OrderEvent, Report
from tidegate.model.order import ExecInst, ExecType, OrdType, Side
from tidegate.model.wire import decode, pack
from tidegate.world import World

ORDERS = 20_000
BATCH = 20
T0 = 1_700_000_000_000_000_000


def _cost(work: Callable[[Any], Any], items: list[Any], orders: int) -> tuple[float, list[Any]]:
    """µs an order of doing it to every item, and what it gave."""
    began = time.process_time()
    found = [work(item) for item in items]
    return (time.process_time() - began) / orders * 1e6, found


async def measure(durability: str = "process") -> dict[str, float]:
    """µs of CPU an order, by part."""
    folder = OUT / "parts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    world = World.load(lanes_configuration(folder, 1, durability))
    lane = world.lane_kind().make(0)
    commands = [
        pack(
            [
                NewOrder(
                    T0 + n, n + 1, 0, 0, 1, Side.BUY, OrdType.LIMIT, 2, 600_000 - n % 100,
                    exec_inst=int(ExecInst.POST_ONLY), ref_bid=600_100, ref_ask=600_101, ref_ts=T0 + n,
                )
                for n in range(at, at + BATCH)
            ],
            trace=T0 + at, ts=T0 + at, lane=0,
        )
        for at in range(0, ORDERS, BATCH)
    ]  # fmt: skip
    parts: dict[str, float] = {}
    gc.collect()
    gc.freeze()
    parts["decode commands"], envelopes = _cost(decode, commands, ORDERS)
    orders, reports, requests, events = 0.0, 0.0, list[list[Message]](), list[list[Message]]()
    decoding = 0.0
    for envelope in envelopes:  # an order ends before the gate's book of open ones is full
        spent, out = _cost(lambda message: lane.apply(message), envelope.messages, ORDERS)
        orders += spent
        follow = [item for made in out for item in made]
        asked = [item for item in follow if type(item) is not OrderEvent]
        answers: list[Message] = []
        for item in asked:
            for step, kind in enumerate((ExecType.NEW, ExecType.CANCELED)):
                number = item.cl_ord_id  # type: ignore[attr-defined]
                answers.append(
                    Report(T0 + number + step, number, kind, T0 + number + step, 2 * number + step)
                )
        spent, decoded = _cost(decode, [pack(answers, ts=T0, lane=0)], ORDERS)
        decoding += spent
        spent, out = _cost(lambda message: lane.apply(message), decoded[0].messages, ORDERS)
        reports += spent
        requests.append(asked)
        events.append(
            [item for item in follow if type(item) is OrderEvent] + [item for made in out for item in made]
        )
    _check(lane)
    parts["gate and lane: new order"] = orders
    parts["decode reports (2)"] = decoding
    parts["lane: reports (2)"] = reports
    parts["encode requests"], sends = _cost(
        lambda m: pack(m, ts=T0, lane=0, epoch=1, seq=1), requests, ORDERS
    )
    parts["encode events (3)"], told = _cost(lambda m: pack(m, ts=T0, lane=0, epoch=1, seq=1), events, ORDERS)
    parts |= await _log(folder, durability, sends, told, commands)
    return parts | {"all": sum(parts.values())}


def _check(lane: Lane) -> None:
    if lane.counts or lane.open_orders():
        raise SystemExit(f"the lane refused something, so the figure says nothing: {lane.counts}")


async def _log(
    folder: Any, durability: str, sends: list[bytes], told: list[bytes], commands: list[bytes]
) -> dict[str, float]:
    """The log client's part: requests sent, events appended and acknowledged, entries followed."""
    server = Embedded(folder / "data", durability)
    (folder / "data").mkdir()
    running = await server.start()
    what = declared(1, durability)
    ours, other = [
        await connect(running.url, name=name, declared=what, user=running.user, password=running.password)
        for name in ("ours", "other")
    ]
    began = time.process_time()
    for data in sends:
        ours.send("gw.nobody", data)
    await asyncio.sleep(0.05)
    sent = time.process_time()
    for at in range(0, len(told), 10):
        await asyncio.gather(*(ours.append("evt.0", data) for data in told[at : at + 10]))
    appended = time.process_time()
    for data in commands:
        other.append("lane.0.cmd", data)
    await asyncio.sleep(0.5 if durability == "process" else 3.0)
    began_follow, count, done = time.process_time(), 0, asyncio.Event()

    def heard(entries: list[Any]) -> None:
        nonlocal count
        count += len(entries)
        if count == len(commands):
            done.set()

    ours.follow("LANE_0", heard)
    await done.wait()
    followed = time.process_time()
    await ours.close()
    await other.close()
    await server.stop()
    return {
        "send requests": (sent - began) / ORDERS * 1e6,
        "append events": (appended - sent) / ORDERS * 1e6,
        "follow the lane (2 entries)": 2 * (followed - began_follow) / ORDERS * 1e6,
    }

"""What lanes carry: orders appended as strategies do, real OMS processes, gateways replaced by a sink that reports each
order as acknowledged, and as ended, at once (a gate holds 4,096 open orders of an instrument). Part of `bench_live.py`.

    python live_lanes.py feed|sink LANE DATA CONFIG ORDERS       (started by `measure`)
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from live_system import OUT, lanes_configuration

from tidegate.log import embedded
from tidegate.log.base import Entry
from tidegate.log.nats import NatsLog
from tidegate.log.outbox import Outbox
from tidegate.model.clock import SystemClock
from tidegate.model.messages import Message, NewOrder, OrderEvent, Report, SendNew
from tidegate.model.order import ExecInst, ExecType, OrdType, Side
from tidegate.model.wire import decode, pack
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import read_health
from tidegate.ops.proc import figures
from tidegate.roles.place import open_log
from tidegate.world import World

WINDOW = 1000
"""Orders of a lane on their way."""
BATCH = 20
"""Orders that one handler sends: one append."""
READY_S = 60.0


class Rate(NamedTuple):
    """Orders a second of all lanes, and CPU time by process, µs an order of its lane."""

    orders: float
    cpu: dict[str, float]


async def feed(lane: int, log: NatsLog, orders: int, batch: int) -> None:
    """Send orders, `WINDOW` on their way, until each has ended; print when that began and ended."""
    clock, sent, done = SystemClock(), 0, 0
    outbox, prefix = Outbox(log), f"bench{lane}-{clock.now()}"
    ended = asyncio.Event()

    def send() -> None:
        nonlocal sent
        while sent < orders and sent - done <= WINDOW - batch:
            commands: list[Message] = []
            for _ in range(min(batch, orders - sent)):
                sent += 1
                now = clock.now()
                commands.append(
                    NewOrder(
                        now,
                        lane << 40 | sent,
                        lane,
                        lane,
                        1,
                        Side.BUY,
                        OrdType.LIMIT,
                        2,
                        600_000 - sent % 100,
                        exec_inst=int(ExecInst.POST_ONLY),
                        ref_bid=600_100,
                        ref_ask=600_101,
                        ref_ts=now,
                    )
                )
            outbox.put(f"lane.{lane}.cmd", pack(commands, trace=now, ts=now, lane=lane), f"{prefix}-{sent}")

    def told(entries: list[Entry]) -> None:
        nonlocal done
        for entry in entries:
            for event in decode(entry.data).messages:
                if type(event) is OrderEvent and event.exec_type is ExecType.CANCELED:
                    done += 1
                elif type(event) is OrderEvent and event.reason:
                    raise SystemExit(f"the lane refused an order, so the figure says nothing: {event}")
        if done == orders:
            ended.set()
        send()

    last = await log.last(f"EVT_{lane}")
    log.follow(f"EVT_{lane}", told, after=last.seq if last else 0)
    await asyncio.sleep(0.5)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began = time.monotonic_ns()
    send()
    await ended.wait()
    print(began, time.monotonic_ns(), flush=True)
    await outbox.drained()
    await asyncio.Event().wait()


async def sink(lane: int, log: NatsLog) -> None:
    """Acknowledge and end every new order: one append of reports for what came in a turn of the loop, as gateways do."""
    clock, waiting = SystemClock(), list[Message]()
    outbox, prefix = Outbox(log), f"sink{lane}-{clock.now()}"
    loop, exec_id = asyncio.get_running_loop(), 0

    def heard(_: str, data: bytes) -> None:
        nonlocal exec_id
        if not waiting:
            loop.call_soon(flush)
        for message in decode(data).messages:
            if type(message) is SendNew:
                exec_id += 1
                now, order = clock.now(), message.cl_ord_id
                waiting.append(Report(now, order, ExecType.NEW, now, 2 * exec_id))
                waiting.append(Report(now, order, ExecType.CANCELED, now, 2 * exec_id + 1))

    def flush() -> None:
        outbox.put(f"lane.{lane}.rpt", pack(waiting, ts=clock.now(), lane=lane), f"{prefix}-{exec_id}")
        waiting.clear()

    log.subscribe(f"gw.BINANCE_USDM.a{lane}", heard)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def measure(
    name: str, lanes: int, processes: int, durability: str, orders: int, batch: int = BATCH
) -> Rate:
    """Run `orders` orders through each of so many lanes of so many OMS processes."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = lanes_configuration(folder, lanes, durability)
    data = DataFolder(folder / "data")
    data.make()
    server = embedded.Embedded(data.path, durability)
    await server.start()
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for n in range(processes):
            command = [sys.executable, "-m", "tidegate.cli", "run", "oms", str(config)]
            children[f"oms-{n}"] = subprocess.Popen(
                [*command, "--data", str(data.path), "--name", f"oms-{n}"]
            )
        if lanes > 1:  # the firm's limits lie over all lanes: somebody has to lend them
            command = [sys.executable, "-m", "tidegate.cli", "run", "risk", str(config)]
            children["risk"] = subprocess.Popen([*command, "--data", str(data.path), "--name", "risk"])
        await shared_out(data, lanes, processes)
        for lane in range(lanes):
            for kind in ("sink", "feed"):
                children[f"{kind}-{lane}"] = subprocess.Popen(
                    [
                        sys.executable,
                        __file__,
                        kind,
                        str(lane),
                        str(data.path),
                        str(config),
                        str(orders),
                        str(batch),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
        ends = [child for name, child in children.items() if not name.startswith(("oms", "risk"))]
        await asyncio.gather(*(asyncio.to_thread(child.stdout.readline) for child in ends))  # type: ignore[union-attr]
        before = _cpu(children, server.pid)
        times = []
        for child in ends[1::2]:
            child.stdin.write(b"go\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
        for child in ends[1::2]:
            line = await asyncio.to_thread(child.stdout.readline)  # type: ignore[union-attr]
            times.append([int(word) for word in line.split()])
        after = _cpu(children, server.pid)
    finally:
        for child in children.values():
            child.kill()
            child.wait()
        await server.stop()
    took = (max(end for _, end in times) - min(begin for begin, _ in times)) / 1e9
    return Rate(lanes * orders / took, {p: (after[p] - before[p]) / orders * 1e6 for p in before})


def _cpu(children: dict[str, Any], log: int) -> dict[str, float]:
    pids = {name: child.pid for name, child in children.items()} | {"log": log}
    return {name: found.cpu_s for name, pid in pids.items() if (found := figures(pid)) is not None}


async def shared_out(data: DataFolder, lanes: int, processes: int) -> None:
    """Wait until the lanes are evenly written, and have their leases."""
    end = time.monotonic() + READY_S
    while True:
        await asyncio.sleep(0.2)
        found = [
            read_health(data.health(f"oms-{n}")).get("services", {}).get("oms", {}) for n in range(processes)
        ]
        owned = [len(oms.get("lanes", {})) for oms in found]
        if sum(owned) == lanes and max(owned) - min(owned) <= 1 and all(oms.get("ok") for oms in found):
            return
        if time.monotonic() > end:
            raise SystemExit(f"the lanes did not come up: {owned} of {lanes}; see {data.path}")


async def part(kind: str, lane: int, data: Path, config: Path, orders: int, batch: int) -> None:
    log = await open_log(World.load(config), data, f"{kind}-{lane}", SystemClock())
    with contextlib.suppress(asyncio.CancelledError):
        await (feed(lane, log, orders, batch) if kind == "feed" else sink(lane, log))


def main() -> None:
    import uvloop

    kind, lane, data, config, orders, batch = sys.argv[1:]
    uvloop.run(part(kind, int(lane), Path(data), Path(config), int(orders), int(batch)))


if __name__ == "__main__":
    main()

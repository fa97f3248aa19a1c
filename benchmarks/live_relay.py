"""The floor of `bench_live.py`: the same way over the same log with no logic on it.

A WebSocket client hands what each read brings to `publish`; a subscriber appends 300 bytes to a durable stream on
every tenth tick; a follower of that stream sends them on; a last one writes them to a WebSocket. Each is a process, or
all four are one; the other end of both WebSockets is one more, which sends the packaged sample's frames at their times
and notes when each order comes back.

    python live_relay.py PART[,PART …] FOLDER SPEED SECONDS      (started by `measure`)
"""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import ClassVar

import numpy as np
from live_system import CAPTURES, OUT, configuration_of
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from tidegate.log.base import Entry
from tidegate.log.embedded import Embedded, find
from tidegate.log.nats import NatsLog, connect
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
from tidegate.venue.binance.websocket import Socket

PARTS = ("in", "decide", "follow", "out")
ORDER = bytes(292)
EVERY = 10
START_S = 2.0


class Other(WSListener):
    """The other end: sends frames as their times come, notes when orders arrive."""

    clients: ClassVar[list[WSTransport]] = []
    notes = array("q")
    clock = SystemClock()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.clients.append(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.clients.remove(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.BINARY or frame.msg_type is WSMsgType.TEXT:
            self.notes.extend((struct.unpack_from("<q", frame.get_payload_as_bytes())[0], self.clock.now()))


async def other_end(folder: Path, speed: float, seconds: float) -> None:
    from environments import ROOT

    from tidegate.marketdata.binance_instruments import Directory
    from tidegate.venue.sim.capture_files import load_capture
    from tidegate.venue.sim.wakeup import Wakeup
    from tidegate.world import World

    files = [ROOT / "data" / "sample" / name for name in CAPTURES.values()]
    world = World.load(configuration_of(folder))
    frames = load_capture(files, Directory(world.universe.instruments)).frames

    def listener(request: WSUpgradeRequest) -> WSListener:
        return Other()

    server = await ws_create_server(listener, "127.0.0.1", 0)
    (folder / "port.tmp").write_text(str(server.sockets[0].getsockname()[1]))
    (folder / "port.tmp").rename(folder / "port")
    while len(Other.clients) < 2:
        await asyncio.sleep(0.05)
    await asyncio.sleep(START_S)
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    began, first, at = time.monotonic_ns(), frames[0].due, 0

    def send() -> None:
        nonlocal at
        while True:
            now = time.monotonic_ns() - began
            if now > seconds * 1e9 or at == len(frames):
                done.set()
                return
            due = round((frames[at].due - first) / speed)
            if due > now:
                wakeup.after(due - now)
                return
            for client in Other.clients:
                client.send(WSMsgType.TEXT, frames[at].data)
            at += 1

    wakeup = Wakeup(loop, send)
    send()
    await done.wait()
    await asyncio.sleep(0.5)
    wakeup.close()
    np.array(Other.notes, np.int64).tofile(folder / "notes.tmp")
    (folder / "sent").write_text(str(at))
    (folder / "notes.tmp").rename(folder / "notes")
    for client in list(Other.clients):
        client.disconnect()
    server.close()


async def relay(parts: set[str], folder: Path) -> None:
    """Run some parts until killed."""
    clock = SystemClock()
    while (running := find(folder)) is None or not (folder / "port").exists():
        await asyncio.sleep(0.05)
    log = await connect(
        running.url, name=",".join(parts), declared=declared(1, running.durability), user=running.user,
        password=running.password, clock=clock,
    )  # fmt: skip
    url = f"ws://127.0.0.1:{(folder / 'port').read_text()}/"
    ticks = 0

    async def where() -> str:
        return url

    def bring(frames: list[bytes], ts: int) -> None:
        log.publish("md.relay", struct.pack("<qq", ts, len(frames)) + b"".join(frames))

    def decide(_: str, data: bytes) -> None:
        nonlocal ticks
        ts, count = struct.unpack_from("<qq", data)
        ticks += count
        if ticks >= EVERY:
            ticks %= EVERY
            log.append("lane.0.cmd", struct.pack("<q", ts) + ORDER)

    def forward(entries: list[Entry]) -> None:
        for entry in entries:
            log.send("gw.relay", entry.data)

    if "decide" in parts:
        log.subscribe("md.relay", decide)
    if "follow" in parts:
        log.follow("LANE_0", forward)
    if "out" in parts:
        out = Socket("out", where, lambda frames, ts: None, lambda up: None, clock)
        await out.open()
        log.subscribe("gw.relay", lambda _, data: out.send(data))
    if "in" in parts:
        await Socket("in", where, bring, lambda up: None, clock).open()
    await stay(log)


async def stay(log: NatsLog) -> None:
    import gc

    gc.collect()
    gc.freeze()
    await asyncio.Event().wait()


async def measure(
    name: str, together: bool, durability: str, speed: float, skip: float, seconds: float
) -> np.ndarray:
    """Latencies of the relay's orders, ns; the first `skip` seconds are left out."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    configuration_of(folder)
    server = Embedded(folder, durability)
    await server.start()
    groups = ["other", *([",".join(PARTS)] if together else PARTS)]
    more = [str(folder), str(speed), str(skip + seconds)]
    children = [subprocess.Popen([sys.executable, __file__, group, *more]) for group in groups]
    try:
        while not (folder / "notes").exists():
            if any(child.poll() for child in children):
                raise SystemExit("a part of the relay has failed")
            await asyncio.sleep(0.2)
    finally:
        for child in children:
            child.kill()
            child.wait()
        await server.stop()
    notes = np.fromfile(folder / "notes", np.int64).reshape(-1, 2)
    notes = notes[notes[:, 0] >= notes[0, 0] + int(skip * 1e9)]
    return notes[:, 1] - notes[:, 0]


def main() -> None:
    import uvloop

    parts, folder = set(sys.argv[1].split(",")), Path(sys.argv[2])
    if parts == {"other"}:
        uvloop.run(other_end(folder, float(sys.argv[3]), float(sys.argv[4])))
    else:
        uvloop.run(relay(parts, folder))


if __name__ == "__main__":
    main()

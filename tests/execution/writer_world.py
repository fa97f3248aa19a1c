"""Writers of lanes over the in-process log, each a virtual process of its own, and what their logs come to."""

from __future__ import annotations

import asyncio

from lane_world import new
from risk.halting import VERIFIER

from tidegate.execution.lane_log import DeadLetter, fold
from tidegate.execution.service import OmsService
from tidegate.execution.writer import Writer, WriterSettings
from tidegate.log.memory import Faults
from tidegate.log.streams import declared
from tidegate.model.messages import OrderEvent
from tidegate.model.wire import Unreadable, decode, pack
from tidegate.sim.faults.plant import ACCOUNTS, Plant
from tidegate.sim.faults.sim_log import SimServer
from tidegate.sim.virtual_process import ProcessLoop, VirtualProcess
from tidegate.sim.virtual_time import VirtualClock

DELAY = (0.001, 0.004)


def run(main):
    with asyncio.Runner(loop_factory=ProcessLoop) as runner:
        return runner.run(main)


class World:
    """A log of `lanes` lanes; `writer` and `oms` start processes over it."""

    def __init__(self, lanes=1):
        self.loop = asyncio.get_running_loop()
        self.clock = VirtualClock(self.loop)
        self.plant = Plant(lanes=lanes)
        self.server = SimServer(self.loop, 1, self.clock, declared(lanes))
        self.sent: list[tuple[str, object]] = []
        self.server.on_send = lambda name, _subject, data: self.sent.append((name, decode(data)))
        self.stops: list[tuple[str, int, str, str]] = []
        self.processes: dict[str, VirtualProcess] = {}
        self.notes: list[tuple[str, ...]] = []
        self.cmd = 0

    def process(self, name):
        process = self.processes[name] = VirtualProcess(name, self.loop)
        return process, self.server.client_of(process, Faults(delay=DELAY))

    async def inside(self, process, work):
        """Run something in a process, to its end."""
        future = self.loop.create_future()

        async def go():
            try:
                future.set_result(await work)
            except Exception as error:
                future.set_exception(error)

        process.spawn(go())
        return await future

    async def writer(self, name, epoch, kind=None, every=10_000, lane=0):
        process, log = self.process(name)

        def stopped(number, how, why):
            self.stops.append((name, number, how, why))

        writer = process.run(
            lambda: Writer(
                lane, epoch, name, kind or self.plant.kind, lambda _: "gw.SIM.red", log, self.clock, stopped,
                WriterSettings(tick=0.1, snapshot_entries=every),
            )
        )  # fmt: skip
        await self.inside(process, writer.start())
        return writer

    async def oms(self, name, kind=None, every=10_000):
        process, log = self.process(name)
        service = process.run(
            lambda: OmsService(
                name, range(self.plant.lanes), kind or self.plant.kind, self.plant.universe, ACCOUNTS, log, self.clock,
                scopes=self.plant.scopes, check=VERIFIER.verify, note=lambda *said: self.notes.append(said),
                settings=WriterSettings(tick=0.1, snapshot_entries=every),
            )
        )  # fmt: skip
        await self.inside(process, service.start())
        return service

    def kill(self, name):
        self.processes.pop(name).kill()
        self.server.kill(name)

    def pause(self, name):
        self.processes[name].pause()
        self.server.pause(name)

    def resume(self, name):
        self.processes[name].resume()
        self.server.resume(name)

    # What comes into the log.

    def put(self, *messages, lane=0, data=None, kind="cmd"):
        return self.server.store(f"lane.{lane}.{kind}", data or pack(list(messages), lane=lane), "", None)

    def order(self, lane=0):
        """One more order, as a strategy sends it."""
        self.cmd += 1
        account = lane if self.plant.lanes > 1 else 0
        more = {"account": account, "strategy": account, "price": 20_000, "ts": self.clock.now()}
        more |= {"ref_bid": 20_000, "ref_ask": 20_002, "ref_ts": self.clock.now()}
        return self.put(new((account << 40) + self.cmd, qty=1, **more), lane=lane)

    async def orders(self, count, lane=0, pause=0.01):
        for _ in range(count):
            self.order(lane)
            await asyncio.sleep(pause)

    # What it comes to.

    def told(self, lane=0):
        """All events of EVT_<lane>."""
        entries = self.server.streams[f"EVT_{lane}"].entries
        return [event for entry in entries for event in decode(entry.data).messages]

    def due(self, lane=0):
        """The events that follow from the lane's log, and the lane."""
        made, events = self.plant.kind.make(lane), []
        for entry in self.server.streams[f"LANE_{lane}"].entries:
            try:
                _, steps = fold(made, entry)
            except Unreadable:
                continue
            events += [out for step in steps for out in step.outputs if type(out) is OrderEvent]
        return events, made

    def letters(self):
        import msgspec

        return [msgspec.msgpack.decode(e.data, type=DeadLetter) for e in self.server.streams["DEAD"].entries]

    def alerts(self):
        return [entry.subject.removeprefix("alert.") for entry in self.server.streams["ALERT"].entries]

"""A risk service over the in-process log on virtual time, and lanes' events as their writers would tell them."""

from __future__ import annotations

import asyncio
import json

from gate_desk import GENEROUS, SCOPES, UNIVERSE, merged
from risk.halting import VERIFIER, signed

from tidegate.access.replays import Replays
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.marketdata import pulse
from tidegate.model.messages import LimitsChange, Mark, OrderEvent
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.model.wire import decode, pack
from tidegate.risk.breakers.settings import BreakerSettings
from tidegate.risk.halt import decode as decode_halt
from tidegate.risk.limits import Limits
from tidegate.risk.service import RiskService, RiskSetup
from tidegate.sim.virtual_time import VirtualClock


class Room:
    """Two lanes, an account each. `service` starts one more risk service; `feed` is a client that publishes."""

    def __init__(self, breakers=None, shared=None, **limits):
        self.loop = asyncio.get_running_loop()
        self.clock = VirtualClock(self.loop)
        self.server = MemoryServer(1, clock=self.clock, log=declared(2))
        self.feed = self.server.client("feed")
        self.setup = RiskSetup(
            UNIVERSE, SCOPES, Limits.load(merged(limits)), [[0], [1]], breakers=BreakerSettings.load(breakers or {}),
            shared=shared or {},
        )  # fmt: skip
        self.number = 0
        self.notes = []

    async def service(self, name="risk"):
        log = self.server.client(name)
        replays = Replays()
        found = RiskService(
            name, self.setup, log, self.clock, VERIFIER.verify, replays.first, lambda *note: self.notes.append(note)
        )  # fmt: skip
        await found.start()
        return found

    @property
    def now(self):
        return self.clock.now()

    def tell(self, *events, lane=0):
        """Events of a lane, as its writer appends them; at once."""
        data = pack(list(events), ts=self.now, lane=lane, epoch=1)
        return self.server.store(f"evt.{lane}", data, "", None)

    def event(self, status, exec_type=None, leaves=10, account=0, strategy=0, number=0, **more):
        number = number or self.number
        return OrderEvent(
            self.now, number, number, account, strategy, more.pop("instrument", 0), status, exec_type, leaves,
            more.pop("cum_qty", 0), **more,
        )  # fmt: skip

    def trade(self, lots, price, account=0, strategy=0, lane=0):
        """An order that fills at once."""
        self.number += 1
        side, qty = (Side.BUY, lots) if lots > 0 else (Side.SELL, -lots)
        who = {"account": account, "strategy": strategy, "side": side}
        self.tell(
            self.event(OrdStatus.PENDING_NEW, leaves=qty, **who),
            self.event(
                OrdStatus.FILLED, ExecType.TRADE, 0, last_qty=qty, last_px=price, cum_qty=qty, maker=True, **who
            ),
            lane=lane,
        )  # fmt: skip

    def touch(self, bid, ask, instrument=0):
        venue = UNIVERSE[instrument].venue
        self.feed.publish(f"touch.{venue}", pack([Mark(self.now, instrument, bid, ask)], ts=self.now))

    def pulse(self, instrument, status=0, **more):
        fields = {"bid": 1, "ask": 2, "bid_lots": 100, "ask_lots": 100, "traded": 0} | more
        data = pulse.encode([pulse.Pulse(instrument, self.now, status, **fields)])
        self.feed.publish(f"pulse.{UNIVERSE[instrument].venue}", data)

    def halts(self):
        """What is in HALT: (ms since the start, scope, state, trigger)."""
        entries = self.server.streams["HALT"].entries
        return [(e.scope, e.state.name, e.trigger) for e in (decode_halt(entry.data) for entry in entries)]

    def alerts(self, kind):
        found = [json.loads(entry.data) for entry in self.server.streams["ALERT"].entries]
        return [alert for alert in found if alert["kind"] == kind]

    def sent(self, lane, kind):
        """The messages of a kind in a lane's log."""
        messages = [m for e in self.server.streams[f"LANE_{lane}"].entries for m in decode(e.data).messages]
        return [m for m in messages if type(m) is kind]

    def changes(self, lane):
        """The limits that a lane's log was told."""
        return self.sent(lane, LimitsChange)

    async def ask(self, subject, data=b""):
        return json.loads(await self.feed.request(subject, data))

    async def limits(self, *others, by="ann", effective=0, version=1, document=None, **tables):
        """Ask for other limits, signed."""
        text = (document or Limits.load(merged(tables)).to_json()).decode()
        command = signed(
            "limits",
            "firm",
            by,
            self.now,
            *others,
            version=str(version),
            effective=str(effective),
            limits=text,
        )
        return await self.ask("risk.limits", command.encode())


GENEROUS_LIMITS = Limits.load(GENEROUS)

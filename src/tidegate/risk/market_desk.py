"""Control 22's figures as the risk service keeps them: each market's depth and volume, from its pulse, told to every lane.

At most once a second an instrument, when one of them has moved by an eighth, and only while a limit compares with them.
Open interest no feed tells: there the limits' own figure stays in force. Hours of volume are kept for a successor.
"""

from __future__ import annotations

import contextlib

import msgspec

from tidegate.log.base import Log, LogError
from tidegate.marketdata.pulse import Pulse
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import MarketReference, Message
from tidegate.model.time import SECOND
from tidegate.risk.lane_facts import LaneFacts
from tidegate.risk.limits import Limits
from tidegate.risk.market_shares import UNKNOWN
from tidegate.risk.market_volume import MarketVolume

KEY = "risk.market"
STEP = 8
"""A figure is told when it has moved by more than this part of it."""
Told = tuple[int, int, int]
"""Volume a day, depth of bids and of asks, lots."""
_NOTHING: Told = (UNKNOWN, UNKNOWN, UNKNOWN)
_SHARES = ("volume_share", "depth_share")


class MarketDesk:
    """Of every instrument of the universe."""

    def __init__(
        self, limits: Limits, universe: Universe, lanes: int, log: Log, clock: Clock, name: str
    ) -> None:
        self.volumes = [MarketVolume() for _ in universe.instruments]
        self._universe, self._log = universe, log
        self._facts = LaneFacts("market", lanes, log, clock, name)
        self._told: dict[int, tuple[int, Told]] = {}
        """When (ns) and what, by instrument."""
        self._changed = False
        self._wanted = False
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Limits have changed: whether any compares with the market."""
        self._wanted = limits.sets(*_SHARES)

    async def load(self) -> None:
        """Go on from the hours that were kept; raises `LogError`."""
        entry = await self._log.bucket("STATE").get(KEY)
        if entry is None or not entry.value:
            return
        with contextlib.suppress(msgspec.MsgspecError):
            kept = msgspec.msgpack.decode(entry.value, type=dict[str, dict[int, tuple[int, int]]])
            for item, volume in zip(self._universe.instruments, self.volumes, strict=True):
                volume.hours.update(kept.get(item.id, {}))

    def begin(self) -> None:
        """Act from here on: what another has told is not known, so all is told anew."""
        self._told.clear()

    def pulses(self, pulses: list[Pulse], now: int, acting: bool) -> None:
        """Markets have been looked at."""
        said: list[Message] = []
        for pulse in pulses:
            i = pulse.instrument
            if not 0 <= i < len(self.volumes):
                continue
            self._changed |= self.volumes[i].look(now, pulse.traded)
            if not acting or not self._wanted:
                continue
            bids, asks = pulse.bid_lots, pulse.ask_lots
            if not bids and not asks:  # no whole book
                bids = asks = UNKNOWN
            figures = self.volumes[i].a_day(now), bids, asks
            at, before = self._told.get(i, (0, _NOTHING))
            if now - at >= SECOND and any(map(_moved, before, figures)):
                self._told[i] = now, figures
                said.append(MarketReference(now, i, figures[0], UNKNOWN, bids, asks))
        if said:
            self._facts.tell(said)

    async def keep(self) -> None:
        """Keep the hours of volume, where one has ended; raises `LogError`."""
        if self._changed:
            self._changed = False
            pairs = zip(self._universe.instruments, self.volumes, strict=True)
            kept = {item.id: volume.hours for item, volume in pairs if volume.hours}
            try:
                await self._log.bucket("STATE").put(KEY, msgspec.msgpack.encode(kept))
            except LogError:
                self._changed = True
                raise

    def close(self) -> None:
        """Tell nothing more."""
        self._facts.close()


def _moved(before: int, now: int) -> bool:
    if UNKNOWN in (before, now):
        return before != now
    return abs(now - before) * STEP > before

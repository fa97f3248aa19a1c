"""Control 22's figures as the risk service keeps them: each market's depth, volume and open interest, told to every lane.

At most once a second an instrument, when one of them has moved by an eighth, and only while a limit compares with them.
Open interest is the feed's, while it knows it. Where the feed itself is silent, nothing is known of it after a minute.
Hours of volume are kept for a successor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from tidegate.log.base import Log
from tidegate.marketdata.pulse import Pulse
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import MarketReference, Message
from tidegate.model.time import MINUTE, SECOND
from tidegate.risk.funding_desk import FundingDesk
from tidegate.risk.kept import Kept
from tidegate.risk.lane_facts import LaneFacts
from tidegate.risk.limits import Limits
from tidegate.risk.market_shares import UNKNOWN
from tidegate.risk.market_volume import MarketVolume
from tidegate.risk.numbers import Numbers

KEY = "risk.market"
STEP = 8
"""A figure is told when it has moved by more than this part of it."""
SILENT = MINUTE
"""A market whose feed has said nothing for so long is not known any more."""
Told = tuple[int, int, int, int]
"""Volume a day, open interest, depth of bids and of asks, lots."""
_NOTHING: Told = (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
_SHARES = ("volume_share", "interest_share", "depth_share")


class MarketDesk:
    """Of every instrument of the universe."""

    def __init__(
        self,
        limits: Limits,
        universe: Universe,
        lanes: int,
        log: Log,
        clock: Clock,
        name: str,
        funding: FundingDesk,
    ) -> None:
        self.funding = funding
        """What contracts pay: it looks at the same pulses."""
        self.volumes = [MarketVolume() for _ in universe.instruments]
        self._universe, self._kept = universe, Kept(log, KEY)
        self._facts = LaneFacts("market", lanes, log, clock, name)
        self._told: dict[int, tuple[int, Told]] = {}
        """When (ns) and what, by instrument."""
        self._heard: dict[int, int] = {}
        """When each market was told of while anybody wanted to know, ns."""
        self._wanted = self._acting = False
        self._numbers = Numbers()
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Limits have changed: whether any compares with the market."""
        self._wanted = limits.sets(*_SHARES)

    async def load(self) -> None:
        """Go on from the hours that were kept, and the fundings that were told; raises `LogError`."""
        await self.funding.load()
        found = await self._kept.load()
        if not found:
            return
        with contextlib.suppress(ValueError):
            kept = msgspec.msgpack.decode(found, type=dict[str, dict[int, tuple[int, int]]])
            for item, volume in zip(self._universe.instruments, self.volumes, strict=True):
                volume.hours.update(kept.get(item.id, {}))

    def begin(self, epoch: Callable[[], int]) -> None:
        """Act from here on, in an epoch above all before it: what another has told is not known, so all is told anew."""
        self._acting = True
        self._numbers.begin(epoch)
        self._told.clear()
        self._heard.clear()

    def end(self) -> None:
        """Another acts now, and says what holds."""
        self._acting = False
        self._facts.drop()

    def pulses(self, pulses: list[Pulse], now: int, acting: bool) -> None:
        """Markets have been looked at."""
        self.funding.pulses(pulses, now, acting)
        said: list[Message] = []
        for pulse in pulses:
            i = pulse.instrument
            if not 0 <= i < len(self.volumes):
                continue
            self._kept.changed |= self.volumes[i].look(now, pulse.traded)
            if not acting or not self._wanted:
                continue
            bids, asks = pulse.bid_lots, pulse.ask_lots
            if not bids and not asks:  # no whole book
                bids = asks = UNKNOWN
            self._heard[i] = now
            figures = self.volumes[i].a_day(now), pulse.interest, bids, asks
            at, before = self._told.get(i, (0, _NOTHING))
            if now - at >= SECOND and any(map(_moved, before, figures)):
                self._told[i] = now, figures
                said.append(MarketReference(now, i, *figures, self._numbers.next()))
        if said:
            self._facts.tell(said)

    def time(self, now: int) -> None:
        """Time has passed: what nobody tells any more is not known."""
        if not self._acting:
            return
        said: list[Message] = []
        for i, heard in self._heard.items():
            if now - heard > SILENT and self._told.get(i, (0, _NOTHING))[1] != _NOTHING:
                self._told[i] = now, _NOTHING
                said.append(MarketReference(now, i, *_NOTHING, self._numbers.next()))
        if said:
            self._facts.tell(said)

    async def keep(self) -> None:
        """Keep the hours of volume, where one has ended, and fundings; raises `LogError`."""
        await self.funding.keep()
        await self._kept.keep(self._encoded)

    def _encoded(self) -> bytes:
        pairs = zip(self._universe.instruments, self.volumes, strict=True)
        return msgspec.msgpack.encode({item.id: volume.hours for item, volume in pairs if volume.hours})

    def close(self) -> None:
        """Tell nothing more."""
        self._facts.close()
        self.funding.close()


def _moved(before: int, now: int) -> bool:
    if UNKNOWN in (before, now):
        return before != now
    return abs(now - before) * STEP > before

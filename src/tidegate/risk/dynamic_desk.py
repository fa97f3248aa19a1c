"""Dynamic limits as the risk service keeps them: a factor an instrument, from its market's pulse, told to every lane.

At most once a second, and only when it moves by a step. What was told last is kept, so that a service that takes over
does not loosen at once what its predecessor had tightened.
"""

from __future__ import annotations

import contextlib

import msgspec

from tidegate.log.base import Log, LogError
from tidegate.marketdata.pulse import Pulse
from tidegate.model.clock import Clock
from tidegate.model.messages import DynamicLimit, Message
from tidegate.risk.dynamic import WHOLE, DynamicSettings, Look, Tightening
from tidegate.risk.exposure import Exposure
from tidegate.risk.lane_facts import LaneFacts

KEY = "risk.dynamic"


class DynamicDesk:
    """Of every instrument of the exposure's universe; `lanes` is how many there are."""

    def __init__(
        self, settings: DynamicSettings, exposure: Exposure, lanes: int, log: Log, clock: Clock, name: str
    ) -> None:
        self.each = [Tightening(settings) for _ in range(len(exposure.universe))]
        self._exposure, self._log, self._clock = exposure, log, clock
        self._facts = LaneFacts("dynamic", lanes, log, clock, name)
        self._changed = False
        self._margins = [float(item.initial_margin) for item in exposure.universe.instruments]
        scopes = exposure.scopes
        self._accounts = [
            (scopes.account_scope(n), float(account.capital) * 1e6)
            for n, account in enumerate(scopes.accounts)
        ]

    async def load(self) -> None:
        """Go on from what was told last; raises `LogError`."""
        entry = await self._log.bucket("STATE").get(KEY)
        if entry is None or not entry.value:
            return
        with contextlib.suppress(msgspec.MsgspecError):
            told = msgspec.json.decode(entry.value, type=dict[str, int])
            for item, one in zip(self._exposure.universe.instruments, self.each, strict=True):
                if item.id in told:
                    one.resume(told[item.id])

    def pulse(self, pulse: Pulse, now: int, acting: bool) -> None:
        """A market has been looked at."""
        depth = min(pulse.bid_lots, pulse.ask_lots)
        look = Look(now, pulse.bid, pulse.ask, depth, pulse.traded, self._margin(pulse.instrument))
        factor = self.each[pulse.instrument].look(look)
        if factor is not None and acting:
            self._tell([DynamicLimit(now, pulse.instrument, factor)])

    def tell_all(self) -> None:
        """Tell the lanes what holds now: a service that begins to act."""
        now = self._clock.now()
        held = [DynamicLimit(now, i, one.told) for i, one in enumerate(self.each) if one.told != WHOLE]
        if held:
            self._tell(list(held))

    async def keep(self) -> None:
        """Keep what was told, where it has changed; raises `LogError`."""
        if self._changed:
            self._changed = False
            names = (item.id for item in self._exposure.universe.instruments)
            told = {name: one.told for name, one in zip(names, self.each, strict=True)}
            try:
                await self._log.bucket("STATE").put(KEY, msgspec.json.encode(told))
            except LogError:
                self._changed = True
                raise

    def close(self) -> None:
        """Tell nothing more."""
        self._facts.close()

    def factors(self) -> dict[str, str]:
        """What is held down now, and by what, for people."""
        items = self._exposure.universe.instruments
        return {
            item.id: f"{one.told / WHOLE:.0%} {one.why}".rstrip()
            for item, one in zip(items, self.each, strict=True)
            if one.told != WHOLE
        }

    def _tell(self, messages: list[Message]) -> None:
        self._changed = True
        self._facts.tell(messages)

    def _margin(self, instrument: int) -> float:
        """The largest use of margin among the accounts that hold the instrument: initial margin at worst ÷ equity."""
        self._exposure.value()
        cells, most = self._exposure.cells, 0.0
        for scope, capital in self._accounts:
            held = cells.get((scope, instrument))
            if held is None or not held.gross:
                continue
            mine = (cells.get((scope, i)) for i in range(len(self._margins)))
            needed = sum(c.gross * self._margins[c.instrument] for c in mine if c is not None)
            equity = capital + self._exposure.totals[scope].pnl
            most = max(most, needed / equity if equity > 0 else 1.0)
        return most

"""The order events of all lanes folded into one exposure and its breakers, with how far each lane's have come."""

from __future__ import annotations

from collections import Counter

import msgspec

from tidegate.log.base import Entry
from tidegate.model.messages import Funding, OrderEvent
from tidegate.model.wire import Newer, Unreadable, decode
from tidegate.risk import exposure_snapshot
from tidegate.risk.breakers.panel import Panel
from tidegate.risk.breakers.trip import Trip
from tidegate.risk.exposure import Exposure


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """A fold as it is kept: the exposure, and the last entry of each EVT_<n> that is in it."""

    seqs: list[int]
    exposure: bytes


class EventFold:
    """Entries of `EVT_<n>` in any interleaving of lanes; each counts once. `counts` has what could not be read."""

    def __init__(self, panel: Panel, lanes: int) -> None:
        self.panel = panel
        self.seqs = [0] * lanes
        self.events = 0
        self.counts: Counter[str] = Counter()

    @property
    def exposure(self) -> Exposure:
        """What the events come to."""
        return self.panel.exposure

    def take(self, lane: int, entries: list[Entry]) -> list[Trip]:
        """Entries of a lane's events, in order; what trips."""
        trips: list[Trip] = []
        for entry in entries:
            if entry.seq <= self.seqs[lane]:
                continue
            self.seqs[lane] = entry.seq
            try:
                envelope = decode(entry.data)
            except (Unreadable, Newer):
                self.counts["unreadable"] += 1
                continue
            for message in envelope.messages:
                if type(message) is OrderEvent:
                    self.events += 1
                    trips += self.panel.order(message, envelope.ts)
                elif type(message) is Funding:
                    trips += self.panel.funding(message, lane)
            if envelope.ts:
                trips += self.panel.entry(lane, envelope.ts, entry.ts)
        return trips

    def save(self) -> bytes:
        """The fold, as `load` takes it."""
        return msgspec.msgpack.encode(Kept(self.seqs, exposure_snapshot.save(self.exposure)))

    def load(self, data: bytes) -> bool:
        """Put it into a fresh fold; False where it does not fit: then the events are folded from the first."""
        try:
            kept = msgspec.msgpack.decode(data, type=Kept)
        except msgspec.MsgspecError:
            return False
        if len(kept.seqs) != len(self.seqs) or not exposure_snapshot.load(self.exposure, kept.exposure):
            return False
        self.seqs = list(kept.seqs)
        return True

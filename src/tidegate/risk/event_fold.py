"""The order events of all lanes folded into one exposure and its breakers, with how far each lane's have come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from tidegate.log.base import Entry
from tidegate.model.messages import Funding, Message, OrderEvent
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
    """Entries of `EVT_<n>` in any interleaving of lanes; each counts once. `counts` has what could not be read.

    `failed` is told what a message raised: it is passed over, for those behind it must not be lost with it."""

    def __init__(self, panel: Panel, lanes: int, failed: Callable[[str, Exception], None]) -> None:
        self.panel = panel
        self.seqs = [0] * lanes
        self.events = 0
        self.counts: Counter[str] = Counter()
        self.missing: dict[int, int] = {}
        """By lane, how many entries have not come in their place: the log has dropped them."""
        self._failed = failed

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
            if gone := entry.seq - self.seqs[lane] - 1:
                self.missing[lane] = self.missing.get(lane, 0) + gone
            self.seqs[lane] = entry.seq
            if entry.subject != f"evt.{lane}":  # another lane's, delivered here for somebody
                self.counts["foreign"] += 1
                continue
            try:
                envelope = decode(entry.data)
            except (Unreadable, Newer):
                self.counts["unreadable"] += 1
                continue
            for message in envelope.messages:
                try:
                    trips += self._message(message, envelope.ts, lane)
                except Exception as error:
                    self._failed(f"an entry of EVT_{lane}", error)
            if envelope.ts:
                trips += self.panel.entry(lane, envelope.ts, entry.ts)
        return trips

    def _message(self, message: Message, told: int, lane: int) -> list[Trip]:
        if type(message) is OrderEvent:
            self.events += 1
            return self.panel.order(message, told)
        return self.panel.funding(message, lane) if type(message) is Funding else []

    def save(self) -> bytes:
        """The fold, as `load` takes it."""
        return msgspec.msgpack.encode(Kept(self.seqs, exposure_snapshot.save(self.exposure)))

    def load(self, data: bytes) -> bool:
        """Put it into a fresh fold; False where it does not fit: then the events are folded from the first."""
        try:
            kept = msgspec.msgpack.decode(data, type=Kept)
        except ValueError:
            return False
        if len(kept.seqs) != len(self.seqs) or not exposure_snapshot.load(self.exposure, kept.exposure):
            return False
        self.seqs = list(kept.seqs)
        return True

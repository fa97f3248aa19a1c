"""A capture's public frames, sent again as their times come: stamps moved to now, nothing else touched."""

from __future__ import annotations

import re
from typing import Protocol

from tidegate.model.time import MS
from tidegate.venue.sim.background import NEVER
from tidegate.venue.sim.capture_files import D_DEPTH, D_TICKER, D_TRADE, Capture, CapturedFrame
from tidegate.venue.sim.capture_market import LOOP_PAUSE
from tidegate.venue.sim.hub import Channel, Hub
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.market_view import MarketView, aggregate
from tidegate.venue.sim.timeline import Timeline

AT_ONCE = 256
"""Frames sent in one round of the loop, so that requests are never kept waiting behind a flood."""
_IDS = re.compile(rb'"(U|u|pu|t|a|f|l)":(\d+)')


class Feed(Protocol):
    """The public side of a market."""

    views: list[MarketView]

    def emit(self, now: int) -> int:
        """Publish what is due, up to a round's worth; how many frames."""

    def fold(self) -> None:
        """Take what was published into the views: after it has been written to the sockets."""

    def next_due(self) -> int:
        """When there is more to publish."""


class CaptureFeed:
    """Publishes a capture's frames over a timeline, once or for ever.

    Each further run starts from the capture's own snapshot, its update ids and trade ids raised above those of the
    last: a client sees a gap, asks for the book, and goes on.
    """

    def __init__(
        self, capture: Capture, listings: Listings, timeline: Timeline, hub: Hub, loop: bool
    ) -> None:
        self._capture, self._timeline, self._loop = capture, timeline, loop
        self._hub = hub
        self.views = [MarketView(item) for item in listings.all]
        names = {D_DEPTH: "depth", D_TICKER: "bookTicker", D_TRADE: "trade"}
        self._channels: dict[tuple[int, int], Channel] = {
            (item.number, kind): hub.channel((item.market, item.lower, name))
            for item in listings.all
            for kind, name in names.items()
        }
        self._aggregates = [hub.channel((item.market, item.lower, "aggTrade")) for item in listings.all]
        self._next = 0
        self._time_shift = self._id_shift = 0
        rows = capture.rows
        self._span = int(rows[-1, 1] - rows[0, 1]) + LOOP_PAUSE if len(rows) else LOOP_PAUSE
        self._ids = _spread(capture.frames)
        self._folding: list[tuple[CapturedFrame, bytes]] = []
        self.runs = 0
        self._fresh = False
        self.sent = 0
        self._begin()

    def _begin(self) -> None:
        self.runs += 1
        for number, snapshot in self._capture.snapshots.items():
            self.views[number].reset(snapshot.update_id + self._id_shift, snapshot.bids, snapshot.asks)

    def skip(self, until: int) -> None:
        """Take the frames due before `until` (capture time) into the views without sending them."""
        frames = self._capture.frames
        while self._next < len(frames) and frames[self._next].due < until:
            self._folding.append((frames[self._next], frames[self._next].data))
            self._next += 1
        self.fold()

    def next_due(self) -> int:
        """See `Feed.next_due`."""
        frames = self._capture.frames
        if self._next >= len(frames):
            return NEVER
        return self._timeline.wall(frames[self._next].due + self._time_shift)

    def emit(self, now: int) -> int:
        """See `Feed.emit`."""
        if not self._timeline.started:
            return 0
        frames, channels, publish = self._capture.frames, self._channels, self._hub.publish
        until, at = self._timeline.capture(now) - self._time_shift, self._next
        stop = min(len(frames), at + AT_ONCE)
        first = at
        while at < stop:
            frame = frames[at]
            if frame.due > until:
                break
            data = self._stamped(frame)
            publish(channels[frame.instrument, frame.kind], data)
            if frame.kind == D_TRADE and self._aggregates[frame.instrument].wanted:
                publish(self._aggregates[frame.instrument], aggregate(data))
            self._folding.append((frame, data))
            at += 1
        self._next = at
        self.sent += at - first
        if at == len(frames) and self._loop and frames:
            self._next = 0
            self._time_shift += self._span
            self._id_shift += self._ids
            self._fresh = True
        return at - first

    def _stamped(self, frame: CapturedFrame) -> bytes:
        """The frame's data with its stamps as they are now."""
        wall, data = self._timeline.wall, frame.data
        if self._id_shift:
            shift = self._id_shift
            data = _IDS.sub(lambda m: b'"%s":%d' % (m[1], int(m[2]) + shift), data)
            return self._restamp_by_search(frame, data)
        if frame.event_at >= 0:
            stamp = wall(frame.event * MS + self._time_shift) // MS
            data = b"%s%d%s" % (data[: frame.event_at], stamp, data[frame.event_at + 13 :])
        if frame.traded_at >= 0:
            stamp = wall(frame.traded * MS + self._time_shift) // MS
            data = b"%s%d%s" % (data[: frame.traded_at], stamp, data[frame.traded_at + 13 :])
        return data

    def _restamp_by_search(self, frame: CapturedFrame, data: bytes) -> bytes:
        """The same where ids have grown, and stamps are no longer where they were."""
        for name, stamp in ((b'"E":', frame.event), (b'"T":', frame.traded)):
            if stamp:
                at = data.index(name) + 4
                moved = self._timeline.wall(stamp * MS + self._time_shift) // MS
                data = b"%s%d%s" % (data[:at], moved, data[at + 13 :])
        return data

    def fold(self) -> None:
        """See `Feed.fold`."""
        folding, self._folding = self._folding, []
        for frame, data in folding:
            view = self.views[frame.instrument]
            if frame.kind == D_DEPTH:
                if view.known:
                    view.fold_depth(data)
            elif frame.kind == D_TICKER:
                view.fold_quote(data)
            else:
                view.fold_trade(data)
        if self._fresh:
            self._fresh = False
            self._begin()


def _spread(frames: list[CapturedFrame]) -> int:
    """More than the distance between the smallest and the largest id of any stream."""
    widest = 0
    low: dict[tuple[int, int], int] = {}
    for frame in frames:
        ids = [int(m[2]) for m in _IDS.finditer(frame.data[:200])]
        if ids:
            first = low.setdefault((frame.instrument, frame.kind), min(ids))
            widest = max(widest, max(ids) - first)
    return widest + 1000

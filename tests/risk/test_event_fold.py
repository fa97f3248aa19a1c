"""What counts among a lane's events: what its own writer told."""

from __future__ import annotations

from risk.risk_room import Room

from tidegate.log.base import Entry
from tidegate.model.order import OrdStatus
from tidegate.model.wire import pack
from tidegate.sim.virtual_time import run


def test_another_lane_s_events_and_noise_among_a_lane_s_count_for_nothing():
    """A consumer's maker can have the server deliver its own lane's events there, under their own subject."""

    async def main():
        room = Room()
        service = await room.service()
        data = pack([room.event(OrdStatus.NEW, number=7)], ts=room.now, lane=0, epoch=1)
        entries = [(f"evt.{n}", data) for n in (1, 0, 1)] + [("evt.0", b'{"stream":"LANE_0","seq":5}')]
        service.fold.take(0, [Entry(n, room.now, *entry) for n, entry in enumerate(entries, 1)])
        assert service.fold.events == 1
        assert service.fold.counts == {"foreign": 2, "unreadable": 1}
        assert service.fold.seqs[0] == 4
        assert not service.fold.missing

    run(main())

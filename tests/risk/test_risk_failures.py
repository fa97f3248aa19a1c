"""A part of the risk service that raises takes no other with it, is told, and who cannot act lets another."""

from __future__ import annotations

import asyncio

from risk.risk_room import Room

from tidegate.model.order import OrdStatus
from tidegate.risk.margin.call import MarginCall
from tidegate.sim.virtual_time import run


def story(main, **room):
    """Run a story in a fresh room; what is given to the loop's exception handler is in `room.raised`."""

    async def go():
        here = Room(**room)
        here.raised = []
        here.loop.set_exception_handler(
            lambda loop, context: here.raised.append(str(context.get("exception")))
        )
        await main(here)

    run(go())


def breaks(*_args):
    raise ZeroDivisionError("a figure of 0")


def test_a_part_that_raises_every_second_ends_no_other_and_is_told_once_a_minute(monkeypatch):
    monkeypatch.setattr(MarginCall, "tick", breaks)  # before the report, in the same second

    async def main(room):
        service = await room.service()
        heard = []
        room.feed.subscribe("risk.exposure", lambda _, data: heard.append(data))
        await asyncio.sleep(30.5)
        assert len(heard) >= 29, "its report goes out all the same"
        (alert,) = room.alerts("risk_failed")
        assert alert["severity"] == "critical"
        assert "margin failed: ZeroDivisionError('a figure of 0')" in alert["text"]
        assert service.health()["why"].startswith("margin failed")
        assert room.raised, "with the place, in the process's own log"
        await service.stop()

    story(main)


def test_an_event_that_cannot_be_folded_takes_none_behind_it_along():
    async def main(room):
        service = await room.service()
        whole = service.panel.order

        def order(e, told=0):
            return breaks() if e.cl_ord_id == 1 else whole(e, told)

        service.panel.order = order
        room.tell(*(room.event(OrdStatus.PENDING_NEW, number=n) for n in (1, 2, 3)))
        room.tell(room.event(OrdStatus.PENDING_NEW, number=4))
        await asyncio.sleep(2)
        assert sorted(service.panel.exposure.open) == [2, 3, 4]
        assert len(room.alerts("risk_failed")) == 1
        assert service.health()["why"].startswith("an entry of EVT_0 failed")
        await service.stop()

    story(main)


def test_events_that_the_log_has_dropped_are_told():
    async def main(room):
        for n in range(1, 6):
            room.tell(room.event(OrdStatus.PENDING_NEW, number=n))
        del room.server.streams["EVT_0"].entries[:2]
        room.server.streams["EVT_0"].trimmed = 2
        service = await room.service()
        await asyncio.sleep(2)
        (alert,) = room.alerts("events_missing")
        assert (alert["severity"], "2 of lane 0" in alert["text"]) == ("critical", True)
        assert "order events" in service.health()["why"]
        await service.stop()

    story(main)


def test_one_that_cannot_begin_to_act_gives_the_lease_back_and_another_acts():
    async def main(room):
        first, second = await room.service("one"), await room.service("two")
        assert first.health()["risk"]["state"] == "acting"
        second.market.begin = breaks
        await first.stop()
        await asyncio.sleep(2)
        assert second.health()["risk"]["state"] == "standby"
        assert not second.lease.held
        assert "beginning to act failed" in second.health()["why"]
        third = await room.service("three")
        await asyncio.sleep(3)
        assert third.health()["risk"]["state"] == "acting"
        del second.market.begin
        await third.stop()
        await asyncio.sleep(8)
        assert second.health()["risk"]["state"] == "acting", "it tries again after a while"
        await second.stop()

    story(main)


def test_a_renewal_that_raises_is_not_the_last_one():
    async def main(room):
        service = await room.service()
        whole = service.lease.step

        async def step():
            service.lease.step = whole
            breaks()

        service.lease.step = step
        await asyncio.sleep(5)
        assert service.health()["risk"]["state"] == "acting"
        assert room.loop.time() - service.lease.renewed < 0.5
        await service.stop()

    story(main)

"""A capture that has not begun, and one played to its end: the exchange takes orders, and its stamps are times."""

from __future__ import annotations

import pytest
from sim_venue import capture

from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.order import ExecType, OrdType, Side, TimeInForce
from tidegate.model.time import HOUR, SECOND
from tidegate.venue.sim.background import NEVER
from tidegate.venue.sim.capture_market import CaptureMarket, Records
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.order import Order
from tidegate.venue.sim.timeline import Timeline


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("speed", [1, 7, "1/3"])
def test_what_happens_after_the_last_record_or_before_the_first_has_the_server_s_time(started, speed):
    held, told = capture(), []
    line = Timeline(held.frames[0].due, speed)
    made = iter([rows[:40] for rows in Records(held.records, held.max_delay, False)][:1])
    market = CaptureMarket(held.universe, VenueModel(), made, line, told.append)
    now = 1_000 * HOUR
    if started:
        line.start(now)
        now += HOUR
        market.advance(now)
        assert market.next_due() == NEVER, "the capture has ended"
    listing = Listings(held.universe).all[1]
    price = max(market.touch(1)[0], 600_000) - 1_000

    def order(key, **more):
        found = Order(None, listing, Side.BUY, OrdType.LIMIT, "LIMIT", 10)
        for name, value in {"id": key, "ts": now, "price": price, "tif": TimeInForce.GTC, **more}.items():
            setattr(found, name, value)
        return found

    def said(kind):
        """The last word, stamped now; a capture's ns are some of the server's where they do not divide."""
        return told[-1].kind is kind and now - 3 <= told[-1].ts <= now

    first = order(1)
    market.place(first, now)
    assert said(ExecType.NEW)
    now += SECOND
    market.replace(first, 20, price, now)
    assert said(ExecType.REPLACED)
    now += SECOND
    market.cancel(first, now)
    assert said(ExecType.CANCELED)
    if started:
        market.place(order(2, tif=TimeInForce.GTD, expire=now + 8 * SECOND), now)
        assert said(ExecType.NEW)
        due = market.next_due()
        assert now < due <= now + 8 * SECOND + 1
        market.advance(due)
        assert (told[-1].kind, told[-1].order_id) == (ExecType.EXPIRED, 2)
        assert now < told[-1].ts <= due

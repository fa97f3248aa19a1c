"""An account with a position and a resting order of somebody's, at the venue server before us: adopted over its API."""

from __future__ import annotations

import asyncio

import msgspec
from binance_world import KEY, QUICK, TICKS, UNIT, UNIVERSE, run, server
from risk.halting import signed
from test_gateway_on_binance import Stack

from tidegate.execution.adopt_ear import SUBJECT
from tidegate.execution.holdings import Holdings, Shown
from tidegate.execution.signed_ear import Answer
from tidegate.risk.ledger import NOBODY
from tidegate.risk.scopes import State
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.products import simulated
from tidegate.venue.binance.venue import BinanceVenue

NAME = "BINANCE_USDM"


async def by_hand(desk: Stack, side: str, percent: float, units: float) -> None:
    """An order as a person places it in the venue's own window."""
    keys = Keys(KEY, KEY.replace("key", "secret"))
    venue = BinanceVenue(
        NAME, UNIVERSE, simulated("127.0.0.1", desk.port, NAME), keys, desk.clock, pace=QUICK
    )
    item = UNIVERSE[desk.number]
    await venue._prepare()
    price = round(TICKS[NAME] * (1 + percent / 100)) * item.tick
    lots = round(units * UNIT[NAME])
    await venue._rest.signed(
        "POST", "/fapi/v1/order",
        {"symbol": item.symbol, "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": str(lots * item.lot),
         "price": str(price), "newClientOrderId": f"web{percent}".replace(".", "-")},
        1,
    )  # fmt: skip
    await venue._rest.close()


def test_a_position_from_before_us_is_adopted_at_the_venues_entry_price(tmp_path):
    async def work():
        async with server(tmp_path) as at:
            desk = Stack(at, NAME)
            await by_hand(desk, "BUY", 0.5, 2.0)
            await by_hand(desk, "BUY", -2.0, 2.0)
            await desk.oms.start()
            await desk.until(lambda: 0 in desk.oms.writers)
            gateway = desk.gateway()
            await gateway.start()
            try:
                await story(desk, gateway)
            finally:
                await gateway.stop()
                await desk.oms.stop()

    async def story(desk, gateway):
        await desk.until(lambda: gateway.halts.state_of("account:main") is State.REDUCE_ONLY)
        await desk.until(lambda: not gateway.session.holds)
        said = await desk.user.request(f"ctl.gw.{NAME}.main", b'{"do": "holdings"}', 10.0)
        found = msgspec.json.decode(said, type=Holdings)
        assert not found.error
        (row,) = found.rows
        lots = round(2 * UNIT[NAME])
        assert (row.venue, row.ours, row.foreign, row.lost) == (lots, 0, lots, 0)
        assert abs(row.price - TICKS[NAME]) <= 0.006 * TICKS[NAME]
        (other,) = found.orders
        assert "buy" in other
        assert "web-2-0" in other
        shown = [Shown(row.instrument, row.venue, row.ours, row.gap, row.price)]
        made = signed(
            "adopt",
            "account:main",
            "ann",
            desk.clock.now(),
            "bob",
            positions=msgspec.json.encode(shown).decode(),
        )
        answer = msgspec.json.decode(await desk.user.request(SUBJECT, made.encode(), 30.0), type=Answer)
        assert answer.error == ""
        position = desk.lane.state.ledger.position(0, NOBODY, desk.number)
        assert (position.lots, position.average_price) == (lots, row.price)
        began = desk.clock.now()
        gateway.reconciler.want("test")
        await desk.until(lambda: gateway.reconciler.reconciled > began)
        assert gateway.reconciler.mismatches == 0
        assert gateway.reconciler.open_orders == 1, "somebody else's order rests as before"
        assert desk.alerts().count("position_mismatch") == 1
        await asyncio.sleep(0)

    run(work)

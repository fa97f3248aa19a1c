"""An account that holds something before us: shown, adopted by two people, exactly as shown, and reconciled."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
from gateway_world import ACCOUNT, Desk, SmallVenue
from risk.halting import signed

from tidegate.execution.adopt_ear import SUBJECT
from tidegate.execution.holdings import Holdings, Shown
from tidegate.execution.signed_ear import Answer
from tidegate.model.order import Side
from tidegate.risk.ledger import NOBODY
from tidegate.risk.scopes import State
from tidegate.sim.virtual_time import run


async def entries(self):
    return {0: Decimal("0.904"), 1: Decimal("1.5")}


class Day(Desk):
    """An account's first day: what it holds is there before the gateway is."""

    async def first_day(self, **held: int) -> None:
        for name, lots in held.items():
            self.exchange.held[int(name[1:])] = lots
        SmallVenue.entries = entries
        try:
            await self.start_gateway()
        finally:
            self.venue.entries = entries.__get__(self.venue)
            del SmallVenue.entries

    async def look(self) -> Holdings:
        said = await self.user.request("ctl.gw.X.main", b'{"do": "holdings"}', 60.0)
        return msgspec.json.decode(said, type=Holdings)

    async def shown(self, **more) -> list[Shown]:
        found = await self.look()
        return [
            Shown(row.instrument, row.venue, row.ours, row.gap, more.get("price", row.price))
            for row in found.rows
            if row.gap
        ]

    async def adopt(self, shown: list[Shown], *by: str, scope="account:main", **args: str) -> str:
        by = by or ("ann", "bob")
        positions = msgspec.json.encode(shown).decode()
        made = signed("adopt", scope, by[0], self.clock.now(), *by[1:], positions=positions, **args)
        said = await self.user.request(SUBJECT, made.encode(), 60.0)
        return msgspec.json.decode(said, type=Answer).error

    async def restricted(self) -> None:
        await self.until(lambda: any(m.state == State.REDUCE_ONLY for m in self.scopes()))

    def held(self, strategy: int = NOBODY, instrument: int = 0) -> int:
        return self.lane.state.ledger.position(ACCOUNT, strategy, instrument).lots


def test_a_position_from_before_us_is_shown_adopted_and_reconciled():
    async def main():
        async with Day() as desk:
            await desk.first_day(C0=5, C1=-3)
            await desk.restricted()
            found = await desk.look()
            first, second = found.rows
            assert (first.instrument, first.venue, first.ours, first.gap) == ("C0.X", 5, 0, 5)
            assert (first.entry, first.price, first.value, first.currency) == (
                "0.904",
                90,
                "0.00450000",
                "USDT",
            )
            assert (second.gap, second.price, second.trades) == (-3, 150, ())
            assert await desk.adopt(await desk.shown()) == ""
            assert (desk.held(), desk.held(instrument=1)) == (5, -3)
            assert desk.lane.state.ledger.position(ACCOUNT, NOBODY, 0).average_price == 90
            await desk.reconcile()
            assert desk.gateway.reconciler.mismatches == 0
            assert (await desk.look()).rows[0].nobody == 5
            assert len(desk.alerts("position_mismatch")) == 2
            assert desk.gateway.halts.state_of("account:main") is State.REDUCE_ONLY, "only people bring it up"
            desk.agree()

    run(main())


def test_only_exactly_what_two_people_were_shown_is_adopted():
    async def main():
        async with Day() as desk:
            await desk.first_day(C0=5)
            (line,) = await desk.shown()
            wrong = {
                "NEEDS_TWO": ([line], ("ann",)), "ann": ([line], ("ann", "ann2")), "ROLE": ([line], ("ann", "oz")),
                "it has moved since it was shown": ([msgspec.structs.replace(line, venue=6, lots=6)], ("ann", "bob")),
                "4 lots are not what there is": ([msgspec.structs.replace(line, lots=4)], ("ann", "bob")),
                "a price of 0 ticks": ([msgspec.structs.replace(line, price=0)], ("ann", "bob")),
                "each instrument once": ([line, line], ("ann", "bob")),
                "unknown instrument": ([msgspec.structs.replace(line, instrument="C9.X")], ("ann", "bob")),
            }  # fmt: skip
            for why, (lines, by) in wrong.items():
                assert why in await desk.adopt(lines, *by), why
            assert "say account:NAME" in await desk.adopt([line], scope="strategy:left")
            assert "unknown strategy" in await desk.adopt([line], strategy="nobody")
            desk.exchange.held[0] = 6
            assert "6 lots at the venue and 0 in our books" in await desk.adopt([line])
            assert desk.held() == 0
            desk.exchange.held[0] = 5
            assert await desk.adopt([line], strategy="left") == ""
            assert desk.held(strategy=2) == 5
            assert "moved since" in await desk.adopt([line])

    run(main())


def test_a_fill_between_the_look_and_the_lane_refuses_it():
    async def main():
        async with Day() as desk:
            await desk.first_day(C0=5)
            key = await desk.rest(side=Side.SELL)
            (line,) = await desk.shown()
            desk.exchange.silent = False
            ear = desk.oms_log

            append = ear.append

            def late(subject, data, **more):
                if more.get("msg_id", "").startswith("adopt-"):
                    desk.exchange.fill(key, 2)

                    async def after():
                        await desk.until(lambda: desk.lane.order(key).cum_qty == 2)
                        return await append(subject, data, **more)

                    return asyncio.ensure_future(after())
                return append(subject, data, **more)

            ear.append = late
            assert "moved in our books meanwhile" in await desk.adopt([line])
            ear.append = append
            assert desk.held() == 0
            (line,) = await desk.shown()
            assert (line.venue, line.ours, line.lots) == (3, -2, 5)
            assert await desk.adopt([line]) == ""
            desk.agree()

    run(main())


def test_the_venues_trades_say_what_they_explain_and_strangers_orders_are_shown():
    async def main():
        async with Day() as desk:
            await desk.first_day(C0=5)
            stranger = desk.exchange.foreign()
            desk.exchange.fill(stranger, 2)
            (row,) = (await desk.look()).rows
            assert (row.gap, row.foreign, row.lost) == (7, 2, 0)
            assert row.trades == ("1 trade of orders that are not ours: +2",)
            found = await desk.look()
            assert len(found.orders) == 1
            assert found.orders[0].startswith("C0.X: buy 3 lots at 0.90 (")
            await desk.adopt(await desk.shown())
            await desk.reconcile()
            assert stranger in desk.exchange.open(), "never cancelled in silence"

    run(main())


def test_who_takes_the_lane_over_has_it_too():
    async def main():
        async with Day() as desk:
            await desk.first_day(C0=5)
            assert await desk.adopt(await desk.shown()) == ""
            books, adopted = desk.lane.state.ledger.state_bytes(), desk.lane.state.adopted
            desk.server.kill("oms")
            await desk.start_oms()
            assert (desk.lane.state.ledger.state_bytes(), desk.lane.state.adopted) == (books, adopted)
            assert [(one.by, one.lots) for one in adopted] == [("ann and bob", 5)]

    run(main())

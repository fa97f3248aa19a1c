"""Margin as the venue's server works it out, beside our own: two sums by two programs, over a real connection."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from binance_world import CONFIG, NUMBERS, UNIVERSE, Session, run, server

from tidegate.model.instrument import Universe
from tidegate.model.order import ExecType, Side
from tidegate.risk.margin.compare import decode, differences, pools, tier_differences
from tidegate.risk.margin.file import apply, packaged

NEW, TRADE = ExecType.NEW, ExecType.TRADE
FUTURES = [name for name in NUMBERS if name != "BINANCE"]
TIERED = Universe([apply(item, packaged(), "packaged") for item in UNIVERSE.instruments])
EXACT = Fraction(1, 10**6)
futures = pytest.mark.parametrize("venue", FUTURES)


def funded(usdm: str = "3000", coinm: str = "1000", leverage: int = 20) -> dict:
    made = msgspec.json.decode(msgspec.json.encode(CONFIG))
    made["accounts"][0]["balances"] |= {"BINANCE_USDM": {"USDT": usdm}, "BINANCE_COINM": {"BTC": coinm}}
    made["accounts"][0]["leverage"] = leverage
    return made


async def take(desk: Session, side: Side, units: float) -> None:
    """Trade at once."""
    desk.new(side, units, 1.0 if side is Side.BUY else -1.0)
    await desk.told(NEW, TRADE)


@futures
@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(("units", "leverage"), [(2, 20), (3, 5), (4.5, 10)])
def test_the_venue_and_we_agree_to_the_last_shown_digit(tmp_path, venue, side, units, leverage):
    async def work():
        async with server(tmp_path, funded("2500", "8", leverage)) as at, Session(at, venue) as desk:
            await take(desk, side, units)
            said = await desk.venue.margin()
            [position] = [p for p in said.positions if p.lots]
            assert position.lots == side.sign * desk.lots(units)
            assert position.leverage == leverage
            assert position.maintenance > 0
            assert differences(TIERED, said, EXACT) == []
            assert decode(said.encode()) == said

    run(work)


def test_a_position_near_its_end_has_a_liquidation_price_that_both_find(tmp_path):
    """4.5 BTC at 100.1 with 60 USDT: gone near 87; and short, near 113."""

    async def work():
        async with server(tmp_path, funded("60")) as at, Session(at, "BINANCE_USDM") as desk:
            for side, low, high in ((Side.BUY, 86, 88), (Side.SELL, 112, 114)):
                await take(desk, side, 4.5)
                said = await desk.venue.margin()
                [position] = [p for p in said.positions if p.lots]
                assert low < position.liquidation < high
                assert differences(TIERED, said, EXACT) == []
                await take(desk, Side.SELL if side is Side.BUY else Side.BUY, 4.5)

    run(work)


def test_of_an_inverse_contract_too(tmp_path):
    """45 contracts of 100 USD at 100 are 45 BTC, in the tier of 2.5 %: with 6 BTC the long ends near 90."""

    async def work():
        async with server(tmp_path, funded(coinm="6")) as at, Session(at, "BINANCE_COINM") as desk:
            await take(desk, Side.BUY, 4.5)
            said = await desk.venue.margin()
            [position] = [p for p in said.positions if p.lots]
            assert 89 < position.liquidation < 91
            assert differences(TIERED, said, EXACT) == []

    run(work)


@futures
def test_open_orders_take_no_more_at_the_venue_than_ours_do(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            desk.new(Side.BUY, 2, -3.0)
            await desk.told(NEW)
            said = await desk.venue.margin()
            [wallet] = list(said.wallets.values())
            assert wallet.initial > 0
            assert wallet.maintenance == 0
            assert differences(TIERED, said) == []

    run(work)


@futures
def test_a_table_that_is_not_the_venues_is_told(tmp_path, venue):
    """Ours asks another maintenance rate: position, wallet and liquidation price all say so."""

    async def work():
        async with server(tmp_path, funded("60", "8")) as at, Session(at, venue) as desk:
            await take(desk, Side.BUY, 2)
            said = await desk.venue.margin(with_tiers=True)
            item = TIERED[desk.number]
            least = Decimal("0.0079")
            tiers = tuple(
                msgspec.structs.replace(t, maintenance=max(t.maintenance, least)) for t in item.tiers
            )
            wrong = msgspec.structs.replace(item, tiers=tiers)
            universe = Universe([wrong if n == desk.number else i for n, i in enumerate(TIERED.instruments)])
            found = differences(universe, said)
            assert {"maintenance margin"} <= {d.what for d in found}
            assert {d.of for d in found} >= {item.id}
            assert all("by our tiers" in d.text for d in found)
            [tier] = tier_differences(universe, venue, said.tiers)
            assert tier.what == "tier 1"
            assert "maintenance 0.0079" in tier.ours
            assert tier_differences(TIERED, venue, said.tiers) == []

    run(work)


@futures
def test_the_venues_tiers_are_the_packaged_ones_where_an_instrument_brings_none(tmp_path, venue):
    async def work():
        async with server(tmp_path) as at, Session(at, venue) as desk:
            said = await desk.venue.margin(with_tiers=True)
            own = TIERED[desk.number]
            assert said.tiers[own.symbol].tiers[:8] == own.tiers[:8]

    run(work)


def test_spot_has_no_margin_and_says_what_it_holds(tmp_path):
    async def work():
        async with server(tmp_path) as at, Session(at, "BINANCE") as desk:
            said = await desk.venue.margin()
            assert said.positions == []
            assert {name: wallet.wallet for name, wallet in said.wallets.items()} == {
                "USDT": 100_000,
                "BTC": 1_000,
            }

    run(work)


def test_two_positions_share_one_wallet(tmp_path):
    """What the venue says of a wallet is the sum over its positions, and ours is made of the same ones."""

    async def work():
        async with server(tmp_path) as at, Session(at, "BINANCE_USDM") as desk:
            await take(desk, Side.BUY, 3)
            said = await desk.venue.margin()
            pool = pools(TIERED, said)["USDT"]
            [held] = pool.holdings
            figures = pool.figures()
            assert figures.maintenance == held.maintenance
            assert figures.equity == figures.wallet + held.unrealised

    run(work)

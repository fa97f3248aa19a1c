"""A margin call on real processes, each with its own rights at the log: most of the wallet is taken out, the venue's mark
falls, and the order manager reduces the account before the venue liquidates it."""

from __future__ import annotations

import asyncio
import json
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from ops import children

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from live.cell_system import alerts
from rounds_system import SIZES, System, toml

from tidegate.cli.log import command_log
from tidegate.errors import UserError
from tidegate.log.server_process import binary
from tidegate.risk.halt import decode
from tidegate.risk.margin.call import STANDING, Margin, Standing
from tidegate.world import World

MARKET = "BTCUSDT.BINANCE_USDM"
LOTS = 8_000
"""8 BTC at about 60,000: the venue asks for 0.5 % of it."""
LEFT = Decimal(3_500)
"""Of the equity, once the rest is taken out: a margin ratio of 0.73, and the call begins at 0.8."""


def without(table: dict, names: set[str]) -> dict:
    """The same without what is of these instruments."""
    return {
        key: without(value, names) if isinstance(value, dict) else value
        for key, value in table.items()
        if key not in names
    }


def holding(home: Path) -> System:
    """One account that holds one contract, in a market of agents that falls by 0.03 % a second."""
    system = System(
        home, lanes=1, processes=[["venue"], ["feed"], ["oms"], ["risk"], ["gateway"], ["strategy"]]
    )
    config = tomllib.loads(system.path.read_text())
    config["data"]["instruments"] = [MARKET]
    config["rates"] = {}
    config["venues"] = {"BINANCE_USDM": config["venues"]["BINANCE_USDM"]}
    config["simulated"] = {
        "balances": {"USDT": "200000"},
        "agents": {MARKET: {
            "price": "60000", "volatility": 0.00001, "drift": -0.0003, "size": 3000, "noise": 1, "momentum": 0,
        }},
    }  # fmt: skip
    config["accounts"] = {"main": {"capital": "500000", "lane": 0}}
    params = {"market": MARKET, "size": LOTS, "clip": 2_000}
    kind = f"{Path(__file__).parent / 'holder_strategy.py'}:Holder"
    config["strategies"] = {"holder": {"type": kind, "account": "main", "params": params}}
    config["risk"] = without(config["risk"], SIZES.keys() - {MARKET}) | {
        "margin": {"pause": "1s", "part": "5%"}
    }
    system.path.write_text(toml(config) + "\n")
    system.world = World.load(system.path)
    system.strategies = []
    return system


async def margin(system: System) -> tuple[int, dict]:
    """`tidegate margin`: its exit code, and what it says of the account."""
    code, out, err = await children.tidegate("margin", "main", "--json", "--data", system.data)
    return code, json.loads(out) if out else {"why": err}


async def standing(system: System) -> list[Margin]:
    """The same, of the risk service itself."""
    async with command_log(system.data) as log:
        return list(
            msgspec.json.decode(await log.request(STANDING, b"", timeout=5.0), type=Standing).accounts
        )


async def whole(system: System) -> None:
    async def until(look, what, seconds=30):
        try:
            async with asyncio.timeout(seconds):
                while not (found := await look()):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"in vain: {what}; {await alerts(system)}") from None
        return found

    async def held():
        return (await system.admin("state"))["main"]["positions"].get(MARKET, 0)

    async def bought():
        return await held() == LOTS

    await until(bought, "the position")

    async def take_out(amount):
        moved = {"account": "main", "venue": "BINANCE_USDM", "asset": "USDT", "amount": f"-{amount:.2f}"}
        await system.admin("deposit", **moved)

    async def stated():
        return next((one for one in await standing(system) if one.venue), None)

    await take_out(1)  # whatever moves money has the gateway ask for the account's margin
    stands = await until(stated, "the venue's statement of the account")
    assert stands.level == "FINE"
    await take_out(Decimal(stands.equity.split()[0].replace(",", "")) - LEFT)

    async def called():
        return next((one for one in await standing(system) if one.level == "REDUCE"), None)

    assert (await until(called, "the margin call")).ratio < 1
    code, said = await margin(system)
    assert code == 1, said
    assert said["accounts"][0]["level"] == "REDUCE"

    async def done():
        return [a for a in await alerts(system) if a["kind"] == "margin_step_done"]

    await until(done, "a step to be carried out")
    told = [a["kind"] for a in await alerts(system)]
    assert "margin_step_begun" in told
    assert "margin_step_failed" not in told
    assert 0 < await held() < LOTS
    health = await system.admin("health")
    assert not health["counters"].get("liquidations"), "it was reduced, and not liquidated"
    async with command_log(system.data) as log:
        halts = [decode(entry.data) async for batch in log.read("HALT") for entry in batch]
    assert (halts[-1].scope, halts[-1].state.name) == ("account:main", "REDUCE_ONLY")


def test_an_account_is_reduced_over_real_processes_before_the_venue_liquidates_it(tmp_path):
    try:
        binary()
    except UserError as error:
        pytest.skip(str(error))

    async def played():
        system = holding(tmp_path)
        try:
            await system.start()
            await whole(system)
        finally:
            await system.stop()

    asyncio.run(played())

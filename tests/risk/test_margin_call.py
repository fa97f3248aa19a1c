"""Margin within the risk service: a venue's statement, a request, and a margin call that ends in HALT."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal as D

import msgspec
import pytest
from risk.risk_room import Room

from tidegate.cli.margin import _number, show, table
from tidegate.errors import UserError
from tidegate.risk.margin.call import Standing
from tidegate.risk.margin.compare import VenueLending, VenueLoan, VenueMargin, VenuePosition, VenueWallet
from tidegate.risk.margin.whatif import WhatIfAnswer, WhatIfRequest, WhatIfSide
from tidegate.sim.virtual_time import run

ASKED = {"account": "main", "instrument": "BTCUSDT.X", "side": "buy", "quantity": "1", "price": "60000"}


def story(main, **room):
    async def go():
        await main(Room(**room))

    run(go())


def statement(room, wallet, lots=0, entry="60000.5"):
    position = VenuePosition(0, lots, D(entry), D(60_000), D(0), D(0), D(0), 0)
    said = VenueMargin(room.now, {"USDT": VenueWallet(D(wallet), D(0), D(0))}, [position])
    room.feed.publish("margin.X.main", said.encode())


async def ask(room, **fields):
    return await room.ask("risk.whatif", json.dumps(ASKED | fields).encode())


def test_a_request_is_judged_against_the_wallet_that_the_venue_told_of():
    async def main(room):
        service = await room.service()
        room.touch(600_000, 600_010)
        await asyncio.sleep(0.01)
        answer = await ask(room)
        assert answer["basis"] == "the capital of main, over all venues"
        assert answer["allowed"]
        statement(room, "5000")
        await asyncio.sleep(0.01)
        answer = await ask(room)
        assert answer["basis"] == "the USDT wallet at X"
        assert (answer["allowed"], answer["reason"]) == (False, "MARGIN")
        assert service.health()["counters"]["statements"] == 1
        room.feed.publish("margin.X.main", b"{}")
        await asyncio.sleep(0.01)
        assert service.health()["counters"]["statements_unreadable"] == 1
        assert "unknown account" in (await ask(room, account="nobody"))["error"]
        await service.stop()

    story(main)


def test_a_margin_call_halts_the_account_and_gives_a_plan():
    async def main(room):
        heard = []
        room.feed.subscribe("risk.margin.reduce", lambda subject, data: heard.append(json.loads(data)))
        service = await room.service()
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        await asyncio.sleep(0.01)
        statement(room, "500", 1_000)
        room.touch(599_900, 599_910)
        await asyncio.sleep(1.1)
        assert ("account:main", "WARN", "margin") not in room.halts(), (
            "a tenth of a per cent lost: far from it"
        )
        for mark in range(599_900, 594_000, -100):
            room.touch(mark, mark + 10)
            await asyncio.sleep(0.5)
        states = [state for scope, state, trigger in room.halts() if trigger == "margin"]
        assert states[-1] == "REDUCE_ONLY"
        assert room.alerts("margin_call")
        assert heard
        assert heard[0]["account"] == "main"
        [[name, lots]] = heard[0]["cuts"]
        assert name == "BTCUSDT.X"
        assert lots < 0
        await service.stop()

    story(main)


def test_who_stands_by_says_nothing():
    async def main(room):
        acting, standby = await room.service("one"), await room.service("two")
        room.touch(600_000, 600_010)
        room.trade(1_000, 600_010)
        await asyncio.sleep(0.01)
        statement(room, "-1000", 1_000)
        await asyncio.sleep(2.5)
        assert len([h for h in room.halts() if h[2] == "margin"]) == 1
        assert standby.margin.book.watches == {}
        await acting.stop()
        await standby.stop()

    story(main)


def test_debts_on_spot_are_judged_and_shown_by_their_margin_level():
    async def main(room):
        service = await room.service()
        loans = VenueLending({"USDT": VenueLoan(D(70_000), D(1))}, D("1.7"))

        async def say(held):
            wallets = {"USDT": VenueWallet(D(held), D(0), D(0))}
            room.feed.publish("margin.X.main", VenueMargin(room.now, wallets, [], lending=loans).encode())
            await asyncio.sleep(1.1)

        await say(120_000)
        assert not [state for _, state, trigger in room.halts() if trigger == "margin"]
        for held in range(90_000, 77_000, -1_000):
            await say(held)
        states = [
            state for scope, state, trigger in room.halts() if (scope, trigger) == ("account:main", "margin")
        ]
        assert states == ["WARN", "REDUCE_ONLY"]
        assert "nothing here repays" in str(room.alerts("margin_call")[-1])
        standing = msgspec.json.decode(json.dumps(await room.ask("risk.margin", b"")), type=Standing)
        (shown,) = [item for item in standing.accounts if item.margin_level]
        assert (shown.level, shown.margin_level, shown.cuts) == ("REDUCE", "1.114", [])
        assert "margin level 1.114" in " ".join(table([shown], []).split())
        await service.stop()

    story(main)


def test_the_command_shows_a_table(capsys):
    asked = WhatIfRequest("main", "BTCUSDT.X", "buy", D(1), D(60_000))
    with pytest.raises(UserError, match="no figures"):
        show(asked, WhatIfAnswer())
    side = WhatIfSide(D("5000"), D("3000"), D("240"), 0.054, "57192.4")
    show(asked, WhatIfAnswer("", False, "MARGIN", "too little", "USDT", "the USDT wallet at X", side, side))
    printed = capsys.readouterr().out
    for words in ("main: buy 1 BTCUSDT.X at 60000", "5,000.00 USDT", "5.40%", "57192.4", "refused (MARGIN)"):
        assert words in printed
    assert _number("1_000.5", "quantity") == D("1000.5")
    with pytest.raises(UserError, match="'nan' is not a finite number"):
        _number("nan", "quantity")

"""`tidegate exposure` and `tidegate limits` against a risk service over a real log."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from ops.children import tidegate
from rich.console import Console

from tidegate.access import local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.keyring import Keyring
from tidegate.access.replays import Replays
from tidegate.log.embedded import Embedded
from tidegate.log.nats import connect
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import LimitsChange, Mark, OrderEvent
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.model.wire import decode, pack
from tidegate.ops.risk_view import bar, screen
from tidegate.risk.figures import Figure, Held, Report, Standing
from tidegate.risk.limits import Limits
from tidegate.risk.scopes import ScopeTable
from tidegate.risk.service import RiskService, RiskSetup

UNIVERSE = Universe([
    Instrument(
        symbol="BTCUSDT", venue="X", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT", tick=Decimal("0.1"),
        lot=Decimal("0.001"),
    )
])  # fmt: skip
EACH = {"loss": 1_000, "gross": 100_000, "orders_per_second": 100}
LIMITS = Limits.load({"firm": EACH | {"trade": ["*"]}, "accounts": {"*": EACH}, "strategies": {"*": EACH}})
NOBODY = AccessSection()


async def command(*args):
    return await tidegate(*args, env={"PATH": "/usr/bin", "COLUMNS": "100", "HOME": "/tmp"})


def test_exposure_is_shown_and_limits_are_changed_by_people(tmp_path):
    async def main():
        for name in ("ann", "bob"):
            local.add(tmp_path, NOBODY, name, Role.RISK_OFFICER, name)
        server = Embedded(tmp_path, "process")
        running = await server.start()
        clock = SystemClock()
        log = await connect(
            running.url, name="risk", declared=declared(1, "process"), user=running.user, password=running.password
        )  # fmt: skip
        ring = await Keyring.open(log, tmp_path, NOBODY)
        setup = RiskSetup(UNIVERSE, ScopeTable.simple(), LIMITS, [[0]], publish=0.05)
        service = RiskService("risk", setup, log, clock, ring.verify, Replays().first, lambda *note: None)
        await service.start()
        try:
            await story(tmp_path, log, clock)
        finally:
            await service.stop()
        code, out, err = await command("exposure", "account:main", "--data", tmp_path)
        assert (code, "no risk service answers" in err) == (1, True), err
        assert "BTCUSDT.X" in out, "what it said last is shown"
        await log.close()
        await server.stop()
        code, out, err = await command("exposure", "--data", tmp_path)
        assert code == 2
        assert "no log's server runs" in err

    asyncio.run(main())


async def story(data, log, clock):
    now = clock.now()
    log.publish("touch.X", pack([Mark(now, 0, 600_000, 600_000)]))
    event = OrderEvent(
        now, 1, 1, 0, 0, 0, OrdStatus.FILLED, ExecType.TRADE, 0, 1_000, 1_000, 600_000, side=Side.BUY
    )  # fmt: skip
    await log.append("evt.0", pack([event], ts=now, lane=0, epoch=1), expect=0)

    code, out, err = await command("exposure", "--data", data)
    assert code == 0, err
    assert "strategy:strategy0" in out
    assert "60%" in out
    code, out, err = await command("exposure", "strategy:strategy0", "--data", data)
    assert "60,000" in out, err
    assert (await command("exposure", "account:nobody", "--data", data))[0] == 2
    code, out, err = await command("margin", "--data", data)
    assert (code, "nobody writes lane 0" in err) == (0, True), err
    assert "FINE" in out
    assert "main" in out
    code, out, err = await command("margin", "nobody", "--data", data)
    assert code == 2
    assert "'nobody' has no positions with margin; known: main" in err

    code, out, err = await command("limits", "show", "--data", data)
    assert (code, "# version 0" in out, '[risk.strategies."*"]' in out) == (0, True, True), err
    code, out, err = await command("limits", "diff", "firm.loss=900", "--data", data)
    assert (code, out.splitlines()[:2]) == (0, ["firm.loss: 1000 → 900", "touches firm"]), err
    assert "denied by default: strategy:strategy0 has no limit for control 10 (max_age): what does not" in out
    code, out, err = await command("limits", "diff", "firm.loss=2100", "--data", data)
    assert "two people must sign: firm.loss: 1,000 → 2,100" in out, err

    change = ("limits", "set", "--reason", "calm", "--data", data)
    code, out, err = await command(*change, "firm.loss=900", "--as", "ann")
    assert (code, out.splitlines()[-1]) == (0, "version 1 holds now"), err
    code, out, err = await command(*change, "firm.loss=5000", "--as", "ann")
    assert (code, "refused: NEEDS_TWO_PEOPLE" in err) == (1, True), err
    waits = data / "change.json"
    code, out, err = await command(*change, "firm.loss=5000", "--as", "ann", "--out", waits)
    assert code == 0, err
    code, out, err = await command("limits", "approve", waits, "--as", "ann", "--data", data)
    assert (code, "SAME_PERSON" in err) == (1, True), err
    code, out, err = await command("limits", "approve", waits, "--as", "bob", "--data", data)
    assert (code, out.splitlines()[-1]) == (0, "version 2 holds now"), err
    assert "ann asks, because: calm" in out
    code, out, err = await command(*change, "firm.gross=50_000", "--as", "bob")
    assert "reduce-only: firm: gross 50,000 is below the 60,000.00 in use" in out, err
    code, out, err = await command("limits", "show", "--data", data)
    assert "# below present use, only reduces: firm: gross 50,000 is below the 60,000.00 in use" in out, err
    code, out, err = await command("limits", "approve", waits, "--as", "bob", "--data", data)
    assert (code, "VERSION: version 2 was" in err or "the next is 4" in err) == (1, True), err
    code, out, err = await command("limits", "diff", "firm.max_age=1500ms", "--data", data)
    assert "firm.max_age: not set → 1500ms" in out, err
    file = data / "limits.toml"
    file.write_text("[risk.firm]\nloss = 10\n")
    code, out, err = await command("limits", "diff", file, "--data", data)
    assert "firm.loss: 5000 → 10" in out, err
    code, out, err = await command(*change, "firm.loss=lots", "--as", "bob")
    assert (code, "'lots'" in err, "Traceback" in err) == (2, True, False)
    code, out, err = await command(*change, "firm.loss=1")
    assert (code, "who signs?" in err) == (2, True)

    told = []
    async for entries in log.read("LANE_0"):
        told += [m for entry in entries for m in decode(entry.data).messages if type(m) is LimitsChange]
    assert [change.version for change in told] == [1, 2, 3]


def test_a_screen_shows_who_is_not_active_and_why_at_any_width():
    halted = Standing(
        "strategy:mm", "KILLED", -1_051.0, [Figure("loss", 1_051.0, 1_000.0, 1.051), Figure("gross", 5.0)],
        [Held("BTCUSDT.X", 1.0, 1.1, 1.0, 64_846.0, -1_051.0, 0.9)], 1, "it ran away", "order_rate",
    )  # fmt: skip
    calm = Standing("firm", "ACTIVE", 0.0, [Figure("loss", 0.0, "unlimited")])
    for width in (80, 130, 200):
        console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(screen(Report(1, "USDT", 3, "risk", 1, [calm, halted]), "risk", width))
        text = console.export_text()
        assert "● KILLED" in text
        assert "order_rate: it ran away" in text
        assert "version 3" in text
        assert "105%" in text
    console.print(screen(Report(1, "USDT", 0, "risk", 1, [halted]), "risk", 100))
    assert "BTCUSDT.X" in console.export_text()


def test_a_bar_is_as_long_as_what_is_used():
    assert [bar(use).plain.rstrip() for use in (0, 0.001, 0.5, 1.0, 7.0)] == [
        "",
        "▏",
        "███",
        "██████",
        "██████",
    ]
    assert [str(bar(use).style).split()[0] for use in (0.1, 0.6, 0.9)] == ["green", "yellow", "red"]

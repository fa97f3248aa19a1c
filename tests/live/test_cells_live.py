"""Strategies that misbehave, each in its cell, in a real system: each gets a clear answer, its orders are gone at the
venue, and the honest one trades on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from live.cell_system import RAW, alerts, resting, rogues, said

from tidegate.errors import UserError
from tidegate.log.server_process import binary
from tidegate.ops.cell_group import find

CELL = {"hung_after": "2s", "deaths": 1, "files": 200, "file_size": "64MiB"}


async def played(home: Path, acts: dict[str, dict[str, Any]], done: Callable[[Any], Awaitable[bool]]) -> Any:
    """The system with these rogues, until `done`: what was said of each process, all alerts, what rests, and how many
    orders of the honest one were acknowledged before and after the acts."""
    system = rogues(home, acts, CELL)
    try:
        await system.start()

        async def until(look: Callable[[], Awaitable[bool]], what: str) -> None:
            async with asyncio.timeout(60):
                while not await look():
                    await asyncio.sleep(0.1)

        async def all_rest() -> bool:
            return len(await resting(system)) == len(acts.keys() - {RAW})

        await until(all_rest, "every rogue's order to rest")
        before = system.acks("left")
        for act in acts:
            (home / f"go.{act}").touch()
        await until(lambda: done(system), "the answers")

        async def none_rests() -> bool:
            return not await resting(system)

        await until(none_rests, "the rogues' orders to be gone")
        at = system.acks("left")
        await system.until(lambda: system.acks("left") > at + 10, "the honest strategy to trade on")
        told = {f"strategy-{act}": said(system, f"strategy-{act}") for act in acts}
        return told, await alerts(system), at - before
    finally:
        await system.stop()


def play(home: Path, acts: dict[str, dict[str, Any]], done: Callable[[Any], Awaitable[bool]]) -> Any:
    try:
        binary()
    except UserError as error:
        pytest.skip(str(error))
    return asyncio.run(played(home, acts, done))


def of(found: list[dict[str, Any]], act: str, kind: str) -> list[str]:
    """The texts of a rogue's alerts of one kind."""
    return [a["text"] for a in found if a["kind"] == kind and a["scope"].endswith(act)]


def test_what_hangs_or_takes_too_much_is_killed_for_it_and_its_orders_are_cancelled(tmp_path):
    acts = {"allocate": {"memory": "400MiB"}, "loop": {}, "sleep": {}, RAW: {}}
    if "pids" in (groups := find(tmp_path)).bases:
        acts["fork"] = {"processes": 20}
    else:
        print(f"forks past Python are left out: {groups.why}")

    async def done(system: Any) -> bool:
        return all(system.state(f"strategy-{act}") == "dead" for act in acts)

    told, found, traded = play(tmp_path, acts, done)
    over, hung = "killed: over its memory limit of 400 MiB", "killed: no sign of life for 2 s"
    assert told["strategy-allocate"][-1] == f"{over}; not started again"
    for act in ("loop", "sleep"):
        assert told[f"strategy-{act}"][-1] == f"{hung}; not started again"
        assert of(found, act, "strategy_hung") == [
            f"{hung}; it is not started again; its orders are cancelled"
        ]
    assert of(found, "allocate", "strategy_limit") == [
        f"{over}; it is not started again; its orders are cancelled"
    ]
    (text,) = of(found, RAW, "strategy_condemned")
    assert text.startswith("killed: it writes to the log faster than 4 times its limits allow")
    assert text.endswith("it is not started again; its orders are cancelled")
    assert any(
        a["kind"] == "halt" and a["scope"] == f"strategy:{RAW}" and "KILLED" in a["text"] for a in found
    )
    if "fork" in acts:
        assert any("at its limit of 20 processes" in text for text in told["strategy-fork"])
    assert traded > 10


def test_what_breaks_inside_its_own_process_is_stopped_with_its_reason(tmp_path):
    crashing = ("close", "vanish")
    acts = {act: {"processes": 20} for act in ("copy", "flood", "write", "leave", "throw", *crashing)}

    async def done(system: Any) -> bool:
        stopped = {a["scope"] for a in await alerts(system) if a["kind"] == "strategy_stopped"}
        ends = {act: "dead" if act in crashing else "degraded" for act in acts}
        return all(f"strategy.{act}" in stopped for act in acts if act not in crashing) and all(
            system.state(f"strategy-{act}") == end for act, end in ends.items()
        )

    told, found, traded = play(tmp_path, acts, done)
    reasons = {act: of(found, act, "strategy_stopped") for act in acts}
    assert reasons["throw"] == ["ValueError: a mistake of the user's"]
    assert reasons["leave"] == ["SystemExit: 0"]
    assert [text.startswith("OSError: [Errno 27] File too large") for text in reasons["write"]] == [True]
    assert [text.startswith("Runaway: it sends without end") for text in reasons["flood"]] == [True]
    assert of(found, "flood", "strategy_throttled") == ["orders beyond twice its 100 a second are refused"]
    if "pids" in find(tmp_path).bases:
        assert [text.startswith("BlockingIOError") for text in reasons["copy"]] == [True]
    assert told["strategy-vanish"][-1] == "exit code 0; not started again"
    assert told["strategy-close"][-1].endswith("not started again")
    for act in crashing:
        assert [text.endswith("its orders are cancelled") for text in of(found, act, "strategy_crashed")] == [
            True
        ]
    assert traded > 10

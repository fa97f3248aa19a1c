"""`tidegate deploy`: a new version of a strategy is tried, goes live, is taken back, while the system trades."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.options import DEFAULT_DATA, NOT_WELL, DataOption
from tidegate.errors import UserError, nearest

if TYPE_CHECKING:
    from tidegate.config import Config
    from tidegate.log.base import Log
    from tidegate.strategy.deploy.stages import DeployBoard, Status
    from tidegate.strategy.deploy.version import Version
    from tidegate.world import World

WORDS = ("show", "promote", "rollback", "adopt")
Signers = tuple[str, str]
"""Whose keys sign; the second may be empty."""
WAIT = 30.0
"""Seconds a command waits to see what it came to."""


def deploy(
    words: Annotated[
        list[str], typer.Argument(metavar="[promote|rollback|adopt|show] NAME", help="The strategy.")
    ],
    version: Annotated[
        str,
        typer.Option(help="The new version's TOML file (type, params); `configured`: the configuration's."),
    ] = "",
    stage: Annotated[str, typer.Option(help="shadow, canary or live.")] = "shadow",
    fraction: Annotated[str, typer.Option(help="The canary's part of the limits; default the most.")] = "",
    reason: Annotated[str, typer.Option(help="Why; goes into the audit trail.")] = "",
    signer: Annotated[str, typer.Option("--as", help="Who signs, where there are several keys.")] = "",
    second: Annotated[str, typer.Option("--and", help="adopt: who signs too, whose key is here.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="The system's TOML file: for the version's backtest.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="show: print JSON.")] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Try a new version of a strategy: shadow, then canary, then live; or take it back.

    NAME --version FILE --config FILE backtests the version, keeps what is to be expected of it, and begins; `promote NAME`
    takes it a stage further; `rollback NAME` takes the candidate back, or without one the live version; `adopt NAME` gives
    the live version what a candidate left behind, and takes two people; `show` says how it stands. Exit code 1: refused, or
    it did not come up.
    """
    word, names = (words[0], words[1:]) if words[0] in WORDS else ("", words)
    if len(names) != 1 and not (word == "show" and not names):
        raise UserError("deploy: name one strategy; see: tidegate deploy --help")
    name = names[0] if names else ""
    if word == "show":
        asyncio.run(_show(name, data, config, json))
    elif word:
        asyncio.run(_step(word, name, fraction, reason, (signer, second), data, config))
    elif not version or config is None:
        raise UserError(f"deploy {name}: say --version FILE and --config FILE; or promote, rollback, show")
    else:
        from tidegate.cli.prepare import prepare

        prepare()
        asyncio.run(_begin(name, version, stage, fraction, reason, (signer, ""), data, config))


# Commands.


async def _begin(
    name: str, file: str, stage: str, fraction: str, reason: str, signers: Signers, data: Path, config: Path
) -> None:
    from tidegate import versions
    from tidegate.strategy.deploy.version import CONFIGURED, Versions
    from tidegate.world import World

    if stage not in ("shadow", "canary", "live"):
        raise UserError(f"--stage {stage!r}: write shadow, canary or live")
    world = World.load(config)
    if name not in world.slots:
        hint = nearest(name, world.config.strategies) if name not in world.config.strategies else ""
        raise UserError(
            f'{config}: strategy {name!r} has no slot for new versions{hint}; set strategies.NAME.canary = "10%" and start again'
        )
    most = world.slots[name].part
    ppm = _ppm(fraction, most)
    made = (
        versions.configured(world.config, name, config) if file == CONFIGURED else versions.read(Path(file))
    )
    id = CONFIGURED if file == CONFIGURED else made.id
    async with _opened(data, world.config, config) as log:
        kept = Versions(log)
        if id != CONFIGURED:
            await kept.keep(name, made)
        for part in dict.fromkeys((1_000_000, ppm)):
            if await kept.envelope(name, id, part) is None:
                await kept.keep_envelope(name, _expected(world, name, made, id, part, data))
        why = reason or f"{Path(file).name}, version {id}"
        await _send(log, stage, name, id, ppm if stage == "canary" else 0, why, signers, data, world.config)


def _expected(world: World, name: str, version: Version, id: str, ppm: int, data: Path) -> Any:
    """What is expected of a version under a part of the limits: its backtest, measured."""
    from tidegate import versions
    from tidegate.model.time import duration
    from tidegate.sim.expect import envelope_of

    slots = world.slots[name]
    number = slots.live if ppm == 1_000_000 else slots.candidate
    strategy = versions.build(version, name, number, slots.account, data / "versions" / name)
    began = time.perf_counter()
    setup = versions.only(world.config, world.path, strategy, ppm)
    found = envelope_of(setup, strategy, id, duration(version.watch.interval), ppm)
    part = "all limits" if ppm == 1_000_000 else f"{ppm / 1e4:g} % of the limits"
    print(
        f"backtest {found.run} under {part}: {found.intervals} intervals of {version.watch.interval}, "
        f"{time.perf_counter() - began:.1f} s"
    )
    return found


async def _step(
    word: str, name: str, fraction: str, reason: str, signers: Signers, data: Path, config: Path | None
) -> None:
    loaded = _config(config)
    async with _opened(data, loaded, config) as log:
        status = (await _board(log, data, loaded)).status(name)
        if word in ("rollback", "adopt"):
            if not reason:
                raise UserError(f"{word}: say --reason")
            version = status.candidate or status.live
            await _send(log, word, name, version, 0, reason, signers, data, loaded)
            return
        if not status.candidate:
            raise UserError(f"{name} has no candidate to promote; deploy one with --version")
        if status.stage == "canary":
            await _send(log, "live", name, status.candidate, 0, reason or "promoted", signers, data, loaded)
            return
        parts = [
            int(key.rpartition(".")[2])
            for key in await log.bucket("STATE").keys()
            if key.startswith(f"envelope.{name}.{status.candidate}.")
        ]
        known = sorted(part for part in parts if part < 1_000_000)
        ppm = _ppm(fraction, known[-1] if known else 0)
        if ppm not in known:
            raise UserError(f"{name}: nobody measured {status.candidate} under {ppm / 1e4:g} % of the limits")
        await _send(log, "canary", name, status.candidate, ppm, reason or "promoted", signers, data, loaded)


async def _send(
    log: Log, do: str, name: str, version: str, ppm: int, reason: str, signers: Signers, data: Path,
    config: Config | None,
) -> None:  # fmt: skip
    """Sign it, put it on DEPLOY, and say what it came to."""
    from tidegate.access import command
    from tidegate.access.signer import find
    from tidegate.strategy.deploy.stages import commanded

    if do == "canary":
        await _may_trade(log, name, data, config)
    who, now = find(data, signers[0]), time.time_ns()
    args = {"version": version} | ({"ppm": str(ppm)} if ppm else {})
    made = command.new(do, f"strategy:{name}", reason, who.name, now, args=args)
    signed = command.sign(made, who)
    if signers[1]:
        signed = command.approve(signed, find(data, signers[1]))
    event = commanded(signed.encode(), made, now)
    seq = await log.append(event.subject, event.encode())
    board = await _board(log, data, config, seq)
    if board.refused:
        print(f"tidegate: refused: {board.refused.partition(': ')[2]}", file=sys.stderr)
        raise typer.Exit(NOT_WELL)
    status = board.status(name)
    print(status.last)
    await _came_up(log, status)


async def _may_trade(log: Log, name: str, data: Path, config: Config | None) -> None:
    """Refuse where the scope of a candidate is halted: it could not trade."""
    from tidegate.access.keyring import Keyring
    from tidegate.risk.halt import HaltBoard, halts
    from tidegate.risk.scopes import NEXT

    keyring = await Keyring.open(log, data, _access(config))
    board = HaltBoard(keyring.verify)
    async for entries in log.read("HALT"):
        for entry in entries:
            board.apply(entry.seq, entry.ts, entry.data)
    keyring.close()
    status = board.status(f"strategy:{name}{NEXT}")
    if halts(status.state):
        raise UserError(
            f"{status.scope} is {status.state.name} ({status.reason}); two people may lift it: "
            f"tidegate resume {status.scope}"
        )


async def _came_up(log: Log, status: Status) -> None:
    """Wait until the slots do what was said."""
    from tidegate.risk.scopes import NEXT
    from tidegate.strategy.deploy import slot_state
    from tidegate.strategy.deploy.slot_state import Life

    live = (status.strategy, status.live)
    wanted = [(status.strategy + NEXT, status.candidate)] if status.candidate else [live]
    end = time.monotonic() + WAIT
    for slot, version in wanted:
        while True:
            state = await slot_state.read(log.bucket(slot_state.BUCKET), slot)
            if state.version == version and state.life is Life.RUNNING:
                print(f"{slot}: version {version} is running ({state.stage})")
                break
            failed = state.life is Life.FAILED and state.version == version
            if failed or time.monotonic() > end:
                why = state.why if failed else f"it has not said so within {WAIT:g} s"
                print(f"tidegate: {slot}: version {version} does not run: {why}", file=sys.stderr)
                raise typer.Exit(NOT_WELL)
            await asyncio.sleep(0.05)


async def _show(name: str, data: Path, config: Path | None, json: bool) -> None:
    from rich.console import Console

    from tidegate.ops.deploy_view import Shown, found, screen

    loaded = _config(config)
    async with _opened(data, loaded, config) as log:
        board = await _board(log, data, loaded)
        shown: list[Shown] = await found(log, board, name)
    if name and not shown:
        raise UserError(f"nothing was ever deployed of {name!r}")
    if json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n")
    elif not shown:
        print("every strategy runs the configured version")
    else:
        console = Console()
        for one in shown:
            console.print(screen(one))


# What they share.


def _ppm(text: str, most: int) -> int:
    if not text:
        return most
    try:
        ppm = round(float(text.removesuffix("%")) * (1e4 if text.endswith("%") else 1e6))
    except ValueError:
        ppm = 0
    if not 0 < ppm <= most:
        raise UserError(f"--fraction {text!r}: write a part above 0, {most / 1e4:g}% at most")
    return ppm


def _config(path: Path | None) -> Config | None:
    from tidegate.config import load

    return load(path) if path is not None else None


def _access(config: Config | None) -> Any:
    from tidegate.access.identity_file import AccessSection

    return config.access if config is not None else AccessSection()


def _opened(data: Path, config: Config | None, path: Path | None) -> Any:
    """A client of the system's log, for a `with`."""
    from tidegate.log.opening import log_of
    from tidegate.model.clock import SystemClock

    return log_of(data, "command", SystemClock(), config.log if config is not None else None, path or Path())


async def _board(log: Log, data: Path, config: Config | None, last: int = 0) -> DeployBoard:
    """The fold of DEPLOY, up to entry `last` (0: all there is)."""
    from tidegate.access.keyring import Keyring
    from tidegate.strategy.deploy.stages import STREAM, WHOLE, DeployBoard

    keyring = await Keyring.open(log, data, _access(config))
    board = DeployBoard(keyring.verify, lambda name: WHOLE)
    async for entries in log.read(STREAM, 0, last or None):
        for entry in entries:
            board.apply(entry)
    keyring.close()
    return board


def register(app: typer.Typer) -> None:
    """Put the command on the lead one."""
    app.command("deploy")(deploy)

"""`tidegate exposure` and `tidegate limits`: how every scope stands, and limits that change while the firm trades."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

from tidegate.cli.log import command_log
from tidegate.cli.options import DEFAULT_DATA, NOT_WELL, ConfigOption, DataOption, folder_of
from tidegate.cli.sign import AsOption, ReasonOption, asked_in
from tidegate.errors import UserError

if TYPE_CHECKING:
    from tidegate.log.base import Log
    from tidegate.risk.limits import Limits

T = TypeVar("T")
UNITS = (("h", 3_600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))
SILENT = "no risk service answers; is `tidegate up` running, with the role risk?"

limits = typer.Typer(no_args_is_help=True, help="Show, compare and change the limits in force.")


def exposure(
    scope: Annotated[str, typer.Argument(help="firm, desk:NAME, account:NAME, strategy:NAME …; all.")] = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show what every scope uses of its limits, and its state; of one scope also what it holds.

    Exit code 1 when no risk service answers: what it said last is shown, with its age.
    """
    import msgspec
    from rich.console import Console

    from tidegate.ops.risk_view import screen
    from tidegate.risk.figures import Report

    folder_of(data)
    answer, fresh = asyncio.run(_with_log(data, config, lambda log: _ask_exposure(log, scope)))
    if not answer:
        raise UserError(SILENT)
    report = msgspec.json.decode(answer, type=Report)
    if scope and not fresh:
        report = msgspec.structs.replace(report, scopes=[s for s in report.scopes if s.scope == scope])
    if not report.scopes:
        raise UserError(f"there is no scope {scope!r}; `tidegate exposure` shows all")
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    else:
        console = Console()
        console.print(screen(report, f"risk on {data}", console.width))
    if not fresh:
        print(f"tidegate: {SILENT} This is what it said last", file=sys.stderr)
        raise typer.Exit(NOT_WELL)


async def _ask_exposure(log: Log, scope: str) -> tuple[bytes, bool]:
    from tidegate.log.base import LogDown
    from tidegate.risk.figures import KEPT

    try:
        return await log.request("risk.query", scope.encode(), timeout=5.0), True
    except LogDown:
        entry = await log.bucket("STATE").get(KEPT)
        return (entry.value or b"") if entry else b"", False


@limits.command("show")
def show(data: DataOption = DEFAULT_DATA, config: ConfigOption = None) -> None:
    """Print the limits in force as TOML would have them, with their version, and those that are to come."""
    from tidegate.model.time import iso
    from tidegate.risk.limits import Limits

    said = _show(data, config)
    for document in [said["now"], *said["later"]]:
        by = f", by {' and '.join(document['by'])}" if document["by"] else ""
        when = f", from {iso(document['effective'])} on" if document in said["later"] else ""
        print(f"# version {document['version']}{by}: {document['reason']}{when}")
        _print_toml(Limits.from_json(document["limits"].encode()))
    for line in said["warnings"]:
        print(f"# {line}")


@limits.command("diff")
def diff(
    change: Annotated[list[str], typer.Argument(help="A TOML file, or SCOPE.FIELD=VALUE …")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Show what a file, or single limits, would change, who must sign, and what would be refused. Nothing is changed."""
    now, wanted, _ = _wanted(change, data, config)
    _print_review(now, wanted, data, config)


@limits.command("set")
def set_(
    change: Annotated[list[str], typer.Argument(help="A TOML file, or SCOPE.FIELD=VALUE …")],
    reason: ReasonOption,
    effective: Annotated[str, typer.Option(help="From when on: 10m, or a time, ISO 8601 in UTC.")] = "now",
    signer: AsOption = "",
    second: Annotated[
        str, typer.Option("--and", help="Who signs too, whose key is here: more than twice.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Write the signed command here instead: for a second person to sign.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Change limits, by a signed command with a version: all lanes have them, and keep them over a restart.

    Where one becomes more than twice what it was, or unlimited, two people sign: with --and, or with --out and
    `tidegate limits approve FILE`. What a person alone changed within 24 hours counts together. A limit below what is
    used now leaves its scope only reducing. Exit code 1: refused.
    """
    import time

    from tidegate.access import command
    from tidegate.access.signer import find

    now, wanted, version = _wanted(change, data, config)
    _print_review(
        now, wanted, data, config, "0" if effective == "now" else str(_when(effective, time.time_ns()))
    )
    at, first = time.time_ns(), find(data, signer)
    args = {
        "version": str(version + 1),
        "limits": wanted.to_json().decode(),
        "effective": str(_when(effective, at)),
    }
    life = command.APPROVAL_LIFE if out is not None or second else command.LIFE
    made = command.sign(command.new("limits", "firm", reason, first.name, at, life, args), first)
    if second:
        made = command.approve(made, find(data, second))
    if out is not None:
        out.write_bytes(made.encode())
        print(
            f"{out}: signed by {first.name}; `tidegate limits approve {out}` within {life / 6e10:g} minutes"
        )
        return
    _send(made.encode(), data, config)


@limits.command("approve")
def approve(
    file: Annotated[Path, typer.Argument(help="What `limits set --out` wrote.")],
    signer: AsOption = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Sign another's change of limits, after seeing it, and have it done."""
    from tidegate.access import command
    from tidegate.access.signer import find
    from tidegate.risk.limits import Limits

    made = asked_in(file, "limits", "firm", data)
    asked, said = made.command, _show(data, config)
    now, wanted = (Limits.from_json(text.encode()) for text in (said["now"]["limits"], asked.args["limits"]))
    _print_review(now, wanted, data, config, asked.args.get("effective", "0"))
    _send(command.approve(made, find(data, signer)).encode(), data, config)


# What they share.


async def _with_log(data: Path, config: Path | None, work: Callable[[Log], Awaitable[T]]) -> T:
    """Do something with a client of the system's log."""
    async with command_log(data, config) as log:
        return await work(log)


def _ask(request: bytes, data: Path, config: Path | None) -> dict[str, Any]:
    """What the risk service says to a request on `risk.limits`."""
    import msgspec

    from tidegate.log.base import LogDown

    async def ask(log: Log) -> bytes:
        try:
            return await log.request("risk.limits", request, timeout=10.0)
        except LogDown:
            raise UserError(SILENT) from None

    answer: dict[str, Any] = msgspec.json.decode(asyncio.run(_with_log(data, config, ask)))
    return answer


def _show(data: Path, config: Path | None) -> dict[str, Any]:
    folder_of(data)
    return _ask(b'{"do":"show"}', data, config)


def _send(signed: bytes, data: Path, config: Path | None) -> None:
    answer = _ask(signed, data, config)
    if not answer["ok"]:
        print(f"tidegate: refused: {answer['text']}", file=sys.stderr)
        raise typer.Exit(NOT_WELL)
    print(answer["text"])


def _print_review(now: Limits, wanted: Limits, data: Path, config: Path | None, effective: str = "0") -> None:
    """What a change comes to, for who is to sign it."""
    import msgspec

    for line in _lines(now, wanted):
        print(line)
    asked = {"do": "check", "limits": wanted.to_json().decode(), "effective": effective}
    answer = _ask(msgspec.json.encode(asked), data, config)
    for line in answer["lines"] if answer["ok"] else [f"will be refused: {answer['text']}"]:
        print(line)


def _wanted(change: list[str], data: Path, config: Path | None) -> tuple[Limits, Limits, int]:
    """The limits in force, what they are to be, and the last version."""
    import tomllib

    from tidegate.risk.limit_changes import edit
    from tidegate.risk.limits import Limits

    said = _show(data, config)
    now = Limits.from_json(said["now"]["limits"].encode())
    if len(change) == 1 and "=" not in change[0]:
        path = Path(change[0])
        try:
            table = tomllib.loads(path.read_text())
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; write a TOML file, or SCOPE.FIELD=VALUE") from None
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: not valid TOML: {error}") from None
        return now, Limits.load(table.get("risk", table), f"{path}: risk"), int(said["version"])
    wanted = now
    for text in change:
        wanted = edit(wanted, text)
    return now, wanted, int(said["version"])


def _lines(before: Limits, after: Limits) -> list[str]:
    """What differs, as it is written, and the scopes that who signs must reach."""
    import msgspec

    from tidegate.risk.limit_changes import touched

    was, now = (_flat(msgspec.json.decode(limits.to_json())) for limits in (before, after))
    lines = [
        f"{key}: {_shown(key, was, 'not set')} → {_shown(key, now, 'taken out')}"
        for key in sorted({*was, *now})
        if was.get(key) != now.get(key)
    ]
    over = touched(before, after)
    return [*lines, f"touches {', '.join(over)}"] if over else ["nothing differs"]


def _shown(key: str, limits: dict[str, Any], absent: str) -> Any:
    return _readable(key.rpartition(".")[2], limits[key]) if key in limits else absent


def _readable(field: str, value: Any) -> Any:
    """A value as people write it: times with their unit."""
    import msgspec

    from tidegate.risk.limits import Duration, ScopeLimits

    times = (
        f.name
        for f in msgspec.structs.fields(ScopeLimits)
        if Duration in get_args(f.type) or f.type is Duration
    )
    if not isinstance(value, int) or field not in times:
        return value
    unit, size = next((u, n) for u, n in UNITS if not value % n)
    return f"{value // size}{unit}"


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _print_toml(limits: Limits) -> None:
    import msgspec

    tables: dict[str, list[str]] = {}
    for key, value in _flat(msgspec.json.decode(limits.to_json())).items():
        place, _, field = key.rpartition(".")
        tables.setdefault(place, []).append(
            f"{field} = {msgspec.json.encode(_readable(field, value)).decode()}"
        )
    for place, lines in tables.items():
        level, _, rest = place.partition(".")
        name, _, instrument = (
            rest.partition(".instruments.") if level != "firm" else ("", "", rest.partition(".")[2])
        )
        parts = [
            level,
            *([f'"{name}"'] if name else []),
            *(["instruments", f'"{instrument}"'] if instrument else []),
        ]
        print(f"[risk.{'.'.join(parts)}]", *lines, "", sep="\n")


def _when(text: str, now: int) -> int:
    from tidegate.model.time import duration, parse

    if text == "now":
        return 0
    try:
        return now + duration(text)
    except ValueError:
        pass
    try:
        return parse(text)
    except ValueError:
        raise UserError(f"--effective {text!r}: write now, 10m, or a time like 2024-08-08T23:55:00") from None


def register(app: typer.Typer) -> None:
    """Put the commands on the lead one."""
    app.command("exposure")(exposure)
    app.add_typer(limits, name="limits")

"""`tidegate audit`: what was done, by whom, proved, shown and written out."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.access import SOURCE, known_of, log_section_of, print_table, send_waiting
from tidegate.cli.options import DEFAULT_DATA, ConfigOption, DataOption, since_of
from tidegate.errors import UserError

if TYPE_CHECKING:
    from tidegate.access.audit_chain import AuditRecord

audit = typer.Typer(no_args_is_help=True, help="What was done, by whom: the hash-chained audit trail.")
BAD = 1


@audit.command("verify")
def verify(
    file: Annotated[Path | None, typer.Option(help="An exported file: the trail must begin with it.")] = None,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Prove the whole chain: that no record was changed, taken out, slipped in or cut off. Exit code 1 names the first
    bad one."""
    from tidegate.access.audit_chain import verify as prove
    from tidegate.access.audit_files import Anchors

    lines, anchors = _lines(data, config), Anchors(data).read()
    proof = prove(lines, anchors, known_of(data, config), _copy(file) if file is not None else None)
    if proof.bad is not None:
        print(f"tidegate: audit trail: record {proof.bad.n}: {proof.bad.why}", file=sys.stderr)
        raise typer.Exit(BAD)
    if proof.records and proof.records not in anchors:
        with contextlib.suppress(OSError):
            Anchors(data).keep(proof.records, proof.head)
    print(
        f"{proof.records} records, whole; {len(anchors)} of them anchored here; the last one's hash is {proof.head}"
    )


@audit.command("show")
def show_audit(
    since: Annotated[str, typer.Option(help="5m, 2h: so long ago; or a time, ISO 8601 in UTC.")] = "",
    who: Annotated[str, typer.Option(help="Only of this one.")] = "",
    scope: Annotated[str, typer.Option(help="Only of this scope.")] = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line instead of a table.")
    ] = False,
) -> None:
    """What was done: when, by whom, to what, and how it went."""
    from tidegate.model.time import iso

    begin = since_of(since)
    rows = [
        record
        for record in _records(_lines(data, config))
        if record.ts >= begin
        and scope in ("", record.scope)
        and (not who or who in record.who.split(" and "))
    ]
    if json:
        import msgspec

        for record in rows:
            sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
        return
    cells = ([str(r.n), iso(r.ts)[:23], r.who, r.do, r.scope, r.outcome, r.detail, r.source] for r in rows)
    print_table(("n", "time, UTC", "who", "did", "to", "outcome", "detail", "noted by"), cells)


@audit.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="A new file.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Write the trail to a file, a record a line, to be kept elsewhere: `audit verify --file` compares with it."""
    lines = _lines(data, config)
    try:
        with file.open("xb") as out:
            out.writelines(line + b"\n" for line in lines)
    except FileExistsError:
        raise UserError(f"{file} is there already; name another one") from None
    except OSError as error:
        raise UserError(f"{file}: cannot write: {error.strerror}") from None
    print(f"{file}: {len(lines)} records")


def _lines(data: Path, config: Path | None) -> list[bytes]:
    """The whole trail as it is stored, once what waits on this machine's disk is in it."""
    from tidegate.access.audit_chain import STREAM
    from tidegate.log.opening import log_of
    from tidegate.model.clock import SystemClock

    section, path = log_section_of(config)

    async def read() -> list[bytes]:
        async with log_of(data, SOURCE, SystemClock(), section, path) as log:
            await send_waiting(log, data)
            return [entry.data async for batch in log.read(STREAM) for entry in batch]

    return asyncio.run(read())


def _records(lines: Iterable[bytes]) -> Iterable[AuditRecord]:
    from tidegate.access.audit_chain import read

    for n, line in enumerate(lines, 1):
        try:
            yield read(line).record
        except ValueError as error:
            print(f"tidegate: audit trail: record {n}: {error}", file=sys.stderr)


def _copy(file: Path) -> list[bytes]:
    try:
        return file.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{file}: cannot read: {error.strerror}") from None

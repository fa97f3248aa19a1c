"""`tidegate data`: raw captures in, and what the lake holds. The lead command mounts `app`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.prepare import prepare
from tidegate.cli.waiting import QUIET_S

if TYPE_CHECKING:
    from tidegate.marketdata.binance_instruments import Directory
    from tidegate.store.importer import Progress

app = typer.Typer(no_args_is_help=True, help="Import, list, describe and verify market data.")

LakeOption = Annotated[Path, typer.Option("--lake", help="Folder of the lake.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
DEFAULT_LAKE = Path("lake")
INCOMPLETE, UNSOUND = 2, 1
READING = "reading"
"""The pass of an import whose progress is counted in bytes; the other counts messages."""


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="Captures (gzip or plain), or folders of them.")],
    lake: LakeOption = DEFAULT_LAKE,
    instruments: Annotated[
        Path | None, typer.Option(help="TOML file of instruments, beside those that tidegate knows.")
    ] = None,
    min_latency: Annotated[
        str, typer.Option(help="The smallest latency, assumed: one-way stamps cannot tell it.")
    ] = "500us",
    replace: Annotated[
        bool, typer.Option(help="Take the place of overlapping data from other captures.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Read raw Binance captures into the lake.

    Proves the sequence chain, takes the recorder's clock offset out, quarantines what cannot be read. Exit
    code 2 when something could not be read: what could be is imported, and the report says what is missing.
    """
    prepare()
    from tidegate.errors import UserError
    from tidegate.model.time import duration
    from tidegate.store.importer import import_captures
    from tidegate.store.show import show_import

    try:
        floor = duration(min_latency)
    except ValueError as error:
        raise UserError(f"--min-latency: {error}") from None
    if floor < 0:
        raise UserError(f"--min-latency is {min_latency}, must not be below 0")
    directory = _directory(instruments)
    with _bar() as progress:
        report = import_captures(paths, lake, directory, floor=floor, replace=replace, progress=progress)
    if json:
        _print_json(report)
    else:
        show_import(report)
    if not report.complete:
        raise typer.Exit(INCOMPLETE)


@app.command("ls")
def ls(lake: LakeOption = DEFAULT_LAKE, json: JsonOption = False) -> None:
    """List instruments, days, rows by kind, size."""
    from tidegate.store.describe import listing
    from tidegate.store.lake import Lake
    from tidegate.store.show import show_listing

    found = listing(Lake(lake))
    if json:
        _print_json(found)
    else:
        show_listing(found)


@app.command("describe")
def describe_(
    instrument: Annotated[str, typer.Argument(help="SYMBOL.VENUE, as `ls` shows it.")],
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonOption = False,
) -> None:
    """Times, gaps, latency by stream, spread and trades of one instrument."""
    from tidegate.store.describe import describe
    from tidegate.store.lake import Lake
    from tidegate.store.show import show_description

    found = describe(Lake(lake), instrument)
    if json:
        _print_json(found)
    else:
        show_description(found)


@app.command("verify")
def verify_(
    instruments: Annotated[
        list[str] | None, typer.Argument(help="SYMBOL.VENUE; all when none is given.")
    ] = None,
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonOption = False,
) -> None:
    """Read every part again and prove it: hashes, order, chain, book, touch. Exit code 1 when something is
    wrong.
    """
    prepare()
    from tidegate.store.lake import Lake
    from tidegate.store.show import show_proofs
    from tidegate.store.verify import verify

    proofs = verify(Lake(lake), instruments)
    if json:
        _print_json(proofs)
    else:
        show_proofs(proofs)
    if not all(proof.sound for proof in proofs):
        raise typer.Exit(UNSOUND)


def _print_json(value: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _directory(path: Path | None) -> Directory | None:
    """The known markets and those of a TOML file."""
    if path is None:
        return None
    from tidegate.marketdata.binance_instruments import BINANCE, Directory
    from tidegate.store.instrument_file import read_instruments

    own = read_instruments(path)
    names = {item.id for item in own}
    return Directory([*(item for item in BINANCE if item.id not in names), *own])


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on stderr for each pass of an import, shown only when the work lasts."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    what = TextColumn("{task.completed:,} of {task.total:,} {task.fields[unit]}")
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), what, TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    started, tasks, lock = time.monotonic(), dict[str, TaskID](), threading.Lock()

    def progress(stage: str, done: int, total: int) -> None:
        if time.monotonic() - started < QUIET_S:
            return
        with lock:
            bar.start()
            if stage not in tasks:
                tasks[stage] = bar.add_task(
                    stage, total=total, unit="bytes" if stage == READING else "messages"
                )
            bar.update(tasks[stage], completed=done)

    try:
        yield progress
    finally:
        bar.stop()

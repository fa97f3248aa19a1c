"""`tidegate backtest`: a configuration in, a summary, a report and the run's tables out."""

from __future__ import annotations

import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.prepare import prepare
from tidegate.cli.waiting import bar
from tidegate.errors import UserError

FAILED, INTERRUPTED = 3, 130


def backtest(
    config: Annotated[Path, typer.Argument(help="The run's TOML file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report and tables; default runs/RUN-ID.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE over the file; repeatable.")
    ] = None,
    axes: Annotated[
        list[str] | None, typer.Option("--sweep", help="KEY=VALUE,VALUE,…: run the grid; repeatable.")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Fold the log a second time and compare.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Replay recorded markets through strategies, order manager, risk gate and simulated venues.

    Exit code 3 when a strategy raised, 130 on Ctrl-C; both leave the report of what ran until then.
    """
    from tidegate.sim.sweep import parse_axis

    overrides = dict(_setting(text) for text in sets or [])
    if axes:
        _sweep(config, overrides, [parse_axis(text) for text in axes], json)
        return
    prepare()
    from tidegate import config as configuration
    from tidegate.sim.backtest import Backtest, run_id
    from tidegate.sim.event_file import EventFile

    setup = configuration.backtest(configuration.load(config, overrides), config)
    folder = out or Path("runs") / run_id(setup)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make folder {folder}: {error.strerror}") from None
    with EventFile(folder / "events.parquet") as events:
        test = Backtest(setup, events, verify)
        with bar("replay", _rows(setup)) as progress:
            result = test.run(progress)
        result.recorder.flush()
    _write(result, folder, json, events.failure)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    if result.error is not None:
        print("".join(traceback.format_exception(result.error)), file=sys.stderr)
        print(f"tidegate: the run ended early: {result.tables.summary['error']}", file=sys.stderr)
        raise typer.Exit(FAILED)


def _setting(text: str) -> tuple[str, Any]:
    from tidegate.sim.sweep import parse_value

    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text!r}: write KEY=VALUE")
    return key.strip(), parse_value(value.strip())


def _rows(setup: Any) -> int:
    return sum(source.expected for source in setup.sources)


def _write(result: Any, folder: Path, json: bool, failure: str) -> None:
    """Print the summary, then write the files: what cannot be written is said last, and loses nothing else."""
    import msgspec
    from rich.console import Console

    from tidegate.report.html import write_report
    from tidegate.report.summary import summary_json
    from tidegate.report.tables_io import save
    from tidegate.report.terminal import print_summary

    console = Console()
    if json:
        text = msgspec.json.format(msgspec.json.encode(summary_json(result.tables)), indent=2)
        sys.stdout.write(text.decode() + "\n")
    else:
        print_summary(result.tables, console)
    try:
        save(result.tables, folder)
        write_report(result.tables, folder / "report.html")
    except OSError as error:
        failure = failure or error.strerror or str(error)
    if failure:
        raise UserError(f"files of this run are missing in {folder}: {failure}; make room and run it again")
    if not json:
        console.print(f"report {folder / 'report.html'}", soft_wrap=True)


def run_point(config: str, overrides: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """One point of a sweep, in a process of its own: its summary."""
    from tidegate import config as configuration
    from tidegate.report.summary import summary_json
    from tidegate.sim.backtest import Backtest

    path = Path(config)
    setup = configuration.backtest(configuration.load(path, overrides | values), path)
    result = Backtest(setup).run()
    if result.error is not None:
        raise result.error
    return summary_json(result.tables)


def _sweep(config: Path, overrides: dict[str, Any], axes: list[tuple[str, list[Any]]], json: bool) -> None:
    import msgspec
    from rich.console import Console

    from tidegate.report.sweep_table import sweep_table
    from tidegate.sim.sweep import grid, sweep

    prepare()
    count = sum(1 for _ in grid(axes))
    with bar("sweep", count, "runs") as progress:
        points = sweep(axes, partial(run_point, str(config), overrides), progress)
    rows = [{"values": p.values, "summary": p.summary, "error": p.error} for p in points]
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
    else:
        Console().print(sweep_table(rows))
    if any(p.error for p in points):
        raise typer.Exit(FAILED)

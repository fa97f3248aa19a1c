"""`tidegate report`: the report of a live run, folded from its lanes' logs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.waiting import bar
from tidegate.errors import UserError

if TYPE_CHECKING:
    from tidegate.sim.live_run import LiveRun
    from tidegate.world import World


def report(
    config: Annotated[Path, typer.Argument(help="The system's TOML file.")],
    data: Annotated[Path, typer.Option("--data", help="The system's data folder.")] = Path("runs/live"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for report and tables; default DATA/report.")
    ] = None,
) -> None:
    """Fold a live run's logs into the report a backtest has. The system may be running, or stopped."""
    live_report(config, data, out or data / "report", {})


def live_report(config: Path, data: Path, out: Path, figures: dict[str, Any]) -> None:
    """Write the report and print its summary; `figures` are those of a drill (`ops.drill`)."""
    import asyncio

    from rich.console import Console

    from tidegate.report.html import write_report
    from tidegate.report.live import print_live
    from tidegate.report.tables_io import save
    from tidegate.report.terminal import print_summary
    from tidegate.world import World

    world = World.load(config)
    run = asyncio.run(_fold(world, data))
    for kill in figures.get("kills", []):
        kill["trading"] = run.trading_after(kill["at"])
    live = figures | {"takeovers": [list(item) for item in run.takeovers]}
    tables = run.tables({"live": live, "config": f"{world.config.run.name}, live"})
    console = Console()
    print_summary(tables, console)
    print_live(live, console)
    try:
        out.mkdir(parents=True, exist_ok=True)
        save(tables, out)
        write_report(tables, out / "report.html")
    except OSError as error:
        raise UserError(f"files of this report are missing in {out}: {error.strerror or error}") from None
    console.print(f"report {out / 'report.html'}", soft_wrap=True)


async def _fold(world: World, data: Path) -> LiveRun:
    """Every lane from its first entry; the log's server is started where none runs."""
    from tidegate.config import latencies
    from tidegate.execution.lane_log import skips
    from tidegate.log import embedded
    from tidegate.model.clock import SystemClock
    from tidegate.roles.place import open_log
    from tidegate.sim.live_run import LiveRun

    section = world.config.log
    server = None
    if not section.url and embedded.find(data) is None:
        if not embedded.folder(data).is_dir():
            raise UserError(f"no log in {data}; start a system with `tidegate up`, or say --data")
        server = embedded.Embedded(data, section.durability)
        await server.start()
    try:
        log = await open_log(world, data, "report", SystemClock())
        sample = latencies(world.config.topology.sample, "topology.sample", world.path.parent)[0]
        run = LiveRun(
            world.lane_kind(), world.universe, world.scopes, world.config.run.base_currency, world.rates,
            world.config.run.name, sample,
        )  # fmt: skip
        for lane in range(section.lanes):
            last = await log.last(f"LANE_{lane}")
            with bar(f"lane {lane}", last.seq if last else 0) as progress:
                said = (await skips(log, lane)).said
                run.begin(lane, {seq for seq, _, _ in said.skips} if said else set())
                done = 0
                async for entries in log.read(f"LANE_{lane}"):
                    run.take(lane, entries)
                    done += len(entries)
                    progress(done)
        await log.close()
        return run
    finally:
        if server is not None:
            await server.stop()

"""`tidegate up`, `run`, `ps`, `logs`: a live system started and looked at."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.options import DEFAULT_DATA, FAILED, NOT_WELL, DataOption, folder_of, since_of
from tidegate.cli.report import report
from tidegate.errors import NotYet, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from tidegate.cli.breach import Breach
    from tidegate.config import Config
    from tidegate.ops.folder import DataFolder
    from tidegate.ops.log_server import LogServer
    from tidegate.ops.topology import Topology
    from tidegate.world import World


def up(
    config: Annotated[Path, typer.Argument(help="The system's TOML file.")],
    data: DataOption = DEFAULT_DATA,
    plain: Annotated[
        bool, typer.Option(help="Lines instead of the live screen, also on a terminal.")
    ] = False,
    length: Annotated[
        str, typer.Option("--for", help="Run for so long (60s, 5m), then stop and report.")
    ] = "",
    kill: Annotated[str, typer.Option(help="A drill: kill -9 the busiest process after so long.")] = "",
    breach: Annotated[
        bool,
        typer.Option("--breach", help="A drill: wait for a scope to be killed, tell how, let it up again."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; default DATA/report.")] = None,
) -> None:
    """Start a system's processes, keep them alive, show how they are; Ctrl-C stops them in order.

    With --for it stops by itself and writes the run's report; with --kill its busiest process is killed on the way.
    Exit code 3 when a process that the system needs ended by itself before it was up.
    """
    import asyncio

    from rich.console import Console

    from tidegate import config as configuration
    from tidegate.access import local
    from tidegate.cli.breach import Breach
    from tidegate.cli.grants import shared_lanes
    from tidegate.cli.prepare import prepare
    from tidegate.log import private
    from tidegate.ops.folder import DataFolder
    from tidegate.ops.log_server import LogServer
    from tidegate.ops.supervisor import ChildFailed
    from tidegate.roles import risk as risk_role
    from tidegate.roles.place import simulated
    from tidegate.world import World

    private.unseen()
    prepare()
    loaded = configuration.load(config)
    if breach and loaded.simulated is None:
        raise UserError(f"{config}: --breach is for a simulated venue; add a section [simulated]")
    folder = DataFolder(data)
    folder.make()
    if made := local.ensure(data, loaded.access):
        print(f"identity {made.name} (admin) made: its key in {data}/access/keys may stop what runs here")
    world = World(config, loaded)
    world.hand_over(folder.instruments)
    risk_role.check(world)
    world.strategies()  # a mistake in one is told here, once, and not by a process that dies again and again
    server = None if loaded.log.url else LogServer(data, loaded.log.durability, loaded.log.lanes)
    topology = topology_of(loaded, config, data, server)
    for lane, desks in shared_lanes(world).items():
        shown = ", ".join(desk or "none" for desk in desks)
        print(f"lane {lane} is shared by desks {shown}: their strategies may read each other's orders there")
    for line in world.unset():
        print(f"denied by default, by {config}: {line}; set it there, or with `tidegate limits set`")
    console = Console(force_terminal=False if plain else None)
    seconds = _seconds(length, "--for"), _seconds(kill, "--kill")
    waits = Breach(world, data, lambda: simulated(folder)) if breach else None
    if waits:
        waits.people()
    try:
        dead, figures = asyncio.run(_up(topology, data, world, console, server, seconds, waits))
    except ChildFailed as error:
        print(f"tidegate: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    if waits:
        dead = [name for name in dead if name not in waits.ended]
        waits.show(console)
    if dead:
        print(f"tidegate: ended: {', '.join(dead)}", file=sys.stderr)
        raise typer.Exit(FAILED)
    if length:
        from tidegate.cli.report import live_report

        live_report(config, data, out or data / "report", figures)


def _seconds(text: str, option: str) -> float:
    from tidegate.model.time import duration

    try:
        return duration(text) / 1e9 if text else 0.0
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


async def _up(
    topology: Topology, data: Path, world: World, console: Console, server: LogServer | None,
    seconds: tuple[float, float] = (0.0, 0.0), breach: Breach | None = None,
) -> tuple[list[str], dict[str, Any]]:  # fmt: skip
    """Run it to its end; the processes that were dead by then, and a drill's figures."""
    import asyncio

    from tidegate.access import reach
    from tidegate.access.keyring import Keyring
    from tidegate.access.local import own_name
    from tidegate.access.replays import Replays
    from tidegate.cli.cells import Keeper
    from tidegate.model.clock import SystemClock
    from tidegate.ops.audited import Audited, hear
    from tidegate.ops.child import State
    from tidegate.ops.drill import Drill
    from tidegate.ops.folder import DataFolder
    from tidegate.ops.logs import LogFile
    from tidegate.ops.orders import Orders, above_processes
    from tidegate.ops.show import Shown
    from tidegate.ops.snapshot import Looker
    from tidegate.ops.supervisor import Event, Supervisor
    from tidegate.roles.place import open_log

    folder, clock, shown = DataFolder(data), SystemClock(), Shown(console, world.config.run.name)
    folder.make()
    log = LogFile(folder, "up", "supervisor", clock)

    def event(event: Event) -> None:
        log.write(event.level, f"process.{event.state}", event.text, process=event.name)
        shown.event(event)
        if (event.name, event.state) == ("up", "running"):
            start_market(folder)
            keeper.begin(supervisor)
            tasks.append(asyncio.create_task(hear(keyring, lambda: open_log(world, data, "up", clock))))
            if length:
                tasks.append(asyncio.create_task(drill.run()))
            if breach:
                tasks.append(asyncio.create_task(breach.run()))

    length, kill = seconds
    tasks: list[asyncio.Task[None]] = []
    keeper = Keeper(world, data, clock)
    who, above = f"user:{own_name()}", above_processes(topology.processes, world.above)
    keyring = Keyring(data, world.config.access, above)
    reach.keep(data, above)
    audited = Audited(data, clock, lambda: open_log(world, data, "up", clock))
    orders = Orders(clock, keyring.verify, Replays(folder.run / "up.replays").first, audited.note)
    supervisor = Supervisor(topology, folder, clock, event, on_end=keeper.guard.gone, orders=orders)
    drill = Drill(
        supervisor, Looker(folder, clock), clock, length, kill,
        note=lambda name, why: audited.note(who, "kill", f"process:{name}", "done", why),
    )  # fmt: skip
    audited.note(who, "up", "system", "done", f"{len(topology.processes)} processes")
    tasks.append(asyncio.create_task(shown.run(supervisor, Looker(folder, clock))))
    try:
        await supervisor.run()
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await keeper.close()
        await audited.close()
        if server is not None:
            await server.close()
        log.close()
    for error in ends:
        if isinstance(error, Exception):
            raise error
    dead = [child.process.name for child in supervisor.children.values() if child.state is State.DEAD]
    return dead, drill.figures()


def start_market(folder: DataFolder) -> None:
    """Let a simulated venue's market run, now that everybody listens."""
    import urllib.request

    from tidegate.roles.place import simulated

    if (venue := simulated(folder)) is not None:
        request = urllib.request.Request(
            f"{venue.url}/admin/start", method="POST", headers={"X-Admin-Token": venue.token}
        )
        urllib.request.urlopen(request, timeout=5).close()


def run(
    roles: Annotated[
        str,
        typer.Argument(
            help="ROLE[,ROLE …]: feed, strategy[:NAME], oms, risk, gateway, recorder, deploy, venue."
        ),
    ],
    config: Annotated[Path, typer.Argument(help="The system's TOML file.")],
    data: DataOption = DEFAULT_DATA,
    name: Annotated[str, typer.Option(help="What this process is called; by default its roles.")] = "",
    trace_every: Annotated[int, typer.Option(help="Log the way of every nth tick; 0: of none.")] = 0,
    hops: Annotated[
        Path | None, typer.Option(help="Write every hop of every tick to this file at the end.")
    ] = None,
) -> None:
    """Run some roles of a system in this process until it is told to stop (SIGTERM); `up` runs them all.

    Exit code 75 when something that it needs is not there now, as the log: start it again later.
    """
    import uvloop

    from tidegate.cli.prepare import prepare
    from tidegate.config_live import role_of
    from tidegate.ops.folder import DataFolder
    from tidegate.ops.topology import process_names
    from tidegate.roles.run import run as run_roles
    from tidegate.world import World

    world = World.load(config)
    strategies = dict(world.config.strategies)
    wanted = [role_of(text.strip(), strategies, "run") for text in roles.split(",")]
    world.take_over(DataFolder(data).instruments)
    if {role for role, _ in wanted} != {"gateway"}:  # it has nothing compiled
        prepare()
    called = name or process_names([roles.split(",")])[0]
    try:
        uvloop.run(run_roles(world, wanted, data, called, trace_every, hops))
    except NotYet as error:
        print(f"tidegate: {error}", file=sys.stderr)
        raise typer.Exit(NotYet.CODE) from None


def topology_of(config: Config, path: Path, data: Path, server: LogServer | None = None) -> Topology:
    """The processes that a configuration asks for, in the order they start: log, venue, feed, …"""
    import dataclasses

    from tidegate.cli.cells import celled, check_cells, hosts_of
    from tidegate.cli.grants import admitted
    from tidegate.config_live import processes_of, slots_in
    from tidegate.ops.topology import Topology, process_names, role_process
    from tidegate.risk.scopes import NEXT
    from tidegate.world import World

    hosts = hosts_of(config, data)
    found = processes_of(config.topology, dict(config.strategies), config.simulated is not None, hosts)
    found += [(f"strategy:{name}{NEXT}",) for name in slots_in(config.strategies)]
    names = process_names(found)
    check_cells(config, names, str(path))
    processes = [
        celled(role_process(name, roles, str(path), str(data)), roles, config, str(path))
        for name, roles in zip(names, found, strict=True)
    ]
    processes = [
        dataclasses.replace(p, spare=True, critical=False) if p.name.endswith(NEXT) else p for p in processes
    ]
    processes = [
        admitted(process, roles, World(path, config), server)
        for process, roles in zip(processes, found, strict=True)
    ]
    return Topology([*([server.process()] if server else []), *processes])


def ps(
    data: DataOption = DEFAULT_DATA,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show a running system once. Exit code 1 when something is not healthy, or nothing runs."""
    from tidegate.model.clock import SystemClock
    from tidegate.ops.snapshot import Looker

    looker = Looker(folder_of(data), SystemClock())
    looker.look()
    time.sleep(0.25)  # CPU time is a difference of two looks
    shot = looker.look()
    if json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(shot), indent=2).decode() + "\n")
    elif not shot.processes:
        print(f"tidegate: nothing runs on {data}", file=sys.stderr)
    else:
        from rich.console import Console

        from tidegate.ops.view import screen

        console = Console()
        console.print(screen(shot, f"tidegate on {data}", console.width))
        if not shot.pid:
            print(f"tidegate: no `tidegate up` runs on {data}", file=sys.stderr)
    if not shot.good:
        raise typer.Exit(NOT_WELL)


def logs(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Processes; all.")] = None,
    data: DataOption = DEFAULT_DATA,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    trace: Annotated[int, typer.Option(help="One tick's way: its trace id.")] = 0,
    level: Annotated[str, typer.Option(help="This level and above.")] = "debug",
    since: Annotated[str, typer.Option(help="5m, 2h: so long ago; or a time, ISO 8601 in UTC.")] = "",
    last: Annotated[int, typer.Option("--last", "-n", help="Only the last so many lines; 0 is all.")] = 200,
    json: Annotated[bool, typer.Option("--json", help="Print the lines as they are.")] = False,
) -> None:
    """Show the logs of all processes as one, by time; with --trace one tick's way to its fill."""
    from collections import deque

    from rich.console import Console

    from tidegate.ops import log_reader
    from tidegate.ops.logs import level_number

    folder = folder_of(data)
    wanted = log_reader.Wanted(tuple(names or ()), level_number(level), trace, since_of(since))
    width = max(len(name) for name in log_reader.log_names(folder, wanted.names))
    follower = log_reader.Follower(folder, wanted) if follow else None  # from here on, whatever reading takes
    console, begin = Console(), trace

    def show(line: dict[str, Any]) -> None:
        if json:
            import msgspec

            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        else:
            console.print(log_reader.show(line, begin, width), soft_wrap=True)

    found = log_reader.read(folder, wanted)
    shown = 0
    for line in found if trace or not last else deque(found, maxlen=last):
        show(line)
        shown += 1
    if wanted.unreadable:
        print(f"tidegate: {wanted.unreadable} lines could not be read", file=sys.stderr)
    if follower is not None:
        for line in log_reader.follow(follower):
            show(line)
            sys.stdout.flush()
    elif trace and not shown:
        raise UserError(f"--trace {trace}: no line of any log has it; is tracing on?")


def register(app: typer.Typer) -> None:
    """Put the commands on the lead one."""
    app.command("up")(up)
    app.command("run")(run)
    app.command("ps")(ps)
    app.command("logs")(logs)
    app.command("report")(report)

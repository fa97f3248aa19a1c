"""Small real processes for the supervisor, and a way to wait for what it tells."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from tidegate.access import command
from tidegate.access.command import Signed
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.note import Note
from tidegate.access.replays import Replays
from tidegate.access.signer import Signer
from tidegate.access.verify import Verifier
from tidegate.model.clock import SystemClock
from tidegate.ops.control import ask
from tidegate.ops.folder import DataFolder
from tidegate.ops.orders import Orders
from tidegate.ops.supervisor import Event, Supervisor
from tidegate.ops.topology import Process, Topology

GOOD = """
import asyncio, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from tidegate.model.clock import SystemClock
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import HealthFile

async def main():
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    health = HealthFile(DataFolder(Path({data!r})), {name!r}, ["test"], {{"test": lambda: {said!r}}}, SystemClock())
    await health.start()
    if {deaf!r}:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not {starting!r}:
        health.running()
    await stop.wait()
    with open({order!r}, "a") as file:
        file.write({name!r} + "\\n")
    await health.stop()

asyncio.run(main())
"""
"""A process as `tidegate run` makes them: health, and a clean stop, which it writes down."""
SLEEPS = "import time; time.sleep(600)"
MISTAKEN = (
    "import sys; print('half of it'); print('tidegate: x.toml: unknown key', file=sys.stderr); sys.exit(2)"
)


def good(
    tmp_path: Path, name: str, said: dict | None = None, deaf: bool = False, starting: bool = False, **more
) -> Process:
    """A process with health; a deaf one ignores SIGTERM; one that is starting does so for good."""
    script = tmp_path / f"{name}.py"
    script.write_text(
        GOOD.format(
            path=[p for p in sys.path if p], data=str(tmp_path / "data"), name=name, said=said or {},
            order=str(tmp_path / "order"), deaf=deaf, starting=starting,
        )
    )  # fmt: skip
    return Process(name, [sys.executable, str(script)], **more)


def plain(name: str, code: str, *args: str, **more) -> Process:
    """A process without health."""
    return Process(name, [sys.executable, "-c", code, *args], health=False, **more)


async def tidegate(*args: object, env: dict[str, str] | None = None) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tidegate.cli", *map(str, args), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=env,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


class Told:
    """What a supervisor told, to be waited for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._new = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._new.set()

    async def until(self, name: str, state: str, times: int = 1) -> Event:
        """The event, when it has come so many times."""
        async with asyncio.timeout(20):
            while len(found := [e for e in self.events if (e.name, e.state) == (name, state)]) < times:
                self._new.clear()
                await self._new.wait()
        return found[times - 1]

    def all(self, name: str, state: str) -> list[Event]:
        """All such events."""
        return [e for e in self.events if (e.name, e.state) == (name, state)]


OPERATOR = Signer.new("olga")
_KNOWN = Identities([Identity(name="olga", person="olga", role=Role.OPERATOR, key=OPERATOR.public)])


def orders(note: Note = lambda *_: None) -> Orders:
    """Obeys olga, each command once."""
    return Orders(SystemClock(), Verifier(_KNOWN).verify, Replays().first, note)


def signed(do: str, name: str = "", signer: Signer = OPERATOR, **args: str) -> Signed:
    """A command to the supervisor."""
    scope, now = f"process:{name}" if name else "system", SystemClock().now()
    return command.sign(command.new(do, scope, "a drill", signer.name, now, args=args), signer)


async def told_to(socket: Path, do: str, name: str = "", **args: str) -> dict:
    """What the supervisor says to olga's command."""
    return await ask(socket, {"do": "command", "signed": msgspec.to_builtins(signed(do, name, **args))}, 20.0)


def supervise(tmp_path: Path, processes: list[Process]) -> tuple[Supervisor, Told]:
    """A supervisor that looks often, so that tests are short."""
    told = Told()
    folder = DataFolder(tmp_path / "data")
    return Supervisor(Topology(processes), folder, SystemClock(), told, period=0.02, orders=orders()), told

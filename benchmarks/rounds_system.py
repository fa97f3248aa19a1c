"""A whole live system on a data folder of its own, under load, for the rounds: brought up, looked at, taken down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tomllib
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sample_lake import sample_lake

from tidegate.access.local import own_name
from tidegate.cli.sign import signed
from tidegate.ops.folder import DataFolder
from tidegate.ops.orders import order
from tidegate.ops.proc import lives
from tidegate.ops.supervisor import read_states
from tidegate.roles.place import SimulatedVenue, simulated
from tidegate.world import World

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"BTCUSDT.BINANCE": 2000, "BTCUSDT.BINANCE_USDM": 10, "BTCUSD_PERP.BINANCE_COINM": 5}
"""Lots of one order, by instrument: about 500 to 1,200 USDT."""
WIDE = {
    "order_qty", "order_value", "parent_value", "period_drift", "duplicate_orders", "position", "open_orders",
    "open_value", "orders_per_second", "cancels_per_second", "gross", "net", "loss", "drawdown", "traded_value", "venue_share",
    "volume_share", "interest_share", "depth_share",
}  # fmt: skip
"""Limits that are no matter here; collars and the touch's age stay as they are."""
UP = 60.0
"""Seconds until the system must be up, or quiet."""

TRACED = """
from tidegate.log import embedded
plain = embedded.configuration
embedded.configuration = lambda **what: plain(**what) + "trace: true\\nmax_traced_msg_len: 64\\n"
from tidegate.cli import main
main()
"""


class Trouble(AssertionError):
    """The system did not do what it must: says what."""


def toml(table: dict[str, Any], name: str = "") -> str:
    """A nested table as TOML."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"[{name}]"] if name and (plain or not table) else []
    lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            quoted = json.dumps(key)
            lines.append(toml(value, f"{name}.{quoted}" if name else quoted))
    return "\n".join(lines)


def lake(home: Path) -> Path:
    """A lake with the sample's instruments: that of `make demo`, else one made for this system."""
    return ROOT / "lake" if (ROOT / "lake").is_dir() else sample_lake(home / "lake")


def widened(limits: dict[str, Any]) -> dict[str, Any]:
    """The same without the limits that are no matter here, those of single instruments too."""
    return {
        key: widened(value) if isinstance(value, dict) else "unlimited" if key in WIDE else value
        for key, value in limits.items()
    }


def configuration(
    home: Path, rate: float, lanes: int, processes: list[list[str]], log: dict[str, Any]
) -> Path:
    """The demo's configuration with two busy strategies in the place of its own, on an account and a lane each."""
    config = tomllib.loads((ROOT / "examples/demo.toml").read_text())
    config["run"]["name"] = "rounds"
    config["data"]["lake"] = str(lake(home))
    captures = config["simulated"]["captures"]
    config["simulated"] = {
        "loop": True, "limits": "roomy", "captures": {k: str(ROOT / "examples" / v) for k, v in captures.items()},
    }  # fmt: skip
    config["log"] = {"durability": "machine", "lanes": lanes, **log}
    config["topology"] = {"on_stop": "keep", "processes": processes}
    config["accounts"] = {
        n: {"capital": "500000", "lane": i % lanes} for i, n in enumerate(("making", "arbitrage"))
    }
    config["strategies"] = {
        name: {
            "type": f"{ROOT / 'benchmarks/busy_strategy.py'}:Busy",
            "account": account,
            "params": {
                "sizes": {key: SIZES[key] for key in markets},
                "rate": rate / 2,
                "journal": str(home / f"{name}.journal"),
            },
        }
        for name, account, markets in (
            ("left", "making", ["BTCUSDT.BINANCE", "BTCUSDT.BINANCE_USDM"]),
            ("right", "arbitrage", ["BTCUSDT.BINANCE_USDM", "BTCUSD_PERP.BINANCE_COINM"]),
        )
    }
    wide = widened(config["risk"]["firm"])
    shared = {key: value for key, value in wide.items() if key in config["risk"]["accounts"]["*"]}
    wide["margin_buffer"] = shared["margin_buffer"] = "unlimited"
    strategies = {key: value for key, value in shared.items() if key in config["risk"]["strategies"]["*"]}
    config["risk"] = {"firm": wide, "accounts": {"*": shared}, "strategies": {"*": strategies}}
    path = home / "rounds.toml"
    path.write_text(toml(config) + "\n")
    return path


ALONE = [
    ["venue"], ["feed"], ["oms"], ["risk"], ["gateway"], ["recorder"], ["strategy:left"], ["strategy:right"],
]  # fmt: skip
TWO_OMS = [*ALONE[:3], ["oms"], *ALONE[3:]]


@dataclass
class System:
    """One running system. `home` holds its configuration, its journals and its data folder."""

    home: Path
    rate: float = 100.0
    lanes: int = 2
    processes: list[list[str]] = field(default_factory=lambda: ALONE)
    log: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    traced: bool = False
    """The log's server writes down every message's subject (`grants_used`)."""

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.data = self.home / "data"
        self.folder = DataFolder(self.data)
        self.path = configuration(self.home, self.rate, self.lanes, self.processes, self.log)
        self.world = World.load(self.path)
        self.strategies = list(self.world.config.strategies)
        self._up: asyncio.subprocess.Process | None = None
        self._more: list[asyncio.subprocess.Process] = []
        self.venue: SimulatedVenue

    # Life.

    async def start(self) -> None:
        """Bring it up; returns once every strategy has had an order acknowledged."""
        command = ("up", str(self.path), "--data", str(self.data), "--plain")
        self._up = await self._spawn(
            "up", *(("-c", TRACED) if self.traced else ("-m", "tidegate.cli")), *command
        )
        await self.until(lambda: simulated(self.folder) is not None, "the venue to listen")
        found = simulated(self.folder)
        assert found is not None
        self.venue = found
        for name in self.strategies:
            await self.until(lambda name=name: self.acks(name), f"strategy {name} to trade")  # type: ignore[misc]

    async def stop(self) -> None:
        """Take it down, whatever state it is in."""
        for process in (*self._more, self._up):
            if process is not None and process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 30)
                except TimeoutError:
                    process.kill()
                    await process.wait()
        for row in read_states(self.folder):
            if lives(int(row["pid"] or 0), int(row["started"] or 0)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(row["pid"], signal.SIGKILL)

    async def more(self, name: str, role: str, *, version: str = "") -> asyncio.subprocess.Process:
        """One more process of a role beside those of the topology; with `version` it takes itself for that one."""
        args = ["run", role, str(self.path), "--data", str(self.data), "--name", name]
        code = f"import sys, tidegate; tidegate.__version__ = {version!r}\nfrom tidegate.cli import main\n"
        code += f"sys.argv = {['tidegate', *args]!r}\nmain()"
        process = await self._spawn(name, *(("-c", code) if version else ("-m", "tidegate.cli", *args)))
        self._more.append(process)
        return process

    async def _spawn(self, name: str, *args: str) -> asyncio.subprocess.Process:
        with (self.home / f"{name}.out").open("ab") as out:
            return await asyncio.create_subprocess_exec(
                sys.executable, *args, stdout=out, stderr=out, env={**os.environ, **self.env}, start_new_session=True
            )  # fmt: skip

    # Its processes.

    def pid(self, name: str) -> int:
        """A process's id; 0 while it does not run."""
        for row in read_states(self.folder):
            if row["name"] == name and row["pid"] and lives(row["pid"], row["started"]):
                return int(row["pid"])
        return 0

    def state(self, name: str) -> str:
        """What the supervisor says of it."""
        return next((str(row["state"]) for row in read_states(self.folder) if row["name"] == name), "")

    async def ask(self, do: str, name: str, **more: str) -> dict[str, Any]:
        """Ask the supervisor."""
        return await order(
            self.folder.socket, signed(do, f"process:{name}", "a round", self.data, own_name(), **more)
        )

    def health(self, name: str) -> dict[str, Any]:
        """What a process said of itself last."""
        try:
            return dict(json.loads(self.folder.health(name).read_bytes()))
        except (OSError, ValueError):
            return {}

    async def until(self, look: Any, what: str, timeout: float = UP) -> Any:
        """Wait for what `look` finds; `Trouble` where it does not come."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not (found := look()):
            if loop.time() > end:
                raise Trouble(f"waited {timeout:g} s for {what}; see {self.home}")
            if self._up is not None and self._up.returncode is not None:
                raise Trouble(f"`tidegate up` has ended with {self._up.returncode}; see {self.home}/up.out")
            await asyncio.sleep(0.02)
        return found

    # Its strategies.

    def journal(self, name: str) -> list[list[str]]:
        """What a strategy has noted."""
        path = self.home / f"{name}.journal"
        text = path.read_text() if path.exists() else ""
        return [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def acks(self, name: str) -> int:
        """How many of its orders the venue has acknowledged."""
        return sum(row[0] == "ack" for row in self.journal(name))

    async def quiet(self) -> None:
        """Stop the load; returns once nothing is awaited any more."""
        for name in self.strategies:
            (self.home / f"{name}.journal.stop").touch()
        for name in self.strategies:
            await self.until(lambda name=name: self._is_quiet(name), f"strategy {name} to be quiet")  # type: ignore[misc]

    def _is_quiet(self, name: str) -> bool:
        rows = self.journal(name)
        return bool(rows) and rows[-1][0] == "quiet"

    # The venue.

    async def admin(self, path: str, **asked: Any) -> Any:
        """Ask the venue's own side; a body makes it a POST."""
        return await asyncio.to_thread(self._admin, path, asked)

    def _admin(self, path: str, asked: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.venue.url}/admin/{path}",
            data=json.dumps(asked).encode() if asked else None,
            headers={"X-Admin-Token": self.venue.token},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    async def record(self, what: str) -> list[dict[str, Any]]:
        """All of the venue's own record: `requests` or `happenings`."""
        found: list[dict[str, Any]] = []
        other = "happenings" if what == "requests" else "requests"
        while True:
            page = await self.admin(f"record?{what}_from={len(found)}&{other}_from={1 << 60}&limit=20000")
            found += page[what]
            if len(page[what]) < 20000:
                if page["left_out"]:
                    raise Trouble(f"the venue's record is full: {page['left_out']} left out")
                return found

"""How soon a bad version is taken back, on a whole live system: `python benchmarks/bench_deploy.py [--rounds N]`.

A system of processes under `tidegate up`, the packaged sample replayed as its exchange. Each round deploys, by command, a
canary that was a market maker in its backtest and is something else live (`turncoat_strategy.py`): ten times as many
orders; buys and never sells; dies again and again. Then the log is read: how long after the deviation was on it

* the candidate's slot was closed in its lane, and its scope killed on HALT;
* the roll-back was on DEPLOY;
* the last of its orders was over, at the venue's word;
* the live version had its limits back, but for what the candidate still holds.

Two people then lift the halt and give what it held to the live version, before the next round. Goal: all within a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from environments import ROOT
from sample_lake import sample_lake

from tidegate.access.command import approve, new, sign
from tidegate.access.identity_file import AccessSection
from tidegate.access.keyring import Keyring
from tidegate.access.signer import find as signer
from tidegate.log.embedded import find
from tidegate.log.nats import NatsLog, connect
from tidegate.log.streams import declared
from tidegate.model.messages import OrderEvent, SlotShare
from tidegate.model.order import OrdStatus
from tidegate.model.wire import decode
from tidegate.risk.halt import HaltBoard, commanded, post
from tidegate.strategy.deploy.stages import decode as deploy_event

OUT = ROOT / "bench-out" / "deploy"
FAULTS = ("rate", "hoard", "crash")
GOAL_MS = 1000.0
COLUMNS = ("closed", "halted", "decided", "cancelled", "limits back")
BIN = Path(sys.executable).with_name("tidegate")
SCOPE = "strategy:maker.next"
DEADLINE_S = 120.0


def configuration(folder: Path) -> Path:
    """The demo's configuration with a slot for new versions of its maker, and room for what a bad one does."""
    text = (ROOT / "examples" / "demo.toml").read_text()
    text = text.replace('"../lake"', f'"{sample_lake(ROOT / "bench-out" / "live" / "lake")}"')
    text = text.replace('"../data/sample', f'"{ROOT / "data" / "sample"}')
    text = text.replace("[strategies.maker]\n", '[strategies.maker]\ncanary = "40%"\n', 1)
    text = text.replace("speed = 1.0", "speed = 1.0\nloop = true")
    text = text.replace("open_orders = 20\n", "open_orders = 100\n")
    path = folder / "deploy.toml"
    path.write_text(text)
    return path


def version(folder: Path, fault: str, number: int) -> Path:
    """A bad version's file."""
    source = folder / "turncoat_strategy.py"
    source.write_text((ROOT / "benchmarks" / "turncoat_strategy.py").read_text())
    path = folder / f"{fault}-{number}.toml"
    path.write_text(
        f'type = "{source.name}:Turncoat"\n[params]\nmarket = "BTCUSDT.BINANCE_USDM"\nsize = 5\nmax_position = 50\n'
        f'fault = "{fault}"\nround = {number}\nafter = {1.0 if fault == "crash" else 5.0}\n'
    )
    return path


def tidegate(data: Path, *words: str) -> str:
    """Run a command; what it printed. Ends the benchmark where it fails."""
    done = subprocess.run(
        [BIN, *words, "--data", str(data)], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    if done.returncode:
        raise SystemExit(f"tidegate {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class System:
    """`with System(folder) as system`: it runs and trades."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.data = folder, folder / "data"
        self.config = configuration(folder)

    def __enter__(self) -> System:
        for name in ("ada", "bob"):
            tidegate(self.data, "identity", "new", name, "--role", "risk_officer")
        with (self.folder / "up.log").open("wb") as out:
            self.process = subprocess.Popen(
                [BIN, "up", self.config, "--data", self.data, "--plain"], stdout=out, stderr=out
            )
        end = time.monotonic() + DEADLINE_S
        while " up  running" not in (self.folder / "up.log").read_text():
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"the system did not come up: {self.folder / 'up.log'}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    async def log(self) -> NatsLog:
        """A client of its log."""
        running = find(self.data)
        assert running is not None
        return await connect(
            running.url, name="bench", declared=declared(1, running.durability), user=running.user,
            password=running.password,
        )  # fmt: skip


async def entries(log: NatsLog, stream: str, since: int) -> list[Any]:
    """Entries of a stream stored at or after `since` (ns)."""
    return [entry async for batch in log.read(stream) for entry in batch if entry.ts >= since]


async def taken_back(log: NatsLog, since: int) -> Any:
    """Wait for the roll-back; its entry."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        for entry in await entries(log, "DEPLOY", since):
            if deploy_event(entry.data).do == "rollback":
                return entry
        await asyncio.sleep(0.2)
    raise SystemExit("the version was not taken back")


async def measure(log: NatsLog, since: int, candidate: int) -> dict[str, float]:
    """What the log says of one round, in ms after the deviation was on it."""
    decided = await taken_back(log, since)
    await asyncio.sleep(4.0)  # a late word of the venue would be here by now
    event = deploy_event(decided.data)
    at = int(event.figures["at"])
    shares = [
        (entry.ts, m)
        for entry in await entries(log, "LANE_0", at)
        if entry.subject == "lane.0.sys"
        for m in decode(entry.data).messages
        if type(m) is SlotShare
    ]
    told = [
        (entry.ts, m)
        for entry in await entries(log, "EVT_0", since)
        for m in decode(entry.data).messages
        if type(m) is OrderEvent and m.strategy == candidate and m.cl_ord_id
    ]
    still = {m.cl_ord_id: m.status for _, m in told}
    left = [key for key, status in still.items() if status < OrdStatus.FILLED]
    if left:
        raise SystemExit(f"{len(left)} orders of the candidate are still open")
    over = [
        ts for ts, m in told if ts >= at and m.status >= OrdStatus.FILLED and m.status is not OrdStatus.DENIED
    ]
    over_at = max(over, default=at)
    closed = next(ts for ts, m in shares if m.candidate_ppm == 0)
    back = next((ts for ts, m in shares if m.candidate_ppm == 0 and ts >= over_at), closed)
    halted = [entry.ts for entry in await entries(log, "HALT", at)]
    sent = [
        ts
        for ts, m in told
        if m.status is OrdStatus.PENDING_NEW and m.exec_type is None and ts > closed + 50_000_000
    ]
    if sent:
        raise SystemExit(f"{len(sent)} orders of the candidate passed after its slot was closed")
    found = {
        "closed": closed,
        "halted": halted[0],
        "decided": decided.ts,
        "cancelled": over_at,
        "limits back": back,
    }
    return {name: (ts - at) / 1e6 for name, ts in found.items()} | {"cancels": float(len(over))}


async def between(system: System, log: NatsLog) -> None:
    """Two people lift the halt, and give the live version what the bad one left behind; it works that off."""
    keyring = await Keyring.open(log, system.data, AccessSection())
    board = HaltBoard(keyring.verify)
    for entry in await entries(log, "HALT", 0):
        board.apply(entry.seq, entry.ts, entry.data)
    keyring.close()
    args = {"epoch": str(board.status(SCOPE).epoch), "state": "RECOVERING", "recover": "1000000000"}
    now = time.time_ns()
    made = new("resume", SCOPE, "the next round", "ada", now, args=args)
    signed = approve(sign(made, signer(system.data, "ada")), signer(system.data, "bob")).encode()
    await post(log, commanded(signed, made, now))
    words = ("deploy", "adopt", "maker", "--reason", "the next round", "--as", "ada", "--and", "bob")
    await asyncio.to_thread(tidegate, system.data, *words)
    await asyncio.sleep(8.0)


async def play(system: System, rounds: int) -> dict[str, list[dict[str, float]]]:
    """All rounds."""
    log = await system.log()
    results: dict[str, list[dict[str, float]]] = {}
    await asyncio.sleep(5.0)
    try:
        for number in range(rounds):
            for fault in FAULTS:
                since = time.time_ns()
                file = version(system.folder, fault, number)
                await asyncio.to_thread(
                    tidegate, system.data, "deploy", "maker", "--version", str(file), "--config", str(system.config), "--stage",
                    "canary", "--as", "ada", "--reason", f"round {number}, {fault}",
                )  # fmt: skip
                found = await measure(log, since, candidate=3)
                results.setdefault(fault, []).append(found)
                print(f"{fault:6} " + "  ".join(f"{name} {found[name]:6.1f}" for name in COLUMNS), flush=True)
                await between(system, log)
    finally:
        await log.close()
    return results


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each fault")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    folder = options.out / time.strftime("%Y%m%d-%H%M%S")
    with System(folder) as system:
        results = asyncio.run(play(system, options.rounds))
    print(f"\nms after the deviation was on the log; {options.rounds} rounds each, median (worst)")
    print("       " + "".join(f"{name:>20}" for name in COLUMNS))
    worst = 0.0
    for fault, found in results.items():
        cells = []
        for name in COLUMNS:
            values = [one[name] for one in found]
            worst = max(worst, *values)
            cells.append(f"{np.median(values):.1f} ({max(values):.1f})")
        print(f"{fault:7}" + "".join(f"{cell:>20}" for cell in cells))
    (folder / "results.json").write_text(json.dumps(results, indent=2))
    print(f"worst {worst:.0f} ms, goal {GOAL_MS:.0f} ms: {'met' if worst <= GOAL_MS else 'missed'}")


if __name__ == "__main__":
    main()

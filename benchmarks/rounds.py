"""`kill -9` of every role under load, a zombie, lanes that move, an upgrade while trading, a log that loses its leader.

Each part has a system of its own: every service a process, the simulated venue, two busy strategies on a lane and an
account each. A round is a blow and the wait until both trade again: until the venue's own record has an accepted
order whose command was written after the blow. After its rounds a part stops the load and compares everything with the
venue's record. Exit code 1, and what is wrong, where an order or fill was lost or doubled, books differ,
or trading went on too late.

    python benchmarks/rounds.py [PART …] [--rounds 20] [--rate 100] [--json bench-out/rounds.json] [--keep]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import machine
from rich.console import Console
from rich.table import Table
from rounds_acts import PARTS as PLAIN
from rounds_acts import Blow, Part
from rounds_breaker import PART as BREAKER
from rounds_check import Verdict, again, compare, silence
from rounds_system import Trouble

from tidegate.errors import UserError

PARTS = PLAIN | {BREAKER.name: BREAKER}


@dataclass
class Result:
    """What the rounds of one part came to."""

    part: str
    rounds: int = 0
    again: list[float] = field(default_factory=list)
    """Seconds until trading again, of each blow; where nothing died, the longest silence."""
    bound: float = 5.0
    orders: int = 0
    fills: int = 0
    unsent: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)
    trouble: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """What must not be, on any machine."""
        found = [*self.lost, *self.doubled, *self.differ]
        return [*found, self.trouble] if self.trouble else found

    @property
    def late(self) -> list[str]:
        """Where trading went on after its bound: a busy machine's fault, or ours."""
        return [
            f"trading again only after {s:.2f} s (≤ {self.bound:g})" for s in self.again if s > self.bound
        ]


async def play(part: Part, rounds: int, rate: float, home: Path) -> Result:
    """Bring a system up, play the rounds of one part, compare, take it down."""
    result = Result(part.name, bound=part.bound)
    blows: list[Blow] = []
    try:
        async with part.system(home, rate) as system:
            for number in range(rounds):
                if number:
                    await asyncio.sleep(part.pause)
                blows += await part.act(system, result.notes)
                result.rounds += 1
            await system.quiet()
            verdict = await compare(system)
            _note(result, verdict, blows, len(system.strategies))
    except Trouble as trouble:
        result.trouble = str(trouble)
    return result


def _note(result: Result, verdict: Verdict, blows: list[Blow], strategies: int) -> None:
    result.again = [
        silence(verdict, blow.at, blow.until, strategies)
        if blow.until
        else again(verdict, blow.at, strategies, blow.fresh)
        for blow in blows
    ]
    result.orders, result.fills, result.unsent = verdict.orders, verdict.fills, verdict.unsent
    result.lost, result.doubled, result.differ = verdict.lost, verdict.doubled, verdict.differ


def table(results: list[Result]) -> Table:
    """The results for people."""
    made = Table(
        "Blow to",
        "Rounds",
        "Trading again p50",
        "max",
        "Orders",
        "Fills",
        "Lost",
        "Doubled",
        "Ledger = venue",
    )
    for column in made.columns[1:8]:
        column.justify = "right"
    for r in results:
        p50 = f"{statistics.median(r.again):.2f} s" if r.again else "–"
        most = f"{max(r.again):.2f} s" if r.again else "–"
        late = "[red]" if r.again and max(r.again) > r.bound else ""
        equal = f"[red]{r.trouble or 'no'}" if r.trouble or r.differ else "yes"
        made.add_row(
            r.part, f"{r.rounds}", p50, f"{late}{most}", f"{r.orders:,}", f"{r.fills:,}", f"{len(r.lost)}",
            f"{len(r.doubled)}", equal,
        )  # fmt: skip
    return made


def main() -> int:
    """Play what was asked for; see the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--rate", type=float, default=100.0, help="commands a second, of both strategies together"
    )
    parser.add_argument("--json", type=Path, default=Path("bench-out/rounds.json"))
    parser.add_argument(
        "--keep", action="store_true", help="keep every data folder, not only those of violations"
    )
    args = parser.parse_args()
    unknown = [name for name in args.parts if name not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
    base = Path(tempfile.mkdtemp(prefix="tidegate-rounds-"))
    console, results = Console(), []
    for name in args.parts or PARTS:
        began = time.monotonic()
        result = asyncio.run(play(PARTS[name], args.rounds, args.rate, base / name))
        results.append(result)
        console.print(
            table([result]), f"{time.monotonic() - began:.0f} s", *result.notes, *result.violations[:10]
        )
        if not args.keep and not result.violations:
            shutil.rmtree(base / name, ignore_errors=True)
    console.rule("all")
    console.print(table(results))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(result) for result in results]
    args.json.write_text(
        json.dumps({"machine": machine.describe(), "rate": args.rate, "parts": rows}, indent=1) + "\n"
    )
    violations = [f"{r.part}: {text}" for r in results for text in (*r.violations, *r.late)]
    for text in violations:
        print(f"rounds: {text}", file=sys.stderr)
    if violations:
        print(f"rounds: data folders kept under {base}", file=sys.stderr)
    elif not args.keep:
        shutil.rmtree(base, ignore_errors=True)
    return 1 if violations else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is taken down
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"rounds: {error}")

"""`make bench-peers`: tidegate and its peers on the same work, interleaved, in one run.

    python benchmarks/run_peers.py [--rounds 5] [--only CASE …] [--scale 1.0] [--out bench-out]

Each round runs every system once, in a fresh process each, one after another (tidegate, peer, peer, tidegate …);
the ratio is taken within the round, so what else the machine does meets both. Peers are installed into
environments of their own; one that cannot be is left out with the reason. Writes `peers.json` with every
measurement and `peers.md`, the table of the README.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
from environments import HFTBACKTEST, NAUTILUS_1, NAUTILUS_2, ROOT, Peer, Unavailable

HERE = Path(__file__).resolve().parent
Measurement = dict[str, Any]


@dataclass(frozen=True)
class Opponent:
    """A peer in a case: how it is called, its environment, its script and that script's last arguments."""

    name: str
    peer: Peer
    script: str
    extra: tuple[str, ...] = ()
    goal: float = 0.0
    """The ratio we mean to reach; 0 for none."""


@dataclass(frozen=True)
class Case:
    """One piece of work: `n` events, and who else does it."""

    n: int
    opponents: tuple[Opponent, ...]


def _nautilus(goal: float) -> tuple[Opponent, ...]:
    return (
        Opponent("nautilus_trader 2.0.0rc7", NAUTILUS_2, "nautilus2.py", (), goal),
        Opponent("nautilus_trader 1.221.0", NAUTILUS_1, "nautilus1.py"),
    )


def _hftbacktest(goal: float) -> tuple[Opponent, ...]:
    return tuple(
        Opponent(f"hftbacktest 2.4.4 ({book})", HFTBACKTEST, "hftbacktest_mm.py", (book,), goal)
        for book in ("hashmap", "roivec")
    )


CASES = {
    "quotes_empty": Case(1_000_000, _nautilus(3)),
    "quotes_orders": Case(1_000_000, _nautilus(2.5)),
    "trades_ema": Case(1_000_000, _nautilus(3)),
    "deltas": Case(1_000_000, _nautilus(3)),
    "deltas10": Case(1_000_000, _nautilus(3)),
    "elapse_mm": Case(5_000_000, _hftbacktest(2)),
    "feed_mm": Case(5_000_000, _hftbacktest(3)),
}


@dataclass
class Row:
    """One opponent in one case: both sides' measurements, round by round."""

    case: str
    opponent: str
    goal: float
    ours: list[Measurement] = field(default_factory=list)
    theirs: list[Measurement] = field(default_factory=list)
    skipped: str = ""

    def ratios(self, key: str) -> list[float]:
        """Their seconds over ours, by round; `key` is `wall_s` or `cpu_s`."""
        return sorted(b[key] / a[key] for a, b in zip(self.ours, self.theirs, strict=True))

    def summary(self) -> dict[str, Any]:
        """Everything, for `peers.json`."""
        found: dict[str, Any] = {"case": self.case, "peer": self.opponent, "goal": self.goal}
        if self.skipped:
            return found | {"skipped": self.skipped}
        for key in ("wall_s", "cpu_s"):
            ratios = self.ratios(key)
            found[f"ratio_{key}"] = {"median": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]}
        return found | {"tidegate_rounds": self.ours, "peer_rounds": self.theirs}


def run(command: list[str]) -> Measurement:
    """One measurement in a fresh process: the last line it prints."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    measured: Measurement = json.loads(lines[-1])
    return measured


def compare(name: str, case: Case, rounds: int, scale: float, note: Callable[[str], None]) -> list[Row]:
    """One case against all of its opponents."""
    n = str(int(case.n * scale))
    rows, commands = [], []
    for opponent in case.opponents:
        row = Row(name, opponent.name, opponent.goal)
        rows.append(row)
        try:
            python = opponent.peer.python()
        except Unavailable as reason:
            row.skipped = str(reason)
            note(f"{name}: {opponent.name} left out: {reason}")
            continue
        commands.append((row, [str(python), str(HERE / "peers" / opponent.script), name, n, *opponent.extra]))
    for turn in range(rounds if commands else 0):
        ours = run([sys.executable, str(HERE / "bench_replay.py"), name, n])
        for row, command in commands:
            row.ours.append(ours)
            row.theirs.append(run(command))
            ratio = row.theirs[-1]["wall_s"] / ours["wall_s"]
            note(f"{name} {turn + 1}/{rounds}: {ours['per_s']:,.0f}/s, {ratio:.2f} × {row.opponent}")
    return rows


def _median(rounds: list[Measurement], key: str) -> float:
    return statistics.median(float(one[key]) for one in rounds)


def table(rows: list[Row], rounds: int) -> str:
    """The Markdown table."""
    lines = [
        "| work | peer | peer, events/s | tidegate, events/s | ratio (min–max) | of CPU time | goal | peak MB, peer → tidegate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.skipped:
            lines.append(f"| `{row.case}` | {row.opponent} | left out: {row.skipped} | | | | | |")
            continue
        wall, cpu = row.ratios("wall_s"), row.ratios("cpu_s")
        lines.append(
            f"| `{row.case}` | {row.opponent} | {_rate(row.theirs)} | {_rate(row.ours)} "
            f"| **{statistics.median(wall):.1f}** ({wall[0]:.1f}–{wall[-1]:.1f}) | {statistics.median(cpu):.1f} "
            f"| {f'≥ {row.goal:g}' if row.goal else ''} "
            f"| {_median(row.theirs, 'peak_mb'):.0f} → {_median(row.ours, 'peak_mb'):.0f} |"
        )
    counted = [f"`{row.case}`, {row.opponent}: {_counts(row)}" for row in rows if not row.skipped]
    return "\n".join(
        [
            f"Medians of {rounds} interleaved rounds, a fresh process each. {machine.sentence()}",
            "", *lines, "", "What was counted (peer / tidegate):", "", *(f"- {line}" for line in counted), "",
        ]
    )  # fmt: skip


def _rate(rounds: list[Measurement]) -> str:
    return f"{_median(rounds, 'per_s') / 1e6:.2f} M"


def _counts(row: Row) -> str:
    theirs, ours = row.theirs[0]["counts"], row.ours[0]["counts"]
    shared = [f"{key} {theirs[key]:,} / {ours[key]:,}" for key in theirs if key in ours]
    return ", ".join(shared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--scale", type=float, default=1.0, help="a fraction of every case's events")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-out")
    args = parser.parse_args()

    def note(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    rows = [row for name in args.only for row in compare(name, CASES[name], args.rounds, args.scale, note)]
    args.out.mkdir(parents=True, exist_ok=True)
    text = table(rows, args.rounds)
    (args.out / "peers.md").write_text(text)
    result = {"machine": machine.describe(), "rounds": args.rounds, "rows": [row.summary() for row in rows]}
    (args.out / "peers.json").write_text(json.dumps(result, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()

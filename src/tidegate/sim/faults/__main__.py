"""The whole system under faults, on virtual time: one seed (`--seed N`), or seed after seed (`--soak MINUTES`).

Everything is drawn from the seed: with the same version of the code it takes the same course each time. docs/faults.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tidegate.errors import UserError
from tidegate.sim.faults import schedule
from tidegate.sim.faults.run import Outcome, run
from tidegate.sim.faults.shrink import shrink
from tidegate.sim.faults.soak import Soaked, soak

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """0: nothing was found; 1: something was; 2: a mistake in what was asked."""
    ask = argparse.ArgumentParser(prog="python -m tidegate.sim.faults", description=__doc__)
    ask.add_argument("--seed", type=int, default=1, help="the run's, or the first of a soak")
    ask.add_argument("--minutes", type=float, default=10.0, help="virtual minutes a run")
    ask.add_argument("--schedule", type=Path, help="faults from this file, not from the seed")
    ask.add_argument("--soak", type=float, help="run seed after seed for so many real minutes")
    ask.add_argument("--jobs", type=int, default=0, help="processes of a soak; one a core")
    ask.add_argument("--keep", type=Path, default=Path("runs/faults"), help="where failing schedules go")
    ask.add_argument("--no-shrink", action="store_true", help="do not look for the shortest schedule")
    chosen = ask.parse_args()
    try:
        if chosen.minutes <= 0:
            raise UserError(f"--minutes is {chosen.minutes}, must be above 0")
        if chosen.soak is not None:
            outcome = _soak(chosen.seed, chosen.minutes, chosen.soak, chosen.jobs)
        else:
            faults = schedule.read(chosen.schedule) if chosen.schedule else None
            outcome = run(chosen.seed, chosen.minutes, faults)
            _figures(outcome)
    except UserError as error:
        console.print(f"error: {error}", style="red")
        return 2
    if outcome is None or not outcome.violations:
        return 0
    _failed(outcome, chosen.keep, not chosen.no_shrink)
    return 1


def _figures(outcome: Outcome) -> None:
    counts = outcome.counts
    console.print(
        f"seed {outcome.seed}: {outcome.virtual:.1f} virtual minutes in {outcome.real:.1f} s "
        f"({60 * outcome.virtual / outcome.real:.0f} a minute), {counts['faults']} faults, {counts['entries']} "
        f"entries, {counts['orders']} orders, {counts['venue fills']} fills, digest {outcome.digest}"
    )
    _halts(counts)
    if not outcome.violations:
        console.print("  nothing was lost, doubled, told twice, lent twice, or sent against a halt")
    _recoveries(outcome.recoveries)


def _halts(counts: Mapping[str, int]) -> None:
    """What people and breakers did."""
    down = sum(counts.get(f"scope {state}", 0) for state in ("REDUCE_ONLY", "CANCEL_ONLY", "KILLED"))
    false = sum(n for name, n in counts.items() if name.startswith("false resumes"))
    early = counts.get("halts by a socket first", 0) + counts.get("breakers' halts before the log", 0)
    console.print(
        f"  {down} halts ({early} times a gateway knew before the log told it), {counts.get('scope RECOVERING', 0)} let up "
        f"again, {false} false tries to; {counts.get('orders on the wire at a halt', 0)} orders were on the wire to the "
        f"venue then, {counts.get('orders that only reduce', 0)} passed that only reduce"
    )


def _recoveries(recoveries: list[tuple[str, float]]) -> None:
    by_role: dict[str, list[float]] = defaultdict(list)
    for name, seconds in recoveries:
        by_role[name.partition("-")[0]].append(seconds)
    for role, times in sorted(by_role.items()):
        times.sort()
        console.print(
            f"  kill -9 of {role}: trading again after {times[len(times) // 2]:.2f} s (median), "
            f"{times[-1]:.2f} s (worst of {len(times)})"
        )


def _failed(outcome: Outcome, keep: Path, shorter: bool) -> None:
    console.print(f"seed {outcome.seed} FAILED", style="bold red")
    for text in outcome.violations[:10]:
        console.print(f"  {text}")
    faults = outcome.faults
    if shorter:
        with console.status("looking for the shortest schedule") as status:
            faults = shrink(outcome, progress=lambda n, left: status.update(f"{n} runs, {left} faults left"))
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"seed-{outcome.seed}.jsonl"
    schedule.write(path, faults)
    console.print(f"the shortest schedule found has {len(faults)} of {len(outcome.faults)} faults:")
    for fault in faults:
        console.print(f"  {fault}")
    again = (
        f"python -m tidegate.sim.faults --seed {outcome.seed} --minutes {outcome.minutes:g} --schedule {path}"
    )
    console.print(f"again: {again}", style="bold")
    console.print(
        "each line of that file is a fault, to be cut and changed; another version takes another course"
    )


def _soak(first: int, minutes: float, real: float, jobs: int) -> Outcome | None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("soak", total=real * 60)

        def told(done: Soaked, passed: float) -> None:
            text = f"{done.seeds} seeds, {done.virtual:.0f} virtual minutes, {done.counts['faults']} faults"
            progress.update(bar, completed=passed, description=text)

        done = soak(first, minutes, real * 60, told, jobs)
    rate = 60 * done.virtual / done.real
    console.print(
        f"{done.seeds} seeds from {first}, {done.virtual:.0f} virtual minutes in {done.real / 60:.1f} real ones "
        f"({rate:.0f} a minute)"
    )
    counts = done.counts
    console.print(
        f"{counts['faults']} faults, {counts['entries']} entries, {counts['orders']} orders, "
        f"{counts['venue fills']} fills; memory {done.resident:.0f} MiB a process, {done.slope():+.1f} MiB an hour"
    )
    _halts(counts)
    _recoveries(done.recoveries)
    return done.failed


if __name__ == "__main__":
    sys.exit(main())

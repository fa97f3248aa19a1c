"""`make bench-live`: a live system measured whole. See the README beside it for what is measured, and how.

python benchmarks/bench_live.py [--only PART …] [--seconds S] [--soak MINUTES]
"""

from __future__ import annotations

import argparse
import asyncio

import live_idle
import live_lanes
import live_latency
import live_parts
import live_relay
import machine
from live_hops import quantiles
from live_system import APART, OUT, TOGETHER, Load, speed_for

LANES = (
    ("one lane", 1, 1, 1),
    ("one lane", 1, 1, live_lanes.BATCH),
    ("two lanes, one process", 2, 1, live_lanes.BATCH),
    ("two lanes, two processes", 2, 2, live_lanes.BATCH),
)
"""Lanes, OMS processes, orders an append."""
SAMPLE_TICKS = 469.6
"""Ticks a second of the packaged sample on average, at its own speed."""
PARTS = ("latency", "lanes", "parts", "idle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=12.0, help="of steady load, each case")
    parser.add_argument("--ticks", type=float, default=2000.0, help="a second")
    parser.add_argument("--orders", type=int, default=20_000, help="of a lane, each case")
    parser.add_argument("--topology", nargs="*", choices=("apart", "together"), default=("apart", "together"))
    parser.add_argument(
        "--durability", nargs="*", choices=("process", "machine"), default=("process", "machine")
    )
    parser.add_argument(
        "--soak", type=float, default=0.0, metavar="MINUTES", help="watch memory so long under load"
    )
    parser.add_argument("--no-flood", action="store_true")
    args = parser.parse_args()
    print(machine.sentence())
    if "latency" in args.only:
        OUT.mkdir(parents=True, exist_ok=True)
        speed = speed_for(args.ticks, live_latency.WARM_S, args.seconds)
        for durability in args.durability:
            for topology in args.topology:
                latency(topology, durability, speed, args)
    if "idle" in args.only:
        print("\nidle: every process runs, the market has not begun", flush=True)
        asyncio.run(live_idle.idle(args.seconds))
    if args.soak:
        print(f"\nsoak: {args.soak:g} minutes under load; memory", flush=True)
        speed = args.ticks / SAMPLE_TICKS
        asyncio.run(live_idle.soak(args.soak, speed))
    if "parts" in args.only:
        print(f"\nan order's CPU time in its lane's process, {live_parts.BATCH} an append, µs", flush=True)
        for part, cost in asyncio.run(live_parts.measure()).items():
            print(f"  {part:<30}{cost:7.2f}", flush=True)
    if "lanes" in args.only:
        for durability in args.durability:
            lanes(durability, args)


def lanes(durability: str, args: argparse.Namespace) -> None:
    """Orders a second of one lane, of two in one process, and of two in two."""
    print(f"\nlanes, durability {durability}", flush=True)
    found = {}
    for label, count, processes, batch in LANES:
        rate = asyncio.run(live_lanes.measure("lanes", count, processes, durability, args.orders, batch))
        found[count, processes] = rate.orders
        used = ", ".join(f"{process} {cost:.0f}" for process, cost in rate.cpu.items())
        print(
            f"  {label}, {batch} an append: {rate.orders:7.0f} orders/s; CPU µs an order: {used}", flush=True
        )
    print(f"  two processes ÷ one: {found[2, 2] / found[2, 1]:.2f}")


def latency(topology: str, durability: str, speed: float, args: argparse.Namespace) -> None:
    """One topology and durability: the floor, the system, and what one is of the other."""
    name = f"{topology}-{durability}"
    print(
        f"\ntick to order, {topology}, durability {durability}, the sample at {speed:.2f} times its speed",
        flush=True,
    )
    relay = live_relay.measure(
        f"relay-{name}", topology == "together", durability, speed, live_latency.WARM_S, args.seconds
    )
    floor = asyncio.run(relay)
    least = quantiles(floor)
    print(f"  {'floor: a relay without logic':<28}" + "".join(f"{value:9.0f}" for value in least))
    load = Load(APART if topology == "apart" else TOGETHER, durability, speed)
    found = asyncio.run(live_latency.measure(name, load, args.seconds, not args.no_flood))
    shares = ", ".join(f"{ours / theirs:.1f}" for ours, theirs in zip(found, least, strict=True))
    print(f"  tidegate ÷ floor: {shares} (p50, p99, p99.9)", flush=True)


if __name__ == "__main__":
    main()

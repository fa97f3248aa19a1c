"""What one message costs the order manager's lane, gate and ledger left out (no-ops) and left in.

Two lives of an order, each many times over: filled in two parts, and replaced, then cancelled. Messages are
made beforehand; the figure is the processor's time in `Lane.apply` alone, best of several rounds. Goal: 5 µs
a message on average without the gate.

    python benchmarks/bench_lane.py [--orders 10000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import gc
import time
from decimal import Decimal

from tidegate.execution.core import Lane
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import CancelOrder, Mark, Message, NewOrder, ReplaceOrder, Report
from tidegate.model.order import ExecType, OrdType, Side, TimeInForce
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable

LANE = 1
STEP = 1_000


class OpenGate:
    """Lets everything pass and remembers nothing."""

    limit = value = scope = 0

    def check(self, order, ref_bid, ref_ask, ref_ts, ts):
        return 0

    def check_replace(self, order, new_qty, new_price, ref_bid, ref_ask, ref_ts, ts):
        return 0

    def check_cancel(self, order, ts):
        return 0

    def nothing(self, *args):
        return None

    replaced = replace_rejected = fill = unfill = release = mark = funding = set_state = tick = nothing

    def state_bytes(self):
        return b""

    def load(self, data):
        return None


class NoLedger:
    """Books nothing."""

    def nothing(self, *args):
        return None

    apply_fill = bust = correct = apply_funding = nothing

    def state_bytes(self):
        return b""

    def load(self, data):
        return None


def universe() -> Universe:
    kind = InstrumentKind.PERPETUAL
    item = Instrument(
        symbol="BTCUSDT",
        venue="X",
        kind=kind,
        base="BTC",
        quote="USDT",
        tick=Decimal("0.1"),
        lot=Decimal("0.001"),
    )
    return Universe([item])


def no_parts():
    return OpenGate(), NoLedger()


def real_parts():
    items = universe()
    return Gate(items, ScopeTable.simple(), unlimited()), Ledger(items)


def new(ts: int, n: int) -> NewOrder:
    return NewOrder(
        ts, n, 0, 0, 0, Side.BUY if n % 2 else Side.SELL, OrdType.LIMIT, 10, 600_000 + n % 7,
        time_in_force=TimeInForce.GTC, ref_bid=600_000, ref_ask=600_001, ref_ts=ts,
    )  # fmt: skip


def filled(n: int) -> list[Message]:
    """new, acknowledged, filled in two parts"""
    ts, key = n * 10 * STEP, LANE << 40 | n
    said = ts + STEP
    return [
        new(ts, n),
        Report(ts + STEP, key, ExecType.NEW, ts_venue=said),
        Report(
            ts + 2 * STEP, key, ExecType.TRADE, ts_venue=said, exec_id=2 * n, last_qty=4, last_px=600_000,
            fee=5, maker=True, cum_qty=4, leaves_qty=6,
        ),
        Report(
            ts + 3 * STEP, key, ExecType.TRADE, ts_venue=said, exec_id=2 * n + 1, last_qty=6, last_px=600_000,
            fee=5, maker=True, cum_qty=10, leaves_qty=0,
        ),
    ]  # fmt: skip


def cancelled(n: int) -> list[Message]:
    """new, acknowledged, replaced, cancelled"""
    ts, key = n * 10 * STEP, LANE << 40 | n
    return [
        new(ts, n),
        Report(ts + STEP, key, ExecType.NEW, ts_venue=ts + STEP),
        ReplaceOrder(ts + 2 * STEP, n, 12, 600_010),
        Report(ts + 3 * STEP, key, ExecType.REPLACED, ts_venue=ts + 3 * STEP, qty=12, price=600_010),
        CancelOrder(ts + 4 * STEP, n),
        Report(ts + 5 * STEP, key, ExecType.CANCELED, ts_venue=ts + 5 * STEP),
    ]


def marks(n: int) -> list[Message]:
    """marks"""
    return [Mark(n * STEP, 0, 600_000, 600_001)]


def measure(life, parts, orders: int) -> tuple[float, int]:
    """Seconds in `apply` over `orders` lives, and how many messages that was."""
    lane = Lane(LANE, universe(), *parts())
    messages = [message for n in range(1, orders + 1) for message in life(n)]
    apply = lane.apply
    gc.collect()
    began = time.process_time()
    for message in messages:
        apply(message)
    spent = time.process_time() - began
    if lane.counts:
        raise SystemExit(f"the lane refused something, so the figure says nothing: {lane.counts}")
    return spent, len(messages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    print(f"{args.orders} orders, best of {args.rounds} rounds; µs a message")
    for label, parts in (("no gate, no ledger", no_parts), ("the real gate and ledger", real_parts)):
        total = count = 0.0
        print(label)
        for life in (filled, cancelled, marks):
            runs = [measure(life, parts, args.orders) for _ in range(args.rounds)]
            best, n = min(runs)
            worst = max(runs)[0]
            if life is not marks:
                total, count = total + best, count + n
            print(f"  {life.__doc__:36} {best / n * 1e6:6.2f} (worst round {worst / n * 1e6:.2f})")
        goal = "   goal 5.00" if parts is no_parts else ""
        print(f"  {'average over the two lives':36} {total / count * 1e6:6.2f}{goal}")


if __name__ == "__main__":
    main()

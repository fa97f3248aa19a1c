"""Where a tick is, and when: latencies from its receipt to every place it comes to, and its trace in the log."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tidegate.ops.logs import LogFile

_SUB = 5
"""Bits kept below the highest: a value is known to 1 part in 32."""
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


class Histogram:
    """Counts of values ≥ 0 in slots whose width grows with the value; a value is off by 3 % at most."""

    __slots__ = ("count", "slots")

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        self.count = 0

    def add(self, value: int) -> None:
        """Count a value; one below 0 as 0."""
        if value < 1 << _SUB:
            slot = max(value, 0)
        else:
            shift = value.bit_length() - _SUB - 1
            slot = (shift << _SUB) + (value >> shift)
        self.slots[slot] = self.slots.get(slot, 0) + 1
        self.count += 1

    def percentiles(self, shares: Iterable[float], other: Histogram | None = None) -> list[int]:
        """The values that these rising shares do not exceed, of this and the other's; 0 where there are none."""
        slots = {k: n + self.slots.get(k, 0) for k, n in other.slots.items()} if other else {}
        slots = self.slots | slots
        order = sorted(slots)
        count, seen, at, found = sum(slots.values()), 0, -1, list[int]()
        for share in shares:
            while at + 1 < len(order) and (seen < share * count or at < 0):
                at += 1
                seen += slots[order[at]]
            found.append(_middle(order[at]) if order else 0)
        return found


def _middle(slot: int) -> int:
    if slot < 2 << _SUB:
        return slot
    shift = (slot >> _SUB) - 1
    return (((slot & ((1 << _SUB) - 1)) | 1 << _SUB) << shift) + (1 << shift >> 1)


HOPS = ("strategy.in", "strategy.out", "oms.in", "oms.out", "gateway.in", "gateway.out")
"""Places a tick comes to, on its way to an order; a `HopFile` has their numbers."""
_MOST = 4_000_000


class HopFile:
    """Every hop of a process for measurements: rows of four 64-bit integers, written to `path` at its end.

    A row is the hop's number in `HOPS`, the trace, the time, and the ClOrdID where the place knows it. It costs a
    fraction of a log line's time, and nothing is written while the process works. `left_out` counts what came after
    the first four million.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left_out = 0
        self._rows = array("q")
        self._numbers = {name: number for number, name in enumerate(HOPS)}

    def add(self, hop: str, trace: int, ts: int, cl_ord_id: int) -> None:
        """Keep a hop."""
        if len(self._rows) >= 4 * _MOST:
            self.left_out += 1
            return
        self._rows.extend((self._numbers[hop], trace, ts, cl_ord_id))

    def close(self) -> None:
        """Write them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self._rows.tobytes())


class Hops:
    """Called by services as `on_hop(hop, trace, ts)`; `trace` is when the tick was received, both ns.

    Latencies are of the last one to two `window`s of ns, so that health shows the present and not the start. With a
    `file` every hop is kept there as well.
    """

    def __init__(self, log: LogFile, window: int = 30 * 10**9, file: HopFile | None = None) -> None:
        self._log, self._window, self._file = log, window, file
        self._now: dict[str, Histogram] = {}
        self._before: dict[str, Histogram] = {}
        self._since = 0

    def __call__(self, hop: str, trace: int, ts: int, cl_ord_id: int = 0) -> None:
        """A tick has come to `hop`; a trace of 0 is none."""
        if not trace:
            return
        if self._file is not None:
            self._file.add(hop, trace, ts, cl_ord_id)
        if ts - self._since > self._window:
            self._before = self._now if ts - self._since < 2 * self._window else {}
            self._now, self._since = {}, ts
        found = self._now.get(hop)
        if found is None:
            found = self._now[hop] = Histogram()
        found.add(ts - trace)
        if self._log.trace_every:
            self._log.hop(hop, trace, ts, **({"cl_ord_id": cl_ord_id} if cl_ord_id else {}))

    def gateway(self, hop: tuple[int, int, int, int, int]) -> None:
        """As gateways tell it: (trace, when the request was written, received, and on the wire, its ClOrdID)."""
        self("gateway.in", hop[0], hop[2], hop[4])
        self("gateway.out", hop[0], hop[3], hop[4])

    def health(self) -> dict[str, Any]:
        """`latency` by hop, as health has it; add it as a service of its own."""
        latency = {}
        for hop in sorted({*self._now, *self._before}):
            now, before = self._now.get(hop) or Histogram(), self._before.get(hop)
            values = now.percentiles(PERCENTILES.values(), before)
            latency[hop] = dict(zip(PERCENTILES, values, strict=True)) | {
                "count": now.count + (before.count if before else 0)
            }
        return {"latency": latency}

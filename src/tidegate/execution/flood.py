"""A strategy that writes into its lane's log far faster than it may: seen where the lane reads its log.

The gate denies what is too much, order by order, and each denial costs the lane and everybody on it. A strategy's own
process holds itself to twice its limits (`strategy.budget`); what writes at four times of them does so against its own
process's will, and only an end of that process helps. So the flood is told at once, as a halt of the strategy
(`risk.halt`, trigger `FLOOD`): lanes and gateways refuse it, its orders are cancelled, and the supervisor ends its cell.

The shell's, not the lane's: nothing in the lane's state follows from it.
"""

from __future__ import annotations

from collections.abc import Callable

from tidegate.model.wire import Unreadable, peek
from tidegate.risk.pace import Pace

FLOOD = "flood"
"""The trigger of the halt."""
FACTOR = 4
"""Times its limits that a strategy may write."""
LEAST = 50
"""Commands that may always come at once."""
REST = 5_000_000_000
"""Ns until the same strategy's flood is told again."""


class FloodWatch:
    """Counts the commands of each strategy by the subject they come on, which the log's server proves.

    `pace` gives a strategy's limits in force. `told` is called with (strategy, what was seen).
    """

    def __init__(self, pace: Callable[[int], Pace], told: Callable[[int, str], None]) -> None:
        self._pace, self._told = pace, told
        self._buckets: dict[str, list[float]] = {}
        """By subject: when the bucket was last filled (ns), what is in it, when a flood was last told (ns)."""

    def saw(self, subject: str, data: bytes, now: int) -> None:
        """An entry of the lane's log; `now` in ns. Time passes by what the writer says, but never beyond ours: what
        waited while the log was away and comes at once is no flood, and a false stamp gains nothing."""
        head, _, number = subject.rpartition(".cmd.")
        if not head or not number.isdecimal():
            return
        try:
            count, stamp = peek(data)
        except Unreadable:
            count, stamp = 1, now
        pace = self._pace(int(number))
        rate, most = pace.total * FACTOR, pace.burst * FACTOR / 2 + LEAST
        stamp = min(stamp, now)
        bucket = self._buckets.get(subject)
        if bucket is None:
            bucket = self._buckets[subject] = [stamp, most, -REST]
        if stamp > bucket[0]:
            bucket[1] = min(most, bucket[1] + (stamp - bucket[0]) * rate / 1e9)
            bucket[0] = stamp
        bucket[1] -= count
        if bucket[1] < 0 and now - bucket[2] >= REST:
            bucket[2] = now
            self._told(
                int(number),
                f"its commands come faster than {FACTOR} times its limits of {pace.total:g} a second allow",
            )

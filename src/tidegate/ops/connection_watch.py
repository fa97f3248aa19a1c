"""How much each strategy's process sends to the log's server, by the server's own count of its connections.

A flood of commands is stored one by one, and each waits for the disk: by the time a lane reads the first of them, the
queue before everybody's next order is long. The server counts a message as it comes in, whoever's connection it is, and
knows by the password whose. So this sees a flood within a hundredth of a second, and most of it never comes in.

A process that floods is told to `told`, which ends it. What waited while the log was away and comes at once is no
flood: after our own connection was lost nobody is judged for a while.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from tidegate.execution.flood import FACTOR
from tidegate.log.base import Log, LogError
from tidegate.model.clock import Clock
from tidegate.risk.pace import ENTRIES_AT_ONCE, Pace

SUBJECT = "$SYS.REQ.ACCOUNT.PING.CONNZ"
QUESTION = msgspec.json.encode({"auth": True, "limit": 4096})
EVERY = 0.01
"""Seconds between two looks, where one takes no longer than a tenth of that."""
SHARE = 10
"""A look that takes long, on a server of many connections, is followed by a pause of so many times that."""
OTHER, OTHER_BURST = 100.0, 100.0
"""Messages a second, and at once, beside commands: questions, state kept, acknowledgements."""
AFTER_LOSS = 15_000_000_000
"""Ns after our own connection's loss in which nobody is judged."""


class Connection(msgspec.Struct, frozen=True):
    """One connection, as the server says."""

    cid: int
    in_msgs: int = 0
    authorized_user: str = ""


class _Data(msgspec.Struct, frozen=True):
    connections: list[Connection] = []


class _Answer(msgspec.Struct, frozen=True):
    data: _Data = _Data()


_answer = msgspec.json.Decoder(_Answer)


class Allowed(NamedTuple):
    """Messages a second, and at once."""

    rate: float
    burst: float


def allowed(paces: list[Pace]) -> Allowed:
    """Of a process with strategies of these limits. At once it may send what its own budget writes at once, and no more:
    beyond `ENTRIES_AT_ONCE` it gathers its commands (`strategy.budget`)."""
    rate = sum(pace.total for pace in paces)
    burst = sum(min(pace.burst, ENTRIES_AT_ONCE) if math.isfinite(pace.burst) else math.inf for pace in paces)
    return Allowed(rate * FACTOR + OTHER, burst + OTHER_BURST)


class ConnectionWatch:
    """`users` says what each user of the log may send; others are not judged. `told` gets the user and what was seen,
    once."""

    def __init__(
        self, log: Log, clock: Clock, users: Mapping[str, Allowed], told: Callable[[str, str], None]
    ) -> None:
        self.looks = self.failed = 0
        self._log, self._clock, self._users, self._told = log, clock, users, told
        self._seen: dict[int, int] = {}
        self._left = {user: what.burst for user, what in users.items()}
        self._at = 0
        self._lost_at = 0

    async def run(self) -> None:
        """Look, until cancelled."""
        pause = EVERY
        while True:
            await asyncio.sleep(pause)
            began = time.perf_counter()
            if not self._log.connected:
                self._lost_at = self._clock.now()
                continue
            try:
                answer = _answer.decode(await self._log.request(SUBJECT, QUESTION))
            except (LogError, ValueError):
                self.failed += 1
                continue
            self.looks += 1
            self.judge(answer.data.connections, self._clock.now())
            pause = max(EVERY, SHARE * (time.perf_counter() - began))

    def judge(self, connections: list[Connection], now: int) -> None:
        """What the server says at a time (ns)."""
        came: dict[str, int] = {}
        for connection in connections:
            user = connection.authorized_user
            if user in self._users:
                new = connection.in_msgs - self._seen.get(connection.cid, 0)
                came[user] = came.get(user, 0) + max(0, new)
        self._seen = {connection.cid: connection.in_msgs for connection in connections}
        first, passed, self._at = not self._at, (now - self._at) / 1e9, now
        if first:  # what was before we looked is not of one moment
            return
        for user, what in self._users.items():
            left = self._left[user]
            if math.isfinite(what.burst):
                left = min(what.burst, left + passed * what.rate) - came.get(user, 0)
            if self._lost_at and now - self._lost_at < AFTER_LOSS:
                left = what.burst
            elif left < 0:
                speed = f"{came[user]} messages in {passed * 1e3:.0f} ms"
                self._told(user, f"it writes to the log faster than {FACTOR} times its limits allow: {speed}")
                left = what.burst
            self._left[user] = left

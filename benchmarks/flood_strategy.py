"""A strategy turned rogue: from the moment a file `go` is there it writes orders at a fixed rate, and does not stop.

`how` is `api`, by the calls that are meant for it, from a timer; or `raw`, past all of its own process's checks: a
connection of its own to the log's server, with the credentials that the process has, in a thread that the event loop
does not see.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from tidegate.execution.lane_door import command_subject
from tidegate.log import embedded, opening
from tidegate.model.messages import NewOrder
from tidegate.model.order import OrdType, Side
from tidegate.model.wire import pack
from tidegate.strategy.strategy import Strategy, StrategyParams

FAR = 0.02
STEP_NS = 1_000_000
"""The raw flood is written once a millisecond."""


class FloodParams(StrategyParams, frozen=True):
    """`rate` in orders a second; `data` the system's data folder, `go` the file to wait for and to write the time to."""

    market: str
    size: int
    how: str
    rate: float
    data: str
    go: str
    lane: int = 0


class Flood(Strategy):
    """See the module."""

    Params = FloodParams
    params: FloodParams

    def on_start(self) -> None:
        """Wait."""
        self._market = self.market(self.params.market)
        self._begun = False
        self._owed = 0.0
        self._last = 0
        self.every("1ms" if self.params.how == "api" else "20ms", "look")

    def on_timer(self, name: str) -> None:
        """Begin when told to; by the API, go on from here."""
        if not self._begun:
            if not self._market.has_touch or not Path(self.params.go).exists():
                return
            self._begun, self._last = True, self.now
            Path(self.params.go + ".began").write_text(str(self.now))
            if self.params.how == "raw":
                threading.Thread(target=self._raw, daemon=True).start()
        if self.params.how == "api":
            self._owed += (self.now - self._last) * self.params.rate / 1e9
            self._last = self.now
            price = int(self._market.bid * (1 - FAR))
            while self._owed >= 1:
                self._owed -= 1
                self._market.buy(self.params.size, price, post_only=True)

    def _raw(self) -> None:
        running = embedded.find(Path(self.params.data))
        assert running is not None
        at = urlsplit(running.url)
        user = os.environ.get(opening.USER, running.user)
        password = os.environ.get(opening.PASSWORD, running.password)
        sock = socket.create_connection((at.hostname, at.port))
        words = {
            "user": user,
            "pass": password,
            "verbose": False,
            "pedantic": False,
            "lang": "rogue",
            "version": "1",
        }
        sock.sendall(f"CONNECT {json.dumps(words)}\r\nPING\r\n".encode())
        threading.Thread(target=self._listen, args=(sock,), daemon=True).start()
        price, begun, sent = int(self._market.bid * (1 - FAR)), time.monotonic_ns(), 0
        subject = command_subject(self.params.lane, self.number)
        first = (self.number << 40) | 1 << 30
        while True:
            due = int((time.monotonic_ns() - begun) * self.params.rate / 1e9) - sent
            out = bytearray()
            for _ in range(due):
                sent += 1
                order = NewOrder(
                    time.time_ns(), first + sent, self.account, self.number, self._market.number, Side.BUY,
                    OrdType.LIMIT, self.params.size, price,
                )  # fmt: skip
                data = pack([order], ts=time.time_ns(), lane=self.params.lane)
                out += b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(data), data)
            sock.sendall(out)
            time.sleep(STEP_NS / 1e9)

    def _listen(self, sock: socket.socket) -> None:
        while data := sock.recv(1 << 16):
            if b"PING" in data:
                sock.sendall(b"PONG\r\n")
            if b"-ERR" in data:
                Path(self.params.go + ".refused").write_bytes(data)

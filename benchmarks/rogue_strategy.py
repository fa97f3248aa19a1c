"""Strategies that misbehave, for tests and measurements of cells: one order is left resting far from the market, then
the act begins, in the handler of a timer."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidegate.model.order import OrdStatus
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Quote

FAR = 0.01
CHUNK = 1 << 22


class RogueParams(StrategyParams, frozen=True):
    """`act` is what it does (`ACTS`), `size` the lots of its orders, `folder` where it may write. It begins when a file
    `go.ACT` is in that folder."""

    market: str
    act: str
    size: int
    folder: str


class Rogue(Strategy):
    """See the module."""

    Params = RogueParams
    params: RogueParams

    def on_start(self) -> None:
        """Wait for the first touch."""
        self._market = self.market(self.params.market)
        self._kept: list[Any] = []
        self._rests = False
        self.subscribe_quotes(self._market)
        self.every("50ms", "look")

    def on_quote(self, quote: Quote) -> None:
        """Leave an order behind, once: one that was refused (a gateway that has just started refuses all) is asked for
        again."""
        if not self._rests and self._market.has_touch and not self.orders:
            self._market.buy(self.params.size, int(self._market.bid * (1 - FAR)), post_only=True)

    def on_order(self, order: StrategyOrder) -> None:
        """It rests, for the first time."""
        self._rests = self._rests or order.status is OrdStatus.NEW

    def on_timer(self, name: str) -> None:
        """Begin, when told to."""
        if (Path(self.params.folder) / f"go.{self.params.act}").exists():
            self._rests = True
            ACTS[self.params.act](self)


def allocate(rogue: Rogue) -> None:
    """Memory without end."""
    while True:
        rogue._kept.append(bytearray(CHUNK))


def fork(rogue: Rogue) -> None:
    """Processes without end, by the system's call: past what Python could do about it."""
    libc = ctypes.CDLL(None)
    while True:
        if libc.fork() == 0:
            time.sleep(3600)


def copy(rogue: Rogue) -> None:
    """Processes without end, as Python makes them."""
    while True:
        os.fork()


def loop(rogue: Rogue) -> None:
    """No way out of the handler."""
    while True:
        pass


def spin(rogue: Rogue) -> None:
    """The same, and polite to whatever else this machine has to do: its order is what is looked at."""
    os.nice(19)
    loop(rogue)


def sleep(rogue: Rogue) -> None:
    """A wait without end."""
    time.sleep(1 << 20)


def flood(rogue: Rogue) -> None:
    """Orders without end, one after another, by the way that is meant for them."""
    market = rogue._market
    while True:
        market.buy(rogue.params.size, int(market.bid * (1 - FAR)), post_only=True)


def write(rogue: Rogue) -> None:
    """A file without end."""
    with (Path(rogue.params.folder) / "huge").open("wb") as file:
        while True:
            file.write(bytes(CHUNK))


def close(rogue: Rogue) -> None:
    """Every file and socket of the process closed under it."""
    os.closerange(3, 256)


def leave(rogue: Rogue) -> None:
    """The process asked to end."""
    sys.exit(0)


def vanish(rogue: Rogue) -> None:
    """The process ended, past everything that would clear up."""
    os._exit(0)


def throw(rogue: Rogue) -> None:
    """A mistake in a handler."""
    raise ValueError("a mistake of the user's")


ACTS: dict[str, Callable[[Rogue], None]] = {
    act.__name__: act
    for act in (allocate, fork, copy, loop, spin, sleep, flood, write, close, leave, vanish, throw)
}

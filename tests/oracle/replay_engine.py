"""The kernel's side of a comparison: a world run through `kernel.replay_engine`, and its state in the reference's form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from oracle.replay import plain
from oracle.replay_world import Action, World

from tidegate.kernel import book as b
from tidegate.kernel import engine as k
from tidegate.kernel.gate_state import GateState
from tidegate.kernel.layout import (
    O_CUM,
    O_ID,
    O_LEAVES,
    O_PRICE,
    O_QTY,
    O_STATUS,
    O_TYPE,
    O_VALUE,
    ORDER_WORDS,
    PEGGED,
    PENDING_NEW,
)
from tidegate.kernel.replay_engine import Engine
from tidegate.kernel.wake import PythonCall
from tidegate.risk.gate import Gate
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable


def free_gate(world: World) -> GateState:
    """A gate that lets everything pass; it is fed marks and fundings."""
    fx = dict.fromkeys({item.settle_currency for item in world.universe.instruments} - {"USDT"}, "1")
    return Gate(world.universe, ScopeTable.simple(world.strategies), unlimited(), fx=fx).state


class Driver:
    """Runs a world's script against the engine, and keeps what was seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.engine = Engine(world.universe, world.venues, world.strategies, free_gate(world), world.seed)
        self.slots: list[int] = []
        self.prices: list[int] = []
        self.fired = [0] * world.strategies
        self.reports: list[bytes] = []
        self.seen: list[tuple[int, ...]] = []
        self.journal: list[Any] = []
        self.bind()
        for strategy, first, interval in world.timers:
            kind = k.TIMER_STRATEGY if strategy >= 0 else k.TIMER_MARK
            self.engine.add_timer(first, interval, kind, max(strategy, 0))
        for strategy, i, interval, first in world.bars:
            self.engine.add_bars(strategy, i, interval, first)
        for strategy, i, wake in world.subscriptions:
            self.engine.subscribe(strategy, i, wake)

    def bind(self) -> None:
        """Let the kernel call the handlers as they are now."""
        for strategy in range(self.world.strategies):
            for column, handler in (
                (k.G_REPORT, self.on_report), (k.G_TIMER, self.on_timer), (k.G_BAR, self.on_bar),
                (k.G_QUOTE, self.on_quote), (k.G_TRADE, self.on_trade), (k.G_BOOK, self.on_book),
            ):  # fmt: skip
                self.engine.bind(strategy, column, PythonCall(handler, strategy))

    def run(self, chunks: Iterable[Any] | None = None) -> Driver:
        whole = [self.world.rows] if chunks is None else chunks
        self.engine.run(whole, lambda rows: self.journal.extend(rows), lambda n: None, self.world.max_delay)
        return self

    # Handlers.

    def on_report(self, _strategy: int) -> None:
        state = self.engine.state
        words = state.cur[k.C_REPORT : k.C_REPORT + 16]
        self.reports.append(state.s[k.S_NOW : k.S_NOW + 1].tobytes() + words.tobytes())
        if len(self.reports) % 11 == 0 and self.world.reactions:
            at = len(self.reports) // 11 % len(self.world.reactions)
            self.act(int(words[k.R_STRATEGY]), self.world.reactions[at])

    def on_timer(self, strategy: int) -> None:
        for action in self.world.script.get((strategy, self.fired[strategy]), ()):
            self.act(strategy, action)
        self.fired[strategy] += 1

    def on_quote(self, strategy: int) -> None:
        self.seen.append((k.WAKE_QUOTE, strategy, *self.engine.state.cur[:13].tolist()))

    def on_trade(self, strategy: int) -> None:
        self.seen.append((k.WAKE_TRADE, strategy, *self.engine.state.cur[:13].tolist()))

    def on_book(self, strategy: int) -> None:
        self.seen.append((k.WAKE_BOOK, strategy, *self.engine.state.cur[:13].tolist()))

    def on_bar(self, strategy: int) -> None:
        self.seen.append((k.WAKE_BAR, strategy, *self.engine.state.cur[:14].tolist()))

    def act(self, strategy: int, action: Action) -> None:
        state = self.engine.state
        if action[0] == "new":
            _, i, side, kind, tif, inst, qty, price, stop, display, offset, expire = action
            left = int(state.s[k.S_FREE]) - 1
            state.s[k.S_FREE] = left
            slot = int(state.free[left])
            self.slots.append(slot)
            self.prices.append(price)
            words = (
                len(self.slots), self.engine.now, 0, strategy, i, side, int(kind), int(tif), inst, qty, price, stop,
                display, offset, expire, PENDING_NEW, qty,
            )  # fmt: skip
            state.orders[slot] = np.array([*words, *[0] * (ORDER_WORDS - len(words))])
            self.ask(k.Q_NEW, len(self.slots) - 1, qty, price, strategy)
            return
        at = len(self.slots) - 1 - action[1]
        if at < 0:
            return
        if action[0] == "cancel":
            self.ask(k.Q_CANCEL, at, 0, 0, strategy)
        else:
            self.ask(k.Q_REPLACE, at, action[2], self.prices[at] + action[3], strategy)

    def ask(self, kind: int, at: int, qty: int, price: int, strategy: int) -> None:
        state = self.engine.state
        n = int(state.s[k.S_INBOX])
        state.inbox[n] = (0, kind, self.slots[at], at + 1, qty, price, 0, strategy)
        state.s[k.S_INBOX] = n + 1

    # What it came to.

    def state(self) -> dict[str, Any]:
        state = self.engine.state
        s = state.s
        reports = np.frombuffer(b"".join(self.reports), np.int64).reshape(-1, 17)
        live = [n for n in range(len(state.orders)) if state.orders[n, O_ID] and state.xo[n, k.X_STATE]]
        columns = (O_STATUS, O_QTY, O_PRICE, O_LEAVES, O_CUM, O_VALUE)
        return {
            "reports": plain(reports),
            "seen": self.seen,
            "journal": [tuple(row) for row in np.array(self.journal)[:, :5].tolist()] if self.journal else [],
            "exchange books": [book_state(state, 2 * i) for i in range(len(state.inst))],
            "local books": [book_state(state, 2 * i + 1) for i in range(len(state.inst))],
            "resting": [orders(state, i, k.I_REST) for i in range(len(state.inst))],
            "waiting": [orders(state, i, k.I_WAIT) for i in range(len(state.inst))],
            "owned": sorted(
                (int(state.orders[n, O_ID]), n, *(int(state.orders[n, c]) for c in columns)) for n in live
            ),
            "positions": sorted((g, i, int(lots)) for (g, i), lots in np.ndenumerate(state.pos) if lots),
            "halted": state.inst[:, k.I_HALTED].tolist(),
            "counters": tuple(int(s[n]) for n in (k.S_EVENTS, k.S_ORPHANS, k.S_EXEC, k.S_UNPAID)),
        }


def book_state(state: k.Engine, number: int) -> tuple[Any, ...]:
    """A book's levels, read from the arrays themselves, and its header."""
    header = [int(word) for word in state.book[number]]
    size, start, base = header[b.B_SIZE], header[b.B_LEVELS], header[b.B_BASE]
    sides = []
    for at in (start, start + size):
        levels = state.levels[at : at + size]
        places = np.flatnonzero(levels)
        sides.append([(base + int(n), int(levels[n])) for n in places])
    return (
        *sides, header[b.B_BID], header[b.B_ASK], bool(header[b.B_USABLE]), header[b.B_QUOTE_SEQ],
        bool(header[b.B_DEPTH]), bool(header[b.B_QUOTED]), header[b.B_LAST_PRICE], header[b.B_LAST_SIZE],
        header[b.B_CROSSED], header[b.B_TS],
    )  # fmt: skip


def orders(state: k.Engine, i: int, head: int) -> list[tuple[Any, ...]]:
    """The orders of one of an instrument's lists, in its order; the lists' links and counts must agree."""
    found: list[tuple[Any, ...]] = []
    before, at, pegs = -1, int(state.inst[i, head]), 0
    while at >= 0:
        xo = [int(word) for word in state.xo[at]]
        assert xo[k.X_PREV] == before
        resting = xo[k.X_STATE] == k.X_RESTING
        assert resting == (head == k.I_REST)
        place = (xo[k.X_SHOWN], *state.queue[at].tolist()) if resting else (0, 0.0, 0.0)
        expires = 0 if xo[k.X_EXPIRE] == k.NEVER else xo[k.X_EXPIRE]
        stop = 0 if resting else xo[k.X_STOP]
        found.append(
            (xo[k.X_ID], at, xo[k.X_LEAVES], xo[k.X_CUM], xo[k.X_QTY], xo[k.X_PRICE], expires, stop, *place)
        )
        pegs += int(state.orders[at, O_TYPE]) == PEGGED
        before, at = at, xo[k.X_NEXT]
    assert state.inst[i, head + 1] == before
    assert state.inst[i, k.I_RESTING if head == k.I_REST else k.I_WAITING] == len(found)
    assert head == k.I_WAIT or state.inst[i, k.I_PEGS] == pegs
    return found

"""A small stage for scenarios a person can check: one instrument, times of a few ns, reports as lines of text.

`play` runs the same little world through the kernels and through the reference, and insists that they agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle.replay import Replay, digest, first_difference
from oracle.replay_engine import Driver
from oracle.replay_world import Action, World, instrument

from tidegate.kernel import engine as k
from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Flag, Kind, meta
from tidegate.model.instrument import Universe
from tidegate.model.order import ExecInst, ExecType, OrdType, Side, TimeInForce

BUY, SELL = Side.BUY, Side.SELL
Happening = tuple[Any, ...]
_REASONS = {
    201: "WOULD_CROSS", 202: "UNKNOWN_ORDER", 203: "TOO_LATE", 204: "HALTED", 205: "NO_LIQUIDITY", 206: "IOC",
    207: "FOK", 208: "EXPIRY",
}  # fmt: skip


# What the market does, at exchange time `t`; it reaches us `after` ns later.


def event(
    t: int, kind: Kind, words: tuple[int, ...] = (), side: int = 0, flags: int = 0, after: int = 0
) -> Happening:
    seq = t * 1000
    row = (t, t + after, seq, *words, *[0] * (4 - len(words)), meta(0, int(kind), int(side), flags))
    return ("event", row)


def level(
    t: int, side: Side, price: int, size: int, last: bool = True, seq: int = 0, gap: bool = False
) -> Happening:
    """An L2 record; `seq` is taken off its sequence."""
    flags = (Flag.LAST if last else 0) | (Flag.GAP if gap else 0)
    made = event(t, Kind.DELTA, (price, size), side, int(flags))
    row = list(made[1])
    row[2] -= seq
    return ("event", tuple(row))


def order(t: int, number: int, side: Side, price: int, size: int) -> Happening:
    """An L3 record."""
    return event(t, Kind.DELTA, (price, size, number), side, int(Flag.LAST | Flag.ORDER))


def quote(t: int, bid: int, bid_size: int, ask: int, ask_size: int, after: int = 0) -> Happening:
    return event(t, Kind.QUOTE, (bid, bid_size, ask, ask_size), after=after)


def trade(t: int, price: int, size: int, aggressor: Side | int, after: int = 0) -> Happening:
    return event(t, Kind.TRADE, (price, size), aggressor, after=after)


def begin(t: int) -> Happening:
    return event(t, Kind.SNAPSHOT_BEGIN)


def end(t: int) -> Happening:
    return event(t, Kind.SNAPSHOT_END)


def status(t: int, code: int) -> Happening:
    return event(t, Kind.STATUS, (code,))


def idle(t: int) -> Happening:
    """Nothing the simulation looks at: time goes on to here."""
    return event(t, Kind.MARK)


# What we ask for, at local time `t`.


def new(
    t: int, side: Side, qty: int, price: int = 0, kind: OrdType = OrdType.LIMIT, tif: TimeInForce = TimeInForce.GTC,
    inst: int = 0, stop: int = 0, display: int = 0, offset: int = 0, expire: int = 0, market: int = 0,
) -> Happening:  # fmt: skip
    return ("ask", t, ("new", market, side, kind, tif, int(inst), qty, price, stop, display, offset, expire))


def buy(t: int, qty: int, price: int, **more: Any) -> Happening:
    return new(t, BUY, qty, price, **more)


def sell(t: int, qty: int, price: int, **more: Any) -> Happening:
    return new(t, SELL, qty, price, **more)


def cancel(t: int, number: int) -> Happening:
    """Orders are numbered from 1."""
    return ("ask", t, ("cancel", number))


def replace(t: int, number: int, qty: int, price: int) -> Happening:
    return ("ask", t, ("replace", number, qty, price))


# The play.


def world(happenings: tuple[Happening, ...], model: VenueModel, **item: Any) -> World:
    """The world of these happenings. Market records keep the order they are given in, for equal times."""
    rows = sorted((what[1] for what in happenings if what[0] == "event"), key=lambda row: row[1])
    asks = [what for what in happenings if what[0] == "ask"]
    last = max([row[1] for row in rows] + [t for _, t, _ in asks])
    rows.append(idle(last + 1000)[1])
    made = World(Universe([instrument("X", "V", **item)]), {"V": model}, np.array(rows, np.int64))
    times = sorted({t for _, t, _ in asks})
    made.timers = [(0, t, 0) for t in times]
    script: dict[tuple[int, int], list[Action]] = {}
    prices: list[int] = []
    for _, t, action in sorted(asks, key=lambda ask: ask[1]):
        if action[0] == "new":
            prices.append(action[7])
        elif action[0] == "cancel":
            action = ("cancel", len(prices) - action[1])
        else:
            action = ("replace", len(prices) - action[1], action[2], action[3] - prices[action[1] - 1])
        script.setdefault((0, times.index(t)), []).append(action)
    made.script = script
    return made


class Played:
    """What came of it: `lines`, one a report, and the kernel's state."""

    def __init__(self, made: World, chunks: Any = None) -> None:
        self.driver = Driver(made).run(chunks)
        self.state = self.driver.state()
        reference = Replay(made).run().state()
        assert digest(self.state) == digest(reference), first_difference(self.state, reference)
        self.lines = [line(report) for report in self.state["reports"]]

    def resting(self, number: int) -> dict[str, float]:
        """A resting order's figures."""
        names = ("id", "slot", "leaves", "cum", "qty", "price", "expires", "stop", "shown", "front", "traded")
        for found in self.state["resting"][0]:
            if found[0] == number:
                return dict(zip(names, found, strict=True))
        raise AssertionError(f"order {number} does not rest: {self.state['resting'][0]}")

    def front(self, number: int) -> float:
        """Lots ahead of a resting order."""
        return self.resting(number)["front"]


def play(
    *happenings: Happening, fill: str = "partial", queue: str = "risk_averse", exponent: float = 2.0,
    entry: tuple[int, ...] = (0,), response: tuple[int, ...] = (0,), **item: Any,
) -> Played:  # fmt: skip
    """Run the happenings; `item` overrides the instrument's fields."""
    return Played(world(happenings, VenueModel(fill, queue, exponent, entry, response), **item))


def line(report: tuple[int, ...]) -> str:
    """One report as text: when it reached us, what, of which order, and its figures."""
    r = report[1:]
    kind = ExecType(r[k.R_EXEC])
    head = f"{report[0]} {kind.name} {r[k.R_ID]}"
    if kind is ExecType.TRADE:
        how = "maker" if r[k.R_MAKER] else "taker"
        return f"{head}: {r[k.R_LAST_QTY]} at {r[k.R_LAST_PX]} {how}, {r[k.R_LEAVES]} left"
    if kind is ExecType.REPLACED:
        return f"{head}: {r[k.R_QTY]} at {r[k.R_PRICE]}, {r[k.R_LEAVES]} left"
    if kind is ExecType.RESTATED:
        return f"{head}: at {r[k.R_PRICE]}"
    return f"{head} {_REASONS[r[k.R_REASON]]}" if r[k.R_REASON] else head


POST_ONLY, PRIMARY, MARKET, MID = (
    ExecInst.POST_ONLY,
    ExecInst.PEG_PRIMARY,
    ExecInst.PEG_MARKET,
    ExecInst.PEG_MID,
)
IOC, FOK, GTD, DAY = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD, TimeInForce.DAY

"""The traders of a simulated market: makers, noise, momentum, around a value that wanders and comes back.

Each is a small function of what it sees and of its own seeded generator. They speak in rows of the matching engine.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import msgspec

from tidegate.kernel.matching_layout import NO_PRICE, Command, what
from tidegate.model.order import ExecInst, OrdType, Side, TimeInForce
from tidegate.model.time import MS, SECOND

Row = list[int]
_QUOTE = {
    side: int(what(Command.NEW, side, OrdType.LIMIT, TimeInForce.GTD, 0, ExecInst.POST_ONLY)) for side in Side
}
_REST = {side: int(what(Command.NEW, side, OrdType.LIMIT, TimeInForce.GTD)) for side in Side}
_TAKE = {side: int(what(Command.NEW, side, OrdType.LIMIT, TimeInForce.IOC)) for side in Side}
_CANCEL = int(what(Command.CANCEL))


class AgentsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One instrument's traders. Fractions are of the price, rates a second."""

    price: str
    """Where the fundamental value starts, and what it comes back to."""
    volatility: float = 0.0002
    """Standard deviation of the value over a second."""
    reversion: float = 0.01
    """Share of its distance from the start that it goes back in a second."""
    drift: float = 0.0
    """How far the start itself moves in a second: a market that falls, below 0."""
    makers: int = 3
    levels: int = 5
    spread: float = 0.0001
    """A maker's distance from what it takes the value to be."""
    size: int = 50
    """Lots of an order, on average."""
    requotes: float = 5.0
    noise: int = 8
    noise_rate: float = 1.0
    momentum: int = 2
    momentum_rate: float = 0.5
    step_ms: float = 10.0


class Trader:
    """What every trader has: its number, its lots and cash (ticks × lots), its open orders."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lots = self.cash = 0
        self.open: set[int] = set()

    def traded(self, side: int, qty: int, price: int) -> None:
        """A fill of its own."""
        sign = 1 if side == Side.BUY else -1
        self.lots += sign * qty
        self.cash -= sign * qty * price


class Scene:
    """What traders see: the time, the value, the touch (ticks, 0 for none), and where their orders get ids."""

    def __init__(self, config: AgentsConfig, start: int, seed: str) -> None:
        self.config = config
        self.random = random.Random(seed)
        self.start = self.value = float(start)
        self.now = self.bid = self.ask = self.last = 0
        self.trend = float(start)
        self.step = int(config.step_ms * MS)
        self._seconds = self.step / SECOND
        self._next_id = 1 << 40

    def new_id(self) -> int:
        """An id no order of the exchange's accounts will ever have."""
        self._next_id += 1
        return self._next_id

    def move(self) -> None:
        """The value takes a step."""
        config, dt = self.config, self._seconds
        fallen = config.drift * dt * self.start
        self.start += fallen
        self.value += fallen + config.reversion * dt * (self.start - self.value)
        self.value += config.volatility * self.start * math.sqrt(dt) * self.random.gauss(0.0, 1.0)
        self.value = max(self.value, 2.0)
        if self.last:
            self.trend += dt / (1.0 + dt) * (self.last - self.trend)

    def happens(self, rate: float) -> bool:
        """Whether something that comes so often a second comes in this step."""
        return self.random.random() < rate * self._seconds

    def lots(self) -> int:
        """A size: many small, few large."""
        return max(1, int(self.random.expovariate(1.0 / self.config.size)))

    def order(self, trader: Trader, code: int, price: int, life: int = 0) -> Row:
        """A row for the matching engine; the order is the trader's. `life` is how long it rests, ns."""
        ident = self.new_id()
        trader.open.add(ident)
        return [code, ident, 0, self.lots(), max(1, price), NO_PRICE, 0, self.now + life if life else 0]


class Maker(Trader):
    """Quotes both sides around what it takes the value to be, away from what it holds."""

    def act(self, scene: Scene) -> Iterable[Row]:
        config = scene.config
        if self.open and not scene.happens(config.requotes):
            return
        for ident in sorted(self.open):
            yield [_CANCEL, ident, 0, 0, NO_PRICE, NO_PRICE, 0, 0]
        self.open.clear()
        half = max(1.0, config.spread * scene.value)
        lean = -half * max(-1.0, min(1.0, self.lots / (20.0 * config.size)))
        middle = scene.value + lean + scene.random.gauss(0.0, half / 2)
        for level in range(config.levels):
            away = half * (1.0 + level * (0.5 + scene.random.random()))
            life = int(5 * SECOND)
            yield scene.order(self, _QUOTE[Side.BUY], math.floor(middle - away), life)
            yield scene.order(self, _QUOTE[Side.SELL], math.ceil(middle + away), life)


class Noise(Trader):
    """Buys and sells for reasons of its own: now at any price, now at a limit that rests a while."""

    def act(self, scene: Scene) -> Iterable[Row]:
        if not scene.happens(scene.config.noise_rate) or not scene.bid or not scene.ask:
            return
        side = scene.random.choice((Side.BUY, Side.SELL))
        if scene.random.random() < 0.5:
            far = max(1, int(0.001 * scene.value))
            yield scene.order(self, _TAKE[side], scene.ask + far if side is Side.BUY else scene.bid - far)
        else:
            behind = int(scene.random.expovariate(1.0 / max(1.0, scene.config.spread * scene.value)))
            price = scene.bid - behind if side is Side.BUY else scene.ask + behind
            yield scene.order(self, _REST[side], price, int(scene.random.uniform(0.5, 10.0) * SECOND))


class Momentum(Trader):
    """Follows the last price where it leaves its average; holds no more than it should."""

    def act(self, scene: Scene) -> Iterable[Row]:
        if not scene.happens(scene.config.momentum_rate) or not scene.bid or not scene.ask or not scene.last:
            return
        gone = scene.last - scene.trend
        if abs(gone) < scene.config.spread * scene.value:
            return
        side = Side.BUY if gone > 0 else Side.SELL
        if abs(self.lots) > 20 * scene.config.size and (self.lots > 0) == (side is Side.BUY):
            return
        yield scene.order(self, _TAKE[side], scene.ask if side is Side.BUY else scene.bid)


def cast(config: AgentsConfig) -> list[Maker | Noise | Momentum]:
    """The traders of a market, in the order they act."""
    kinds: list[type[Maker] | type[Noise] | type[Momentum]] = (
        [Maker] * config.makers + [Noise] * config.noise + [Momentum] * config.momentum
    )
    return [kind(number) for number, kind in enumerate(kinds)]

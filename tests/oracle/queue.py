"""Queue positions straight from the formulas at the top of `kernel.queue`."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Place:
    """Where an order stands: lots ahead, and lots traded at its price since its level was last reported."""

    front: float
    traded: float = 0.0


def behind(model: str, n: float, front: float, back: float) -> float:
    """The probability that a cancel was behind the order; for the logarithms `n` is the size of a lot."""
    if model in ("log", "log2"):
        front, back = front * n, back * n
    if model == "log":
        above, below = math.log(1 + back), math.log(1 + back) + math.log(1 + front)
    elif model == "log2":
        above, below = math.log(1 + back), math.log(1 + back + front)
    elif model == "power":
        above, below = back**n, back**n + front**n
    elif model == "power2":
        above, below = back**n, (back + front) ** n
    else:
        assert model == "power3"
        return 1 - (front / (front + back)) ** n if front + back > 0 else 1.0
    return above / below if below > 0 else 1.0


def traded(place: Place, qty: int) -> None:
    place.front -= qty
    place.traded += qty


def level_changed(place: Place, model: str, n: float, before: int, after: int) -> None:
    if model in ("risk_averse", "l3_fifo"):
        place.front = min(place.front, float(after))
        return
    cancelled = float(before - after) - place.traded
    place.traded = 0.0
    if cancelled < 0:
        place.front = min(place.front, float(after))
        return
    ahead = max(place.front, 0.0)
    back = max(before - ahead, 0.0)
    p = behind(model, n, ahead, back)
    # What the back could not give, the front gave.
    missing = min(back - p * cancelled, 0.0)
    place.front = min(place.front - (1.0 - p) * cancelled + missing, float(after))


def removed(place: Place, qty: int) -> None:
    """L3: lots of an order ahead are gone."""
    explained = min(float(qty), place.traded)
    place.traded -= explained
    place.front = max(place.front - (qty - explained), 0.0)


def at_most(place: Place, level: int) -> None:
    place.front = min(place.front, float(level))
    place.traded = 0.0


def executable(place: Place) -> int:
    """Lots that traded past the front, to the nearest whole lot."""
    past = math.floor(0.5 - place.front)
    if past <= 0:
        return 0
    place.front = 0.0
    return past

"""Seeded random command streams over everything the matching engine knows, bad commands included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tidegate.kernel.matching_layout import (
    ALL_OWNERS,
    C_EXTRA,
    C_ID,
    C_OWNER,
    C_PRICE,
    C_QTY,
    C_STOP,
    C_TIME,
    C_WHAT,
    COMMAND_WORDS,
    MAX_SPAN,
    NO_PRICE,
    Command,
    what,
)
from tidegate.model.order import ExecInst, OrdType, TimeInForce

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Flow:
    """What a stream is made of. Probabilities; `types` weighs the seven order types in FIX order."""

    types: tuple[float, ...] = (0.10, 0.42, 0.08, 0.08, 0.08, 0.12, 0.12)
    centre: int = 0
    spread: int = 12
    drift: float = 0.05
    owners: int = 4
    cancels: float = 0.22
    replaces: float = 0.14
    wild: float = 0.01
    """Nonsense: unknown codes, far prices, sizes out of range, known ids."""
    far: float = 0.0
    """Prices at the end of the span that a book can hold."""
    sweeps: float = 0.002
    """Mass cancels, and as many ends of the day."""


def random_commands(rng: np.random.Generator, n: int, flow: Flow = Flow()) -> Rows:
    """`n` command rows; most ids they name are live or were a moment ago."""
    rows = np.zeros((n, COMMAND_WORDS), np.int64)
    mid = flow.centre + np.cumsum(
        rng.choice([-1, 0, 1], n, p=[flow.drift / 2, 1 - flow.drift, flow.drift / 2])
    )
    kind = rng.choice(
        [Command.NEW, Command.CANCEL, Command.REPLACE, Command.TIME, Command.END_OF_DAY, Command.MASS_CANCEL],
        n,
        p=[
            1 - flow.cancels - flow.replaces - 0.03 - 2 * flow.sweeps,
            flow.cancels,
            flow.replaces,
            0.03,
            flow.sweeps,
            flow.sweeps,
        ],
    ).astype(np.int64)
    new = kind == Command.NEW
    fresh = np.cumsum(new)
    recent = np.maximum(fresh - rng.geometric(0.05, n), 0)
    rows[:, C_ID] = np.where(new & (rng.random(n) > 0.005), fresh * 7919, recent * 7919)
    rows[:, C_OWNER] = rng.integers(0, flow.owners, n)
    rows[kind == Command.MASS_CANCEL, C_OWNER] += np.where(
        rng.random((kind == Command.MASS_CANCEL).sum()) < 0.3, 0, 0
    )
    rows[:, C_TIME] = np.arange(n) // 4 * 10 + rng.integers(-5, 600, n) * (kind != Command.TIME)
    side = rng.integers(1, 3, n)
    sign = 3 - 2 * side
    types = rng.choice(7, n, p=flow.types).astype(np.int64) + 1
    rows[:, C_QTY] = rng.integers(1, 40, n)
    rows[:, C_PRICE] = mid - sign * (rng.integers(-3, flow.spread, n))
    rows[:, C_STOP] = mid + sign * (rng.integers(-1, flow.spread, n))
    rows[:, C_EXTRA] = rng.integers(0, 6, n)
    rows[types == OrdType.ICEBERG, C_EXTRA] += 1
    tif = rng.choice([0, 1, 3, 4, 6], n, p=[0.2, 0.5, 0.1, 0.1, 0.1]).astype(np.int64)
    shown = (types == OrdType.ICEBERG) | (types == OrdType.PEGGED)
    tif[shown & ((tif == TimeInForce.IOC) | (tif == TimeInForce.FOK))] = TimeInForce.GTC
    rows[(types == OrdType.PEGGED) & (rng.random(n) < 0.6), C_PRICE] = NO_PRICE
    rows[(types == OrdType.TRAILING_STOP) & (rng.random(n) < 0.6), C_STOP] = NO_PRICE
    peg = np.array([ExecInst.PEG_PRIMARY, ExecInst.PEG_MARKET, ExecInst.PEG_MID], np.int64)[
        rng.integers(0, 3, n)
    ]
    inst = np.where(types == OrdType.PEGGED, peg, 0) | (rng.random(n) < 0.1) * int(ExecInst.POST_ONLY)
    stp = rng.integers(0, 5, n)
    rows[:, C_WHAT] = kind
    rows[new, C_WHAT] = what(kind, side, types, tif, stp, inst)[new]
    change = kind == Command.REPLACE
    rows[change & (rng.random(n) < 0.4), C_PRICE] = NO_PRICE
    rows[change & (rng.random(n) < 0.8), C_STOP] = NO_PRICE
    rows[change & (rng.random(n) < 0.4), C_QTY] = 0
    _spoil(rng, rows, flow)
    return rows


def _spoil(rng: np.random.Generator, rows: Rows, flow: Flow) -> None:
    """Put nonsense into some rows."""
    n = len(rows)
    wild = np.flatnonzero(rng.random(n) < flow.wild)
    column = rng.integers(1, COMMAND_WORDS, len(wild))
    rows[wild, column] = rng.choice([-1, 0, NO_PRICE, 1 << 62, 1 << 41, 1 << 51, -(1 << 51)], len(wild))
    odd = np.flatnonzero(rng.random(n) < flow.wild)
    rows[odd, C_WHAT] ^= np.int64(1) << rng.integers(0, 34, len(odd))
    everybody = rows[:, C_WHAT] == Command.MASS_CANCEL
    rows[everybody & (rng.random(n) < 0.2), C_OWNER] = ALL_OWNERS
    far = np.flatnonzero(rng.random(n) < flow.far)
    column = rng.choice([C_PRICE, C_STOP], len(far))
    rows[far, column] += rng.choice([-1, 1], len(far)) * rng.choice(
        [MAX_SPAN // 3, MAX_SPAN - 30, 9000], len(far)
    )

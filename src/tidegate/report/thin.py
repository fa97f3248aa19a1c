"""Thinning: which points of a picture the eye can tell apart.

Lines keep the first, lowest, highest and last point of every slice of time (Jugel et al. 2014, "M4: a
visualization-oriented time series data aggregation", VLDB 7(10)): drawn one pixel to a slice the picture is
that of all points, and no extreme is lost. Clouds keep the largest point of every cell of a fine grid.
"""

from __future__ import annotations

import numpy as np

from tidegate.analytics.tables import Floats, Ints


def line(ts: Ints, values: Floats, points: int) -> Ints:
    """Indices, ascending, of at most about `points` of the line's points; `ts` ascends."""
    n = len(ts)
    if n <= points:
        return np.arange(n)
    slices = max(points // 4, 1)
    span = max(float(ts[-1] - ts[0]), 1.0)
    slot = np.minimum(((ts - ts[0]) / span * slices).astype(np.int64), slices - 1)
    starts = np.flatnonzero(np.diff(slot, prepend=-1))
    ends = np.append(starts[1:], n) - 1
    widths = ends - starts + 1
    finite = np.where(np.isnan(values), np.inf, values)
    low = _first(finite == np.repeat(np.minimum.reduceat(finite, starts), widths), starts)
    finite = np.where(np.isnan(values), -np.inf, values)
    high = _first(finite == np.repeat(np.maximum.reduceat(finite, starts), widths), starts)
    return np.unique(np.concatenate((starts, low, high, ends)))


def _first(hit: np.ndarray[tuple[int], np.dtype[np.bool_]], starts: Ints) -> Ints:
    """The first true position at or after each start; every slice has one."""
    places = np.flatnonzero(hit)
    first: Ints = places[np.searchsorted(places, starts)]
    return first


def cloud(series: Ints, x: Ints, y: Floats, weight: Floats, points: int) -> Ints:
    """Indices, ascending, of at most `points` of the cloud: the heaviest in each cell and series.

    The grid starts finer than a screen and is coarsened until few enough remain.
    """
    n = len(x)
    if n <= points:
        return np.arange(n)
    across, up = _scaled(x.astype(np.float64)), _scaled(y)
    columns, rows = 1600, 400
    kept = np.argsort(-weight, kind="stable")
    while True:
        # The heaviest of a coarse cell was the heaviest of its fine one: only the kept need be looked at.
        key = (series[kept] * rows + (up[kept] * rows).astype(np.int64)) * columns
        _, first = np.unique(key + (across[kept] * columns).astype(np.int64), return_index=True)
        kept = kept[np.sort(first)]
        if len(kept) <= points:
            return np.sort(kept)
        if columns * rows <= 4:
            return np.sort(kept)[np.linspace(0, len(kept) - 1, points).astype(np.int64)]
        columns, rows = max(columns * 3 // 4, 2), max(rows * 3 // 4, 2)


def _scaled(values: Floats) -> Floats:
    """The values from 0 up to just below 1."""
    low, high = float(values.min()), float(values.max())
    scaled: Floats = (values - low) / ((high - low) or 1.0)
    return np.minimum(scaled, 1 - 1e-12)

"""Numbers inside the page: 32-bit steps between a series' lowest and highest value, as base64.

A value is `a + b × u`, u a little-endian uint32; 0xFFFFFFFF is "no value". That is 5 bytes of text a number
with a resolution of 1 in 4·10⁹ of the series' range, against 18 as decimal text. Short series stay lists.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from tidegate.analytics.tables import Floats, Ints

_NONE = 0xFFFFFFFF
_LAST = _NONE - 1
_SHORT = 24


def pack(values: Floats) -> Any:
    """A series for the page: a list when short, else `{"a", "b", "u"}`. NaN and infinities are no value."""
    known = np.isfinite(values)
    if len(values) <= _SHORT:
        return [float(v) if ok else None for v, ok in zip(values, known, strict=True)]
    low = float(values[known].min()) if known.any() else 0.0
    high = float(values[known].max()) if known.any() else 0.0
    step = (high - low) / _LAST or 1.0
    units = np.full(len(values), _NONE, "<u4")
    units[known] = np.minimum(np.rint((values[known] - low) / step), _LAST).astype("<u4")
    return {"a": low, "b": step, "u": base64.b64encode(units.tobytes()).decode()}


def times(ts: Ints) -> Any:
    """Times (ns) as ms since the epoch, which is what the page's time axes read, as UTC."""
    whole = ts // 1_000_000
    return pack(whole.astype(np.float64) + (ts - whole * 1_000_000) / 1e6)


def unpack(packed: Any) -> Floats:
    """The inverse of `pack`, within half a step."""
    if isinstance(packed, list):
        return np.array([np.nan if v is None else v for v in packed], np.float64)
    units = np.frombuffer(base64.b64decode(packed["u"]), "<u4")
    values: Floats = packed["a"] + packed["b"] * units.astype(np.float64)
    values[units == _NONE] = np.nan
    return values

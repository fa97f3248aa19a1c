"""Small made-up captures for the store's tests."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.oracle import binance_writer as w
from tidegate.model.time import MS

E0 = w.EPOCH * MS


def spot_session(start: int = 0, count: int = 40, first: int = 101) -> list[tuple[int, Any]]:
    """(receive ms after EPOCH, frame): a snapshot, a whole chain, quotes that agree with it, trades."""
    frames: list[tuple[int, Any]] = [
        (start, w.spot_trade(first, at=start - 5)),
        (start + 1, w.spot_snapshot(first - 1, [("100.00", "1.0"), ("99.00", "2.0")], [("100.01", "1.0")])),
    ]
    for n in range(count):
        at, update, size = start + 2 + 3 * n, first + n, f"{n % 9 + 1}.00000"
        frames += [
            (at, w.spot_ticker(update, "100.00", "100.01", size)),
            (at + 1, w.spot_depth(update, update, [("100.00", size)], [("100.01", size)], at=at - 3)),
            (at + 2, w.spot_trade(first + 1 + n, size="0.50000", seller=n % 2 == 0, at=at - 4)),
        ]
    return frames


def usdm_session(start: int = 0, count: int = 40) -> list[tuple[int, Any]]:
    """The same on USDⓈ-M."""
    frames: list[tuple[int, Any]] = [
        (start, w.usdm_trade(1, at=start - 5)),
        (start + 1, w.usdm_snapshot(100, at=start - 9)),
    ]
    for n in range(count):
        at, update, size = start + 2 + 3 * n, 100 + 7 * n, f"{n % 9 + 1}.000"
        frames += [
            (at, w.usdm_ticker(update, size=size, at=at - 5)),
            (
                at + 1,
                w.usdm_depth(update - 3, update, update - 7, [("100.0", size)], [("100.1", size)], at=at - 5),
            ),
            (at + 2, w.usdm_trade(2 + n, at=at - 4)),
        ]
    return frames


def lines(frames: Iterable[tuple[int, Any]]) -> bytes:
    """As a recorder writes them; a frame of bytes stands for itself."""
    return b"".join(
        b"%d %s\n" % (E0 + at * MS, f) if isinstance(f, bytes) else w.line(E0 + at * MS, f)
        for at, f in frames
    )


def capture(path: Path, frames: Iterable[tuple[int, Any]] | bytes, compress: bool = True) -> Path:
    """Write a capture file."""
    data = frames if isinstance(frames, bytes) else lines(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 1, mtime=0) if compress else data)
    return path

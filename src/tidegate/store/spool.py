"""Parsed messages of one capture and instrument, set aside on disk until the clock is known.

The offset of the recorder's clock is known only when the whole session has been read, and captures may be
larger than memory: so what the parser makes is laid down as it is, and read again in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tidegate.marketdata.binance_frames import Batch
from tidegate.marketdata.binance_shapes import M_INSTRUMENT, M_RECV, M_ROWS, MESSAGE_WORDS
from tidegate.model.event import Words

CHUNK_MESSAGES = 16_384


class Spool:
    """One instrument's messages of one capture."""

    def __init__(self, stem: Path, source: str) -> None:
        self.source = source
        self.messages = 0
        self.first_recv = 0
        """Receive times as recorded, ns."""
        self.last_recv = 0
        self._paths = stem.with_suffix(".messages"), stem.with_suffix(".rows")
        self._files: list[BinaryIO] = []

    def write(self, messages: Words, rows: Words) -> None:
        """Add some messages and their events."""
        if not self._files:
            self._files = [path.open("wb") for path in self._paths]
        self._files[0].write(messages.tobytes())
        self._files[1].write(rows.tobytes())
        if not self.messages:
            self.first_recv = int(messages[0, M_RECV])
        self.messages += len(messages)
        self.last_recv = max(self.last_recv, int(messages[:, M_RECV].max()))

    def close(self) -> None:
        """Nothing more is coming."""
        for file in self._files:
            file.close()
        self._files = []

    def headers(self) -> Iterator[Words]:
        """The message headers alone, in chunks."""
        with self._paths[0].open("rb") as file:
            while len(chunk := np.fromfile(file, np.int64, CHUNK_MESSAGES * MESSAGE_WORDS)):
                yield chunk.reshape(-1, MESSAGE_WORDS)

    def chunks(self) -> Iterator[tuple[Words, Words]]:
        """(messages, their events), in order."""
        with self._paths[1].open("rb") as file:
            for messages in self.headers():
                count = int(messages[:, M_ROWS].sum())
                yield messages, np.fromfile(file, np.int64, count * 8).reshape(count, 8)

    def delete(self) -> None:
        """Give the disk space back."""
        for path in self._paths:
            path.unlink(missing_ok=True)


class Spools:
    """The spools of one capture, an instrument each."""

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._source = source
        self.by_instrument: dict[int, Spool] = {}

    def add(self, batch: Batch) -> None:
        """Lay down a batch, divided by instrument."""
        messages, rows = batch.messages, batch.rows
        numbers = np.unique(messages[:, M_INSTRUMENT]).tolist()
        for number in numbers:
            if number not in self.by_instrument:
                self.by_instrument[number] = Spool(self._folder / f"instrument-{number}", self._source)
            spool = self.by_instrument[number]
            if len(numbers) == 1:
                spool.write(messages, rows)
            else:
                mine = messages[:, M_INSTRUMENT] == number
                spool.write(messages[mine], rows[np.repeat(mine, messages[:, M_ROWS])])

    def close(self) -> None:
        """Nothing more is coming."""
        for spool in self.by_instrument.values():
            spool.close()

"""A raw capture file as blocks of whole lines: gzip or plain, in bounded memory, as far as it can be read.

A gzip stream that is cut short or damaged gives every whole line before the damage, then says where it
stopped.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tidegate.errors import UserError
from tidegate.marketdata.binance_frames import Buffer
from tidegate.marketdata.binance_text import PADDING

READ_BYTES = 1 << 18
BLOCK_BYTES = 1 << 21
MAX_LINE = 1 << 26
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31


class Capture:
    """One pass over a capture. `rest`, `damage`, `sha256` and `size` are known when `blocks` has ended."""

    def __init__(self, path: Path, progress: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.size = 0
        """Bytes of the file, as it lies on disk."""
        self.rest = b""
        """What stands after the last newline."""
        self.damage = ""
        """Why the file could not be read to its end; empty when it could."""
        self._digest = hashlib.sha256()
        self._progress = progress or (lambda count: None)

    @property
    def sha256(self) -> str:
        """Of the file as it lies on disk."""
        return self._digest.hexdigest()

    def blocks(self) -> Iterator[tuple[Buffer, int]]:
        """(buffer, stop): `buffer[:stop]` is whole lines, PADDING behind it; the next block overwrites it."""
        buffer, filled = np.zeros(2 * BLOCK_BYTES + PADDING, np.uint8), 0
        for piece in self._pieces():
            while filled + len(piece) + PADDING > len(buffer):
                if len(buffer) > MAX_LINE:
                    self.damage = f"no line end within {MAX_LINE >> 10} KiB: not a capture"
                    return
                buffer = np.concatenate([buffer, np.zeros_like(buffer)])
            buffer[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            cut = piece.rfind(b"\n")
            end, filled = filled + cut + 1, filled + len(piece)
            if cut < 0:
                continue
            yield buffer, end
            buffer[: filled - end] = buffer[end:filled].copy()
            filled -= end
        self.rest = buffer[:filled].tobytes()

    def _pieces(self) -> Iterator[bytes]:
        """Decompressed bytes, at most BLOCK_BYTES at a time."""
        try:
            with self.path.open("rb") as file:
                start = self._read(file)
                if not start.startswith(_GZIP):
                    while start:
                        yield start
                        start = self._read(file)
                    return
                yield from self._inflated(file, start)
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror or error}") from None

    def _inflated(self, file: BinaryIO, data: bytes) -> Iterator[bytes]:
        inflate = zlib.decompressobj(_GZIP_WINDOW)
        while data:
            try:
                yield inflate.decompress(data, BLOCK_BYTES)
            except zlib.error as error:
                self.damage = (
                    f"gzip is damaged within the {READ_BYTES >> 10} KiB before byte {self.size}: {error}"
                )
                return
            data = inflate.unconsumed_tail or inflate.unused_data
            if inflate.eof:  # gzip files may be appended to one another
                data = inflate.unused_data or self._read(file)
                if data.strip(b"\0"):
                    inflate = zlib.decompressobj(_GZIP_WINDOW)
                    continue
                return
            data = data or self._read(file)
        yield inflate.flush()
        if not inflate.eof:
            self.damage = f"gzip is cut short: the file ends at byte {self.size} in the middle of the stream"

    def _read(self, file: BinaryIO) -> bytes:
        data = file.read(READ_BYTES)
        self.size += len(data)
        self._digest.update(data)
        if data:
            self._progress(len(data))
        return data

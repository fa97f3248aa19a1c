"""A stream's entries on disk, beside the log: append-only files of msgpack records, for when the log has let them go.

    lake/events/LANE_0/00000000000000000001.journal      named for its first entry

A record is [seq, ts, subject, data]. A file that ends in the middle of a record (the machine stopped) is read to
its last whole one, and cut there before more is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from tidegate.errors import UserError
from tidegate.log.base import Entry

ROTATE = 64 << 20
"""Bytes after which a new file is begun."""
_LENGTH = 4
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, int, str, bytes]).decode


class EventJournal:
    """Writes one stream's entries to `folder`, each once, on disk when `write` returns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = 0
        """Sequence of the last entry kept."""
        self.holes = 0
        """Entries that were missing between two that came: dropped by the log before they were read."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make folder {folder}: {error.strerror}") from None
        self._file: BinaryIO | None = None
        files = journal_files(folder)
        if files:
            end = 0
            for entry, end in _records(files[-1]):  # noqa: B007
                self.last = entry.seq
            with files[-1].open("r+b") as file:
                file.truncate(end)
            self._file = files[-1].open("ab")

    def write(self, entries: list[Entry]) -> None:
        """Keep those that are not kept yet. Raises `OSError` where the disk will not take them."""
        new = [entry for entry in entries if entry.seq > self.last]
        if not new:
            return
        if self._file is None or self._file.tell() > ROTATE:
            self.close()
            self._file = (self.folder / f"{new[0].seq:020d}.journal").open("ab")
        pieces = []
        for entry in new:
            if self.last and entry.seq != self.last + 1:
                self.holes += entry.seq - self.last - 1
            self.last = entry.seq
            record = _encode(tuple(entry))
            pieces += [len(record).to_bytes(_LENGTH, "little"), record]
        self._file.write(b"".join(pieces))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def journal_files(folder: Path) -> list[Path]:
    """A stream's files, oldest first."""
    return sorted(folder.glob("*.journal"))


def read_journal(folder: Path) -> Iterator[Entry]:
    """Every whole entry kept, in order."""
    for path in journal_files(folder):
        for entry, _ in _records(path):
            yield entry


def _records(path: Path) -> Iterator[tuple[Entry, int]]:
    """Each whole record, and where it ends."""
    with path.open("rb") as file:
        end = 0
        while len(head := file.read(_LENGTH)) == _LENGTH:
            size = int.from_bytes(head, "little")
            body = file.read(size)
            if len(body) < size:
                return
            end += _LENGTH + size
            yield Entry(*_decode(body)), end

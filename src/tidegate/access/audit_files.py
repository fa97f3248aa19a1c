"""What the audit trail keeps on this machine: notes that the log does not have yet, and hashes of records it has."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import IO

import msgspec

from tidegate.access.audit_chain import AuditRecord
from tidegate.log import private


class AuditQueue:
    """Notes that wait, a JSON line each, in `audit-NAME.….jsonl`; whoever writes the file holds its lock."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / f"audit-{name}.{secrets.token_hex(4)}.jsonl"
        self._file: IO[bytes] | None = None

    def leftovers(self) -> list[AuditRecord]:
        """What processes that are gone have left, oldest first; it is in a file of ours from now on."""
        import fcntl  # not on Windows

        found: dict[str, AuditRecord] = {}
        with contextlib.ExitStack() as held:
            taken: list[Path] = []
            for path in sorted(self._folder.glob("audit-*.jsonl")):
                with contextlib.suppress(OSError):
                    file = held.enter_context(path.open("rb"))
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is held while its writer lives
                    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                        continue
                    taken.append(path)
                    found.update((record.id, record) for record in _records(file.read()))
            for record in found.values():
                self.put(record, sync=False)
            self.sync()
            for path in taken:
                path.unlink()
        return sorted(found.values(), key=lambda record: record.ts)

    def put(self, record: AuditRecord, sync: bool) -> None:
        """Keep a note: with `sync` on the disk itself, else safe from the end of this process only. Raises `OSError`."""
        if self._file is None:
            import fcntl

            private.folder(self._folder)
            made = self._path.with_name(f".{self._path.name}")
            self._file = os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            made.rename(self._path)  # nobody sees it before it is locked
        self._file.write(msgspec.json.encode(record) + b"\n")
        self._file.flush()
        if sync:
            self.sync()

    def sync(self) -> None:
        """See that all notes are on the disk itself."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def clear(self) -> None:
        """The log has them all."""
        if self._file is not None:
            self._file.truncate(0)

    def close(self) -> None:
        """Let the file go; an empty one is removed."""
        if self._file is not None:
            if os.fstat(self._file.fileno()).st_size == 0:
                self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def _records(data: bytes) -> list[AuditRecord]:
    found = []
    for line in data.splitlines():
        with contextlib.suppress(ValueError):  # cut off while it was written
            found.append(msgspec.json.decode(line, type=AuditRecord))
    return found


class Anchors:
    """Hashes of audit records by number, in `DATA/access/audit.heads`: what this machine knows of the chain."""

    def __init__(self, data: Path) -> None:
        self.path = data / "access" / "audit.heads"

    def keep(self, n: int, digest: str) -> None:
        """Remember the hash of record `n`. Raises `OSError`."""
        private.folder(self.path.parent)
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(f"{n} {digest}\n".encode())

    def read(self) -> dict[int, str]:
        """All that are remembered; of a number kept twice the first. Empty where there are none."""
        found: dict[int, str] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_text(errors="replace").splitlines():
                n, _, digest = line.partition(" ")
                if n.isdecimal() and len(digest) == 64:
                    found.setdefault(int(n), digest)
        return found

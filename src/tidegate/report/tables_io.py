"""A run's tables on disk: one Parquet file a table and `summary.json`, in one folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.analytics.tables import SCHEMAS, RunTables
from tidegate.errors import UserError

SUMMARY = "summary.json"


def save(tables: RunTables, folder: Path) -> None:
    """Write the tables into `folder`, making it if need be. Each file is renamed into place when whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        with _whole(folder / f"{name}.parquet") as partial:
            pq.write_table(getattr(tables, name), partial, compression="zstd")
    with _whole(folder / SUMMARY) as partial:
        option = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
        partial.write_bytes(orjson.dumps(tables.summary, option=option))


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file to write that takes its name when it is whole, and is gone when it cannot be."""
    partial = path.with_name(f".{path.name}.part")
    try:
        yield partial
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def load(folder: Path) -> RunTables:
    """Read what `save` wrote. Raises `UserError` naming the file that is missing or unreadable."""
    found = {}
    for name in SCHEMAS:
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise UserError(f"{folder}: no {path.name}; give the folder that a run wrote its tables to")
        try:
            found[name] = pq.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path}: not a readable Parquet file ({reason}); run again to rewrite it"
            ) from None
    path = folder / SUMMARY
    if not path.is_file():
        raise UserError(f"{folder}: no {SUMMARY}; give the folder that a run wrote its tables to")
    try:
        summary = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); run again to rewrite it") from None
    try:
        return RunTables(**found, summary=summary)
    except ValueError as error:
        raise UserError(f"{folder}: {error}; it was written by another version, run again") from None

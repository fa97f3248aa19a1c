"""Verification believes nothing: whatever is changed in a lake is found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.store.captures import capture, spot_session
from tidegate.errors import UserError
from tidegate.model.event import Events
from tidegate.store.importer import import_captures
from tidegate.store.lake import Lake, Part
from tidegate.store.part import METADATA_KEY, PartInfo, PartWriter
from tidegate.store.verify import StreamProof, verify

SPOT = "BTCUSDT.BINANCE"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    import_captures([capture(tmp_path / "a.gz", spot_session())], tmp_path / "lake")
    return tmp_path / "lake"


def proof(lake: Path) -> StreamProof:
    [found] = verify(Lake(lake))
    return found


def only_part(lake: Path) -> Part:
    [part] = Lake(lake).parts(SPOT)
    return part


def rewrite(lake: Path, change: Any, honest: bool) -> None:
    """Write the part again with changed events; an honest writer's footer says what they are."""
    part = only_part(lake)
    events: Events = np.concatenate(list(Lake(lake).open(SPOT)))
    events = change(events)
    said = PartInfo(instrument=part.info.instrument, day=part.info.day)
    writer = PartWriter(part.path, said)
    writer.write(events)
    if not honest:
        original, close = part.info, writer._tally.close
        writer._tally.close = lambda: close() and original  # type: ignore[method-assign]
    writer.close()


def with_value(field: str, row: int, value: int) -> Any:
    def change(events: Events) -> Events:
        events[field][row] = value
        return events

    return change


def test_a_lake_as_imported_is_sound(lake: Path) -> None:
    found = proof(lake)
    assert found.sound
    assert found.compared == found.books - 1 == 40
    assert found.rows == only_part(lake).info.rows


@pytest.mark.parametrize("field", ["price", "size", "ts_event", "seq", "flags"])
def test_any_changed_value_breaks_the_hash(lake: Path, field: str) -> None:
    rewrite(lake, with_value(field, 9, 3), honest=False)
    assert any("sha256 is" in fault for fault in proof(lake).faults)


def test_rows_that_are_gone_are_missed(lake: Path) -> None:
    rewrite(lake, lambda events: events[:-1], honest=False)
    faults = proof(lake).faults
    assert any("rows is" in fault for fault in faults)
    assert any("last_recv is" in fault for fault in faults)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda e: e[::-1].copy(), "receive time runs backwards"),
        (with_value("ts_event", 5, 2**62), "exchange time after receive time"),
        (lambda e: np.delete(e, np.flatnonzero(e["kind"] == 5)), "depth message without an end"),
        (with_value("kind", 8, 99), "kind or side"),
    ],
)
def test_an_honest_footer_does_not_excuse_an_impossible_stream(lake: Path, change: Any, fault: str) -> None:
    rewrite(lake, change, honest=True)
    faults = proof(lake).faults
    assert any(fault in found for found in faults), faults
    assert not any("sha256" in found for found in faults)


def test_a_part_in_another_folder_is_found(lake: Path) -> None:
    part = only_part(lake)
    target = part.path.parent.parent / "day=2024-08-07" / part.path.name
    target.parent.mkdir()
    shutil.move(part.path, target)
    assert any("lies in" in fault for fault in proof(lake).faults)


def test_a_corrupted_file_is_one_line_with_the_way_out(lake: Path) -> None:
    path = only_part(lake).path
    data = bytearray(path.read_bytes())
    data[100:400] = bytes(300)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"cannot be read .*; delete it and import again"):
        verify(Lake(lake))


def test_footers_are_plain_json(lake: Path) -> None:
    import pyarrow.parquet as pq

    footer = msgspec.json.decode(pq.read_metadata(only_part(lake).path).metadata[METADATA_KEY])
    assert footer["instrument"]["tick"] == "0.01"
    assert footer["sources"][0]["name"] == "a.gz"

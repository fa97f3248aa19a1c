"""What is written into the lake is what comes out of it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.event import EVENT, Events, Flag, Kind, empty
from tidegate.model.time import DAY, day
from tidegate.store import lake as module
from tidegate.store.lake import Lake
from tidegate.store.part import PartInfo, PartWriter, Source, read_info

T0 = 1_723_075_200 * 10**9
"""A midnight."""
SPOT = BINANCE[0]


def made_up(n: int, seed: int = 0, start: int = T0) -> Events:
    """Any events in receive order, of every kind and size an int64 holds."""
    rng = np.random.default_rng(seed)
    events = empty(n)
    for name in ("seq", "price", "size", "price2", "size2"):
        events[name] = rng.integers(-(2**63), 2**63 - 1, n)
    events["ts_recv"] = start + np.sort(rng.integers(0, 10**9, n))
    events["ts_event"] = events["ts_recv"] - rng.integers(0, 10**8, n)
    events["kind"], events["side"] = rng.integers(1, 10, n), rng.integers(0, 3, n)
    events["flags"], events["instrument"] = rng.integers(0, 2**16, n), rng.integers(0, 99, n)
    return events


def write(lake: Path, *parts: Events, instrument: object = SPOT) -> list[PartInfo]:
    infos = []
    for number, events in enumerate(parts):
        info = PartInfo(
            instrument=instrument, day=day(int(events["ts_recv"][0])), sources=[Source("a", "b", 1)]
        )
        folder = lake / f"instrument={info.instrument.id}" / f"day={info.day}"
        writer = PartWriter(folder / f"part-{number}.parquet", info)
        for piece in np.array_split(np.arange(len(events)), 5):
            writer.write(events[piece])
        infos.append(writer.close())
    return infos


def plain(events: Events) -> Events:
    """With instrument number 0, as the lake gives them."""
    events = events.copy()
    events["instrument"] = 0
    return events


@pytest.mark.parametrize("n", [1, 100, 65_536, 65_537, 150_000])
def test_events_come_back_as_they_were_in_bounded_chunks(n: int, tmp_path: Path) -> None:
    events = made_up(n)
    write(tmp_path, events)
    chunks = list(Lake(tmp_path).open(SPOT.id))
    assert all(0 < len(chunk) <= 65_536 and chunk.dtype == EVENT for chunk in chunks)
    assert (np.concatenate(chunks) == plain(events)).all()


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Events]:
    path = tmp_path_factory.mktemp("lake")
    a, b = made_up(70_000, 1), made_up(70_000, 2, T0 + DAY)
    write(path, a, b)
    return path, plain(np.concatenate([a, b]))


@settings(max_examples=40, deadline=None)
@given(start=st.integers(-10, 10**9 + 10), length=st.integers(-5, 2 * 10**9), other=st.booleans(),
       kinds=st.none() | st.sets(st.sampled_from(Kind)))  # fmt: skip
def test_a_window_and_kinds_select_what_a_mask_selects(
    two_days: tuple[Path, Events], start: int, length: int, other: bool, kinds: set[Kind] | None
) -> None:
    path, events = two_days
    low = T0 + start + DAY * other
    high = low + length
    mask = (events["ts_recv"] >= low) & (events["ts_recv"] < high)
    if kinds is not None:
        mask &= np.isin(events["kind"], [int(kind) for kind in kinds])
    chunks = list(Lake(path).open(SPOT.id, low, high, kinds))
    assert all(len(chunk) for chunk in chunks)
    assert (np.concatenate([empty(0), *chunks]) == events[mask]).all()


def test_the_manifest_says_what_the_parts_hold(two_days: tuple[Path, Events]) -> None:
    path, events = two_days
    lake = Lake(path)
    assert lake.instruments() == [SPOT]
    assert lake.days(SPOT.id) == ["2024-08-08", "2024-08-09"]
    assert lake.max_delay(SPOT.id) == (events["ts_recv"] - events["ts_event"]).max()
    infos = [part.info for part in lake.parts(SPOT.id)]
    assert sum(info.rows for info in infos) == len(events)
    assert infos[0].kinds["QUOTE"] == (events["kind"][:70_000] == Kind.QUOTE).sum()
    assert infos[0].gaps == (events["flags"][:70_000] & Flag.GAP != 0).sum()
    begins = events[events["kind"] == Kind.SNAPSHOT_BEGIN]["ts_recv"]
    assert lake.snapshots(SPOT.id) == begins.tolist()
    assert (infos[1].first_recv, infos[1].last_recv) == tuple(events["ts_recv"][[70_000, -1]].tolist())
    assert infos[1].first_event == events["ts_event"][70_000:].min()


def test_a_stream_left_early_lets_go_of_its_files_and_thread(two_days: tuple[Path, Events]) -> None:
    import threading

    before = threading.active_count()
    stream = Lake(two_days[0]).open(SPOT.id)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_the_reader_runs_a_bounded_way_ahead(
    two_days: tuple[Path, Events], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    original = module.read_groups

    def counted(path: Path, start: int, end: int):
        for events in original(path, start, end):
            decoded.append(len(events))
            yield events

    monkeypatch.setattr(module, "read_groups", counted)
    stream = Lake(two_days[0]).open(SPOT.id)
    next(stream)
    assert 1 <= len(decoded) <= 3
    stream.close()


def test_other_engines_read_the_lake(two_days: tuple[Path, Events]) -> None:
    path, events = two_days
    query = f"""
        select instrument, day, kind, count(*), sum(price % 1000)::bigint, max(ts_recv - ts_event)
        from read_parquet('{path}/instrument=*/day=*/part-*.parquet',
                          hive_partitioning = true, hive_types_autocast = false)
        group by all order by all
    """
    found = duckdb.sql(query).fetchall()
    assert sum(row[3] for row in found) == len(events)
    name, date, kind, count, total, delay = found[0]
    mine = events[:70_000][events["kind"][:70_000] == kind]
    remainders = np.fmod(mine["price"], 1000)
    assert (name, date, count, total) == (SPOT.id, "2024-08-08", len(mine), remainders.sum())
    assert delay == (mine["ts_recv"] - mine["ts_event"]).max()


def test_unknown_instruments_and_missing_lakes_name_the_way_out(
    two_days: tuple[Path, Events], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"did you mean 'BTCUSDT\.BINANCE'"):
        Lake(two_days[0]).open("BTCUSD.BINANCE")
    with pytest.raises(UserError, match=r"no lake at .*; make one: tidegate data import"):
        Lake(tmp_path / "nothing").instruments()
    assert Lake(tmp_path).instruments() == []


def test_overlapping_parts_are_refused(tmp_path: Path) -> None:
    write(tmp_path, made_up(100, 1), made_up(100, 2))
    with pytest.raises(UserError, match=r"before part-\d\.parquet of 2024-08-08 ends; delete one of them"):
        Lake(tmp_path).instruments()


def test_parts_of_different_grids_are_refused(tmp_path: Path) -> None:
    import msgspec

    write(tmp_path, made_up(100, 1))
    coarse = msgspec.structs.replace(SPOT, tick=SPOT.tick * 10)
    write(tmp_path, made_up(100, 2, T0 + DAY), instrument=coarse)
    with pytest.raises(UserError, match="another tick or lot"):
        Lake(tmp_path).instruments()


@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1" + bytes(50) + b"PAR1"])
def test_a_file_that_is_no_part_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"instrument={SPOT.id}" / "day=2024-08-08" / "part-x.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"part-x\.parquet"):
        Lake(tmp_path).instruments()


def test_a_foreign_parquet_file_is_named(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "part.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(UserError, match="was not written by tidegate"):
        read_info(path)

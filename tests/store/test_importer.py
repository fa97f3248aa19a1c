"""Imports: real and made-up captures into a lake, whole, split, damaged, repeated, interrupted."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracle import binance_writer as w
from tests.store.captures import E0, capture, lines, spot_session, usdm_session
from tidegate.errors import UserError
from tidegate.kernel.jit import JIT
from tidegate.marketdata.clock import FLOOR
from tidegate.model.event import Events, Flag, Kind
from tidegate.model.time import MS
from tidegate.store import importer as module
from tidegate.store.import_report import ImportReport
from tidegate.store.importer import import_captures
from tidegate.store.lake import Lake
from tidegate.store.verify import verify

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
FULL = ROOT.parent / "shared" / "data" / "binance-2024-08-08"
SPOT, USDM = "BTCUSDT.BINANCE", "BTCUSDT.BINANCE_USDM"


def stream(lake: Path, instrument: str = SPOT) -> Events:
    return np.concatenate(list(Lake(lake).open(instrument)))


def imported(tmp_path: Path, frames: Any, name: str = "a.gz", **options: Any) -> ImportReport:
    return import_captures([capture(tmp_path / "raw" / name, frames)], tmp_path / "lake", **options)


def tree(lake: Path) -> dict[str, bytes]:
    return {str(p.relative_to(lake)): p.read_bytes() for p in lake.rglob("*") if p.is_file()}


def test_the_sample_is_imported_proven_and_sound(tmp_path: Path) -> None:
    if not JIT:
        pytest.skip("kernels run as plain Python")
    report = import_captures([SAMPLE], tmp_path / "lake")
    assert report.complete
    assert report.lines == 16_191 + 34_172 + 20_074
    assert [s.instrument for s in report.streams] == [SPOT, USDM, "BTCUSD_PERP.BINANCE_COINM"]
    [clock] = report.clocks
    assert -1_280 * MS < clock.offset < -1_270 * MS
    assert -8 < clock.drift_ppm < -3
    for s in report.streams:
        assert (s.gaps, s.crossed, s.different, s.backwards, s.future, s.missing_trades) == (
            [],
            0,
            0,
            0,
            0,
            0,
        )
        assert s.compared > 150
        assert s.snapshots == 1
        assert all(found["min"] >= FLOOR // 2 for found in s.delays.values())
        assert s.size / s.total < 7
        events = stream(tmp_path / "lake", s.instrument)
        assert len(events) == s.total
        assert (np.diff(events["ts_recv"]) >= 0).all()
        assert (events["ts_event"] <= events["ts_recv"]).all()
    assert all(proof.sound for proof in verify(Lake(tmp_path / "lake")))


def test_the_full_captures_are_imported_and_sound(tmp_path: Path) -> None:
    if not FULL.is_dir():
        pytest.skip(f"the full captures are not here ({FULL.name})")
    if not JIT:
        pytest.skip("kernels run as plain Python")
    report = import_captures([FULL], tmp_path / "lake")
    assert report.lines == 332_200
    assert sum(s.total for s in report.streams) == 1_866_394
    assert sum(s.compared for s in report.streams) == 4_584
    assert all((len(s.gaps), s.crossed, s.different) == (0, 0, 0) for s in report.streams)
    proofs = verify(Lake(tmp_path / "lake"))
    assert len(proofs) == 6
    assert all(proof.sound for proof in proofs)
    assert Lake(tmp_path / "lake").days(SPOT) == ["2024-08-08", "2024-08-09"]


def test_frames_become_the_events_that_they_say(tmp_path: Path) -> None:
    frames = [
        (0, w.usdm_trade(7, "100.2", "0.250", seller=True, at=-3)), (1, w.usdm_snapshot(100, at=-2)),
        (4, w.usdm_ticker(100, "100.0", "100.1", "3.000", at=1)),
        (6, w.usdm_depth(98, 101, 97, [("99.9", "2.000")], [("100.1", "0.000")], at=2)),
    ]  # fmt: skip
    report = imported(tmp_path, frames, floor=0)
    assert report.clocks[0].offset == 2 * MS  # E is T + 1, and the quickest message took 3 ms from T
    rows = [
        (Kind(e["kind"]).name, (int(e["ts_recv"]) - E0) / MS, (int(e["ts_event"]) - E0) / MS, int(e["seq"]),
         int(e["side"]), int(e["flags"]), *(int(e[f]) for f in ("price", "size", "price2", "size2")))
        for e in stream(tmp_path / "lake", USDM)
    ]  # fmt: skip
    assert rows == [
        ("TRADE", -2.0, -3.0, 7, 2, 1, 1002, 250, 7, 0),
        ("SNAPSHOT_BEGIN", -1.0, -2.0, 100, 0, 0, 0, 0, 0, 0),
        ("DELTA", -1.0, -2.0, 100, 1, 0, 1000, 1000, 0, 0),
        ("DELTA", -1.0, -2.0, 100, 2, 0, 1001, 1000, 0, 0),
        ("SNAPSHOT_END", -1.0, -2.0, 100, 0, 1, 0, 0, 0, 0),
        ("QUOTE", 2.0, 1.0, 100, 0, 1, 1000, 3000, 1001, 3000),
        ("DELTA", 4.0, 2.0, 101, 1, 0, 999, 2000, 0, 0),
        ("DELTA", 4.0, 2.0, 101, 2, 1, 1001, 0, 0, 0),
    ]


def test_importing_again_changes_nothing(tmp_path: Path) -> None:
    first = imported(tmp_path, spot_session())
    before = tree(tmp_path / "lake")
    again = imported(tmp_path, spot_session())
    assert tree(tmp_path / "lake") == before
    assert again.streams == first.streams
    assert len(before) == 1


def test_a_stream_does_not_depend_on_how_it_was_split_into_files(tmp_path: Path) -> None:
    frames = spot_session(count=60)
    imported(tmp_path, frames)
    parts = [
        capture(tmp_path / "split" / f"{n}.gz", frames[a:b])
        for n, (a, b) in enumerate([(0, 50), (50, 51), (51, None)])
    ]
    report = import_captures(list(reversed(parts)), tmp_path / "other")
    assert report.streams[0].gaps == []
    assert (stream(tmp_path / "lake") == stream(tmp_path / "other")).all()


def test_plain_files_and_folders_are_read_as_gzip_is(tmp_path: Path) -> None:
    imported(tmp_path, spot_session())
    capture(tmp_path / "plain" / "a.txt", spot_session(), compress=False)
    capture(tmp_path / "plain" / "b.log", usdm_session(), compress=False)
    (tmp_path / "plain" / "notes.md").write_text("not a capture")
    report = import_captures([tmp_path / "plain"], tmp_path / "other")
    assert [s.instrument for s in report.streams] == [SPOT, USDM]
    assert (stream(tmp_path / "lake")["price"] == stream(tmp_path / "other")["price"]).all()


def test_one_file_may_hold_several_instruments(tmp_path: Path) -> None:
    both = sorted(spot_session()[:1] + spot_session()[2:] + usdm_session()[2:], key=lambda entry: entry[0])
    both.insert(0, (-1, w.coinm_snapshot(5)))
    report = imported(tmp_path, both)
    assert {s.instrument for s in report.streams} == {SPOT, USDM, "BTCUSD_PERP.BINANCE_COINM"}
    imported(tmp_path, spot_session(), "only.gz", replace=True)
    assert (stream(tmp_path / "lake", USDM)["kind"] != Kind.DELTA).all()


def test_files_recorded_apart_have_clocks_of_their_own(tmp_path: Path) -> None:
    day = 86_400_000
    later = [(at + day + 500, frame) for at, frame in usdm_session(day)]
    early = capture(tmp_path / "a.gz", usdm_session())
    shifted = capture(tmp_path / "b.gz", [(at - day, frame) for at, frame in later])
    report = import_captures([early, shifted], tmp_path / "lake")
    first, second = report.clocks
    assert second.offset - first.offset == 500 * MS
    assert [clock.sources for clock in report.clocks] == [["a.gz"], ["b.gz"]]
    assert len(Lake(tmp_path / "lake").days(USDM)) == 2


def test_a_gap_is_reported_with_file_and_line_and_flagged_in_the_lake(tmp_path: Path) -> None:
    frames = spot_session()
    lost, shown = frames[30][1]["data"], frames[33][1]["data"]
    assert lost["u"] + 1 == shown["U"]
    del frames[30]
    report = imported(tmp_path, frames)
    [gap] = report.streams[0].gaps
    assert (gap.source, gap.line, gap.expected, gap.found) == ("a.gz", 33, lost["U"], shown["U"])
    events = stream(tmp_path / "lake")
    [flagged] = events[events["flags"] & Flag.GAP != 0]
    assert (flagged["seq"], flagged["ts_recv"]) == (shown["u"], gap.ts_recv)
    assert report.complete
    [proof] = verify(Lake(tmp_path / "lake"))
    assert proof.gaps == 1


def test_a_truncated_gzip_keeps_what_came_before_and_says_where(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.gz", spot_session(count=400))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    report = import_captures([path], tmp_path / "lake")
    [source] = report.sources
    assert not report.complete
    assert f"cut short: the file ends at byte {len(whole) // 2}" in source.damage
    assert 100 < report.streams[0].total < 1200
    complete = gzip.decompress(whole).splitlines()
    [refusal] = source.refusals
    assert refusal.reason == "cut short"
    record = json.loads((tmp_path / "lake" / source.quarantine).read_text())
    assert complete[record["line"] - 1].startswith(record["raw"].encode())
    assert verify(Lake(tmp_path / "lake"))[0].sound


def test_refused_lines_are_kept_with_file_line_reason_and_text(tmp_path: Path) -> None:
    frames: list[Any] = spot_session()
    frames.insert(5, (9, b"{not json \xff"))
    frames.insert(9, (4, w.spot_trade(1, "100.005")))
    frames.insert(12, (5, w.spot_ticker(1, symbol="BTCUSDC")))
    report = imported(tmp_path, frames)
    assert not report.complete
    [source] = report.sources
    assert {r.reason: r.count for r in source.refusals} == {
        "malformed": 1,
        "off-tick price": 1,
        "unknown symbol": 1,
    }
    records = [json.loads(text) for text in (tmp_path / "lake" / source.quarantine).read_text().splitlines()]
    assert [(r["file"], r["line"], r["reason"]) for r in records] == [
        ("a.gz", 6, "malformed"), ("a.gz", 10, "off-tick price"), ("a.gz", 13, "unknown symbol"),
    ]  # fmt: skip
    assert "nearest are 100 and 100.01" in records[1]["detail"]
    assert "did you mean 'BTCUSDT'?" in records[2]["detail"]
    assert records[0]["raw"].endswith("{not json \\xff")
    clean = imported(tmp_path, spot_session(), "clean.gz", replace=True)
    assert clean.complete
    assert clean.sources[0].quarantine == ""
    assert not verify(Lake(tmp_path / "lake"))[0].faults


def test_a_last_line_without_newline_is_read(tmp_path: Path) -> None:
    data = lines(spot_session())
    report = imported(tmp_path, data[:-1])
    assert report.complete
    assert report.lines == len(spot_session())
    report = imported(tmp_path, data[:-9], "half.gz", replace=True)
    assert [r.reason for r in report.sources[0].refusals] == ["malformed"]


def test_a_crossed_book_is_counted_and_reported(tmp_path: Path) -> None:
    frames = spot_session()
    crossing = w.spot_depth(141, 141, [("100.02", "1.0")], at=200)
    report = imported(
        tmp_path, [*frames, (300, crossing), (301, w.spot_depth(142, 142, [("100.02", "0")], at=201))]
    )
    [found] = report.streams
    assert found.crossed == 1
    assert found.first_crossed[0] == 141
    [proof] = verify(Lake(tmp_path / "lake"))
    assert "book crossed after 1 messages, first after update 141" in proof.faults[0]


def test_a_touch_that_differs_from_its_quote_is_reported(tmp_path: Path) -> None:
    frames = spot_session()
    frames[20] = (
        frames[20][0],
        json.loads(json.dumps(frames[20][1]).replace('"100.00", "B": "', '"100.00", "B": "9')),
    )
    report = imported(tmp_path, frames)
    assert report.streams[0].different == 1


OVERLAP = "already holds BTCUSDT.BINANCE of a.gz, .*; add --replace to take its place"


def test_overlapping_captures_are_refused_unless_they_replace(tmp_path: Path) -> None:
    imported(tmp_path, spot_session())
    before = tree(tmp_path / "lake")
    with pytest.raises(UserError, match=OVERLAP):
        imported(tmp_path, spot_session(start=50, first=500), "b.gz")
    assert tree(tmp_path / "lake") == before
    report = imported(tmp_path, spot_session(start=50, first=500), "b.gz", replace=True)
    assert len(report.replaced) == 1
    assert stream(tmp_path / "lake")["seq"].min() == 499
    later = imported(tmp_path, spot_session(start=10_000, first=900), "c.gz")
    assert later.replaced == []
    assert len(Lake(tmp_path / "lake").parts(SPOT)) == 2


def test_parts_of_an_import_are_superseded_by_one_of_all_its_sources(tmp_path: Path) -> None:
    frames = spot_session()
    a, b = capture(tmp_path / "a.gz", frames[:60]), capture(tmp_path / "b.gz", frames[60:])
    import_captures([a], tmp_path / "lake")
    report = import_captures([a, b], tmp_path / "lake")
    assert len(report.replaced) == 1
    assert len(tree(tmp_path / "lake")) == 1


MISTAKES = [
    (["nothing.gz"], "no capture at .*nothing.gz"),
    (["empty"], "holds no captures"),
    (["a.gz", "a.gz"], "is named twice"),
    (["a.gz", "copy.gz"], "a.gz and copy.gz are the same file"),
    (["a.gz", "late.gz"], "both hold BTCUSDT.BINANCE at the same time"),
    (["noise.gz"], "no market data in noise.gz .*malformed"),
    (["void.gz"], "no market data in void.gz; nothing was imported"),
]


@pytest.mark.parametrize(("names", "match"), MISTAKES)
def test_mistakes_are_one_line_and_leave_no_lake(names: list[str], match: str, tmp_path: Path) -> None:
    capture(tmp_path / "a.gz", spot_session())
    capture(tmp_path / "copy.gz", spot_session())
    capture(tmp_path / "late.gz", spot_session(start=30, first=700))
    capture(tmp_path / "noise.gz", b"%d nothing\n" % E0)
    capture(tmp_path / "void.gz", b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=match) as error:
        import_captures([tmp_path / name for name in names], tmp_path / "lake")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "lake").exists()


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    """In a process of its own whose files may not grow beyond 64 kB, which fails as a full disk does."""
    capture(tmp_path / "a.gz", spot_session(count=600))
    code = """
import resource, sys
from pathlib import Path
from tidegate.errors import UserError
from tidegate.store.importer import import_captures
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    import_captures([Path(sys.argv[1])], Path(sys.argv[2]))
except UserError as error:
    print(error)
"""
    lake = tmp_path / "lake"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.gz"), str(lake)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith(f"no room left on the disk of {lake} ("), done.stderr
    assert "nothing of this import was kept" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not lake.exists()


def test_an_interrupted_import_leaves_the_lake_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(tmp_path, spot_session())
    before = tree(tmp_path / "lake")
    for stage in ("reading", "writing"):

        def interrupt(now: str, done: int, total: int, stage: str = stage) -> None:
            assert 0 < done <= total
            if now == stage:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            imported(tmp_path, usdm_session(), "b.gz", progress=interrupt)
        assert tree(tmp_path / "lake") == before


def test_what_a_killed_import_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "lake" / ".incoming" / "import-1" / "capture-0"
    left.mkdir(parents=True)
    (left / "instrument-0.rows").write_bytes(b"x")
    imported(tmp_path, spot_session())
    assert not (tmp_path / "lake" / ".incoming").exists()


def test_two_imports_do_not_write_to_one_lake_at_once(tmp_path: Path) -> None:
    inside, go = threading.Event(), threading.Event()

    def wait(stage: str, done: int, total: int) -> None:
        inside.set()
        go.wait(20)

    first = threading.Thread(target=imported, args=(tmp_path, spot_session()), kwargs={"progress": wait})
    first.start()
    try:
        assert inside.wait(20)
        with pytest.raises(UserError, match="another import is writing"):
            imported(tmp_path, usdm_session(), "b.gz")
    finally:
        go.set()
        first.join()
    assert Lake(tmp_path / "lake").days(SPOT)


def test_a_lake_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file")
    with pytest.raises(UserError, match="cannot write to the lake"):
        imported(tmp_path, spot_session())


def test_progress_reaches_the_whole_of_both_passes(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}
    imported(
        tmp_path, spot_session(), progress=lambda stage, done, total: seen.__setitem__(stage, (done, total))
    )
    size = os.path.getsize(tmp_path / "raw" / "a.gz")
    assert seen == {"reading": (size, size), "writing": (len(spot_session()), len(spot_session()))}


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 4):
        a, b = capture(tmp_path / "a.gz", spot_session()), capture(tmp_path / "b.gz", usdm_session())
        import_captures([a, b], tmp_path / f"lake{workers}", workers=workers)
    assert tree(tmp_path / "lake1") == tree(tmp_path / "lake4")


def test_the_days_of_a_stream_are_those_of_its_receipt(tmp_path: Path) -> None:
    midnight = (1_723_161_600_000 - w.EPOCH) // 1
    report = imported(tmp_path, usdm_session(midnight - 60), floor=0)
    assert report.streams[0].days == ["2024-08-08", "2024-08-09"]
    lake = Lake(tmp_path / "lake")
    for part in lake.parts(USDM):
        assert (part.info.first_recv >= 1_723_161_600 * 10**9) == (part.info.day == "2024-08-09")
    assert verify(lake)[0].sound


def test_code_version_names_release_and_sources() -> None:
    name, version, sources = module.code_version().split()
    assert (name, len(sources)) == ("tidegate", 12)
    assert version[0].isdigit()

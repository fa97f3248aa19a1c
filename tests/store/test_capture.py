"""Captures are read to their end, or to where they are damaged, whatever the size of the pieces."""

from __future__ import annotations

import gzip
import hashlib
import random
from pathlib import Path

import pytest

from tidegate.errors import UserError
from tidegate.store import capture as module
from tidegate.store.capture import Capture

LINES = b"".join(b"%d %s\n" % (n, random.Random(n).randbytes(n % 90).hex().encode()) for n in range(5000))


def read(path: Path) -> tuple[bytes, Capture]:
    capture = Capture(path)
    blocks = []
    for buffer, stop in capture.blocks():
        blocks.append(buffer[:stop].tobytes())
        assert blocks[-1].endswith(b"\n")
    return b"".join(blocks), capture


@pytest.fixture(params=[(1 << 18, 1 << 21), (777, 1000)], ids=["wide", "narrow"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_BYTES", request.param[0])
    monkeypatch.setattr(module, "BLOCK_BYTES", request.param[1])


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("form", ["plain", "gzip", "two members", "padded"])
def test_all_lines_come_out_whole(form: str, tmp_path: Path) -> None:
    path, half = tmp_path / "capture", LINES.index(b"\n", len(LINES) // 2) + 1
    path.write_bytes({
        "plain": LINES, "gzip": gzip.compress(LINES),
        "two members": gzip.compress(LINES[:half]) + gzip.compress(LINES[half:]),
        "padded": gzip.compress(LINES) + bytes(512),
    }[form])  # fmt: skip
    data, capture = read(path)
    assert data == LINES
    assert (capture.rest, capture.damage) == (b"", "")
    assert capture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert capture.size == path.stat().st_size


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("keep", [0.2, 0.7, 0.999])
def test_gzip_that_is_cut_short_gives_what_came_before(keep: float, tmp_path: Path) -> None:
    whole = gzip.compress(LINES)
    path = tmp_path / "capture.gz"
    path.write_bytes(whole[: int(len(whole) * keep)])
    data, capture = read(path)
    assert LINES.startswith(data + capture.rest)
    assert len(data) > len(LINES) * keep * 0.8
    assert "cut short" in capture.damage
    assert str(capture.size) in capture.damage


def test_damaged_gzip_gives_what_came_before(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(LINES))
    whole[len(whole) // 2] ^= 0xFF
    path = tmp_path / "capture.gz"
    path.write_bytes(whole)
    data, capture = read(path)
    assert "damaged" in capture.damage
    assert len(capture.damage.splitlines()) == 1
    assert len(data) > 10_000
    assert LINES.startswith(data[:10_000])


def test_a_last_line_without_end_is_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(LINES + b"17 {half a fr")
    data, capture = read(path)
    assert data == LINES
    assert capture.rest == b"17 {half a fr"


def test_a_file_without_lines_is_no_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 1 << 16)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 12)
    path = tmp_path / "capture"
    path.write_bytes(b"x" * (1 << 20))
    data, capture = read(path)
    assert data == b""
    assert "no line end" in capture.damage


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.touch()
    assert read(path)[0] == b""


def test_a_missing_file_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read(tmp_path / "nothing")

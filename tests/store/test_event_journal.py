"""The journal of a stream: each entry once, whole after a crash, in files of bounded size."""

from __future__ import annotations

import pytest

from tidegate.errors import UserError
from tidegate.log.base import Entry
from tidegate.store import event_journal
from tidegate.store.event_journal import EventJournal, journal_files, read_journal


def entries(first: int, count: int) -> list[Entry]:
    return [Entry(n, 1000 + n, "lane.0.cmd", b"x" * n) for n in range(first, first + count)]


def test_entries_come_back_as_they_were(tmp_path):
    journal = EventJournal(tmp_path)
    journal.write(entries(1, 50))
    journal.close()
    assert list(read_journal(tmp_path)) == entries(1, 50)


def test_what_comes_again_is_kept_once(tmp_path):
    journal = EventJournal(tmp_path)
    journal.write(entries(1, 10))
    journal.write(entries(5, 10))
    journal.close()
    again = EventJournal(tmp_path)
    assert again.last == 14
    again.write(entries(1, 20))
    again.close()
    assert [entry.seq for entry in read_journal(tmp_path)] == list(range(1, 21))


@pytest.mark.parametrize("cut", [1, 3, 10])
def test_a_record_cut_short_is_written_anew(tmp_path, cut):
    journal = EventJournal(tmp_path)
    journal.write(entries(1, 5))
    journal.close()
    (file,) = journal_files(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    again = EventJournal(tmp_path)
    assert again.last == 4
    again.write(entries(4, 3))
    again.close()
    assert list(read_journal(tmp_path)) == entries(1, 6)


def test_a_hole_is_counted(tmp_path):
    journal = EventJournal(tmp_path)
    journal.write([*entries(1, 2), *entries(6, 1)])
    assert journal.holes == 3
    journal.close()


def test_files_are_rotated_and_named_for_their_first_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(event_journal, "ROTATE", 100)
    journal = EventJournal(tmp_path)
    for n in range(1, 30):
        journal.write(entries(n, 1))
    journal.close()
    files = journal_files(tmp_path)
    assert len(files) > 3
    assert files[0].name == f"{1:020d}.journal"
    assert [entry.seq for entry in read_journal(tmp_path)] == list(range(1, 30))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make folder"):
        EventJournal(tmp_path / "file" / "events")

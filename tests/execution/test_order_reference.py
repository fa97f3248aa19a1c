"""docs/orders.md prints the table that the lane uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.execution.reference import OPEN, transitions, write_into
from tidegate.model.order import TRANSITIONS

DOC = Path(__file__).parents[2] / "docs" / "orders.md"


def test_the_document_shows_the_transitions_as_they_are():
    text = DOC.read_text()
    assert write_into(text) == text, "run: python -m tidegate.execution.reference docs/orders.md"


def test_the_table_has_a_cell_for_every_transition():
    cells = [cell for line in transitions().splitlines()[2:] for cell in line.split("|")[2:-1]]
    assert sum(bool(cell) for cell in cells) == len(TRANSITIONS)
    assert len(cells) % len(OPEN) == 0


def test_a_document_without_markers_is_an_error():
    with pytest.raises(ValueError, match="markers"):
        write_into("# Orders")

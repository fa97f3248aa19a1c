"""A data folder as a system has it."""

from __future__ import annotations

import pytest

from tidegate.ops.folder import DataFolder


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.make()
    return folder

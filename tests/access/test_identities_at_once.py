"""Two people change the identities of a data folder at once."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tidegate.access import local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection, load

NAMES = [f"n{n}" for n in range(12)]


def change(data: Path, name: str) -> None:
    """One comes, and is revoked again."""
    local.add(data, AccessSection(), name, Role.VIEWER, name)
    assert local.revoke(data, name, 5)


def test_of_changes_made_at_once_none_is_lost(tmp_path):
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(partial(change, tmp_path), NAMES))
    assert sorted((one.name, one.revoked) for one in load(tmp_path)) == sorted((name, 5) for name in NAMES)

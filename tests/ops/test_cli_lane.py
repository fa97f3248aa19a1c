"""`tidegate take-up` and `acknowledge`: what cannot be asked is one line, and a request for a second person is a file."""

from __future__ import annotations

import pytest

from tidegate.access import command, local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.cli import lane
from tidegate.errors import UserError
from tidegate.ops.folder import DataFolder


@pytest.fixture
def data(tmp_path):
    DataFolder(tmp_path).make()
    for name in ("ann", "bob"):
        local.add(tmp_path, AccessSection(), name, Role.RISK_OFFICER, name)
    return tmp_path


def test_a_request_waits_in_a_file_for_the_second_person(data, capsys):
    lane.take_up(3, reason="mended", signer="ann", data=data)
    path = data / "run" / "take-up-3.json"
    said = capsys.readouterr().out
    assert f"tidegate take-up 3 --approve {path} --as NAME --data {data}" in said
    asked = command.Signed.decode(path.read_bytes())
    assert (asked.command.do, asked.command.scope, asked.command.by) == ("take-up", "lane:3", "ann")
    assert len(asked.signatures) == 1
    with pytest.raises(UserError, match="it is a command to take-up lane:3, not to take-up lane:4"):
        lane.take_up(4, approve=path, signer="bob", data=data)
    with pytest.raises(UserError, match="no log's server runs on"):
        lane.take_up(3, approve=path, signer="bob", data=data)
    assert path.exists(), "it is still to be done"


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "--reason is missing: say why to take-up lane:3"), ({"reason": "x", "signer": "eve"}, "eve")],
)
def test_what_cannot_be_asked_is_one_line(data, options, said):
    with pytest.raises(UserError, match=said):
        lane.take_up(3, data=data, **options)
    assert not list((data / "run").glob("take-up*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--reason is missing: say why strategy:mm may go on"),
        ({"reason": "x", "signer": "eve"}, "eve"),
        ({"reason": "x", "signer": "ann"}, "no log's server runs on"),
    ],
)
def test_an_acknowledgement_that_cannot_be_asked_is_one_line(data, options, said):
    with pytest.raises(UserError, match=said):
        lane.acknowledge("strategy:mm", data=data, **options)

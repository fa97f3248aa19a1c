"""What two people sign one after the other, and what is wrong with it: told to the second before he signs."""

from __future__ import annotations

import base64
import json

import pytest

from tidegate.access import command, local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.cli.sign import approved, by_two
from tidegate.errors import UserError

NOBODY = AccessSection()
WHAT = ("resume", "strategy:maker")


@pytest.fixture
def request_file(tmp_path, monkeypatch):
    monkeypatch.delenv("TIDEGATE_SIGNING_KEY", raising=False)
    for name in ("ann", "bob"):
        local.add(tmp_path, NOBODY, name, Role.RISK_OFFICER, name)
    path = tmp_path / "request.json"
    assert (
        by_two(*WHAT, "it is over", tmp_path, "ann", "", path, "resume strategy:maker", {"epoch": "1"})
        is None
    )
    return path


def changed(path, **fields):
    made = json.loads(path.read_text())
    body = json.loads(base64.b64decode(made["body"]))
    made["body"] = base64.b64encode(json.dumps(body | fields, separators=(",", ":")).encode()).decode()
    path.write_text(json.dumps(made))


def refused(path) -> str:
    with pytest.raises(UserError) as error:
        approved(path, *WHAT, path.parent, "bob")
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path}: ")


def test_the_second_person_signs_what_the_first_has_signed(request_file, capsys):
    made = approved(request_file, *WHAT, request_file.parent, "bob")
    assert [one.name for one in made.signatures] == ["ann", "bob"]
    assert "ann asks, because: it is over" in capsys.readouterr().out


def test_a_request_that_was_changed_is_not_signed(request_file, capsys):
    changed(request_file, reason="quite another thing")
    assert refused(request_file) == "ann did not sign this, or it was changed since: have it asked for again"
    assert "quite another" not in capsys.readouterr().out


def test_a_request_that_nobody_signed_is_not_signed(request_file):
    made = command.Signed.decode(request_file.read_bytes())
    request_file.write_bytes(command.Signed(made.body).encode())
    assert refused(request_file).startswith("it is not signed by ann, in whose name it is")


def test_what_is_no_request_is_said(request_file):
    request_file.write_text("hello")
    assert refused(request_file).startswith("no signed command: JSON is malformed")
    request_file.unlink()
    assert refused(request_file).startswith("No such file or directory; name what")

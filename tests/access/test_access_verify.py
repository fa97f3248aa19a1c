"""Signed commands: who is obeyed, and who is not and why."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.access import command as commands
from tidegate.access.command import Signature, Signed, approve, sign
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.policy import POLICY
from tidegate.access.replays import KEPT, Replays
from tidegate.access.signer import Signer
from tidegate.access.verify import LONGEST, Denied, Verifier
from tidegate.errors import UserError

NOW = 1_800_000_000_000_000_000
SECOND = 1_000_000_000

ALICE, BOB, OLIVE, TOM, CAROL = (Signer.new(name) for name in ("alice", "bob", "olive", "tom", "carol"))


def identity(signer: Signer, role: Role, person: str = "", **times: int) -> Identity:
    return Identity(name=signer.name, person=person or signer.name, role=role, key=signer.public, **times)


def verifier(**alice: int) -> Verifier:
    return Verifier(
        Identities(
            [
                identity(ALICE, Role.RISK_OFFICER, "Alice Ames", **alice),
                identity(BOB, Role.RISK_OFFICER, "Bob Bell"),
                identity(CAROL, Role.ADMIN, "  alice   AMES "),
                identity(OLIVE, Role.OPERATOR),
                identity(TOM, Role.TRADER),
            ]
        )
    )


def order(do: str, by: Signer, now: int = NOW, **change: object) -> Signed:
    made = commands.new(do, "firm", "a drill", by.name, now)
    return sign(msgspec.structs.replace(made, **change), by)


def denied(signed: Signed | bytes, now: int = NOW, people: int = 0, judge: Verifier | None = None) -> str:
    with pytest.raises(Denied) as caught:
        (judge or verifier()).verify(signed, now, people)
    assert "\n" not in str(caught.value)
    return caught.value.code


def test_a_signed_command_of_a_sufficient_role_is_obeyed():
    done = verifier().verify(order("halt", OLIVE), NOW)
    assert (done.command.do, done.command.scope, done.names, done.persons) == (
        "halt", "firm", ("olive",), ("olive",),
    )  # fmt: skip


def test_it_travels_as_one_line():
    signed = approve(order("resume", ALICE), BOB)
    line = signed.encode()
    assert b"\n" not in line
    assert Signed.decode(line) == signed
    assert verifier().verify(line, NOW).persons == ("Alice Ames", "Bob Bell")


@pytest.mark.parametrize("do", POLICY)
def test_every_command_needs_its_role(do):
    rule = POLICY[do]
    for signer, role in (
        (TOM, Role.TRADER),
        (OLIVE, Role.OPERATOR),
        (ALICE, Role.RISK_OFFICER),
        (CAROL, Role.ADMIN),
    ):
        signed = order(do, signer)
        if role < rule.role:
            assert denied(signed) == "ROLE_TOO_LOW"
        elif rule.people == 2:
            assert denied(signed) == "NEEDS_TWO_PEOPLE"
        else:
            assert verifier().verify(signed, NOW).names == (signer.name,)


def test_unsigned_commands_are_denied():
    assert denied(b"") == "UNSIGNED"
    assert denied(Signed(order("halt", OLIVE).body)) == "UNSIGNED"


def test_what_is_no_command_is_malformed():
    for data in (b"{}", b"[]", b"\xff", b'{"body":"e30="}', b'{"body":"e30=","signatures":[],"more":1}'):
        assert denied(data) == "MALFORMED"


def test_another_spelling_of_the_same_command_is_malformed():
    body = order("halt", OLIVE).body
    spaced = body.replace(b":", b": ", 1)
    signature = Signature("olive", OLIVE.sign(commands.signed_bytes(spaced)))
    assert denied(Signed(spaced, [signature])) == "MALFORMED"


@given(st.integers(0), st.integers(0, 6))
def test_any_change_of_a_byte_is_seen(at, bit):
    signed = order("halt", OLIVE)
    line = bytearray(signed.encode())
    line[at % len(line)] ^= 1 << bit
    try:
        verifier().verify(bytes(line), NOW)
    except Denied:
        return
    assert Signed.decode(bytes(line)) == signed  # only the bits of base64's last letter that carry nothing


def test_a_signature_of_something_else_does_not_do():
    other = order("halt", OLIVE, scope="desk:a")
    assert denied(Signed(order("halt", OLIVE).body, other.signatures)) == "BAD_SIGNATURE"


def test_a_signature_over_the_bare_bytes_does_not_do():
    body = order("halt", OLIVE).body
    assert denied(Signed(body, [Signature("olive", OLIVE.sign(body))])) == "BAD_SIGNATURE"


def test_who_signs_in_anothers_name_is_denied():
    forger = Signer("olive", b"\1" * 32)
    assert denied(order("halt", forger)) == "BAD_SIGNATURE"


def test_the_issuer_signs_first():
    made = commands.new("resume", "firm", "a drill", "alice", NOW)
    assert denied(approve(sign(made, BOB), ALICE)) == "WRONG_ISSUER"


def test_a_stranger_is_denied():
    assert denied(order("halt", Signer.new("mallory"))) == "UNKNOWN_IDENTITY"


def test_an_unknown_command_is_denied():
    assert denied(order("format-disk", CAROL)) == "UNKNOWN_COMMAND"


def test_a_command_needs_a_reason():
    assert denied(order("halt", OLIVE, reason="  ")) == "NO_REASON"


def test_an_expired_command_is_denied():
    signed = order("halt", OLIVE)
    assert verifier().verify(signed, NOW + commands.LIFE - 1)
    assert denied(signed, NOW + commands.LIFE) == "COMMAND_EXPIRED"


def test_a_command_from_the_future_is_denied():
    signed = order("halt", OLIVE)
    assert verifier().verify(signed, NOW - 5 * SECOND)
    assert denied(signed, NOW - 5 * SECOND - 1) == "FROM_THE_FUTURE"


@pytest.mark.parametrize(
    ("sender", "receiver", "code"),
    [
        (4, 0, ""), (6, 0, "FROM_THE_FUTURE"), (-59, 0, ""), (-61, 0, "COMMAND_EXPIRED"), (0, -4, ""),
        (0, -6, "FROM_THE_FUTURE"), (0, 59, ""), (0, 61, "COMMAND_EXPIRED"), (3600, 3600, ""), (-3600, -3600, ""),
        (7200, 0, "FROM_THE_FUTURE"), (-7200, 0, "COMMAND_EXPIRED"),
    ],
)  # fmt: skip
def test_a_clock_that_was_stepped_on_either_side_is_named(sender, receiver, code):
    signed = order("halt", OLIVE, NOW + sender * SECOND)
    try:
        verifier().verify(signed, NOW + receiver * SECOND)
        said = ""
    except Denied as error:
        said = str(error)
    assert said.partition(":")[0] == code
    assert not code or "a clock is wrong" in said


def test_a_command_that_would_live_too_long_is_denied():
    assert denied(order("halt", OLIVE, expires=NOW + LONGEST + 1)) == "LIVES_TOO_LONG"


def test_a_revoked_identity_is_denied_from_then_on():
    judge = verifier()
    before = order("flatten", ALICE)
    assert judge.identities.revoke("alice", NOW + SECOND)
    assert judge.verify(before, NOW)  # what it did before stays true: a replay of the log decides the same
    assert denied(before, NOW + SECOND, judge=judge) == "IDENTITY_REVOKED"
    assert not judge.identities.revoke("alice", NOW + 2 * SECOND)
    assert judge.identities.revoke("alice", NOW)
    assert denied(before, NOW, judge=judge) == "IDENTITY_REVOKED"


def test_an_identity_has_its_time():
    assert denied(order("flatten", ALICE), judge=verifier(expires=NOW)) == "IDENTITY_EXPIRED"
    assert denied(order("flatten", ALICE), judge=verifier(not_before=NOW + 1)) == "IDENTITY_NOT_YET_VALID"


def test_two_people_are_two():
    signed = order("resume", ALICE)
    assert denied(signed) == "NEEDS_TWO_PEOPLE"
    assert verifier().verify(approve(signed, BOB), NOW).names == ("alice", "bob")


def test_the_same_person_under_two_names_does_not_approve():
    signed = order("resume", ALICE)
    assert denied(approve(signed, ALICE)) == "SAME_PERSON"
    assert denied(approve(signed, CAROL)) == "SAME_PERSON"
    assert verifier().identities.same_person("alice", "carol")
    assert not verifier().identities.same_person("alice", "bob")
    assert not verifier().identities.same_person("alice", "nobody")


def test_an_approval_of_a_low_role_does_not_count():
    assert denied(approve(order("resume", ALICE), OLIVE)) == "ROLE_TOO_LOW"


def test_a_receiver_may_ask_for_more_people():
    signed = order("limits", ALICE)
    assert verifier().verify(signed, NOW)
    assert denied(signed, people=2) == "NEEDS_TWO_PEOPLE"
    assert verifier().verify(approve(signed, BOB), NOW, people=2)


def test_one_key_under_two_names_is_refused():
    known = Identities([identity(ALICE, Role.ADMIN)])
    twin = Identity(name="alice2", person="Somebody Else", role=Role.ADMIN, key=ALICE.public)
    with pytest.raises(UserError, match="has the key of 'alice'"):
        known.add(twin)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "a b"}, "use letters"),
        ({"person": " "}, "person is empty"),
        ({"key": "AAAA"}, "key is 3 bytes"),
        ({"key": "§"}, "key is not base64"),
        ({"key": "AQ" + "A" * 41 + "="}, "anybody could sign"),
        ({"key": "7f" + "/" * 39 + "38="}, "anybody could sign"),
    ],
)
def test_an_identity_that_cannot_be_is_refused(change, said):
    good = identity(ALICE, Role.ADMIN)
    with pytest.raises(UserError, match=said):
        Identities([msgspec.structs.replace(good, **change)])


def test_names_are_unique():
    with pytest.raises(UserError, match="is there already"):
        Identities([identity(ALICE, Role.ADMIN), identity(Signer.new("alice"), Role.VIEWER)])


def test_roles_have_names():
    assert Role.of("risk_officer") is Role.RISK_OFFICER
    with pytest.raises(UserError, match=r"unknown role 'risk-officer'; did you mean 'risk_officer'"):
        Role.of("risk-officer")


# Replays.


def test_a_command_is_done_once():
    seen = Replays()
    assert seen.first("a", NOW + 10, NOW)
    assert not seen.first("a", NOW + 10, NOW + 9)
    assert seen.first("b", NOW + 5, NOW)
    assert len(seen) == 2
    assert seen.first("c", NOW + 50, NOW + KEPT + 20)
    assert len(seen) == 1  # what has long expired is refused for that, and need not be remembered


def test_a_clock_that_goes_back_brings_no_command_back():
    """The receiver's clock is two hours ahead for a while, and others are followed meanwhile."""
    hours, signed = 7_200 * SECOND, order("cancel-all", OLIVE)
    seen, expires = Replays(), signed.command.expires
    assert seen.first(signed.command.id, expires, NOW)
    assert seen.first("later", NOW + hours + 60 * SECOND, NOW + hours)
    assert verifier().verify(signed, NOW + SECOND), "set right again, it would be timely"
    assert not seen.first(signed.command.id, expires, NOW + SECOND)


def test_a_restart_forgets_no_command(tmp_path):
    path = tmp_path / "replays"
    assert Replays(path).first("a", NOW + 10, NOW)
    with path.open("a") as file:
        file.write("123 cut o")  # the machine stopped while it was written
    again = Replays(path)
    assert not again.first("a", NOW + 10, NOW + 1)
    assert again.first("b", NOW + 10, NOW + 1)
    assert not Replays(path).first("b", NOW + 10, NOW + 1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_of_ids_does_not_grow_for_ever(tmp_path):
    path = tmp_path / "replays"
    seen = Replays(path)
    for n in range(500):
        assert seen.first(f"id{n}", NOW + n + 3, NOW + n * KEPT)
    assert len(path.read_text().splitlines()) < 200
    assert not Replays(path).first("id499", NOW + 600, NOW + 499)


def test_a_command_that_cannot_be_remembered_is_not_done(tmp_path):
    with pytest.raises(UserError, match="cannot remember a command"):
        Replays(tmp_path / "missing" / "replays").first("a", NOW + 10, NOW)

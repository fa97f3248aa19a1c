"""Roles that count for some scopes only: who is believed about what, and who may make whom."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.access import admins, command, local, reach
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.identity_file import AccessSection, IdentitySection, check, load, path_of
from tidegate.access.keyring import REVOKE, Keyring
from tidegate.access.signer import Signer, keys_folder
from tidegate.access.verify import Denied, Verifier
from tidegate.errors import UserError

NOW = 1_800_000_000_000_000_000
NOBODY = AccessSection()
ABOVE = {
    "desk:arb": (), "desk:mm": (), "account:a": ("desk:arb",), "account:b": ("desk:arb",), "account:m": ("desk:mm",),
    "strategy:basis": ("account:a", "desk:arb"), "strategy:both": ("desk:arb",), "strategy:wide": (),
    "instrument:BTC.X": ("venue:X",), "venue:X": (), "lane:0": ("desk:arb",), "lane:1": (),
}  # fmt: skip
SCOPES = {
    "boss": (),
    "arb": ("desk:arb",),
    "arb2": ("desk:arb",),
    "one": ("account:a", "venue:X"),
    "all": ("firm",),
}
SIGNERS = {name: Signer.new(name) for name in SCOPES}


def verifier(role: Role = Role.RISK_OFFICER) -> Verifier:
    people = [
        Identity(name=name, person=name, role=role, key=SIGNERS[name].public, scopes=scopes)
        for name, scopes in SCOPES.items()
    ]
    return Verifier(Identities(people), above=ABOVE)


def signed(do: str, scope: str, *by: str) -> command.Signed:
    made = command.sign(command.new(do, scope, "a drill", by[0], NOW), SIGNERS[by[0]])
    for name in by[1:]:
        made = command.approve(made, SIGNERS[name])
    return made


def denied(made: command.Signed, **more: object) -> str:
    with pytest.raises(Denied) as caught:
        verifier().verify(made, NOW, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("who", "may", "may_not"),
    [
        ("boss", [*ABOVE, "firm", "desk:unknown"], []),
        ("all", [*ABOVE, "firm"], []),
        (
            "arb",
            ["desk:arb", "account:a", "account:b", "strategy:basis", "strategy:both", "lane:0"],
            ["firm", "desk:mm", "account:m", "strategy:wide", "instrument:BTC.X", "venue:X", "lane:1", "desk:unknown"],
        ),
        (
            "one",
            ["account:a", "strategy:basis", "venue:X", "instrument:BTC.X"],
            ["firm", "desk:arb", "account:b", "strategy:both", "process:gateway-1", "system"],
        ),
    ],
)  # fmt: skip
def test_a_command_counts_for_the_signers_scopes_and_what_lies_below_them(who, may, may_not):
    for scope in may:
        assert verifier().verify(signed("halt", scope, who), NOW).names == (who,)
    for scope in may_not:
        assert denied(signed("halt", scope, who)).startswith(f"OUT_OF_SCOPE: halt of {scope}: {who} acts on ")


@given(st.sampled_from(sorted(ABOVE)), st.sets(st.sampled_from(sorted(ABOVE)), min_size=1))
def test_nobody_reaches_what_no_scope_of_his_contains(scope, own):
    assert reach.reaches(own, scope, ABOVE) == bool(own & {scope, *ABOVE[scope]})
    assert reach.reaches(own, "firm", ABOVE) is False
    assert reach.reaches(own, scope, {}) == (scope in own), "with nothing known, only what is named"


def test_both_of_two_people_must_reach_it():
    assert verifier().verify(signed("resume", "account:b", "arb", "arb2"), NOW).names == ("arb", "arb2")
    assert verifier().verify(signed("resume", "account:b", "boss", "arb"), NOW).names == ("boss", "arb")
    assert "one acts on account:a and venue:X only" in denied(signed("resume", "account:b", "arb", "one"))
    assert denied(signed("resume", "firm", "boss", "arb")).startswith("OUT_OF_SCOPE")
    assert denied(signed("resume", "account:b", "arb")).startswith("NEEDS_TWO_PEOPLE")


def test_what_a_command_comes_to_counts_where_it_names_something_wider():
    made = signed("limits", "firm", "arb")
    assert denied(made).startswith("OUT_OF_SCOPE: limits of firm")
    assert verifier().verify(made, NOW, over=["account:a", "strategy:both"]).names == ("arb",)
    assert denied(made, over=["account:a", "account:m"]).startswith("OUT_OF_SCOPE: limits of account:m")


# Files.


def test_scopes_are_read_as_they_were_written_and_old_files_still_are(tmp_path):
    made = local.add(tmp_path, NOBODY, "ann", Role.OPERATOR, "Ann", scopes=("desk:arb", "account:m"))
    old = local.add(tmp_path, NOBODY, "bob", Role.ADMIN, "Bob")
    assert load(tmp_path) == [made, old]
    assert (made.reach, old.reach) == (("desk:arb", "account:m"), ("firm",))
    text = path_of(tmp_path).read_text()
    assert text.count("scopes") == 1, "who is not limited is written as before"


@pytest.mark.parametrize("scope", ["arb", "desk:", "desk", "process:log", "desk:a b", ""])
def test_a_scope_that_cannot_be_is_one_line(tmp_path, scope):
    with pytest.raises(UserError, match="write desk:NAME") as error:
        local.add(tmp_path, NOBODY, "ann", Role.OPERATOR, "Ann", scopes=(scope,))
    assert "\n" not in str(error.value)
    section = IdentitySection(key=SIGNERS["arb"].public, role="operator", scopes=(scope,))
    with pytest.raises(UserError, match="write desk:NAME"):
        check(AccessSection(identities={"ann": section}), "system.toml")


def test_a_scope_that_the_system_does_not_have_is_named():
    reach.known_scopes(["desk:arb", "firm"], ABOVE, "--scope")
    reach.known_scopes(["desk:abr"], {}, "--scope")
    with pytest.raises(UserError, match="--scope: there is no 'desk:abr'; did you mean 'desk:arb'"):
        reach.known_scopes(["desk:abr"], ABOVE, "--scope")


def test_people_are_judged_by_the_table_of_the_system_that_ran_last(tmp_path):
    local.add(tmp_path, NOBODY, "ann", Role.OPERATOR, "Ann", scopes=("desk:arb",))
    ann = Signer.from_file(keys_folder(tmp_path) / "ann.key")
    halt = command.sign(command.new("halt", "account:a", "a drill", "ann", NOW), ann)
    with pytest.raises(Denied, match="OUT_OF_SCOPE"):
        Keyring(tmp_path, NOBODY).verify(halt, NOW)
    reach.keep(tmp_path, ABOVE)
    assert reach.path_of(tmp_path).stat().st_mode & 0o777 == 0o600
    assert Keyring(tmp_path, NOBODY).verify(halt, NOW).names == ("ann",)
    with pytest.raises(Denied, match="OUT_OF_SCOPE"):
        Keyring(tmp_path, NOBODY, {}).verify(halt, NOW)


# Admins.


def test_an_admin_of_a_desk_makes_nobody_firm_wide(tmp_path):
    reach.keep(tmp_path, ABOVE)

    def ask(*scopes: str, name: str = "") -> command.Signed | None:
        known = Identities(load(tmp_path))
        return admins.signed("identity-add", {}, scopes, "a new one", known, tmp_path, time.time_ns(), name)

    assert ask("firm") is None, "there is no admin yet: the folder's owner decides"
    local.add(tmp_path, NOBODY, "olga", Role.OPERATOR, "Olga")
    assert ask("firm") is None
    local.add(tmp_path, NOBODY, "dora", Role.ADMIN, "Dora", scopes=("desk:arb",))
    assert ask("desk:arb").command.by == "dora"
    assert ask("account:a", "strategy:both").command.scope == "firm"
    for scopes in (["firm"], ["desk:mm"], ["account:a", "account:m"]):
        with pytest.raises(Denied, match=r"OUT_OF_SCOPE: identity-add of .*: dora acts on desk:arb only"):
            ask(*scopes)
    with pytest.raises(Denied, match="ROLE_TOO_LOW"):
        ask("desk:arb", name="olga")
    local.add(tmp_path, NOBODY, "zoe", Role.ADMIN, "Zoe")
    assert ask("firm").command.by == "zoe", "of the keys that are here, one that may"
    for name in ("dora", "zoe"):
        (keys_folder(tmp_path) / f"{name}.key").unlink()
    with pytest.raises(
        UserError, match="identity-add needs an admin's key, and none is here: that of dora or zoe"
    ):
        ask("desk:arb")
    local.revoke(tmp_path, "dora", 1)
    local.revoke(tmp_path, "zoe", 1)
    assert ask("firm") is None


def test_an_admin_of_a_desk_revokes_that_desks_people_alone(tmp_path):
    for name, role, scopes in (
        ("dora", Role.ADMIN, ("desk:arb",)), ("arb", Role.OPERATOR, ("account:a",)), ("wide", Role.OPERATOR, ()),
    ):  # fmt: skip
        local.add(tmp_path, NOBODY, name, role, name, scopes=scopes)
    dora = Signer.from_file(keys_folder(tmp_path) / "dora.key")
    ring = Keyring(tmp_path, NOBODY, ABOVE)
    for name in ("arb", "wide"):
        order = command.new(REVOKE, "firm", "left", "dora", NOW, args={"name": name})
        ring._orders.append(command.sign(order, dora))
    ring._revoke()
    assert ring.counters["revocations refused"] == 1
    assert {one.name: bool(one.revoked) for one in ring.identities} == {
        "dora": False,
        "arb": True,
        "wide": False,
    }

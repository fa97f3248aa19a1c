"""Where identities come from, and that a revocation counts at once, everywhere."""

from __future__ import annotations

import asyncio
import os
import pickle
import tomllib

import msgspec
import pytest

from tidegate.access import command, local
from tidegate.access.identity import Identity, Role
from tidegate.access.identity_file import AccessSection, IdentitySection, load, path_of, save
from tidegate.access.keyring import Keyring
from tidegate.access.signer import ENVIRONMENT, Signer, find, keys_folder
from tidegate.access.verify import Denied
from tidegate.errors import UserError
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared

NOW = 1_800_000_000_000_000_000
SECOND = 1_000_000_000
NOBODY = AccessSection()


def added(data, name: str, role: Role, person: str = "") -> Signer:
    local.add(data, NOBODY, name, role, person or name)
    return Signer.from_file(keys_folder(data) / f"{name}.key")


def order(do: str, by: Signer, now: int = NOW, **args: str) -> command.Signed:
    return command.sign(command.new(do, "firm", "a drill", by.name, now, args=args), by)


def denied(ring: Keyring, signed: command.Signed, now: int = NOW) -> str:
    with pytest.raises(Denied) as caught:
        ring.verify(signed, now)
    return caught.value.code


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# Files.


def test_identities_are_read_as_they_were_written(tmp_path):
    made = [
        Identity(
            name="alice",
            person='Alice "Al" Ames',
            role=Role.ADMIN,
            key=Signer.new("a").public,
            expires=NOW + 7,
        ),
        Identity(
            name="bob-2",
            person="Bøb",
            role=Role.VIEWER,
            key=Signer.new("b").public,
            not_before=5,
            revoked=NOW,
        ),
    ]
    save(tmp_path, made)
    assert load(tmp_path) == made
    assert path_of(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_folder_without_identities_has_none(tmp_path):
    assert load(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("identities = 1", "identities.toml: Expected `object`"),
        ("what = 1", "unknown key 'what'; did you mean|unknown key 'what'"),
        ("not toml", "identities.toml: "),
        ('[identities.a]\nkey="x"\nrole="boss"', "identities.a.role: unknown role 'boss'"),
        (
            '[identities.a]\nkey="x"\nrole="admin"\nexpires="soon"',
            "identities.a.expires: 'soon' is not a time",
        ),
        ('[identities.a]\nkey="x"\nrole="admin"\nrank="1"', "unknown field `rank`"),
    ],
)
def test_a_file_that_cannot_be_is_one_line(tmp_path, text, said):
    path = path_of(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UserError, match=said) as error:
        load(tmp_path)
    one_line(error)


def test_identities_that_others_may_write_are_refused(tmp_path):
    local.add(tmp_path, NOBODY, "alice", Role.ADMIN, "Alice")
    path_of(tmp_path).chmod(0o620)
    with pytest.raises(UserError, match="mode 0620 lets others say who may do what; chmod 600") as error:
        load(tmp_path)
    one_line(error)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_identities_of_somebody_else_are_refused(tmp_path):
    local.add(tmp_path, NOBODY, "alice", Role.ADMIN, "Alice")
    os.chown(path_of(tmp_path), 12345, -1)
    with pytest.raises(UserError, match="belongs to user 12345"):
        load(tmp_path)


# Private keys.


def test_a_private_key_is_for_its_owner_alone(tmp_path):
    signer = added(tmp_path, "alice", Role.ADMIN)
    path = keys_folder(tmp_path) / "alice.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert Signer.from_file(path).public == signer.public
    path.chmod(0o640)
    with pytest.raises(UserError, match="mode 0640 lets others read a private key; chmod 600") as error:
        Signer.from_file(path)
    one_line(error)


def test_a_private_key_is_never_shown(tmp_path):
    signer = Signer.new("alice")
    signer.save(tmp_path / "key")
    secret = (tmp_path / "key").read_text().strip()
    shown = f"{signer!r} {signer} {[signer]} {load(tmp_path)}"
    assert secret.partition("_")[2] not in shown
    with pytest.raises(TypeError):
        pickle.dumps(signer)
    with pytest.raises(TypeError):
        msgspec.json.encode(signer)


def test_a_slip_in_a_key_file_does_not_show_it(tmp_path):
    signer = Signer.new("alice")
    signer.save(tmp_path / "key")
    secret = (tmp_path / "key").read_text().strip()
    (tmp_path / "key").write_text(secret[:-1])
    with pytest.raises(UserError, match="no private key; one line") as error:
        Signer.from_file(tmp_path / "key")
    assert secret[12:30] not in one_line(error)


def test_a_private_key_is_never_written_over(tmp_path):
    Signer.new("alice").save(tmp_path / "key")
    with pytest.raises(UserError, match="never written over"):
        Signer.new("alice").save(tmp_path / "key")


def test_a_key_may_come_from_the_environment(tmp_path, monkeypatch):
    Signer.new("alice").save(tmp_path / "key")
    monkeypatch.setenv(ENVIRONMENT, (tmp_path / "key").read_text())
    assert find(tmp_path).name == "alice"
    with pytest.raises(UserError, match="holds the key of 'alice', not of 'bob'"):
        find(tmp_path, "bob")
    monkeypatch.setenv(ENVIRONMENT, "alice:secret")
    with pytest.raises(UserError, match="environment variable TIDEGATE_SIGNING_KEY: no private key") as error:
        find(tmp_path)
    assert "secret" not in one_line(error)


def test_who_signs_where_there_are_several(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(UserError, match="nobody to sign"):
        find(tmp_path)
    added(tmp_path, "alice", Role.ADMIN)
    assert find(tmp_path).name == "alice"
    added(tmp_path, "bob", Role.OPERATOR)
    with pytest.raises(UserError, match=r"has keys of alice, bob; say which with --as NAME"):
        find(tmp_path)
    assert find(tmp_path, "bob").name == "bob"
    with pytest.raises(UserError, match="no private key"):
        find(tmp_path, "carol")


# A laptop.


def test_a_laptop_has_one_identity_of_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("LOGNAME", "me too")
    made = local.ensure(tmp_path, NOBODY)
    assert made is not None
    assert (made.name, made.role) == ("me-too", Role.ADMIN)
    assert local.ensure(tmp_path, NOBODY) is None
    ring = Keyring(tmp_path, NOBODY)
    assert ring.verify(order("halt", find(tmp_path)), NOW).names == ("me-too",)
    assert denied(ring, order("resume", find(tmp_path))) == "NEEDS_TWO_PEOPLE"


def test_a_configured_system_gets_no_identity_of_its_own(tmp_path):
    signer = Signer.new("alice")
    section = AccessSection(identities={"alice": IdentitySection(key=signer.public, role="operator")})
    assert local.ensure(tmp_path, section) is None
    assert Keyring(tmp_path, section).verify(order("halt", signer), NOW).persons == ("alice",)


def test_adding_what_cannot_be_writes_nothing(tmp_path):
    alice = added(tmp_path, "alice", Role.ADMIN)
    before = path_of(tmp_path).read_bytes()
    for name, public in (("alice", ""), ("bob", alice.public), ("a/b", "")):
        with pytest.raises(UserError) as error:
            local.add(tmp_path, NOBODY, name, Role.ADMIN, "x", public=public)
        one_line(error)
    section = AccessSection(identities={"carol": IdentitySection(key=Signer.new("c").public, role="viewer")})
    with pytest.raises(UserError, match="is there already"):
        local.add(tmp_path, section, "carol", Role.ADMIN, "x")
    assert path_of(tmp_path).read_bytes() == before
    assert [path.name for path in keys_folder(tmp_path).iterdir()] == ["alice.key"]


# Live.


def test_one_key_in_file_and_configuration_is_refused(tmp_path):
    alice = added(tmp_path, "alice", Role.ADMIN)
    section = AccessSection(identities={"alias": IdentitySection(key=alice.public, role="admin")})
    with pytest.raises(UserError, match="has the key of 'alias'"):
        Keyring(tmp_path, section)


def test_identities_added_and_revoked_in_the_folder_count_at_once(tmp_path):
    added(tmp_path, "alice", Role.ADMIN)
    ring = Keyring(tmp_path, NOBODY)
    olive = added(tmp_path, "olive", Role.OPERATOR)
    assert ring.verify(order("halt", olive), NOW)
    assert local.revoke(tmp_path, "olive", NOW)
    assert denied(ring, order("halt", olive)) == "IDENTITY_REVOKED"
    assert not local.revoke(tmp_path, "olive", NOW + 1)
    assert not local.revoke(tmp_path, "nobody", NOW)


def test_a_file_that_breaks_while_running_changes_nothing(tmp_path):
    olive = added(tmp_path, "olive", Role.OPERATOR)
    ring = Keyring(tmp_path, NOBODY)
    path_of(tmp_path).write_text("broken")
    assert ring.verify(order("halt", olive), NOW)
    assert ring.counters["identities unreadable"] == 1


def test_a_file_that_others_could_write_is_read_once_its_mode_is_well(tmp_path):
    eve = added(tmp_path, "eve", Role.OPERATOR)
    ring = Keyring(tmp_path, NOBODY, {})
    path, new = path_of(tmp_path), tmp_path / "new"
    new.write_text(
        path.read_text().replace("[identities.eve]", '[identities.eve]\nrevoked = "2020-01-01T00:00:00"')
    )
    new.chmod(0o664)
    new.replace(path)
    ring.verify(order("halt", eve), NOW)
    assert ring.counters["identities unreadable"] == 1
    path.chmod(0o600)
    assert denied(ring, order("halt", eve)) == "IDENTITY_REVOKED"


def revocation(by: Signer, name: str, now: int = NOW) -> bytes:
    return order("identity-revoke", by, now, name=name).encode()


def test_an_admins_revocation_in_the_log_reaches_every_receiver(tmp_path):
    alice, olive = added(tmp_path, "alice", Role.ADMIN), added(tmp_path, "olive", Role.OPERATOR)

    async def body() -> None:
        server = MemoryServer(1, log=declared(1))
        writer = server.client("writer")
        rings = [await Keyring.open(server.client(f"c{n}"), tmp_path, NOBODY) for n in range(3)]
        await writer.bucket("ACCESS").put("revoked.olive", revocation(alice, "olive"))
        rings.append(await Keyring.open(server.client("late"), tmp_path, NOBODY))
        for ring in rings:
            await until(lambda ring=ring: ring.identities.get("olive").revoked == NOW)
            assert denied(ring, order("halt", olive)) == "IDENTITY_REVOKED"
            added(tmp_path, f"x{len(load(tmp_path))}", Role.VIEWER)  # read again: it stays revoked
            assert denied(ring, order("halt", olive)) == "IDENTITY_REVOKED"
            ring.close()

    asyncio.run(body())


async def until(done) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0)


def test_a_revocation_needs_an_admin_who_is_not_revoked(tmp_path):
    alice, olive = added(tmp_path, "alice", Role.ADMIN), added(tmp_path, "olive", Role.OPERATOR)
    zoe = added(tmp_path, "zoe", Role.ADMIN)

    async def body() -> None:
        server = MemoryServer(1, log=declared(1))
        writer = server.client("writer").bucket("ACCESS")
        ring = await Keyring.open(server.client("c"), tmp_path, NOBODY)
        await writer.put("revoked.alice", revocation(olive, "alice"))
        await until(lambda: ring.counters["revocations refused"] == 1)
        await writer.put("revoked.alice", b"?")
        await writer.put("revoked.alice", order("halt", alice, name="alice").encode())
        await writer.put("revoked.olive", revocation(alice, "zoe"))  # not what the key says
        await until(lambda: ring.counters["revocations unreadable"] == 2)
        assert [one.name for one in ring.identities if one.revoked] == []
        # A forgery does not keep the true one out.
        await writer.put("revoked.alice", revocation(zoe, "alice", NOW + 5 * SECOND))
        await until(lambda: ring.identities.get("alice").revoked)
        await writer.put("revoked.zoe", revocation(alice, "zoe", NOW + 6 * SECOND))
        await until(lambda: ring.counters["revocations refused"] == 2)
        assert not ring.identities.get("zoe").revoked

    asyncio.run(body())


def test_the_file_is_plain_toml(tmp_path):
    alice = added(tmp_path, "alice", Role.RISK_OFFICER, "Alice Ames")
    assert tomllib.loads(path_of(tmp_path).read_text()) == {
        "identities": {"alice": {"key": alice.public, "role": "risk_officer", "person": "Alice Ames"}}
    }

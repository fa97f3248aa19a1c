"""Identities as people write them: in the configuration, and in `DATA/access/identities.toml`."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from tidegate.access.identity import Identities, Identity, Role
from tidegate.errors import UserError, nearest
from tidegate.log import private
from tidegate.model.time import iso, parse

_TIMES = ("not_before", "expires", "revoked")


class IdentitySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[access.identities.NAME]`: one who may sign. Times are ISO 8601; `key` is the Ed25519 public key in base64.

    `scopes` are those that its commands count for, with all below them; none: the whole firm.
    """

    key: str
    role: str
    person: str = ""
    scopes: tuple[str, ...] = ()
    not_before: str = ""
    expires: str = ""
    revoked: str = ""


class AccessSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[access]`: who may do what, beside those of the data folder."""

    identities: dict[str, IdentitySection] = {}


def identities_of(sections: Mapping[str, IdentitySection], where: str) -> list[Identity]:
    """The identities of a section; raises `UserError`. Where no person is named, the identity's name is one."""
    found = []
    for name, section in sections.items():
        at = f"{where}.{name}"
        times = {key: _moment(getattr(section, key), f"{at}.{key}") for key in _TIMES}
        role = Role.of(section.role, f"{at}.role")
        person = section.person or name
        found.append(
            Identity(name=name, person=person, role=role, key=section.key, scopes=section.scopes, **times)
        )
    return found


def check(section: AccessSection, where: str) -> None:
    """Refuse identities that cannot be, in one line."""
    try:
        Identities(identities_of(section.identities, "access.identities"))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _moment(text: str, where: str) -> int:
    try:
        return parse(text) if text else 0
    except ValueError:
        raise UserError(f"{where}: {text!r} is not a time; write 2026-01-31T18:00:00") from None


def path_of(data: Path) -> Path:
    """Where a data folder's identities are."""
    return data / "access" / "identities.toml"


def load(data: Path) -> list[Identity]:
    """The identities of a data folder; none where it has no such file. Raises `UserError`.

    The file must be its reader's (or root's), and nobody else may write it: who writes it says who may halt the firm.
    """
    path = path_of(data)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o022:
                raise UserError(f"{path}: mode {mode:04o} lets others say who may do what; chmod 600 {path}")
            if status.st_uid not in (os.getuid(), 0):
                raise UserError(f"{path} belongs to user {status.st_uid}, not to who reads it; chown it")
            text = file.read().decode()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read the identities: {error}") from None
    try:
        tables = tomllib.loads(text)
        unknown = [key for key in tables if key != "identities"]
        if unknown:
            raise UserError(f"{path}: unknown key {unknown[0]!r}{nearest(unknown[0], ['identities'])}")
        sections = msgspec.convert(tables.get("identities", {}), dict[str, IdentitySection])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UserError(f"{path}: {error}") from None
    return identities_of(sections, f"{path}: identities")


@contextlib.contextmanager
def changing(data: Path) -> Iterator[None]:
    """One at a time reads and writes them: of two changes at once none is lost. Raises `UserError`."""
    import fcntl  # not on Windows

    path = path_of(data).with_name(".identities.lock")
    try:
        private.folder(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UserError(f"{path}: cannot write the identities: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def save(data: Path, identities: Iterable[Identity]) -> None:
    """Write them, for their owner alone; a reader sees the old file or the new one. Raises `UserError`."""
    path = path_of(data)
    lines = ["# Who may do what; written by `tidegate identity`. Names are never removed, only revoked.\n"]
    for one in identities:
        lines.append(f"\n[identities.{one.name}]\n")
        lines += [f"{key} = {json.dumps(value)}\n" for key, value in _fields(one)]
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        private.folder(path.parent)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("".join(lines))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write the identities: {error.strerror}") from None


def _fields(one: Identity) -> list[tuple[str, str | list[str]]]:
    times = [(key, iso(getattr(one, key))) for key in _TIMES if getattr(one, key)]
    scopes = [("scopes", list(one.scopes))] if one.scopes else []
    return [("key", one.key), ("role", Role(one.role).label), ("person", one.person), *scopes, *times]

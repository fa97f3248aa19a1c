"""A laptop's own identity: whoever owns the data folder may stop what runs on it, without setting anything up."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.identity_file import AccessSection, changing, identities_of, load, path_of, save
from tidegate.access.signer import Signer, keys_folder


def ensure(data: Path, section: AccessSection) -> Identity | None:
    """Make one identity of role admin for this user where there is none at all; the one that was made.

    Its private key is in `DATA/access/keys/`, mode 0600. Raises `UserError` where the folder cannot be written.
    """
    if section.identities or path_of(data).exists():
        return None
    name = own_name()
    return add(data, section, name, Role.ADMIN, name, keys_folder(data) / f"{name}.key")


def own_name() -> str:
    """This user's name, as an identity may be called."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    return re.sub(r"[^A-Za-z0-9_-]", "-", user)[:40].lstrip("_-") or "owner"


def add(
    data: Path, section: AccessSection, name: str, role: Role, person: str, key: Path | None = None, public: str = "",
    not_before: int = 0, expires: int = 0, scopes: tuple[str, ...] = (),
) -> Identity:  # fmt: skip
    """Add an identity to a data folder's own: a new key pair, the private one in the file `key`; or the `public` key of
    one made elsewhere. Raises `UserError` where name or key are taken; nothing is written then."""
    with changing(data):
        own = load(data)
        known = Identities([*identities_of(section.identities, "access.identities"), *own])
        signer = None if public else Signer.new(name)
        identity = Identity(
            name=name, person=person, role=role, key=public or (signer.public if signer else ""),
            not_before=not_before, expires=expires, scopes=scopes,
        )  # fmt: skip
        known.add(identity)
        if signer is not None:
            signer.save(key or keys_folder(data) / f"{name}.key")
        save(data, [*own, identity])
    return identity


def revoke(data: Path, name: str, now: int) -> bool:
    """Revoke an identity of a data folder from now on; False where its own file has none of that name, or it was so."""
    with changing(data):
        own = Identities(load(data))
        if not own.revoke(name, now):
            return False
        save(data, own)
        return True

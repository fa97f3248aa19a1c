"""Who there is: a name, the person behind it, a role, a public key. Never removed, only revoked: what somebody signed
before that stays true."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum

import msgspec

from tidegate.access import ed25519
from tidegate.access.reach import FIRM, TEXT
from tidegate.errors import UserError, nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


class Role(IntEnum):
    """What somebody may do; a higher one may do all that a lower one may."""

    VIEWER = 1
    TRADER = 2
    OPERATOR = 3
    RISK_OFFICER = 4
    ADMIN = 5

    @property
    def label(self) -> str:
        """As people write it: `risk_officer`."""
        return self.name.lower()

    @classmethod
    def of(cls, text: str, where: str = "role") -> Role:
        """The role that is written so; raises `UserError`."""
        names = [role.label for role in cls]
        if text not in names:
            raise UserError(
                f"{where}: unknown role {text!r}{nearest(text, names)}; known: {', '.join(names)}"
            )
        return cls[text.upper()]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One name that may sign. `key` is the Ed25519 public key, base64. Times in ns since the epoch, 0: none.

    `not_before` and `expires` bound its life; from `revoked` on nothing it signs counts. `scopes` are those that its
    commands count for, with all below them (`access.reach`); none: the whole firm.
    """

    name: str
    person: str
    role: Role
    key: str
    not_before: int = 0
    expires: int = 0
    revoked: int = 0
    scopes: tuple[str, ...] = ()

    @property
    def reach(self) -> tuple[str, ...]:
        """What it may act on, as scopes: `firm` where nothing limits it."""
        return self.scopes or (FIRM,)

    @property
    def public(self) -> bytes:
        """The public key's bytes."""
        return ed25519.from_text(self.key, ed25519.KEY)


class Identities:
    """All of them by name. One key has one name; raises `UserError` where two names share one."""

    def __init__(self, known: Iterable[Identity] = ()) -> None:
        self._by_name: dict[str, Identity] = {}
        self._by_key: dict[bytes, str] = {}
        for identity in known:
            self.add(identity)

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Identity | None:
        """The identity of that name; None where there is none."""
        return self._by_name.get(name)

    def add(self, identity: Identity) -> None:
        """Know one more; raises `UserError` where its name, key or person cannot be."""
        where = f"identity {identity.name!r}"
        if not NAME.fullmatch(identity.name):
            raise UserError(f"{where}: use letters, digits, _ and - only, 40 at most")
        if not identity.person.strip():
            raise UserError(f"{where}: person is empty; say who it is")
        if identity.name in self._by_name:
            raise UserError(f"{where} is there already; choose another name, or revoke it first")
        for scope in identity.scopes:
            if not TEXT.fullmatch(scope):
                raise UserError(
                    f"{where}: scope {scope!r}: write desk:NAME, account:NAME, strategy:NAME or firm"
                )
        try:
            public = identity.public
        except ValueError as error:
            raise UserError(
                f"{where}: key is {error}; write the 32-byte Ed25519 public key in base64"
            ) from None
        if ed25519.is_weak(public):
            raise UserError(f"{where}: anybody could sign for its key; make one with `tidegate identity new`")
        if public in self._by_key:
            raise UserError(
                f"{where} has the key of {self._by_key[public]!r}; one key is one identity: make it a key of its own"
            )
        self._by_name[identity.name] = identity
        self._by_key[public] = identity.name

    def revoke(self, name: str, at: int) -> bool:
        """From `at` on (ns) nothing it signs counts; False where there is no such name, or it was so already. The
        earliest revocation holds."""
        found = self._by_name.get(name)
        if found is None or (found.revoked and found.revoked <= at):
            return False
        self._by_name[name] = msgspec.structs.replace(found, revoked=at)
        return True

    def same_person(self, a: str, b: str) -> bool:
        """Whether two names are one person: one key, or one `person` (case and blanks aside). False for a stranger."""
        first, second = self._by_name.get(a), self._by_name.get(b)
        if first is None or second is None:
            return False
        return first.public == second.public or person_of(first) == person_of(second)


def person_of(identity: Identity) -> str:
    """Whose name it is, in a form that compares."""
    return " ".join(identity.person.casefold().split())

"""Whether a signed command is to be obeyed. Pure: the same bytes, identities and time give the same answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from tidegate.access.command import Command, Signed, is_mine
from tidegate.access.identity import Identities, Identity, Role, person_of
from tidegate.access.policy import POLICY, Rule
from tidegate.access.reach import NOTHING, Above, reaches

AHEAD = 5_000_000_000
"""A command may be issued so far in the future, ns: clocks differ."""
LONGEST = 24 * 3_600_000_000_000
"""The longest a command may live, ns: ids are remembered for as long."""


class Denied(Exception):
    """The command is not obeyed. `code` is one of a few stable words; the text says the rest in one line."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Verified(NamedTuple):
    """A command to be obeyed, and who stands behind it, the issuer first."""

    command: Command
    names: tuple[str, ...]
    persons: tuple[str, ...]


class Verifier:
    """Judges by these identities (looked up at each call, so revocations count at once), this policy, and what lies below
    what (`above`)."""

    def __init__(
        self, identities: Identities, policy: Mapping[str, Rule] = POLICY, above: Above = NOTHING
    ) -> None:
        self.identities = identities
        self.policy = policy
        self.above = above

    def verify(
        self, signed: Signed | bytes, now: int, people: int = 0, over: Collection[str] = ()
    ) -> Verified:
        """The command, and who signed it; raises `Denied`. `now` in ns: of an entry of the log, the time it was stored.

        `people`: at least so many persons, where the policy asks for fewer. `over`: the scopes that the command comes to,
        where they are not the one it names: everyone who signs must reach them all. Codes: MALFORMED, UNSIGNED, UNKNOWN_COMMAND,
        NO_REASON, LIVES_TOO_LONG, COMMAND_EXPIRED, FROM_THE_FUTURE, UNKNOWN_IDENTITY, BAD_SIGNATURE, IDENTITY_REVOKED,
        IDENTITY_EXPIRED, IDENTITY_NOT_YET_VALID, WRONG_ISSUER, ROLE_TOO_LOW,
        OUT_OF_SCOPE, SAME_PERSON, NEEDS_TWO_PEOPLE.
        """
        signed, command = _read(signed)
        if not signed.signatures:
            raise Denied("UNSIGNED", f"{command.do} of {command.scope} is not signed")
        rule = self.policy.get(command.do)
        if rule is None:
            raise Denied("UNKNOWN_COMMAND", f"{command.do!r} is no command")
        if not command.reason.strip():
            raise Denied("NO_REASON", f"{command.do} of {command.scope} gives no reason")
        _timely(command, now)
        who = [self._signer(signed, index, now) for index in range(len(signed.signatures))]
        if who[0].name != command.by:
            raise Denied("WRONG_ISSUER", f"issued by {command.by}, first signed by {who[0].name}")
        for identity in who:
            if identity.role < rule.role:
                raise Denied(
                    "ROLE_TOO_LOW",
                    f"{command.do} needs the role {rule.role.label}; {identity.name} is {Role(identity.role).label}",
                )
            for scope in over or (command.scope,):
                if not reaches(identity.scopes, scope, self.above):
                    own = " and ".join(identity.scopes)
                    raise Denied(
                        "OUT_OF_SCOPE", f"{command.do} of {scope}: {identity.name} acts on {own} only"
                    )
        persons = dict.fromkeys(person_of(identity) for identity in who)
        needed = max(rule.people, people)
        if len(persons) < needed:
            if len(who) > len(persons):
                names = " and ".join(identity.name for identity in who)
                raise Denied("SAME_PERSON", f"{names} are one person; {command.do} needs {needed}")
            raise Denied(
                "NEEDS_TWO_PEOPLE", f"{command.do} needs {needed} people, {who[0].name} alone signed"
            )
        return Verified(command, tuple(i.name for i in who), tuple(i.person for i in who))

    def _signer(self, signed: Signed, index: int, now: int) -> Identity:
        name = signed.signatures[index].name
        identity = self.identities.get(name)
        if identity is None:
            raise Denied("UNKNOWN_IDENTITY", f"nobody is called {name!r}")
        if not is_mine(signed, index, identity.public):
            raise Denied(
                "BAD_SIGNATURE", f"the signature is not {name}'s, or what was signed has been changed"
            )
        if identity.revoked and now >= identity.revoked:
            raise Denied("IDENTITY_REVOKED", f"{name} is revoked")
        if identity.expires and now >= identity.expires:
            raise Denied("IDENTITY_EXPIRED", f"{name} has expired")
        if now < identity.not_before:
            raise Denied("IDENTITY_NOT_YET_VALID", f"{name} is not valid yet")
        return identity


def _read(signed: Signed | bytes) -> tuple[Signed, Command]:
    if isinstance(signed, bytes) and not signed:
        raise Denied("UNSIGNED", "there is no signed command")
    try:
        found = Signed.decode(signed) if isinstance(signed, bytes) else signed
        return found, found.command
    except ValueError as error:
        raise Denied("MALFORMED", str(error)) from None


def _timely(command: Command, now: int) -> None:
    if command.expires - command.issued > LONGEST:
        raise Denied("LIVES_TOO_LONG", f"a command may live {LONGEST / 3.6e12:g} hours")
    if now >= command.expires:
        raise Denied(
            "COMMAND_EXPIRED",
            f"it expired {(now - command.expires) / 1e9:.1f} s ago: sign it again; where it was just signed, a clock is wrong",
        )
    if command.issued - now > AHEAD:
        raise Denied(
            "FROM_THE_FUTURE",
            f"it was issued {(command.issued - now) / 1e9:.1f} s from now: a clock is wrong",
        )

"""Who commands in the simulation, and what they have signed.

`Intent` is what a person meant and who signed it, kept beside the bytes: so whoever checks knows which commands count
without asking the code that judges signatures.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from tidegate.access.command import Command, Signature, Signed, approve, sign
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.signer import Signer
from tidegate.access.verify import AHEAD
from tidegate.model.time import SECOND
from tidegate.risk.scopes import State

WHO = (
    ("ann", "Ann", Role.RISK_OFFICER),
    ("bob", "Bob", Role.RISK_OFFICER),
    ("ann-too", "Ann", Role.RISK_OFFICER),
    ("cat", "Cat", Role.OPERATOR),
    ("tom", "Tom", Role.TRADER),
)
"""Name, person and role. Ann has a second name, with a key of its own."""
ROLES = {name: role for name, _, role in WHO}
PERSONS = {name: person for name, person, _ in WHO}
LIFE = 60 * SECOND
_LOWEST = {
    "halt": Role.OPERATOR, "cancel-all": Role.OPERATOR, "flatten": Role.RISK_OFFICER, "resume": Role.RISK_OFFICER,
}  # fmt: skip


class Intent(NamedTuple):
    """A command that somebody has signed. `lifts` is the halt that a resume names, `forged` whether a signature is not
    the signer's; `recover` in ns."""

    id: str
    do: str
    scope: str
    state: State
    signers: tuple[str, ...]
    issued: int
    expires: int
    lifts: int = 0
    recover: int = 0
    forged: bool = False

    @property
    def people(self) -> int:
        """How many persons signed."""
        return len({PERSONS[name] for name in self.signers})

    def counts(self, now: int) -> bool:
        """Whether it is to be obeyed by whoever judges it at `now` (ns)."""
        needed = 2 if self.do == "resume" else 1
        allowed = all(ROLES[name] >= _LOWEST[self.do] for name in self.signers)
        timely = self.issued - AHEAD <= now < self.expires
        return allowed and timely and not self.forged and self.people >= needed


@cache
def signer(name: str) -> Signer:
    """Who signs under this name."""
    return Signer(name, hashlib.sha256(f"simulated {name}".encode()).digest())


def identities() -> Identities:
    """All of them."""
    return Identities(
        Identity(name=name, person=person, role=role, key=signer(name).public) for name, person, role in WHO
    )


class People:
    """Signs commands. `intents` has all that were signed, by id."""

    def __init__(self, seed: int) -> None:
        self.intents: dict[str, Intent] = {}
        self._rng = random.Random(f"{seed} people")

    def command(
        self,
        do: str,
        scope: str,
        signers: Sequence[str],
        now: int,
        *,
        state: State = State.KILLED,
        args: dict[str, str] | None = None,
        life: int = LIFE,
        forged: bool = False,
    ) -> Signed:
        """Sign it, issued at `now` (ns) for `life`."""
        args = args or {}
        key = f"{self._rng.getrandbits(128):032x}"
        command = Command(
            id=key, do=do, scope=scope, reason="simulated", by=signers[0], issued=now, expires=now + life, args=args
        )  # fmt: skip
        made = sign(command, signer(signers[0]))
        for name in signers[1:]:
            made = approve(made, signer(name))
        if forged:
            last = made.signatures[-1]
            broken = Signature(last.name, bytes([last.sig[0] ^ 1]) + last.sig[1:])
            made = msgspec.structs.replace(made, signatures=[*made.signatures[:-1], broken])
        self.intents[key] = Intent(
            key, do, scope, state, tuple(signers), now, now + life, int(args.get("epoch", 0)),
            int(args.get("recover", 0)), forged,
        )  # fmt: skip
        return made

    def halt(self, scope: str, state: State, by: str, now: int, life: int = LIFE) -> Signed:
        """To bring a scope down."""
        return self.command("halt", scope, (by,), now, state=state, args={"state": state.name}, life=life)

    def flatten(self, scope: str, by: str, now: int) -> Signed:
        """To reduce a scope to nothing, fast."""
        args = {"participation": "0.3", "collar": "0.05"}
        return self.command("flatten", scope, (by,), now, state=State.REDUCE_ONLY, args=args)

    def cancel_all(self, scope: str, by: str, now: int) -> Signed:
        """To cancel what is open."""
        return self.command("cancel-all", scope, (by,), now)

    def resume(
        self, scope: str, lifts: int, signers: Sequence[str], now: int, *, recover: int, life: int = LIFE,
        forged: bool = False, state: State = State.RECOVERING,
    ) -> Signed:  # fmt: skip
        """To let a scope up again."""
        args = {"epoch": str(lifts), "state": state.name, "recover": str(recover)}
        return self.command("resume", scope, signers, now, state=state, args=args, life=life, forged=forged)

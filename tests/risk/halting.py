"""People with keys, and events they sign, for tests of halts."""

from __future__ import annotations

from risk.gate_desk import SCOPES, UNIVERSE

from tidegate.access import command
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.signer import Signer
from tidegate.access.verify import Verifier
from tidegate.risk.halt import HaltEvent, commanded
from tidegate.risk.scope_name import above
from tidegate.risk.scopes import State

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
ROLES = {
    "ann": Role.RISK_OFFICER, "bob": Role.RISK_OFFICER, "oz": Role.OPERATOR, "vic": Role.VIEWER,
    "ann2": Role.RISK_OFFICER, "gone": Role.RISK_OFFICER, "dot": Role.RISK_OFFICER, "don": Role.RISK_OFFICER,
}  # fmt: skip
SIGNERS = {name: Signer.new(name) for name in ROLES}
PERSONS = {"ann2": "ann"}
LIMITED = {"dot": ("desk:desk",), "don": ("desk:desk",)}


def identities() -> Identities:
    """Ann has two names; `gone` was revoked long ago; `dot` and `don` are of one desk."""
    return Identities(
        Identity(
            name=name, person=PERSONS.get(name, name), role=role, key=SIGNERS[name].public, scopes=LIMITED.get(name, ()),
            revoked=T0 - SECOND if name == "gone" else 0,
        )
        for name, role in ROLES.items()
    )  # fmt: skip


VERIFIER = Verifier(identities(), above=above(SCOPES, UNIVERSE))


def signed(
    do: str, scope: str, by: str, now: int, *others: str, life: int = 60 * SECOND, **args: str
) -> command.Signed:
    """A command under the signatures of `by` and of others."""
    made = command.sign(command.new(do, scope, "drill", by, now, life, args), SIGNERS[by])
    for name in others:
        made = command.approve(made, SIGNERS[name])
    return made


def event(do: str, scope: str, by: str, now: int, *others: str, **args: str) -> HaltEvent:
    """The event of a signed command."""
    made = signed(do, scope, by, now, *others, **args)
    return commanded(made.encode(), made.command, now)


def breach(scope: str, state: State, ts: int, trigger: str = "drawdown") -> HaltEvent:
    """A breaker's event."""
    return HaltEvent(ts=ts, scope=scope, state=state, reason="too much", trigger=trigger, source="risk")

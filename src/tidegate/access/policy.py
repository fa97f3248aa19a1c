"""What may be done by whom: the lowest role that every signer needs, and how many people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tidegate.access.identity import Role


class Rule(NamedTuple):
    """Who may do it: every one who signs has at least `role`, and `people` different persons sign."""

    role: Role
    people: int


POLICY: Mapping[str, Rule] = {
    "acknowledge": Rule(Role.TRADER, 1),
    "halt": Rule(Role.OPERATOR, 1),
    "cancel-all": Rule(Role.OPERATOR, 1),
    "flatten": Rule(Role.RISK_OFFICER, 1),
    "resume": Rule(Role.RISK_OFFICER, 2),
    "limits": Rule(Role.RISK_OFFICER, 1),  # two where one more than doubles: the receiver asks `people=2`
    "shadow": Rule(Role.OPERATOR, 1),
    "canary": Rule(Role.OPERATOR, 1),
    "rollback": Rule(Role.OPERATOR, 1),
    "live": Rule(Role.RISK_OFFICER, 1),
    "adopt": Rule(Role.RISK_OFFICER, 2),
    "take-up": Rule(Role.RISK_OFFICER, 2),
    "stop": Rule(Role.OPERATOR, 1),
    "restart": Rule(Role.OPERATOR, 1),
    "kill": Rule(Role.OPERATOR, 1),
    "identity-add": Rule(Role.ADMIN, 1),
    "identity-revoke": Rule(Role.ADMIN, 1),
}
"""By the command's `do`. What is not here, nobody may do."""

"""A lane's leases (`risk.leases`): what it was lent of each limit that it shares with other lanes.

They are a fold over the lane's log: grants come into it from the allocator, and what is given back is decided at the
place of the request to return it. So whoever folds the log knows the same lease at the same place, and a zombie cannot
return what its successor uses.
"""

from __future__ import annotations

from tidegate.execution.state import State
from tidegate.kernel.gate_state import UNLIMITED
from tidegate.model.messages import LeaseGrant, LeaseReport, LeaseReturn
from tidegate.risk.leases.lease import Key, Lease, leased


def renew(s: State) -> None:
    """Bring the gate to the leases: at the start, and whenever people have changed limits. A limit that has become
    shared begins with what the lane was ever lent of it, which may be nothing."""
    before, s.leased = s.leased, dict.fromkeys(leased(s.gate, s.shared))
    for key in s.leased:
        if (
            key not in before
        ):  # of the others the gate has the lease, which does not follow from people's limits
            bring(s, key)
    for key in before:
        if key not in s.leased:
            s.gate.set_limit(*key, UNLIMITED)
            s.withheld.pop(key, None)  # that was said of a limit which is no more


def bring(s: State, key: Key) -> None:
    """Bring the gate to what the lane may use of one limit: its lease, less what it withholds of it
    (`execution.factors`)."""
    lease = s.leases.get(key)
    amount = lease.amount - s.withheld.get(key, 0) if lease else 0
    s.gate.set_limit(*key, min(max(0, amount), UNLIMITED))


def _lease(s: State, m: LeaseGrant | LeaseReturn) -> tuple[Key, Lease]:
    key = Key(m.scope, m.field, m.instrument)
    return key, s.leases.setdefault(key, Lease())


def grant(s: State, m: LeaseGrant) -> None:
    """The lane may use this much in all, less what it gave back. Told again, or late, it changes nothing."""
    key, lease = _lease(s, m)
    lease.grant(m.granted)
    _changed(s, key)


def give_back(s: State, m: LeaseReturn) -> None:
    """What is not used goes back, as much as is asked for."""
    key, lease = _lease(s, m)
    lease.give_back(m.amount, used(s, key))
    _changed(s, key)


def _changed(s: State, key: Key) -> None:
    if key in s.leased:
        bring(s, key)
    s.out.append(report(s, key))


def used(s: State, key: Key) -> int:
    """What the lane uses of a limit; of one that is not shared now, nothing."""
    return s.gate.use(*key) if key in s.leased else 0


def report(s: State, key: Key, wanted: int = 0, refused: int = 0) -> LeaseReport:
    """How the lane stands with a limit."""
    lease = s.leases.get(key) or Lease()
    return LeaseReport(s.now, s.number, *key, lease.granted, lease.returned, used(s, key), wanted, refused)

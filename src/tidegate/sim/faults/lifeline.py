"""The dead man's switch of the control plane: while no risk service lives, gateways let nothing out that may add risk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tidegate.log.base import KvEntry
from tidegate.log.lease import holder
from tidegate.model.messages import SendNew
from tidegate.model.order import ExecInst
from tidegate.risk.quick import ACTING
from tidegate.sim.faults.plant import ACCOUNTS
from tidegate.sim.faults.system import System
from tidegate.sim.faults.venue import Request

AGE, HANDOVER = 1.0, 10.0
"""How old the risk service's lease may be, and for how long one may be missing that was given back, s."""
SLACK = 0.6
"""Seconds that a renewal may be on its way for."""


class Lifeline:
    """Knows every renewal of the risk service's lease, as it was stored."""

    def __init__(self, system: System, fail: Callable[[str], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._system, self._fail = system, fail
        self._at, self._lives = 0.0, AGE

    def renewed(self, entry: KvEntry) -> None:
        """The bucket LEASE has changed."""
        word = holder(entry.value) if entry.key == ACTING and entry.value else None
        if word is not None:
            self._at, self._lives = self._system.loop.time(), AGE if word.owner else HANDOVER

    def sent(self, account: int, m: Request) -> None:
        """A gateway puts a request on the wire."""
        if not self._system.plant.watchers or type(m) is not SendNew or m.exec_inst & ExecInst.REDUCE_ONLY:
            return
        now = self._system.loop.time()
        since = now - max(
            self._at + self._lives - AGE, self._system.revived.get(f"gw-{ACCOUNTS[account]}", 0.0)
        )
        if now - self._at > self._lives:
            self.counts["orders while nobody watched"] += 1
        if since > AGE + SLACK:
            what = f"gateway {ACCOUNTS[account]} sends order {m.cl_ord_id}"
            self._fail(f"{what}, and no risk service has lived for {now - self._at:.1f} s")

"""What a halt does to the orders of its scope: in CANCEL_ONLY and KILLED all of them are cancelled, those never sent too.

The gateways cancel at the venue by themselves; the lane asks as well, so that its books follow, and no contingent child
is released later. A cancel that the throttle forbids now is owed, and sent on a later Tick.
"""

from __future__ import annotations

from tidegate.execution import contingent, reductions
from tidegate.execution.acts import FILLED, PENDING_CANCEL, cancel_linked
from tidegate.execution.state import State
from tidegate.model.messages import ScopeState
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State as Halt

_REASONS = {Halt.CANCEL_ONLY: Reason.SCOPE_CANCEL_ONLY, Halt.KILLED: Reason.SCOPE_KILLED}


def cancel_halted(s: State, m: ScopeState) -> None:
    """Cancel every open order under a scope (or of an instrument) that has come into such a state, oldest first."""
    reason = _REASONS.get(Halt(m.state))
    if reason is None:
        return
    if m.instrument < 0:
        reductions.stop(s, m.scope, reason.text)
    for order in list(s.live.values()):
        if order.status >= FILLED or order.status is PENDING_CANCEL:
            continue  # over by another's end, or on its way
        if m.instrument >= 0:
            here = order.instrument == m.instrument
        else:
            here = s.gate.covers(m.scope, order.account, order.strategy)
        if here:
            contingent.give_up(s, order)
            cancel_linked(s, order, reason, m.ts)

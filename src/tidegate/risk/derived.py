"""What follows from the gate's state and is not kept with it: worked out anew when a state is restored."""

from __future__ import annotations

from tidegate.kernel import gate_state as g
from tidegate.kernel.gate_limits import alike_at


def derive(state: g.GateState) -> None:
    """Which chains have a scope that is not ACTIVE, and where each strategy's last orders are to be found."""
    for links in state.chain:
        held = 0
        for s in links[g.CH_STRATEGY : g.CH_FIRM + 1]:
            held |= int(state.scope[s, g.P_STATE]) if s >= 0 else 0
        links[g.CH_HELD] = held
    state.last[:] = -g.RING
    for ring, last in zip(state.ring, state.last, strict=True):
        count = int(ring[g.Q_COUNT])
        for number in range(max(0, count - g.RING), count):
            at = number % g.RING
            key, size, name = (int(ring[column + at]) for column in (g.Q_KEY, g.Q_SIZE, g.Q_ID))
            last[alike_at(key, size)] = last[g.ALIKE + name % g.NAMED] = number + 1

"""What follows from the gate's state and is not kept with it: worked out anew when a state is restored."""

from __future__ import annotations

from tidegate.kernel import gate_state as g
from tidegate.kernel.gate_likeness import NUMBERS, alike_at, named_at
from tidegate.kernel.jit import in_python

_alike_at, _named_at = in_python(alike_at), in_python(named_at)


def derive(state: g.GateState) -> None:
    """Which chains have a scope that is not ACTIVE, and where each strategy's last orders are to be found."""
    for links in state.chain:
        held = 0
        for s in links[g.CH_STRATEGY : g.CH_FIRM + 1]:
            held |= int(state.scope[s, g.P_STATE]) if s >= 0 else 0
        links[g.CH_HELD] = held
    first, end = int(state.chain[0, g.CH_ACCOUNTS]), len(state.scope) - len(state.ring)
    for s in (*range(first), *range(end, len(state.scope))):  # gates of before kept every scope's margin
        state.scope[s, g.P_MARGIN] = 0
        state.cell[s * len(state.inst) : (s + 1) * len(state.inst), g.C_MARGIN] = 0
    state.last[:] = g.NO_NUMBER
    for ring, last in zip(state.ring.tolist(), state.last, strict=True):
        count = ring[g.Q_COUNT]
        for number in range(max(0, count - g.RING), count):
            at = number % g.RING
            buckets = [_alike_at(ring[g.Q_KEY + at], ring[g.Q_SIZE + at]), _named_at(ring[g.Q_ID + at])]
            last[buckets] = (number + 1) & NUMBERS

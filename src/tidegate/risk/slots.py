"""One strategy's limits shared between two slots: what trades live, and the candidate that is tried beside it.

Both are on one lane, so both shares are set at one place of one log: the live slot is tightened first, then the
candidate is granted what is left. With H the limit as people set it, held down by the instrument's factor, and u and v
what live slot and candidate use now:

    live gets       min(H · live_ppm, H − max(H · candidate_ppm, v))
    candidate gets  min(H · candidate_ppm, H − max(u, what live got))

So what the two use can together never come above H by an order that passes. A slot that uses more than it got may only
reduce; sharing again grants what has become free, and a lane does so by itself whenever H changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tidegate.kernel.gate_state import UNLIMITED
from tidegate.risk.leases.fields import NO_INSTRUMENT, Field
from tidegate.risk.leases.lease import held

WHOLE = 1_000_000
"""Parts per million in all."""


class Shared(Protocol):
    """What of the gate is needed (`risk.gate.Gate`)."""

    def set_limit(self, scope: int, field: int, instrument: int, value: int) -> None: ...
    def use(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int: ...
    def human_limit(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int: ...


def share(
    gate: Shared,
    instruments: int,
    live: int,
    candidate: int,
    live_ppm: int,
    candidate_ppm: int,
    factors: Mapping[int, int] | None = None,
    only: int | None = None,
) -> None:
    """Share every additive limit of scope `live` with scope `candidate`; raises `ValueError` where the parts are more
    than the whole, or a scope does not exist. `factors` (parts per million) are by instrument; `only` one instrument's
    limits are shared, if one is named."""
    if min(live_ppm, candidate_ppm) < 0 or live_ppm + candidate_ppm > WHOLE:
        raise ValueError(f"shares of {live_ppm} and {candidate_ppm} parts per million")
    each = range(instruments) if only is None else (only,)
    for field in Field:
        if only is not None and not field.per_instrument:
            continue
        for instrument in each if field.per_instrument else (NO_INSTRUMENT,):
            limit = held(gate.human_limit(live, field, instrument), (factors or {}).get(instrument, WHOLE))
            mine = max(0, gate.use(live, field, instrument))
            theirs = max(0, gate.use(candidate, field, instrument))
            for_live, for_candidate = _parts(limit, mine, theirs, live_ppm, candidate_ppm)
            gate.set_limit(live, field, instrument, for_live)
            gate.set_limit(candidate, field, instrument, for_candidate)


def _parts(limit: int, mine: int, theirs: int, live_ppm: int, candidate_ppm: int) -> tuple[int, int]:
    if limit >= UNLIMITED:  # there is nothing to share: each is open or closed
        return (UNLIMITED if live_ppm else 0), (UNLIMITED if candidate_ppm else 0)
    wanted = limit * candidate_ppm // WHOLE
    held = max(wanted, theirs)
    live = max(0, min(limit * live_ppm // WHOLE, limit - held))
    candidate = max(0, min(wanted, limit - max(mine, live)))
    whole = live_ppm == WHOLE and not held  # nothing is kept back, whatever people set from now on
    return (UNLIMITED if whole else live), candidate

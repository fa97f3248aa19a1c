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

import numpy as np

from tidegate.kernel.gate_state import UNLIMITED, Ints
from tidegate.risk.leases.fields import NO_INSTRUMENT, Field
from tidegate.risk.leases.lease import held, held_all

WHOLE = 1_000_000
"""Parts per million in all."""


class Shared(Protocol):
    """What of the gate is needed (`risk.gate.Gate`)."""

    def set_limit(self, scope: int, field: int, instrument: int, value: int) -> None: ...
    def use(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int: ...
    def human_limit(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int: ...
    def set_limits_of(self, scope: int, field: int, values: Ints) -> None: ...
    def uses(self, scope: int, field: int) -> Ints: ...
    def human_limits(self, scope: int, field: int) -> Ints: ...


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
    ppm = np.full(instruments, WHOLE, np.int64)
    for instrument, factor in (factors or {}).items():
        ppm[instrument] = factor
    for field in Field:
        if field.per_instrument and only is None:
            limits = held_all(gate.human_limits(live, field), ppm)
            mine, theirs = (np.maximum(0, gate.uses(scope, field)) for scope in (live, candidate))
            most, rest = _parts(limits, mine, theirs, live_ppm, candidate_ppm)
            gate.set_limits_of(live, field, most)
            gate.set_limits_of(candidate, field, rest)
        elif only is None or field.per_instrument:
            instrument = only if only is not None else NO_INSTRUMENT
            limit = gate.human_limit(live, field, instrument)
            if only is not None:
                limit = held(limit, int(ppm[only]))
            used = [max(0, gate.use(scope, field, instrument)) for scope in (live, candidate)]
            one = [np.array([value]) for value in (limit, *used)]
            for_live, for_candidate = _parts(one[0], one[1], one[2], live_ppm, candidate_ppm)
            gate.set_limit(live, field, instrument, int(for_live[0]))
            gate.set_limit(candidate, field, instrument, int(for_candidate[0]))


def _parts(limits: Ints, mine: Ints, theirs: Ints, live_ppm: int, candidate_ppm: int) -> tuple[Ints, Ints]:
    """What live slot and candidate get of each limit."""
    wanted = held_all(limits, candidate_ppm)
    kept = np.maximum(wanted, theirs)
    live = np.maximum(0, np.minimum(held_all(limits, live_ppm), limits - kept))
    candidate = np.maximum(0, np.minimum(wanted, limits - np.maximum(mine, live)))
    # Where nothing is kept back the live slot has the whole, whatever people set from now on.
    whole = (live_ppm == WHOLE) & (kept == 0)
    unlimited = limits >= UNLIMITED  # there is nothing to share: each is open or closed
    open_live, open_candidate = (UNLIMITED if part else 0 for part in (live_ppm, candidate_ppm))
    return (
        np.where(unlimited, open_live, np.where(whole, UNLIMITED, live)),
        np.where(unlimited, open_candidate, candidate),
    )

"""What those who watch over a lane tell it: states of scopes and instruments, limits, and by how much to tighten.

These are facts of the lane's log. One that names what does not exist, or cannot be read, is counted and changes
nothing: it must not stop the lane that the next one is to halt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegate.errors import UserError
from tidegate.execution import factors, flattened, gaps, leases, reductions, slots, timeouts
from tidegate.execution.halting import cancel_halted
from tidegate.execution.state import State
from tidegate.model.messages import (
    Acknowledge,
    DynamicLimit,
    LimitsChange,
    MarketReference,
    Message,
    ScopeState,
    Tick,
    VenueEquity,
)
from tidegate.risk.limits import Limits
from tidegate.risk.reasons import Reason

Handler = Callable[[State, Any], None]
_MARKET, _EQUITY = range(2)


def tolerant(handler: Handler) -> Handler:
    """The handler, with what cannot be applied counted instead of raised. The gate checks before it changes anything."""

    def handle(s: State, m: Message) -> None:
        try:
            handler(s, m)
        except (ValueError, TypeError, OverflowError, UserError) as error:
            s.count(Reason.INVALID_CONTROL)
            s.error = f"{type(m).__name__} not applied: {error}"

    return handle


def _scope_state(s: State, m: ScopeState) -> None:
    key = (m.scope, -1) if m.instrument < 0 else (-1, m.instrument)
    known = s.halts_at.get(key, 0)
    if 0 < m.at < known:
        s.count(Reason.STALE_COMMAND)
        return
    again = 0 < m.at == known
    if m.instrument >= 0:
        # Its own word and its venue's, at the later one's place: the same place may say another thing.
        s.gate.set_instrument_state(m.instrument, m.state, m.ts)
    elif not again or m.state > s.gate.scope_state(m.scope):  # the gate itself may have gone down since
        s.gate.set_state(m.scope, m.state, m.ts)
    if 0 < m.at < 1 << 63:
        s.halts_at[key] = m.at
    flattened.note(s, key, m, again and m.instrument < 0)
    cancel_halted(s, m)


def scope_state(s: State, m: ScopeState) -> None:
    """A state changed. What the lane lets pass from here on carries the epoch of the last halt it knows of.

    Even of a halt it cannot apply: the order was judged after it. A writer that was replaced, and was only asleep, tells
    what it had in hand: a state older than the lane has of the scope changes nothing. A new writer tells all again: what
    the lane knows lifts nothing that the gate has stopped since.
    """
    if isinstance(m.epoch, int) and 0 <= m.epoch < 1 << 63:
        s.halt_epoch = max(s.halt_epoch, m.epoch)
    tolerant(_scope_state)(s, m)


def _dynamic_limit(s: State, m: DynamicLimit) -> None:
    factors.set_factor(s, m)


def _market(s: State, m: MarketReference) -> None:
    if _newer(s, (_MARKET, m.instrument), m.number):
        s.gate.set_market(m.instrument, m.volume, m.interest, m.depth_bid, m.depth_ask, m.ts)
        _note(s, (_MARKET, m.instrument), m.number)


def _equity(s: State, m: VenueEquity) -> None:
    if _newer(s, (_EQUITY, m.venue), m.number):
        s.gate.set_equity(m.venue, m.equity, m.ts)
        _note(s, (_EQUITY, m.venue), m.number)


def _newer(s: State, figure: tuple[int, int], number: int) -> bool:
    """Whether a word on a figure is not older than the last: one that is comes late, from a service that was replaced."""
    if 0 < number <= s.figures_at.get(figure, 0):
        s.count(Reason.STALE_COMMAND)
        return False
    return True


def _note(s: State, figure: tuple[int, int], number: int) -> None:
    if number > 0:
        s.figures_at[figure] = number


def _acknowledge(s: State, m: Acknowledge) -> None:
    s.gate.acknowledge(m.strategy, m.instrument, m.side, m.ts)


def _apply_limits(s: State, m: LimitsChange) -> None:
    below = s.gate.set_limits(Limits.from_json(m.limits))
    s.limits_version = m.version
    leases.renew(s)
    factors.renew(s)
    slots.share_again(s)
    gaps.look_at_limits(s)
    if below:
        s.count(Reason.LIMIT_BELOW_USE)
        s.error = f"limits version {m.version}: {'; '.join(map(str, below))}"


def _limits_change(s: State, m: LimitsChange) -> None:
    """Of one version the first counts, and an older one than is in force changes nothing."""
    if m.version <= s.limits_version:
        return
    if m.effective <= m.ts:
        tolerant(_apply_limits)(s, m)
        return
    Limits.from_json(m.limits)
    if all(due.version != m.version for due in s.limits_due):
        s.limits_due.append(m)
        s.limits_due.sort(key=lambda due: (due.effective, due.version))
        gaps.look_at_limits(s)


dynamic_limit = tolerant(_dynamic_limit)
"""An instrument's limits are held to a part of what people set."""
market = tolerant(_market)
"""The market's size, which control 22 compares with."""
equity = tolerant(_equity)
"""The equity at a venue (26)."""
acknowledge = tolerant(_acknowledge)
"""A person lets a strategy go on (15)."""
limits_change = tolerant(_limits_change)
"""The limits from here on, or from a later time on."""


margin_step = tolerant(reductions.begin)
"""A step of a margin call is to be carried out."""


def tick(s: State, m: Tick) -> None:
    """Time: limits come into force, then what is overdue is asked about."""
    while s.limits_due and s.limits_due[0].effective <= m.ts:
        due = s.limits_due.pop(0)
        if due.version > s.limits_version:
            tolerant(_apply_limits)(s, due)
    s.gate.tick(m.ts)
    timeouts.tick(s, m)

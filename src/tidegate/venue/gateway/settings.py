"""A gateway's settings."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from tidegate.errors import UserError

_ABOVE_ZERO = (
    "max_age", "lease_ttl", "reconcile_every", "recheck", "retry", "retry_most", "drop_copy", "history_after",
    "overlap", "sweep_for", "ask_for", "buffer", "remember", "control_age", "handover",
)  # fmt: skip


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds."""

    instance: str = "gateway"
    """This process among those that may act for the account: the same after a restart, and no other's."""
    socket: Path | None = None
    """Where orders are taken that must work without the log; None for nowhere."""
    on_stop: str = "keep"
    """What a clean stop does with resting orders, and a log that is away for `log_grace`: `cancel` or `keep`."""
    on_log_away: str = "cancel"
    log_grace: float = 5.0
    countdown: float = 30.0
    """The venue cancels all when it has not heard of us for so long; 0 for never."""
    max_age: float = 1.0
    """A new order or a replace that is older when it comes is refused."""
    lease_ttl: float = 2.0
    control_age: float = 1.0
    """Nothing that may add risk goes out once the log has acknowledged nothing for so long, or the risk service's lease is
    so old."""
    risk: bool = False
    """Whether there is a risk service, whose lease must be fresh."""
    handover: float = 10.0
    """So long a risk service that has left in order may stay away."""
    reconcile_every: float = 60.0
    recheck: float = 2.0
    """Between the two looks that what is hard to take back needs."""
    retry: float = 0.25
    retry_most: float = 5.0
    """First and longest pause after a reconciliation that could not be finished."""
    drop_copy: float = 1.0
    """How often the venue's fills are compared with those its stream told."""
    stream_grace: float = 1.0
    """A fill that the history has and the stream has not told after this is an alert."""
    history_after: float = 10.0
    """A fill that the stream told and the history does not have after this is an alert."""
    overlap: float = 60.0
    """How far before the cursor fills are read at start and by reconciliations."""
    drop_copy_overlap: float = 10.0
    sweep_for: float = 10.0
    """How long a cancel-all goes on asking until the venue's open set is empty."""
    ask_for: float = 5.0
    """How long a reconciliation waits for a lane to have applied what was stored."""
    fresh: float = 120.0
    """A scope that comes up needs a clean reconciliation not older than this before new orders go out."""
    margin_every: float = 30.0
    """How often the venue's own margin figures are compared with ours; 0 for never."""
    margin: float = 0.2
    """How far clocks of processes and venue may differ."""
    tolerance: Decimal = Decimal("0.0001")
    """The part of a balance that may drift unexplained."""
    clear_foreign: bool = False
    """Cancel open orders of others in instruments in which the account has none of ours."""
    buffer: int = 100_000
    """Reports kept while the log is away."""
    remember: int = 20_000
    """Requests remembered, to send none twice."""

    def __post_init__(self) -> None:
        for name in _ABOVE_ZERO:
            if getattr(self, name) <= 0:
                raise UserError(f"gateway: {name} is {getattr(self, name)}, must be above 0")
        for name in ("on_stop", "on_log_away"):
            if getattr(self, name) not in ("cancel", "keep"):
                raise UserError(f"gateway: {name} is {getattr(self, name)!r}, must be cancel or keep")

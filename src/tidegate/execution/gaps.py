"""Gaps in what a lane must follow for risk (control 29): while there is one, nothing passes but cancels.

HALT is followed by the order manager, which tells its lanes of a gap there and of its end (`LogGap`). Versions of limits
come in the lane's own log, each with the one that holds before it: a document that is to come, of which that one is not
known, is a gap until it is. Leases need no such care: what was granted is told as a total, so a grant that is lost
leaves the lane less than it was lent. Of the lane's own log nothing is applied past a hole (`writer`).
"""

from __future__ import annotations

from tidegate.execution.state import State
from tidegate.model.messages import LogGap
from tidegate.risk.reasons import Reason

LIMITS = "limits"
"""What the gap of missing limits is called."""


def log_gap(s: State, m: LogGap) -> None:
    """A stream that others follow for the lane has a gap, or is whole again."""
    if not isinstance(m.stream, str) or m.stream == LIMITS:
        s.count(Reason.INVALID_CONTROL)
        return
    _set(s, m.stream, (m.text or "entries are missing") if m.gap else "")


def look_at_limits(s: State) -> None:
    """See whether every version that is to come follows one that is known."""
    known = {due.version for due in s.limits_due}
    missing = [d for d in s.limits_due if d.follows > s.limits_version and d.follows not in known]
    text = ", ".join(f"version {d.follows}, which version {d.version} follows, is not known" for d in missing)
    _set(s, LIMITS, text)


def _set(s: State, stream: str, text: str) -> None:
    if text:
        s.gaps[stream] = text
    elif s.gaps.pop(stream, None) is None:
        return
    s.gate.set_gap(bool(s.gaps))

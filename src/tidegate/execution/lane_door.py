"""What may be said in a lane, and by whom: the subject of an entry proves who wrote it, for the log's server lets nobody
else publish there (`log.grants`), and what it says must be its writer's to say.

`lane.<n>.cmd.<strategy>` is one strategy's: commands, of its own orders only. `lane.<n>.cmd` is the house's (operators,
risk). `lane.<n>.rpt` is the gateways', `lane.<n>.epoch` and `lane.<n>.skip` the order managers', `lane.<n>.sys` the services'.
Nobody says more at once than `model.wire.MOST`: what has more to say writes several entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tidegate.execution.state import State
from tidegate.model.messages import (
    CancelAll,
    CancelOrder,
    LaneEpoch,
    LaneSkip,
    Message,
    NewOrder,
    ReplaceOrder,
    Report,
)
from tidegate.model.wire import MOST
from tidegate.risk.reasons import Reason

CMD_SHIFT = 40
"""A strategy's cmd_ids are its number, moved up by so many bits, and a count."""
_COMMANDS = frozenset((NewOrder, CancelOrder, ReplaceOrder, CancelAll))
_ALL = -1


def command_subject(lane: int, strategy: int) -> str:
    """Where a strategy writes its commands."""
    return f"lane.{lane}.cmd.{strategy}"


def refusal(s: State, subject: str, messages: Sequence[Message]) -> tuple[Reason, str]:
    """Why an entry is not to be applied, for the count and in words; NONE where it is."""
    if len(messages) > MOST:
        return Reason.ENTRY_TOO_LARGE, f"{len(messages)} messages in one entry; {MOST} are allowed"
    why = _foreign(s, subject, messages)
    return (Reason.FOREIGN_COMMAND if why else Reason.NONE), why


def _foreign(s: State, subject: str, messages: Sequence[Message]) -> str:
    """What of an entry is not its writer's to say; empty where all is."""
    door, strategy = _door(subject)
    for m in messages:
        kind = type(m)
        if door == "cmd":
            if kind not in _COMMANDS:
                return f"{kind.__name__} is no command: it may not come on {subject}"
            if strategy != _ALL and not _own(s, m, strategy):
                return f"{kind.__name__} of another strategy's came on {subject}"
        elif kind is LaneEpoch or kind is LaneSkip:
            if door != ("epoch" if kind is LaneEpoch else "skip"):
                return f"{kind.__name__} may not come on {subject}"
        elif door == "rpt":
            if kind is not Report:
                return f"{kind.__name__} is no report: it may not come on {subject}"
        elif door != "sys":
            return f"{kind.__name__} may not come on {subject}"
    return ""


@lru_cache(4096)
def _door(subject: str) -> tuple[str, int]:
    """Its kind, and the strategy whose it is; −1: the house's."""
    words = subject.split(".")
    if len(words) == 4 and words[2] == "cmd" and words[3].isdecimal():
        return "cmd", int(words[3])
    return (words[2], _ALL) if len(words) == 3 else ("", _ALL)


def _own(s: State, m: Message, strategy: int) -> bool:
    """Whether a command is of this strategy, and of its orders."""
    if type(m) is NewOrder:
        if m.strategy != strategy or m.cmd_id >> CMD_SHIFT != strategy:
            return False
        return not m.parent_cmd_id or _has(s, m.parent_cmd_id, strategy)
    if type(m) is CancelAll:
        return m.strategy == strategy
    return _has(s, m.cmd_id, strategy)  # type: ignore[attr-defined]


def _has(s: State, cmd_id: int, strategy: int) -> bool:
    """Whether the order that `cmd_id` asked for is the strategy's; one that is not known is nobody's."""
    order = s.by_cmd.get(cmd_id)
    return order is None or order.strategy == strategy

"""The order manager's lane: a deterministic state machine over commands, venue reports, marks and time.

`lane.apply(message)` folds one message of the lane's log into its state and returns what follows from it:
requests for the gateway and order events for whoever listens, in the order in which they are to leave. The
lane reads no clock, draws no random number and does no I/O; the same messages give the same outputs and the
same `state_hash`, in a backtest, in a live process and in a replay.

What a shell around it owes:

* a message is durable in the lane's log before it is applied: thereby the intent is durable before the
  request;
* outputs of a replay are thrown away. A request that was lost because the process died between applying and
  sending is not sent again: its order stays PENDING_NEW, turns UNKNOWN on a Tick, and the venue is asked. So
  no intent is ever sent twice;
* a `SendStatus` is answered by the fills of the order (again, if need be: they count once) and then one
  ORDER_STATUS or NOT_FOUND;
* `LaneBroken` stops the lane.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from tidegate.execution import (
    adopt,
    commands,
    contingent,
    controls,
    gaps,
    invariants,
    leases,
    slots,
    snapshot,
)
from tidegate.execution.commands import Refused
from tidegate.execution.ids import cl_ord_id
from tidegate.execution.ports import Gate, Ledger
from tidegate.execution.reports import report
from tidegate.execution.state import LaneBroken, LaneOrder, Settings, State
from tidegate.model.instrument import Universe
from tidegate.model.messages import (
    Acknowledge,
    Adopt,
    CancelAll,
    CancelOrder,
    DynamicLimit,
    Funding,
    HandOver,
    LeaseGrant,
    LeaseReturn,
    LimitsChange,
    LogGap,
    MarginStep,
    Mark,
    MarketReference,
    Message,
    NewOrder,
    ReplaceOrder,
    Report,
    ScopeState,
    SlotShare,
    Tick,
    VenueEquity,
)
from tidegate.risk.reasons import Reason

Handler = Callable[[State, Any], None]


def _funding(s: State, m: Funding) -> None:
    if not 0 <= m.instrument < s.instruments:
        raise Refused(Reason.UNKNOWN_INSTRUMENT, f"funding of instrument {m.instrument} of {s.instruments}")
    if m.due:
        if m.due <= s.funded.get(m.instrument, 0):
            return
        s.funded[m.instrument] = m.due
        s.out.append(m)
    s.gate.funding(m.instrument, m.rate, m.price, m.ts)
    s.ledger.apply_funding(m.instrument, m.rate, m.price, m.ts)


COMMANDS: dict[type[Message], Handler] = {
    NewOrder: commands.new_order,
    CancelOrder: commands.cancel_order,
    ReplaceOrder: commands.replace_order,
    CancelAll: commands.cancel_all,
    Mark: commands.mark,
    SlotShare: slots.share,
    HandOver: slots.hand_over,
}
FACTS: dict[type[Message], Handler] = {
    Report: report,
    Tick: controls.tick,
    Funding: _funding,
    ScopeState: controls.scope_state,
    LimitsChange: controls.limits_change,
    DynamicLimit: controls.dynamic_limit,
    MarketReference: controls.market,
    VenueEquity: controls.equity,
    Acknowledge: controls.acknowledge,
    Adopt: adopt.adopt,
    LogGap: gaps.log_gap,
    MarginStep: controls.margin_step,
    LeaseGrant: leases.grant,
    LeaseReturn: leases.give_back,
}
"""What has happened cannot be refused: an error in one of these breaks the lane."""


class Lane:
    """One partition of accounts, with one writer.

    `number` is the lane's own (part of every ClOrdID), `universe` the instruments by number, `gate` and
    `ledger` as in `execution.ports`: both belong to this lane and are fed by it alone. `shared` are the scopes
    that lie over several lanes (`risk.leases.lease.lanes_of`): of their limits the lane has what it was lent, so
    nothing at first.
    """

    __slots__ = ("_commands", "_facts", "state")

    def __init__(
        self, number: int, universe: Universe, gate: Gate, ledger: Ledger, settings: Settings | None = None,
        shared: Iterable[int] = (),
    ) -> None:  # fmt: skip
        cl_ord_id(number, 1)
        self.state = State(number, universe, gate, ledger, settings or Settings())
        self._share(shared)
        self._commands = COMMANDS
        self._facts = FACTS

    def apply(self, msg: Message) -> list[Message]:
        """Fold one message; returns the requests and events that follow, in order.

        A command that cannot be (of the wrong type, out of range, unknown) is answered by an `OrderEvent`
        with its reason, and the lane goes on. Raises `LaneBroken` where an invariant does not hold.
        """
        s = self.state
        out: list[Message] = []
        s.out = out
        kind = type(msg)
        handler = self._facts.get(kind)
        try:
            if handler is None:
                self._command(s, msg, kind)
            else:
                if msg.ts > s.now:
                    s.now = msg.ts
                handler(s, msg)
            if s.touched:
                _react(s, int(msg.ts))
        except LaneBroken:
            raise
        except Exception as error:
            raise LaneBroken(f"step: {kind.__name__} could not be followed to its end: {error!r}") from error
        return out

    def _command(self, s: State, msg: Message, kind: type[Message]) -> None:
        try:
            if msg.ts > s.now:
                s.now = int(msg.ts)
            self._commands[kind](s, msg)
        except LaneBroken:
            raise
        except Exception as error:
            _poisoned(s, msg, error)

    def order(self, cl_ord_id: int) -> LaneOrder | None:
        """The order with this ClOrdID, live or remembered. Not to be changed by the caller."""
        return self.state.find(cl_ord_id)

    def by_command(self, cmd_id: int) -> LaneOrder | None:
        """The order that this command asked for; of a child that was followed by others, the last."""
        return self.state.by_cmd.get(cmd_id)

    def open_orders(self) -> list[LaneOrder]:
        """Every order that is not terminal, oldest first."""
        return list(self.state.live.values())

    @property
    def counts(self) -> dict[int, int]:
        """Refusals and anomalies so far, by reason code (`risk.reasons`)."""
        return self.state.counts

    @property
    def error(self) -> str:
        """What was wrong with the last command or report that was refused, for people."""
        return self.state.error

    def check(self) -> None:
        """Assert the invariants over all live orders; raises `LaneBroken` naming the first that fails."""
        invariants.check(self.state)

    def snapshot(self) -> bytes:
        """The whole state, gate and ledger included."""
        return snapshot.save(self.state)

    def state_hash(self) -> str:
        """SHA-256 of `snapshot()`, in hexadecimal."""
        return hashlib.sha256(snapshot.save(self.state)).hexdigest()

    @classmethod
    def restore(
        cls, data: bytes, universe: Universe, gate: Gate, ledger: Ledger, shared: Iterable[int] = ()
    ) -> Lane:
        """The lane that `snapshot()` was taken of; `gate` and `ledger` are fresh ones, of the same
        configuration."""
        lane = cls.__new__(cls)
        lane.state = snapshot.load(data, universe, gate, ledger)
        lane._commands = COMMANDS
        lane._facts = FACTS
        lane._share(shared)
        return lane

    def _share(self, shared: Iterable[int]) -> None:
        self.state.shared = frozenset(shared)
        leases.renew(self.state)


def _react(s: State, ts: int) -> None:
    """Follow the links of what changed, and of what that changes in turn."""
    at = 0
    while at < len(s.touched):
        contingent.react(s, s.touched[at], ts)
        at += 1
    s.touched.clear()


def _poisoned(s: State, msg: Message, error: Exception) -> None:
    """A command failed: its sender is told, and the lane goes on if all is as it should be."""
    refused = isinstance(error, Refused)
    s.error = f"{type(msg).__name__}: {error if refused else repr(error)}"
    commands.reject(s, msg, error.reason if isinstance(error, Refused) else Reason.INVALID_COMMAND)
    invariants.check(s)

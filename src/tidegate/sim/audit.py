"""The second fold: a finished run's log goes through fresh lanes and a fresh gate, which must decide the same.

For compiled strategies this is where the lane's word is heard at all: the kernel decided inside its loop, the
lane now folds the journal and has to agree order by order (admitted or denied, and for which reason), request by
request, and at the end the gate's whole state must be equal, byte for byte. For Python strategies it proves that
the run can be replayed from its log.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.execution.core import Lane
from tidegate.kernel import engine as k
from tidegate.kernel.compiled_lane import J_BODY, J_REASON
from tidegate.kernel.layout import (
    O_ACCOUNT,
    O_DISPLAY,
    O_EXPIRE,
    O_ID,
    O_INST,
    O_INSTRUMENT,
    O_OFFSET,
    O_PRICE,
    O_QTY,
    O_REF_ASK,
    O_REF_BID,
    O_REF_TS,
    O_SIDE,
    O_STOP,
    O_STRATEGY,
    O_TIF,
    O_TYPE,
)
from tidegate.model.messages import (
    CancelOrder,
    Message,
    NewOrder,
    OrderEvent,
    ReplaceOrder,
    Report,
    SendCancel,
    SendNew,
    SendReplace,
)
from tidegate.model.order import ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.sim.recorder import FundingRows, Kept, Recorder, pay

PYTHON_LANE, COMPILED_LANE = 0, 1


class Disagreement(RuntimeError):
    """The fold came to another decision than the run: a defect of ours, never of the user's."""


def new_order(row: list[int]) -> NewOrder:
    """The command behind a journaled order of a compiled strategy; its ClOrdID serves as the command's id."""
    o = row[J_BODY:]
    return NewOrder(
        row[1], o[O_ID], o[O_ACCOUNT], o[O_STRATEGY], o[O_INSTRUMENT], Side(o[O_SIDE]), OrdType(o[O_TYPE]), o[O_QTY],
        o[O_PRICE], o[O_STOP], TimeInForce(o[O_TIF]), o[O_INST], o[O_DISPLAY], o[O_OFFSET], o[O_EXPIRE],
        o[O_REF_BID], o[O_REF_ASK], o[O_REF_TS],
    )  # fmt: skip


def report(row: list[int]) -> Report:
    """The report behind a journaled one."""
    r = row[J_BODY : J_BODY + 16]
    kind = ExecType(r[k.R_EXEC])
    changed = kind in (ExecType.REPLACED, ExecType.RESTATED, ExecType.CANCEL_REJECTED)
    return Report(
        r[k.R_TIME], r[k.R_ID], kind, r[k.R_TSV], r[k.R_EXECID],
        0 if kind is ExecType.NEW else r[k.R_LAST_QTY], r[k.R_LAST_PX], r[k.R_FEE], bool(r[k.R_MAKER]),
        r[k.R_QTY] if changed else 0, r[k.R_PRICE] if changed else 0, r[k.R_CUM], r[k.R_LEAVES],
        reason=r[k.R_REASON],
    )  # fmt: skip


class Audit:
    """Folds a recorder's log. `lanes` are fresh, by number, and share `gate` and `ledger`; `target` collects order rows."""

    def __init__(self, lanes: dict[int, Lane], gate: Gate, ledger: Ledger, target: Recorder) -> None:
        self.lanes = lanes
        self.ledger = ledger
        self.funding: FundingRows = {}
        self.gate = gate
        self.target = target
        self.folded = 0

    def run(self, source: Recorder) -> None:
        """Fold everything; raises `Disagreement` at the first decision that differs."""
        python = iter(source.kept)
        upcoming = next(python, None)
        for at, row in enumerate(_rows(source)):
            while upcoming is not None and upcoming[0] <= at:
                self._python(upcoming)
                upcoming = next(python, None)
            self._journaled(row)
        while upcoming is not None:
            self._python(upcoming)
            upcoming = next(python, None)
        self.target.marks = source.marks

    def _apply(self, lane: int, message: Message) -> list[Message]:
        self.folded += 1
        outputs = self.lanes[lane].apply(message)
        for out in outputs:
            if type(out) is OrderEvent:
                self.target.event(out)
        return outputs

    def _python(self, kept: Kept) -> None:
        _, message, (self.target.fill_touch, self.target.ts_venue, self.target.queue_ahead) = kept
        self.target.command(message, 0)
        self._apply(PYTHON_LANE, message)

    def _journaled(self, row: list[int]) -> None:
        kind = row[0]
        if kind == k.J_MARK:
            for lane in self.lanes.values():
                lane.state.marks[row[2]] = (row[3], row[4], row[1])
            self.gate.mark(row[2], row[3], row[4], row[1])
        elif kind == k.J_FUNDING:
            self.gate.funding(row[2], row[3], row[4], row[1])
            pay(self.funding, self.ledger, row[2], row[3], row[4], row[1])
        elif kind == k.J_ORDER:
            self._order(row)
        elif kind == k.J_CANCEL:
            message = CancelOrder(row[1], row[J_BODY])
            self._request(row, message, SendCancel)
        elif kind == k.J_REPLACE:
            body = row[J_BODY : J_BODY + 6]
            self._request(row, ReplaceOrder(row[1], *body), SendReplace)
        else:
            self._report(row)

    def _order(self, row: list[int]) -> None:
        command = new_order(row)
        self.target.command(command, 0)
        outputs = self._apply(COMPILED_LANE, command)
        event = next(out for out in outputs if type(out) is OrderEvent)
        reason = event.reason if event.status is OrdStatus.DENIED else 0
        if reason != row[J_REASON] or event.cl_ord_id != row[J_BODY + O_ID]:
            raise Disagreement(
                f"order {row[J_BODY + O_ID]} at {row[1]}: the kernel's gate said {row[J_REASON]}, "
                f"the lane {reason} (as order {event.cl_ord_id})"
            )
        if (reason == 0) != any(type(out) is SendNew for out in outputs):
            raise Disagreement(f"order {event.cl_ord_id} at {row[1]}: sent by one of kernel and lane only")

    def _request(self, row: list[int], message: Message, sent: type[Message]) -> None:
        self.target.command(message, 0)
        outputs = self._apply(COMPILED_LANE, message)
        if (row[J_REASON] == 0) != any(type(out) is sent for out in outputs):
            raise Disagreement(
                f"{type(message).__name__} of order {row[J_BODY]} at {row[1]}: the kernel said {row[J_REASON]}, "
                f"the lane answered {outputs}"
            )

    def _report(self, row: list[int]) -> None:
        message = report(row)
        body = row[J_BODY : J_BODY + 16]
        if message.exec_type is ExecType.TRADE:
            self.target.fill_touch = (body[k.R_QTY], body[k.R_PRICE])
            self.target.ts_venue = message.ts_venue
        elif message.exec_type is ExecType.NEW:
            self.target.queue_ahead = body[k.R_LAST_QTY]
        self.target.command(message, 0)
        self._apply(COMPILED_LANE, message)


def _rows(source: Recorder) -> Iterator[list[int]]:
    for chunk in source.rows:
        yield from chunk.tolist()

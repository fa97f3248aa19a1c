"""The gate as the order manager's lane holds it: one object over the kernels' arrays.

A call packs the order into a scratch row and one command into another, and plays it (`kernel.gate_play`): about
a microsecond and a half, whatever the controls. A compiled strategy's orders pass the same kernels inside the
replay loop, over the same `state`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec
import numpy as np
import numpy.typing as npt

from tidegate.kernel import gate_commands as do
from tidegate.kernel.gate_play import Played, allocate_play, gate_play
from tidegate.kernel.gate_state import I_STATE, L_ID, MUTABLE, GateState
from tidegate.kernel.layout import O_CHARGE
from tidegate.model.instrument import Universe
from tidegate.model.order import Order
from tidegate.model.time import MINUTE
from tidegate.risk import adoption, facts
from tidegate.risk.build import build
from tidegate.risk.derived import derive
from tidegate.risk.in_force import BelowUse, InForce, Saved
from tidegate.risk.leases import fields as lease_fields
from tidegate.risk.leases.fields import NO_INSTRUMENT
from tidegate.risk.limits import Limits
from tidegate.risk.reasons import Reason, describe
from tidegate.risk.scopes import ScopeTable, State

_ROW = struct.Struct("24q")
_FIGURES = 5


class Gate:
    """Every control on every order; state is a fold over the calls, with no clock and no I/O.

    `fx` gives each settlement currency's rate to `base_currency`: a number, or the id of an instrument whose
    marks move it (until its first mark, orders that settle there are refused with NO_FX_RATE). At most
    `open_orders` are open at once. `day_start` is the UTC time of day, ns, at which a new day begins for losses
    and traded value; `volatility_memory`, ns, is what control 8 remembers.

    After a check, `limit`, `value`, `scope`, `control` and `warnings` say what was compared.
    """

    def __init__(
        self,
        universe: Universe,
        scopes: ScopeTable,
        limits: Limits,
        *,
        base_currency: str = "USDT",
        fx: Mapping[str, str | Decimal] | None = None,
        open_orders: int = 4096,
        day_start: int = 0,
        volatility_memory: int = MINUTE,
    ) -> None:
        self.universe, self.scopes, self.base_currency = universe, scopes, base_currency
        self.state: GateState = build(
            universe, scopes, base_currency, fx or {}, open_orders, day_start, volatility_memory
        )
        self.in_force = InForce(self.state, universe, scopes, limits)
        one = allocate_play(self.state)
        self._one = Played(one)
        self._address = self._one.address
        # Scalars go through memoryviews: a third of the cost of indexing an array.
        self._row = one.orders.data.cast("B").cast("q")
        self._cmd = one.commands.data.cast("B").cast("q")
        self._figures = self._cmd[do.FIGURES :]
        self._slot: dict[int, int] = {}

    @property
    def limit(self) -> int:
        """The limit that the last denial compared with, in its control's unit (`risk.controls`)."""
        return self._figures[1]

    @property
    def value(self) -> int:
        """The value that was compared."""
        return self._figures[2]

    @property
    def scope(self) -> int:
        """The scope whose limit it was."""
        return self._figures[3]

    @property
    def control(self) -> int:
        """The control that spoke."""
        return self._figures[4]

    @property
    def warnings(self) -> int:
        """Soft limits passed by the last check, one bit (1 << control) each, denied or not."""
        return self._figures[_FIGURES]

    def explain(self) -> str:
        """The last denial in one line: reason, figures, scope."""
        text = describe(self._figures[0])
        if self._figures[0] == Reason.NO_LIMIT:
            return f"{text}: control {self.limit} at {self.scopes.label(self.scope)}"
        return f"{text}: {self.value} against {self.limit} at {self.scopes.label(self.scope)}"

    def _pack(self, order: Order, bid: int = 0, ask: int = 0, seen: int = 0) -> None:
        number = order.cl_ord_id
        _ROW.pack_into(
            self._row, 0, number, 0, order.account, order.strategy, order.instrument, order.side, order.ord_type,
            order.time_in_force, order.exec_inst, order.qty, order.price, order.stop_price, order.display_qty,
            order.offset, order.expire_ts, order.status, order.leaves_qty, order.cum_qty, 0,
            bid, ask, seen, order.cmd_id, self._slot.get(number, 0),
        )  # fmt: skip

    def _settle(self, number: int) -> None:
        if not self._row[O_CHARGE]:
            self._slot.pop(number, None)

    def check(self, order: Order, ref_bid: int, ref_ask: int, ref_ts: int, ts: int) -> int:
        """Judge a new order against the touch its sender saw (ticks; `ref_ts` 0 for none): 0 and it is charged,
        or the reason it is refused."""
        self._pack(order, ref_bid, ref_ask, ref_ts)
        cmd = self._cmd
        cmd[0], cmd[1], cmd[2] = do.CHECK, 0, ts
        gate_play(self._address)
        reason = self._figures[0]
        if not reason:
            self._slot[order.cl_ord_id] = self._row[O_CHARGE]
        return reason

    def check_replace(
        self, order: Order, new_qty: int, new_price: int, ref_bid: int, ref_ask: int, ref_ts: int, ts: int
    ) -> int:
        """Judge a change of total quantity and price (0 keeps): 0 and the worse of both forms is charged."""
        self._pack(order)
        cmd = self._cmd
        cmd[0], cmd[1], cmd[2], cmd[3] = do.CHECK_REPLACE, 0, new_qty, new_price
        cmd[4], cmd[5], cmd[6], cmd[7] = ref_bid, ref_ask, ref_ts, ts
        gate_play(self._address)
        return self._figures[0]

    def replaced(self, order: Order, new_qty: int, new_price: int, ts: int) -> None:
        """The venue's word: the order has this total quantity and price now."""
        self._act(order, do.REPLACED, new_qty, new_price, ts)

    def replace_rejected(self, order: Order, new_qty: int, new_price: int, ts: int) -> None:
        """The change is off: what it charged above the order is released."""
        self._act(order, do.REPLACE_REJECTED, new_qty, new_price, ts)

    def check_cancel(self, order: Order, ts: int) -> int:
        """0, or why no cancel may be sent now: only the cancels' own throttle can say so."""
        self._act(order, do.CANCEL_CHECK, ts)
        return self._figures[0]

    def check_parent(self, legs: Sequence[Order], refs: Sequence[tuple[int, int, int]], ts: int) -> int:
        """Control 6 for a parent before slicing, or a basket: 0, or the reason. Nothing is charged.

        `refs` has (bid, ask, time) for each leg. A parent is a basket of one.
        """
        basket = self._one.play._replace(orders=allocate_play(self.state, len(legs)).orders)
        for row, leg, ref in zip(basket.orders, legs, refs, strict=True):
            self._pack(leg, *ref)
            row[:] = self._one.play.orders[0]
        cmd = self._cmd
        cmd[0], cmd[1], cmd[2], cmd[3] = do.CHECK_PARENT, 0, len(legs), ts
        gate_play(Played(basket).address)
        return self._figures[0]

    def fill(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        """A fill, told before the order's own fields change; the fee in the settlement currency's minor units."""
        self._act(order, do.FILL, qty, price, fee, ts)

    def unfill(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        """A busted fill: the position goes back, what is open stays."""
        self._act(order, do.BOOK, -qty, price, -fee, ts)

    def book(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        """A fill that moves the position alone, such as the corrected half of a trade correction."""
        self._act(order, do.BOOK, qty, price, fee, ts)

    def release(self, order: Order, qty: int, ts: int, refused: bool = False) -> None:
        """`qty` open lots will not trade: canceled, expired, or `refused` by the venue (control 24 counts that)."""
        self._act(order, do.RELEASE, qty, ts, int(refused))

    def _act(self, order: Order, operation: int, a: int, b: int = 0, c: int = 0, d: int = 0) -> None:
        self._pack(order)
        cmd = self._cmd
        cmd[0], cmd[1], cmd[2], cmd[3], cmd[4], cmd[5] = operation, 0, a, b, c, d
        gate_play(self._address)
        self._settle(order.cl_ord_id)

    def _tell(self, operation: int, row: int, a: int, b: int, c: int) -> None:
        cmd = self._cmd
        cmd[0], cmd[1], cmd[2], cmd[3], cmd[4] = operation, row, a, b, c
        gate_play(self._address)

    def mark(self, instrument: int, bid: int, ask: int, ts: int) -> None:
        """A sampled touch (ticks): revalues, and judges the loss limits."""
        self._tell(do.MARK, instrument, bid, ask, ts)

    def funding(self, instrument: int, rate: int, price: int, ts: int) -> None:
        """A funding payment on every position: `rate` × 1e-8 of the value at `price` (ticks)."""
        self._tell(do.FUNDING, instrument, rate, price, ts)

    def set_state(self, scope: int, state: State | int, ts: int) -> None:
        """People, or the halt service, set a scope's state; raises `ValueError` for what does not exist."""
        if not 0 <= scope < len(self.scopes):
            raise ValueError(f"scope {scope} of {len(self.scopes)}")
        self._tell(do.SET_STATE, scope, int(State(state)), ts, 0)

    def covers(self, scope: int, account: int, strategy: int) -> bool:
        """Whether orders of this strategy on this account are under the scope."""
        if account >= len(self.scopes.accounts) or strategy >= len(self.scopes.strategies):
            return False
        return scope in self.scopes.chain(account, strategy).scopes

    def set_instrument_state(self, instrument: int, state: State | int, ts: int) -> None:
        """An instrument's own state, over all who trade it; raises `ValueError` for what does not exist.

        REDUCE_ONLY takes what reduces the strategy's position, CANCEL_ONLY and KILLED cancels; RECOVERING has a
        quarter of its positions.
        """
        if not 0 <= instrument < len(self.universe):
            raise ValueError(f"instrument {instrument} of {len(self.universe)}")
        self.state.inst[instrument, I_STATE] = int(State(state))

    def set_market(
        self, instrument: int, volume: int, interest: int, depth_bid: int, depth_ask: int, ts: int
    ) -> None:
        """Control 22: the market's figures in lots, sampled: a day's volume, open interest, depth of bids and of
        asks within 10 basis points; −1 for what is not known. Raises `ValueError`."""
        self.in_force.tell_market(instrument, (volume, interest, depth_bid, depth_ask))

    def set_equity(self, venue: int, equity: int, ts: int) -> None:
        """Control 26: the equity at a venue (its number among the universe's), micro-units, after haircuts."""
        facts.set_equity(self.state, venue, equity)

    def acknowledge(self, strategy: int, instrument: int, side: int, ts: int) -> None:
        """Control 15: a person has seen the strategy's executions there (`side` 0: both). Raises `ValueError`."""
        facts.acknowledge(self.state, strategy, instrument, side)

    def may_adopt(self, account: int, strategy: int, lots: int, price: int) -> None:
        """Raises `ValueError` where there is no such account, the strategy (−1: nobody) may not use it, or a number is too
        large."""
        adoption.check(self.scopes, account, strategy, lots, price)

    def adopt(self, account: int, strategy: int, instrument: int, lots: int, price: int, ts: int) -> None:
        """A position (signed lots at `price` ticks) that was not traded here is held from now on: it counts for limits,
        margin and P&L, and as nothing of today's. Nobody's (strategy −1) is the account's and what is above it."""
        adoption.hold(self, account, strategy, instrument, lots, price, ts)

    def begin_day(self, ts: int) -> None:
        """Something happens at `ts`: the figures of a day that is over are put aside first."""
        self._tell(do.TIME, 0, ts, 0, 0)

    def tick(self, ts: int) -> None:
        """Time, ticked into the lane: an order from after it is ahead of time (29)."""
        facts.tick(self.state, ts)

    def clock_limit(self) -> int:
        """Control 29's tightest limit, ns, 0 for none: a lane's time has to be ticked more often than that."""
        return facts.clock_limit(self.state)

    def set_gap(self, gap: bool) -> None:
        """Control 29: something of the risk log is missing, and nothing passes but cancels; or it is whole again."""
        facts.set_gap(self.state, gap)

    def set_limit(self, scope: int, field: int, instrument: int, value: int) -> None:
        """From here on this gate has `value` of an additive limit (`risk.leases.lease.fields.Field`), lent to it.

        `instrument` is −1 for a field of the whole scope. In force is the smaller of this and what people set;
        `gate_state.UNLIMITED` lifts it. What is used beyond it stays, and only what reduces passes. Raises
        `ValueError` for a scope, field or instrument that does not exist, and a value below 0.
        """
        self.in_force.lend(scope, field, instrument, value)

    def use(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int:
        """What is used of an additive limit now, as the gate compares it: NET_LONG, NET_SHORT, LONG and SHORT are
        below 0 while the scope is on the other side at worst; then nothing of the limit is used."""
        return lease_fields.use(self.state, scope, field, instrument)

    def limit_of(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int:
        """The additive limit in force, `gate_state.UNLIMITED` for none."""
        return lease_fields.limit(self.state, scope, field, instrument)

    def human_limit(self, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int:
        """The same limit as people set it, whatever is lent."""
        return self.in_force.human(scope, field, instrument)

    def finite_limits(self, scope: int) -> Iterator[tuple[int, int, int]]:
        """Every additive limit that people set of a scope: (field, instrument or −1, limit), in this order."""
        return self.in_force.sheet.finite_limits(scope)

    def human_limits(self, scope: int, field: int) -> npt.NDArray[np.int64]:
        """By instrument: the limits of a field that is one of an instrument, as people set them."""
        return self.in_force.humans(scope, field)

    def uses(self, scope: int, field: int) -> npt.NDArray[np.int64]:
        """By instrument: `use` of a field that is one of an instrument."""
        return lease_fields.uses(self.state, scope, field)

    def set_limits_of(self, scope: int, field: int, values: npt.NDArray[np.int64]) -> None:
        """By instrument: `set_limit` of a field that is one of an instrument."""
        self.in_force.lend_all(scope, field, values)

    @property
    def limits(self) -> Limits:
        """The document of limits in force, as people wrote it."""
        return self.in_force.limits

    def set_limits(self, limits: Limits) -> list[BelowUse]:
        """People's limits from here on. What is used stays, and so do states, leases and factors.

        Gives every additive limit that is now below its use: there only what reduces passes (and, of open orders,
        none before enough are over). Raises `UserError`, and changes nothing, for limits of what does not exist.
        """
        return self.in_force.set_limits(limits)

    def set_factor(self, instrument: int, ppm: int) -> None:
        """Hold size, value and position of an instrument (4, 5, 17) to `ppm` parts per million of what people set.

        What only reduces is held to people's limits alone. Raises `ValueError` for a factor of 0 or above the whole.
        """
        self.in_force.tighten(instrument, ppm)

    def scope_state(self, scope: int) -> State:
        """A scope's own state; an order is judged by the most severe on its chain."""
        return State(int(self.state.scope[scope, 0]))

    def instrument_state(self, instrument: int) -> State:
        """An instrument's own state."""
        return State(int(self.state.inst[instrument, I_STATE]))

    def state_bytes(self) -> bytes:
        """All that calls have changed, canonically: the arrays of `MUTABLE` one after another, then what limits them."""
        arrays = [getattr(self.state, name).tobytes() for name in MUTABLE]
        return b"".join([*arrays, self.in_force.save()])

    def load(self, data: bytes) -> None:
        """The inverse of `state_bytes`, for a gate built from the same universe, scopes and limits."""
        size = sum(getattr(self.state, name).nbytes for name in MUTABLE)
        try:
            saved = msgspec.msgpack.decode(data[size:], type=Saved)
        except ValueError:
            raise ValueError(
                f"gate snapshot has {len(data)} bytes, this gate's arrays have {size}: built differently?"
            ) from None
        offset = 0
        for name in MUTABLE:
            array = getattr(self.state, name)
            array[:] = np.frombuffer(data, array.dtype, array.size, offset).reshape(array.shape)
            offset += array.nbytes
        derive(self.state)
        self.in_force.load(saved)
        used = np.flatnonzero(self.state.slot[1:, L_ID]) + 1
        self._slot = {int(self.state.slot[h, L_ID]): int(h) for h in used}

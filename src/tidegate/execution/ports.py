"""What a lane needs of the risk gate and of the ledger.

Both are parts of the lane's state: they are fed by the lane alone, in the order of its log, and their bytes
belong to its hash and its snapshot. Quantities are lots, prices ticks, fees minor units of the instrument's
settlement currency, times ns.

**When the gate is called.** Before the order's own fields change, so that it sees what it charged:
`leaves_qty` is what is open before the event (of the larger form while a replace is under way). `replaced`
alone may also come after a change and charges anew: `new_qty − cum_qty` lots at `new_price`, whatever was
charged. An order that is terminal, or was never sent, is charged nothing: a fill or a busted fill of it moves
the position alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tidegate.model.order import Order
from tidegate.risk.limits import Limits


class Gate(Protocol):
    """Pre-trade risk: decides, charges, and keeps positions and open orders at their worst case."""

    @property
    def limit(self) -> int:
        """The limit that the last refusal compared with."""

    @property
    def value(self) -> int:
        """The value that was compared."""

    @property
    def scope(self) -> int:
        """The scope whose limit it was."""

    def check(self, order: Order, ref_bid: int, ref_ask: int, ref_ts: int, ts: int) -> int:
        """0 and the order is charged for its leaves, or the reason it is refused and nothing has changed."""

    def check_replace(
        self, order: Order, new_qty: int, new_price: int, ref_bid: int, ref_ask: int, ref_ts: int, ts: int
    ) -> int:
        """0 and the order is charged at the worse of both forms, or a reason and nothing has changed.

        A quantity that is not above what has filled is refused: that would be a cancel.
        """

    def replaced(self, order: Order, new_qty: int, new_price: int, ts: int) -> None:
        """The venue's word: the order has this total quantity and price now, whether or not it was asked."""

    def replace_rejected(self, order: Order, new_qty: int, new_price: int, ts: int) -> None:
        """The replace that `check_replace` charged is off: what it charged above the order is released."""

    def check_cancel(self, order: Order, ts: int) -> int:
        """0, or the reason why no cancel may be sent now (the cancels' own throttle)."""

    def fill(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        """A fill: charge becomes position, as far as the order is still charged."""

    def unfill(self, order: Order, qty: int, price: int, fee: int, ts: int) -> None:
        """A busted fill: the position goes back, what is open stays; `replaced` follows where the order is
        open."""

    def release(self, order: Order, qty: int, ts: int, refused: bool = False) -> None:
        """The order is over with `qty` unfilled: all it was charged is released, a replace under way too.

        `refused`: by the venue.
        """

    def mark(self, instrument: int, bid: int, ask: int, ts: int) -> None:
        """The touch of an instrument, sampled into the log."""

    def funding(self, instrument: int, rate: int, price: int, ts: int) -> None:
        """A funding payment, `rate` × 1e8 on the position at `price`."""

    def set_state(self, scope: int, state: int, ts: int) -> None:
        """A scope's state (ACTIVE … KILLED)."""

    def scope_state(self, scope: int) -> int:
        """A scope's own state now."""

    def covers(self, scope: int, account: int, strategy: int) -> bool:
        """Whether orders of this strategy on this account are under the scope."""

    def set_instrument_state(self, instrument: int, state: int, ts: int) -> None:
        """An instrument's own state, over all who trade it."""

    def set_limits(self, limits: Limits) -> Sequence[object]:
        """The limits from here on; uses stay. Returns each that is now below its use. Raises `UserError`."""

    def set_market(
        self, instrument: int, volume: int, interest: int, depth_bid: int, depth_ask: int, ts: int
    ) -> None:
        """The market's size in lots, −1 for what is not known."""

    def set_equity(self, venue: int, equity: int, ts: int) -> None:
        """The equity at a venue, micro-units of the base currency after haircuts."""

    def acknowledge(self, strategy: int, instrument: int, side: int, ts: int) -> None:
        """A person has seen the strategy's repeated executions there; `side` 0 is both."""

    def may_adopt(self, account: int, strategy: int, lots: int, price: int) -> None:
        """Raises `ValueError` where there is no such account, the strategy (−1: nobody) may not use it, or a number is too
        large."""

    def adopt(self, account: int, strategy: int, instrument: int, lots: int, price: int, ts: int) -> None:
        """A position (signed lots) that was not traded through the gate is held from now on."""

    def tick(self, ts: int) -> None:
        """Time, ticked into the lane."""

    def clock_limit(self) -> int:
        """Control 29's tightest limit, ns; 0 for none."""

    def set_gap(self, gap: bool) -> None:
        """Something of the risk log is missing, and nothing passes but cancels; or it is whole again."""

    def set_factor(self, instrument: int, ppm: int) -> None:
        """Limits of an instrument are held to `ppm` parts per million of what people set."""

    def human_limit(self, scope: int, field: int, instrument: int = -1) -> int:
        """An additive limit (`risk.leases.fields`) as people set it."""

    def finite_limits(self, scope: int) -> Iterable[tuple[int, int, int]]:
        """Every additive limit that people set of a scope: (field, instrument or −1, limit)."""

    def set_limit(self, scope: int, field: int, instrument: int, value: int) -> None:
        """Of that limit, this gate has `value` from here on."""

    def use(self, scope: int, field: int, instrument: int = -1) -> int:
        """What is used of it now."""

    def state_bytes(self) -> bytes:
        """All state, canonically encoded."""

    def load(self, data: bytes) -> None:
        """The inverse of `state_bytes`."""


class Ledger(Protocol):
    """Positions, average prices, realised profit, fees and funding, to the last unit."""

    def apply_fill(
        self,
        account: int,
        strategy: int,
        instrument: int,
        signed_lots: int,
        price_ticks: int,
        fee_units: int,
        ts: int,
    ) -> object:
        """Book a fill; lots are positive for a buy."""

    def bust(
        self,
        account: int,
        strategy: int,
        instrument: int,
        signed_lots: int,
        price_ticks: int,
        fee_units: int,
        ts: int,
    ) -> object:
        """Take back the fill that was booked with these very figures."""

    def correct(
        self,
        account: int,
        strategy: int,
        instrument: int,
        old: tuple[int, int, int],
        new: tuple[int, int, int],
        ts: int,
    ) -> object:
        """Put `new` (signed lots, price, fee) in the place of the fill `old`."""

    def apply_funding(self, instrument: int, rate: int, price: int, ts: int) -> object:
        """Book a funding payment on every position in the instrument."""

    def state_bytes(self) -> bytes:
        """All state, canonically encoded."""

    def load(self, data: bytes) -> None:
        """The inverse of `state_bytes`."""

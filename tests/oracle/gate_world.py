"""A small firm with every kind of limit and instrument, and seeded commands for its gate."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

from msgspec.structs import replace

from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.order import ExecInst, Order, OrdType, Side, TimeInForce
from tidegate.risk.leases.fields import Field
from tidegate.risk.limits import Limits
from tidegate.risk.scopes import Account, ScopeTable, State, StrategyScope

START = 1_700_000_000_000_000_000
MS = 1_000_000
EXPIRY = START + 3_000_000 * MS
BASE, FX = "USDT", {"BTC": "BTCUSDT.X"}

UNIVERSE = Universe(
    [
        Instrument(
            symbol="BTCUSDT", venue="X", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT",
            tick=D("0.5"), lot=D("0.001"), initial_margin=D("0.05"), min_notional=D(20),
        ),
        Instrument(
            symbol="BTCUSD", venue="X", kind=InstrumentKind.INVERSE_PERPETUAL, base="BTC", quote="USD",
            tick=D("0.5"), lot=D(1), multiplier=D(100), initial_margin=D("0.1"), min_notional=D(200),
        ),
        Instrument(
            symbol="SPREAD", venue="Y", kind=InstrumentKind.FUTURE, base="CL", quote="USDT", expiry=EXPIRY,
            tick=D("0.01"), lot=D(1), multiplier=D(1000), negative_prices=True, initial_margin=D("0.2"),
        ),
        Instrument(
            symbol="ETHUSDT", venue="Y", kind=InstrumentKind.SPOT, base="ETH", quote="USDT",
            tick=D("0.01"), lot=D("0.01"), min_qty=D("0.02"), max_qty=D(40),
        ),
    ]
)  # fmt: skip

SCOPES = ScopeTable(
    [
        Account(name="main", desk="crypto", group="g", capital=D(400_000)),
        Account(name="second", desk="crypto", group="g", capital=D(250_000)),
        Account(name="third", capital=D(60_000)),
    ],
    [
        StrategyScope(name="mm", accounts=("main", "second")),
        StrategyScope(name="trend", accounts=("main",)),
        StrategyScope(name="pairs", accounts=("third", "second")),
    ],
    desks=["crypto"],
)

_FIELDS = {
    "trade": ["*"], "sides": ["buy", "sell"], "order_types": ["limit", "market", "stop", "stop_limit", "trailing_stop",
    "iceberg", "pegged"], "time_in_force": ["day", "gtc", "ioc", "fok", "gtd"],
}  # fmt: skip
LIMITS = Limits.load(
    {
        "firm": {
            **_FIELDS, "position": 40, "gross": 700_000, "net": 420_000, "loss": 40_000, "drawdown": 45_000,
            "traded_value": 12_000_000, "order_qty": 30, "order_value": "90_000", "parent_value": 120_000,
            "price_collar": "5%", "dynamic_collar": 8, "dynamic_floor": "0.05%", "dynamic_horizon": "500ms",
            "order_ratio": "1.4", "volume_ratio": 3, "ratio_free": 50, "depth_share": "20%", "venue_share": "80%",
            "clock_skew": "5s", "volume_share": "1%", "volume": 5_000, "depth": 90,
            "period_drift": "0.6%", "period_window": "20s", "max_age": "2s", "duplicate_orders": 4,
            "instruments": {
                "SPREAD.Y": {"price_collar": "20%", "price_collar_floor": "0.4", "expiry_window": "600s"},
                "BTCUSD.X": {"order_qty": 400, "position": 2_000, "volume": 300_000, "depth": 1_900},
                "ETHUSDT.Y": {"interest_share": "2%", "order_ratio": 1},
            },
        },
        "desks": {"crypto": {"gross": 600_000, "open_orders": 26}},
        "accounts": {
            "*": {
                "position": 30, "gross": 450_000, "net": 300_000, "margin_buffer": "20%", "loss": 25_000,
                "drawdown": 30_000, "traded_value": 5_000_000, "orders_per_second": 60, "order_burst": 20,
                "cancels_per_second": 80, "open_orders": 22, "open_value": 400_000,
                "instruments": {"BTCUSD.X": {"position": 1_500}},
            },
            "third": {"margin_buffer": "50%", "loss": 5_000, "instruments": {"ETHUSDT.Y": {"max_age": "500ms"}}},
        },
        "strategies": {
            "*": {
                "position": 20, "gross": 300_000, "net": 220_000, "loss": 15_000, "drawdown": "unlimited",
                "orders_per_second": 40, "cancels_per_second": 50, "cancel_burst": 10, "open_orders": 14,
                "open_value": 250_000, "executions": 7, "execution_window": "2s", "fills_per_second": 5,
                "slippage_score": "2.5",
                "instruments": {"BTCUSD.X": {"position": 1_000, "order_value": 45_000}},
            },
            "mm": {"legs": ["BTCUSDT.X", "BTCUSD.X"], "leg_value": 30_000, "leg_time": "1s"},
            "trend": {"order_types": ["limit", "market", "stop"], "long": 12, "traded_value": 900_000, "reject_share": "98%"},
            "pairs": {
                "trade": ["ETHUSDT.Y", "*.X"], "drawdown": 9_000, "instruments": {"BTCUSD.X": {"restricted": False}},
            },
        },
    }
)  # fmt: skip
OTHER_LIMITS = replace(
    LIMITS, firm=replace(LIMITS.firm, order_qty=D(12), price_collar=D("0.02"), gross=D(200_000))
)
_LENT = (100_000 * 1_000_000, 300_000 * 1_000_000)
SETUP: dict[str, Any] = {"base_currency": BASE, "fx": FX, "open_orders": 36, "volatility_memory": 5_000 * MS}

Command = tuple[str, tuple[Any, ...]]


class World:
    """Draws commands that are mostly sensible, and keeps the orders' own fields as a lane would."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ts = START
        self.mids = [120_000, 120_000, 150, 300_000]
        self.steps = [20, 20, 6, 80]
        self.live: dict[int, Order] = {}
        self.done: list[tuple[Order, int, int, int]] = []
        self.down: list[tuple[str, int]] = []
        self.next_id = 1
        self.gapped = False
        self.last: Order | None = None

    def touch(self, i: int) -> tuple[int, int]:
        half = self.random.randint(0, 4)
        return self.mids[i] - half - 1, self.mids[i] + half

    def ref(self, i: int) -> tuple[int, int, int]:
        bid, ask = self.touch(i)
        draw = self.random.random()
        if draw < 0.02:
            return 0, 0, 0
        if draw < 0.03:
            return ask + 5, bid, self.ts
        age = self.random.choice((0, 0, 0, 100, 400, 900, 2500)) * MS
        return bid, ask, self.ts - age

    def order(self) -> Order:
        r, i = self.random, self.random.choice((0, 0, 0, 1, 1, 2, 3))
        if self.last is not None and r.random() < 0.06:
            # The same again, as a runaway would.
            self.next_id += r.random() < 0.9
            again = Order(**{f: getattr(self.last, f) for f in self.last.__struct_fields__})
            again.cl_ord_id, again.cum_qty, again.leaves_qty = self.next_id, 0, again.qty
            return again
        self.next_id += 1
        strategy = r.randrange(3)
        account = r.choice(((0, 1), (0,), (2, 1))[strategy]) if r.random() < 0.99 else r.randrange(-1, 4)
        side = r.choice((Side.BUY, Side.SELL))
        kind = r.choices(list(OrdType), (10, 80, 3, 3, 2, 3, 3))[0]
        away = round(abs(r.gauss(0, 1)) * self.steps[i] * r.choice((1, 1, 1, 5, 30)))
        price = self.mids[i] - (away if r.random() < 0.8 else -away // 2) * side.sign
        size = (
            round(
                r.choice((1, 2, 5, 10))
                * (100 if i == 0 else 20 if i == 1 else 1 if i == 2 else 150)
                * r.random()
            )
            + 1
        )
        inst = 0
        if r.random() < 0.15:
            inst |= ExecInst.POST_ONLY
        if r.random() < 0.05:
            inst |= ExecInst.REDUCE_ONLY
        if kind is OrdType.PEGGED and r.random() < 0.95:
            inst |= r.choice((ExecInst.PEG_PRIMARY, ExecInst.PEG_MARKET, ExecInst.PEG_MID))
        tif = r.choices(list(TimeInForce), (3, 80, 8, 2, 3))[0]
        return Order(
            cl_ord_id=self.next_id, cmd_id=self.next_id, account=account, strategy=strategy, instrument=i, side=side,
            ord_type=kind, time_in_force=tif, qty=size, price=0 if r.random() < 0.02 else price,
            stop_price=price + r.randint(-30, 30) if kind in (3, 4) or r.random() < 0.02 else 0,
            display_qty=max(0, size - r.randint(0, size)) if kind is OrdType.ICEBERG else 0,
            offset=r.randint(-1, 60) if kind is OrdType.TRAILING_STOP else 0,
            expire_ts=self.ts + r.randint(-1, 4) * 1000 * MS if tif is TimeInForce.GTD else 0, exec_inst=int(inst),
            leaves_qty=size,
        )  # fmt: skip

    def commands(self, n: int) -> Iterator[Command]:
        """`n` commands; the caller answers a passed check by `accept`, and the world moves on."""
        r = self.random
        for _ in range(n):
            self.ts += r.choice((0, 0, 1, 2, 5, 20, 60, 200)) * MS
            draw = r.random()
            if self.down and r.random() < 0.1:
                what, number = self.down.pop()
                if what == "set_state" and r.random() < 0.5:  # people's word; then time's, now or after more
                    yield what, (number, State.RECOVERING, self.ts)
                    self.down.insert(r.randint(0, len(self.down)), (what, number))
                else:
                    yield what, (number, State.ACTIVE, self.ts)
            elif self.gapped and r.random() < 0.3:
                self.gapped = False
                yield "set_gap", (False,)
            elif draw < 0.42 or (not self.live and draw < 0.96):
                order = self.order()
                self.last = order
                late = r.choice((-6000, -5500, -1500, 1500, 5500)) * MS if r.random() < 0.01 else 0
                yield "check", (order, self.ref(order.instrument), self.ts + late)
            elif draw < 0.50:
                yield self.mark()
            elif draw < 0.71:
                yield from self.trade(self.pick())
            elif draw < 0.83:
                order = self.pick()
                qty = order.leaves_qty if r.random() < 0.8 else r.randint(1, order.leaves_qty)
                yield "release", (order, qty, self.ts, qty == order.leaves_qty and r.random() < 0.2)
                order.qty -= qty
                order.leaves_qty -= qty
                if not order.leaves_qty:
                    self.end(order)
            elif draw < 0.88:
                yield "check_cancel", (self.pick(), self.ts)
            elif draw < 0.96:
                yield from self.replace(self.pick())
            elif draw < 0.965:
                yield (
                    "funding",
                    (r.randrange(4), r.randint(-30_000, 30_000), self.mids[0] + r.randint(-9, 9), self.ts),
                )
            elif draw < 0.985:
                what, of = ("set_state", SCOPES) if r.random() < 0.8 else ("set_instrument_state", UNIVERSE)
                number = r.randrange(len(of))
                self.down.append((what, number))
                yield what, (number, State(r.choice((0, 0, 0, 0, 1, 2, 3, 4, 5))), self.ts)
            elif draw < 0.987:
                yield self.control()
            elif draw < 0.993:
                yield self.told()
            elif draw < 0.9932 and not self.gapped:
                self.gapped = True
                yield "set_gap", (True,)
            elif draw < 0.996 and self.done:
                order, qty, price, fee = r.choice(self.done[-20:])
                yield "book", (order, -qty, price, -fee, self.ts)
            else:
                legs = [self.order() for _ in range(r.randint(1, 3))]
                yield "check_parent", (legs, [self.ref(leg.instrument) for leg in legs], self.ts)

    def told(self) -> Command:
        """What services and people tell the gate."""
        r, draw = self.random, self.random.random()
        if draw < 0.1:
            return "tick", (self.ts,)
        if draw < 0.25:
            big = 1_000_000 * r.random()
            figures = (round(2 * big), round(big / 2), round(big / 60), round(big / 60))
            return "set_market", (r.randrange(4), *(r.choice((f,) * 9 + (-1,)) for f in figures), self.ts)
        if draw < 0.4:
            return "set_equity", (
                r.randrange(2),
                r.choice((100_000, *(400_000, 500_000, 700_000, 900_000) * 3)) * 1_000_000,
                self.ts,
            )
        return "acknowledge", (r.randrange(3), r.randrange(4), r.choice((0, 1, 2)), self.ts)

    def control(self) -> Command:
        """Limits are tightened by the market, lent, or changed by people."""
        r, draw = self.random, self.random.random()
        if draw < 0.4:
            return "set_factor", (r.randrange(4), r.choice((1_000_000,) * 6 + (500_000, 123_456, 1)))
        if draw < 0.9:
            field, value = r.choice(list(Field)), round(10 ** r.uniform(-1, 1.5) * _LENT[r.randrange(2)])
            i = r.randrange(4) if field.per_instrument else -1
            if field is Field.ORDERS or field.per_instrument:
                value = round(value / 1e10)
            return "set_limit", (r.randrange(len(SCOPES)), field, i, r.choice((1 << 62,) * 4 + (value,)))
        return "set_limits", (r.choice((LIMITS,) * 4 + (OTHER_LIMITS,)),)

    def mark(self) -> Command:
        r, i = self.random, self.random.choice((0, 0, 1, 2, 3))
        self.mids[i] += round(r.gauss(0, 1) * self.steps[i])
        if i < 2:
            self.mids[1 - i] = self.mids[i] + r.randint(-3, 3)
        bid, ask = self.touch(i)
        if r.random() < 0.02:
            bid, ask = r.choice(((0, ask), (bid, 0), (ask + 1, bid), (1 << 41, 1 << 42)))
        return "mark", (i, bid, ask, self.ts)

    def pick(self) -> Order:
        return self.random.choice(list(self.live.values()))

    def accept(self, order: Order) -> None:
        self.live[order.cl_ord_id] = order

    def end(self, order: Order) -> None:
        order.leaves_qty = 0
        self.live.pop(order.cl_ord_id, None)

    def trade(self, order: Order) -> Iterator[Command]:
        r = self.random
        qty = r.choice((order.leaves_qty, r.randint(1, order.leaves_qty)))
        bid, ask = self.touch(order.instrument)
        price, fee = ask if order.side is Side.BUY else bid, r.randint(-2000, 90_000)
        yield "fill", (order, qty, price, fee, self.ts)
        self.done.append((order, qty, price, fee))
        order.cum_qty += qty
        order.leaves_qty -= qty
        if not order.leaves_qty:
            self.end(order)

    def replace(self, order: Order) -> Iterator[Command]:
        """Ask for a change, perhaps fill meanwhile, then hear yes or no."""
        r = self.random
        qty = r.choice((0, order.qty, order.qty + r.randint(0, 40), max(1, order.qty - r.randint(0, 40))))
        price = r.choice((0, order.price, order.price + r.randint(-40, 40)))
        asked = ("check_replace", (order, qty, price, self.ref(order.instrument), self.ts))
        yield asked
        if r.random() < 0.3:
            yield from self.trade(order)
        if not order.leaves_qty:
            return
        if r.random() < 0.3 or (qty or order.qty) <= order.cum_qty:
            yield "replace_rejected", (order, qty, price, self.ts)
        else:
            yield "replaced", (order, qty, price, self.ts)
            order.qty, order.price = qty or order.qty, price or order.price
            order.leaves_qty = order.qty - order.cum_qty

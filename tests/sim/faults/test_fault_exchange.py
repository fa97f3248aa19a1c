"""The little exchange: its books add up whatever comes, and it does to reports only what it is told to."""

from __future__ import annotations

import random

import pytest

from tidegate.model.messages import SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecInst, ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.reasons import Reason
from tidegate.sim.faults.exchange import FEE, Doubled, Exchange
from tidegate.sim.faults.plant import universe


class World:
    def __init__(self, seed=0):
        self.now = 0
        self.reports = []
        self.rng = random.Random(seed)
        self.venue = Exchange(
            universe(), (20_000, 5_000), 2, random.Random(seed), self._time, lambda account, r: self.reports.append(r)
        )  # fmt: skip

    def _time(self):
        self.now += 1
        return self.now

    def place(self, key, side=Side.BUY, qty=5, price=19_990, **more):
        fields = {
            "account": 0, "instrument": 0, "ord_type": OrdType.LIMIT, "stop_price": 0,
            "time_in_force": TimeInForce.GTC, "exec_inst": 0, "display_qty": 0, "offset": 0, "expire_ts": 0,
        }  # fmt: skip
        self.venue.place(SendNew(ts=0, cl_ord_id=key, side=side, qty=qty, price=price, **{**fields, **more}))
        return self.venue.orders[key]

    def kinds(self, key):
        return [r.exec_type for r in self.reports if r.cl_ord_id == key]


def test_an_order_rests_until_the_touch_crosses_it():
    w = World()
    order = w.place(1)
    assert w.kinds(1) == [ExecType.NEW]
    w.venue.touch[0] = (19_980, 19_988)
    for _ in range(40):
        w.venue.walk()
    assert order.status is OrdStatus.FILLED
    assert sum(qty for qty, _, _ in order.fills.values()) == 5
    assert {price for _, price, _ in order.fills.values()} == {19_990}
    assert w.venue.positions == {(0, 0): 5}
    assert w.venue.books.position(0, 0, 0).lots == 5
    assert sum(fee for _, _, fee in order.fills.values()) == 5 * FEE


def test_own_orders_trade_with_each_other_where_they_are_better():
    w = World()
    rest = w.place(1, price=20_001, qty=3)
    taker = w.place(2, Side.SELL, price=19_999, qty=2, account=1)
    assert rest.cum == taker.cum == 2
    assert [price for _, price, _ in taker.fills.values()] == [20_001]
    assert w.venue.positions == {(0, 0): 2, (1, 0): -2}


def test_what_is_refused_says_why():
    w = World()
    w.place(1, price=20_002, exec_inst=int(ExecInst.POST_ONLY))
    w.venue.cancel(SendCancel(0, 77))
    w.venue.halted = True
    w.place(2)
    reasons = [r.reason for r in w.reports]
    assert reasons == [Reason.WOULD_CROSS, Reason.UNKNOWN_ORDER, Reason.VENUE_HALTED]
    with pytest.raises(Doubled):
        w.place(2)


def test_busts_and_corrections_move_the_books():
    w = World()
    order = w.place(1, price=20_002, time_in_force=TimeInForce.IOC)
    assert w.venue.take_back(w.rng, correct=True)
    ((_, price, _),) = order.fills.values()
    assert price == 20_003
    assert w.venue.take_back(w.rng, correct=False)
    assert order.fills == {}
    assert w.venue.books.position(0, 0, 0).lots == w.venue.positions[0, 0] == 0
    assert w.kinds(1)[-2:] == [ExecType.TRADE_CORRECT, ExecType.TRADE_CANCEL]


@pytest.mark.parametrize("seed", range(20))
def test_the_books_add_up_whatever_comes(seed):
    w = World(seed)
    rng = w.rng
    for key in range(1, 120):
        side = rng.choice(list(Side))
        price = sum(w.venue.touch[0]) // 2 + rng.randint(-4, 4)
        kind = rng.choice((OrdType.LIMIT, OrdType.LIMIT, OrdType.MARKET))
        tif = rng.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK))
        more = {"ord_type": kind, "time_in_force": tif, "account": rng.randrange(2)}
        w.place(key, side, rng.randint(1, 9), price if kind is OrdType.LIMIT else 0, **more)
        other = rng.randint(1, key)
        rng.choice(
            (
                w.venue.walk,
                lambda other=other: w.venue.cancel(SendCancel(0, other)),
                lambda other=other: w.venue.replace(SendReplace(0, other, rng.randint(1, 9), 0)),
                lambda: w.venue.take_back(rng, rng.random() < 0.5),
                lambda: w.venue.late_fill(rng),
            )
        )()
    for order in w.venue.orders.values():
        assert order.cum == sum(qty for qty, _, _ in order.fills.values()) <= order.qty
        assert order.open == (order.key in w.venue.open)
        assert order.cum + order.leaves == order.qty or not order.open
    for account in range(2):
        held = sum(o.side.sign * o.cum for o in w.venue.orders.values() if o.account == account)
        assert held == w.venue.positions.get((account, 0), 0)
        assert held == w.venue.books.position(account, 0, 0).lots

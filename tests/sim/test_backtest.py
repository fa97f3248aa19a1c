import msgspec
import numpy as np
import pytest
from markets import LINEAR, START, market, setup

from tidegate.errors import UserError
from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Kind, empty
from tidegate.model.order import OrdStatus, Side
from tidegate.risk.limits import Limits
from tidegate.sim.backtest import Backtest
from tidegate.strategy.library.compiled_maker import CompiledMaker
from tidegate.strategy.strategy import Strategy, StrategyParams

MARKET = LINEAR.id


class Churn(Strategy):
    """Joins the touch on both sides, moves with it, takes now and then."""

    class Params(StrategyParams):
        every: int = 7

    def on_start(self):
        self.m = self.market(MARKET)
        self.count = 0
        self.seen = []
        self.fills = []
        self.subscribe_quotes(self.m)
        self.subscribe_bars(self.m, "1s")
        self.every("2s", "tick")
        self.bars = []
        self.ticks = []

    def on_quote(self, quote):
        self.count += 1
        if self.count % self.params.every == 0:
            self.m.cancel_all()
            self.m.buy(5, quote.bid, post_only=True)
            self.m.sell(5, quote.ask, post_only=True)
        if self.count % 50 == 0:
            self.m.flatten()

    def on_order(self, order):
        self.seen.append((order.cmd_id, order.status))

    def on_fill(self, fill):
        self.fills.append(fill)

    def on_bar(self, bar):
        self.bars.append(bar)

    def on_timer(self, name):
        self.ticks.append((name, self.now))


class Fails(Churn):
    def on_quote(self, quote):
        super().on_quote(quote)
        if self.count == 500:
            raise ZeroDivisionError("a mistake in the strategy")


def test_two_runs_of_the_same_set_up_end_in_the_same_state():
    first, second = Backtest(setup([Churn])).run(), Backtest(setup([Churn])).run()
    assert first.error is None
    assert first.state_hash == second.state_hash
    assert first.run_id == second.run_id
    assert len(first.recorder.fills) > 50


def test_other_data_give_another_state_and_another_configuration_another_run_id():
    first = Backtest(setup([Churn])).run()
    assert Backtest(setup([Churn], [market(seed=8)])).run().state_hash != first.state_hash
    assert Backtest(setup([Churn], key="other")).run().run_id != first.run_id


@pytest.mark.parametrize("size", [1, 97, 1000])
def test_where_chunks_are_cut_makes_no_difference(size):
    events = market(1500)
    whole = Backtest(setup([Churn], [events])).run()
    chunks = [events[at : at + size] for at in range(0, len(events), size)]
    assert Backtest(setup([Churn], chunks)).run().state_hash == whole.state_hash


def test_a_second_fold_of_the_log_agrees_and_gives_the_same_tables():
    plain, verified = Backtest(setup([Churn])).run(), Backtest(setup([Churn]), verify=True).run()
    assert verified.error is None
    assert verified.state_hash == plain.state_hash
    assert verified.tables.fills.equals(plain.tables.fills)
    assert verified.tables.equity.equals(plain.tables.equity)


def test_python_and_compiled_strategies_share_one_gate_and_the_lanes_agree_order_by_order():
    test = Backtest(setup([Churn, (CompiledMaker, {"market": MARKET, "size": 2})]))
    result = test.run()
    assert result.error is None
    traded = {row.event.strategy for row in result.recorder.fills}
    assert traded == {0, 1}
    for strategy in traded:
        lots = sum(
            row.event.last_qty * result.recorder.orders[row.event.cl_ord_id].command.side.sign
            for row in result.recorder.fills
            if row.event.strategy == strategy
        )
        assert lots == test.engine.state.pos[strategy, 0] == test.ledger.position(0, strategy, 0).lots


def test_positions_fees_and_profit_of_the_tables_are_the_ledgers():
    test = Backtest(setup([Churn]))
    tables = test.run().tables
    last = tables.equity.to_pylist()[-1]
    position = test.ledger.position(0, 0, 0)
    assert last["position"] == pytest.approx(position.lots * 0.001)
    assert last["realised"] == pytest.approx(position.realised * 1e-8, abs=1e-6)
    assert last["fees"] == pytest.approx(sum(tables.fills.column("fee").to_pylist()))


def test_a_strategy_sees_its_orders_through_every_state_and_its_fills():
    test = Backtest(setup([Churn]))
    test.run()
    strategy = test.setup.strategies[0]
    statuses = {status for _, status in strategy.seen}
    assert {OrdStatus.PENDING_NEW, OrdStatus.NEW, OrdStatus.FILLED, OrdStatus.CANCELED} <= statuses
    assert sum(f.qty * f.side.sign for f in strategy.fills) == test.engine.state.pos[0, 0]


def test_bars_are_those_of_the_trades_and_timers_fall_on_whole_multiples():
    events = market()
    test = Backtest(setup([Churn], [events]))
    test.run()
    strategy = test.setup.strategies[0]
    trades = events[events["kind"] == Kind.TRADE]
    for bar in strategy.bars:
        mine = trades[(trades["ts_recv"] >= bar.ts - bar.interval) & (trades["ts_recv"] < bar.ts)]
        assert (bar.open, bar.close) == (mine["price"][0], mine["price"][-1])
        assert (bar.high, bar.low, bar.volume) == (
            mine["price"].max(),
            mine["price"].min(),
            mine["size"].sum(),
        )
    assert len(strategy.bars) > 30
    assert all(name == "tick" and ts % 2_000_000_000 == 0 for name, ts in strategy.ticks)


def test_a_strategy_that_raises_ends_the_run_with_what_came_until_then():
    test = Backtest(setup([Fails]))
    result = test.run()
    assert isinstance(result.error, ZeroDivisionError)
    assert "a mistake in the strategy" in result.tables.summary["error"]
    assert len(result.recorder.fills) > 0
    open_orders = test.lane.open_orders()
    assert all(order.status is OrdStatus.PENDING_CANCEL for order in open_orders)


def test_ctrl_c_leaves_the_run_so_far():
    class Interrupted(Churn):
        def on_quote(self, quote):
            super().on_quote(quote)
            if self.count == 300:
                raise KeyboardInterrupt

    result = Backtest(setup([Interrupted])).run()
    assert result.interrupted
    assert result.tables.summary["error"] == "interrupted"


def test_without_limits_every_order_is_denied_with_its_reason():
    result = Backtest(setup([Churn], limits=Limits())).run()
    assert result.error is None
    assert not result.recorder.fills
    reasons = set(result.tables.denials.column("reason").to_pylist())
    assert reasons
    assert "" not in reasons


def test_no_data_is_a_users_error():
    with pytest.raises(UserError, match="no data"):
        Backtest(setup([Churn], [])).run()


def test_time_that_runs_backwards_is_clamped_and_counted():
    events = market(500)
    events["ts_recv"][200] -= 50_000_000
    result = Backtest(setup([Churn], [events])).run()
    assert result.error is None
    assert result.tables.summary["counters"]["received_out_of_order"] == 1


def test_funding_moves_the_ledger_and_the_equity_curve():
    class Holder(Strategy):
        def on_start(self):
            self.after("1s")

        def on_timer(self, name):
            self.market(MARKET).buy(10)

    events = market(1000)
    at = 800
    events[at] = empty(1)[0]
    events["ts_event"][at] = START + 10_000_000 * at
    events["ts_recv"][at] = events["ts_event"][at] + 1_000_000
    events["kind"][at], events["price"][at] = Kind.FUNDING, 10_000  # 0.01 %
    test = Backtest(setup([Holder], [events]))
    tables = test.run().tables
    paid = test.ledger.position(0, 0, 0).funding
    assert paid < 0
    assert tables.equity.to_pylist()[-1]["funding"] == pytest.approx(paid * 1e-8)


def test_a_bracket_leaves_no_position_and_no_order():
    class Bracketed(Strategy):
        def on_start(self):
            self.m = self.market(MARKET)
            self.after("1s")

        def on_timer(self, name):
            bid, ask = self.m.bid, self.m.ask
            self.entry, self.profit, self.loss = self.m.bracket(Side.BUY, 4, ask + 50, bid + 8, bid - 8)

    test = Backtest(setup([Bracketed]))
    assert test.run().error is None
    strategy = test.setup.strategies[0]
    assert strategy.entry.status is OrdStatus.FILLED
    assert {strategy.profit.status, strategy.loss.status} == {OrdStatus.FILLED, OrdStatus.CANCELED}
    assert test.engine.state.pos[0, 0] == 0
    assert not test.lane.open_orders()


def test_latencies_drawn_from_a_distribution_repeat_with_the_seed():
    venue = VenueModel(
        entry_latency=tuple(range(100_000, 9_000_000, 50_000)), response_latency=(500_000, 4_000_000)
    )
    first, again = (Backtest(setup([Churn], venue=venue)).run() for _ in range(2))
    assert first.state_hash == again.state_hash
    other = setup([Churn], venue=venue)
    other.seed = 2
    assert Backtest(other).run().state_hash != first.state_hash


def test_every_message_of_the_run_is_in_the_event_file(tmp_path):
    import pyarrow.parquet as pq

    from tidegate.sim.event_file import EventFile

    path = tmp_path / "events.parquet"
    with EventFile(path) as sink:
        result = Backtest(setup([Churn]), sink).run()
    table = pq.read_table(path)
    assert table.num_rows == result.recorder.messages
    fills = [row for row in table.to_pylist() if row["type"] == "OrderEvent" and row["exec_type"] == 2]
    assert len(fills) == len(result.recorder.fills)
    assert msgspec.json.decode(fills[0]["body"])[0] == "OrderEvent"
    assert np.all(np.diff(table.column("ts").to_numpy()) >= 0)

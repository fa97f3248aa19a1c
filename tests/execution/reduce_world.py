"""A lane with positions, steps of margin calls, and a venue that does with their orders what it is told."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from tidegate.execution import reduce, reductions
from tidegate.execution.core import Lane
from tidegate.execution.ids import MARGIN_IDS
from tidegate.execution.state import Settings
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import (
    MarginStep,
    Mark,
    NewOrder,
    Report,
    ScopeState,
    SendCancel,
    SendNew,
    Tick,
)
from tidegate.model.order import ExecInst, ExecType, OrdType, Side, TimeInForce
from tidegate.model.time import SECOND
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import Account, ScopeTable, State, StrategyScope

UNIVERSE = Universe(
    [
        Instrument(
            symbol=symbol, venue="X", kind=InstrumentKind.PERPETUAL, base=base, quote="USDT", tick=Decimal("0.1"),
            lot=Decimal("0.001"),
        )
        for symbol, base in (("BTCUSDT", "BTC"), ("BTCUSDT_Q", "BTC"), ("ETHUSDT", "ETH"))
    ]
)  # fmt: skip
SCOPES = ScopeTable(
    [Account(name="main", capital=Decimal(10**9))],
    [StrategyScope(name=name, accounts=("main",)) for name in ("one", "two")],
)
FIRM, MAIN, ONE = 0, 1, 2
POOL = "X USDT"
BID, ASK = 9_990, 10_010


def gate() -> Gate:
    return Gate(UNIVERSE, SCOPES, unlimited())


class World:
    """`held` are lots by (strategy, instrument) at the beginning. `sent` are orders that left and are not over."""

    def __init__(self, held: dict[tuple[int, int], int], history: int = 64) -> None:
        self.now = 10**18
        self.lane = Lane(0, UNIVERSE, gate(), Ledger(UNIVERSE), Settings(history=history))
        self.sent: dict[int, SendNew] = {}
        self.cancelled: list[int] = []
        self.log: list[object] = []
        self.events: list[object] = []
        self.cmds = [0, 1 << 40]
        self.execs = 0
        self.filled: Counter[tuple[int, int]] = Counter()
        """Lots by (number of the cut, instrument)."""
        self.steps: list[MarginStep] = []
        self.began: dict[int, int] = {}
        self.mark()
        for (strategy, instrument), lots in held.items():
            if lots:
                self.own(strategy, instrument, lots)
                self.fill(max(self.sent))

    # The log.

    def put(self, *messages) -> None:
        for message in messages:
            self.log.append(message)
            for out in self.lane.apply(message):
                if type(out) is SendNew:
                    self.sent[out.cl_ord_id] = out
                elif type(out) is SendCancel:
                    self.cancelled.append(out.cl_ord_id)
                else:
                    self.events.append(out)

    def restart(self) -> None:
        self.lane = Lane.restore(self.lane.snapshot(), UNIVERSE, gate(), Ledger(UNIVERSE))

    # What happens.

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        self.put(Tick(self.now))

    def mark(self, *instruments: int) -> None:
        self.put(*(Mark(self.now, n, BID, ASK) for n in instruments or range(len(UNIVERSE))))

    def own(self, strategy: int, instrument: int, lots: int) -> int:
        """A strategy's own order; its ClOrdID."""
        self.cmds[strategy] += 1
        side = Side.BUY if lots > 0 else Side.SELL
        self.put(
            NewOrder(
                self.now, self.cmds[strategy], 0, strategy, instrument, side, OrdType.LIMIT, abs(lots),
                BID if lots > 0 else ASK, time_in_force=TimeInForce.GTC, ref_bid=BID, ref_ask=ASK, ref_ts=self.now,
            )
        )  # fmt: skip
        return self.lane.by_command(self.cmds[strategy]).cl_ord_id

    def held(self, instrument: int) -> int:
        return reductions.net(self.lane.state, 0, instrument)

    def plan(
        self, part: float, instruments=None, participation=100_000, life=6.0, cancel=(), late=0.0
    ) -> MarginStep:
        """The next step from what is held now, as the risk service makes it."""
        cuts = []
        for n in range(len(UNIVERSE)) if instruments is None else instruments:
            held = self.held(n)
            if held:
                self.began[n] = max(self.began.get(n, 0), abs(held))
                lots = max(1, round(abs(held) * part))
                cuts.append((n, -lots if held > 0 else lots, held, self.began[n]))
        made = self.now - int(late * SECOND)
        step = MarginStep(
            self.now,
            made,
            0,
            POOL,
            made + int(life * SECOND),
            participation,
            5_000,
            tuple(cuts),
            tuple(cancel),
        )
        self.steps.append(step)
        return step

    def step(self, part: float, *args, **more) -> None:
        self.wait(0.001)
        self.put(self.plan(part, *args, **more))

    @property
    def reduction(self):
        return self.lane.state.reductions[0, POOL]

    def shut(self, account: int, strategy: int, instrument: int) -> str:
        return ""

    def look(self) -> reduce.Look:
        return reduce.look(self.lane.state, self.reduction, self.shut, self.now)

    def round(self) -> reduce.Look:
        """Look, and write what comes of it."""
        found = self.look()
        self.put(*found.messages)
        return found

    # The venue.

    def house(self) -> list[int]:
        """Orders of margin calls at the venue that the lane remembers."""
        return [key for key, house in self._remembered() if house]

    def strategies(self) -> list[int]:
        """Orders of strategies at the venue that the lane remembers."""
        return [key for key, house in self._remembered() if not house]

    def _remembered(self) -> list[tuple[int, bool]]:
        found = [(key, self.lane.order(key)) for key in self.sent]
        return [(key, order.cmd_id >= MARGIN_IDS) for key, order in found if order is not None]

    def fill(self, key: int, part: float = 1.0) -> int:
        """Fill a part of an order; an immediate one is over with that. Reduce-only is held by the venue too: where a
        strategy has turned the position meanwhile, nothing fills."""
        order = self.lane.order(key)
        lots = int(self.sent[key].qty * part)
        if order.exec_inst & ExecInst.REDUCE_ONLY:
            lots = min(lots, max(0, -order.side.sign * self.held(order.instrument)))
        if lots:
            self.execs += 1
            left = order.leaves_qty - lots
            if order.cmd_id >= MARGIN_IDS:
                self.filled[(order.cmd_id - MARGIN_IDS) >> 20, order.instrument] += lots
            price = BID if order.side is Side.SELL else ASK
            self.put(
                Report(
                    self.now, key, ExecType.TRADE, self.now, self.execs, lots, price, cum_qty=lots, leaves_qty=left
                )
            )  # fmt: skip
        if lots < self.sent[key].qty and order.immediate:
            self.put(Report(self.now, key, ExecType.EXPIRED, self.now, cum_qty=lots))
        del self.sent[key]
        return lots

    def refuse(self, key: int) -> None:
        del self.sent[key]
        self.put(Report(self.now, key, ExecType.REJECTED, self.now, reason=214))

    def cancel(self, key: int) -> None:
        del self.sent[key]
        self.put(Report(self.now, key, ExecType.CANCELED, self.now, cum_qty=0))

    def halt(self, state: State, scope: int = MAIN) -> None:
        self.put(ScopeState(self.now, scope, int(state)))

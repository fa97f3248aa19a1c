"""A backtest: recorded events in, the same strategies, lane and gate as live, tables and a state hash out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

import tidegate
from tidegate.errors import UserError
from tidegate.execution.core import Lane
from tidegate.kernel import engine as k
from tidegate.kernel.jit import JIT
from tidegate.kernel.replay_engine import Engine, VenueModel
from tidegate.model.event import META, TS_EVENT, TS_RECV, Words
from tidegate.model.instrument import Universe
from tidegate.model.messages import CancelAll
from tidegate.model.time import SECOND
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.audit import COMPILED_LANE, PYTHON_LANE, Audit, Disagreement
from tidegate.sim.recorder import Recorder, Sink
from tidegate.sim.shell import Shell
from tidegate.sim.stream import Merged, Source
from tidegate.strategy.compiled import CompiledStrategy
from tidegate.strategy.strategy import Strategy

if TYPE_CHECKING:
    from tidegate.analytics.tables import RunTables

Progress = Callable[[int], None]
_LATENCY_SAMPLES = 20_000


@dataclass
class Setup:
    """Everything a run is made of. `key` identifies configuration, data and a user's code for the run id."""

    universe: Universe
    sources: list[Source]
    venues: dict[str, VenueModel]
    scopes: ScopeTable
    limits: Limits
    strategies: list[Strategy]
    base_currency: str = "USDT"
    rates: dict[str, str | Decimal] = field(default_factory=dict)
    sample: int = SECOND
    """How often the touch is sampled into the log: for the gate's marks, the equity curves and markouts, ns."""
    seed: int = 1
    name: str = "backtest"
    key: str = ""


@dataclass
class Result:
    """What a run came to. `tables` are made when first asked for."""

    run_id: str
    state_hash: str
    error: BaseException | None
    recorder: Recorder
    wall_s: float
    make_tables: Callable[[], RunTables]

    @cached_property
    def tables(self) -> RunTables:
        """The tables of the report."""
        return self.make_tables()

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return isinstance(self.error, KeyboardInterrupt)


def run_id(setup: Setup) -> str:
    """Twelve hex digits over code version, configuration and data."""
    text = f"{tidegate.__version__}\n{setup.key}\n{setup.seed}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Backtest:
    """One run of `setup`. Strategies that are compiled run inside the kernel, the others as Python."""

    def __init__(self, setup: Setup, sink: Sink | None = None, verify: bool = False) -> None:
        self.setup = setup
        compiled = self.compiled = any(isinstance(s, CompiledStrategy) for s in setup.strategies)
        self.gate = self._gate()
        self.ledger = Ledger(setup.universe)
        self.lane = Lane(PYTHON_LANE, setup.universe, self.gate, self.ledger)
        numbers = 1 + max((strategy.number for strategy in setup.strategies), default=-1)
        self.engine = Engine(setup.universe, setup.venues, numbers, self.gate.state, setup.seed)
        self.recorder = Recorder(sink=None if compiled else sink, keep=compiled or verify)
        self.audited = Recorder(sink=sink) if compiled or verify else None
        self.shell = Shell(self.engine, self.lane, self.ledger, self.recorder)
        self._sampled: list[Words] = []
        self._chunks, self._every = 0, 1

    def _gate(self) -> Gate:
        s = self.setup
        return Gate(s.universe, s.scopes, s.limits, base_currency=s.base_currency, fx=s.rates)

    def run(self, progress: Progress = lambda rows: None) -> Result:
        """Replay to the end, or to the first failure: the result then holds what came until there."""
        started = time.perf_counter()
        error: BaseException | None = None
        try:
            merged = Merged(self.setup.sources)
            chunks = self._started(merged)
            self.engine.run(chunks, self.shell.journal, progress, merged.max_delay)
            self._stop()
        except (KeyboardInterrupt, Exception) as raised:
            if isinstance(raised, UserError):
                raise
            error = raised
            self._abandon()
        self.engine.drain(self.shell.journal)
        wall = time.perf_counter() - started
        return self._result(error, wall)

    def _started(self, merged: Iterable[Words]) -> Iterable[Words]:
        """The chunks, with strategies started at the first event's time."""
        first = True
        for chunk in merged:
            if first:
                self._start(int(chunk[0, TS_RECV]))
                first = False
            self._note_delays(chunk)
            yield chunk
        if first:
            raise UserError("there is no data in the period asked for; see: tidegate data ls")

    def _start(self, now: int) -> None:
        setup = self.setup
        self.engine.state.s[k.S_NOW] = now
        self.engine.state.s[k.S_LANE] = COMPILED_LANE
        self.engine.add_timer(now - now % setup.sample + setup.sample, setup.sample, k.TIMER_MARK, 0)
        for strategy in setup.strategies:
            self.shell.add(strategy)
        for strategy in setup.strategies:
            strategy.on_start()
            if isinstance(strategy, CompiledStrategy):
                address = type(strategy).step.address()
                self.engine.bind_compiled(strategy.number, address, strategy.step_params)
            else:
                self.shell.bind_views(strategy)
        self.shell.flush_requests()

    def _stop(self) -> None:
        for strategy in self.setup.strategies:
            strategy.on_stop()
        self.shell.drain()

    def _abandon(self) -> None:
        """The run ends here: the lane is told to cancel what Python strategies have open."""
        self.shell.queue.clear()
        for strategy in self.setup.strategies:
            if not isinstance(strategy, CompiledStrategy) and strategy.number in self.shell.strategies:
                self.shell.command(CancelAll(self.engine.now, account=-1, strategy=strategy.number))
        self.shell.queue.clear()

    # Results.

    def _note_delays(self, chunk: Words) -> None:
        """Keep some rows of every so many chunks, for feed latencies: thinner, the longer the run."""
        self._chunks += 1
        if self._chunks % self._every == 0:
            self._sampled.append(chunk[:: max(1, len(chunk) // 64)].copy())
        if len(self._sampled) > 1024:
            self._sampled, self._every = self._sampled[1::2], 2 * self._every

    def _latency(self) -> dict[str, Any]:
        rows = np.concatenate([np.empty((0, 8), np.int64), *self._sampled])
        delays, numbers = rows[:, TS_RECV] - rows[:, TS_EVENT], rows[:, META] & 0xFFFFFFFF
        found = {
            f"feed {self.setup.universe[n].id}": delays[numbers == n] for n in np.unique(numbers).tolist()
        }
        for name in self.engine.venue_names:
            model = self.setup.venues[name]
            found[f"entry {name}"] = np.array(model.entry_latency[:_LATENCY_SAMPLES], np.int64)
            found[f"response {name}"] = np.array(model.response_latency[:_LATENCY_SAMPLES], np.int64)
        return found

    def _result(self, error: BaseException | None, wall: float) -> Result:
        recorder = self.recorder
        lane_hash = self.lane.state_hash()
        if self.audited is not None:
            recorder, lane_hash = self._audit(lane_hash)
        digest = hashlib.sha256(self.recorder.digest())
        digest.update(lane_hash.encode())
        digest.update(self.engine.state.pos.tobytes())
        state_hash = digest.hexdigest()
        recorder.flush()
        summary = self._summary(error, wall, state_hash)
        return Result(
            run_id(self.setup), state_hash, error, recorder, wall, lambda: self._tables(recorder, summary)
        )

    def _tables(self, recorder: Recorder, summary: dict[str, Any]) -> RunTables:
        from tidegate.sim.tables import Naming, run_tables

        setup = self.setup
        rates = {
            c: setup.universe.number(h) if isinstance(h, str) else float(h) for c, h in setup.rates.items()
        }
        naming = Naming(setup.universe, setup.scopes, setup.base_currency, rates)
        return run_tables(recorder, naming, setup.sample, self._latency(), summary, self.shell.funding)

    def _audit(self, lane_hash: str) -> tuple[Recorder, str]:
        """Fold the log again through fresh lanes and a fresh gate; they must agree with the run."""
        assert self.audited is not None
        setup = self.setup
        gate, ledger = self._gate(), Ledger(setup.universe)
        lanes = {n: Lane(n, setup.universe, gate, ledger) for n in (PYTHON_LANE, COMPILED_LANE)}
        audit = Audit(lanes, gate, ledger, self.audited)
        audit.run(self.recorder)
        if gate.state_bytes() != self.gate.state_bytes():
            raise Disagreement("the second fold of the log ended in another state of the gate than the run")
        self.ledger = ledger
        self.shell.funding = audit.funding
        if self.compiled:
            return self.audited, lanes[PYTHON_LANE].state_hash() + lanes[COMPILED_LANE].state_hash()
        if lanes[PYTHON_LANE].state_hash() != lane_hash:
            raise Disagreement("the second fold of the log ended in another state of the lane than the run")
        return self.audited, lane_hash

    def _summary(self, error: BaseException | None, wall: float, state_hash: str) -> dict[str, Any]:
        setup, engine = self.setup, self.engine
        counters: dict[str, Any] = dict(engine.counters)
        counters["negative_latency_clamped"] = sum(s.negative for s in setup.sources)
        counters["later_than_max_delay"] = engine.late
        counters["received_out_of_order"] = sum(s.backwards for s in setup.sources)
        counters |= {Reason(code).name.lower(): n for code, n in sorted(self.lane.counts.items())}
        message = ""
        if error is not None:
            message = (
                "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
            )
        rows: dict[str, Any] = {}
        for source in setup.sources:
            if source.number is not None:
                item = rows.setdefault(setup.universe[source.number].id, {"rows": {"events": 0}})
                item["rows"]["events"] += source.rows
        return {
            "run_id": run_id(setup),
            "state_hash": state_hash,
            "config": setup.name,
            "version": tidegate.__version__,
            "base_currency": setup.base_currency,
            "start": engine.start_time,
            "end": engine.end_time,
            "events": engine.processed,
            "wall_s": wall,
            "events_per_s": engine.processed / wall if wall else 0.0,
            "data": rows,
            "capital": {a.name: float(a.capital) for a in setup.scopes.accounts},
            "inverse": [item.id for item in setup.universe.instruments if item.inverse],
            "counters": counters,
            "compiled_kernels": JIT,
            "error": message,
        }

"""What to expect of a version: its backtest, measured as the watcher measures it live."""

from __future__ import annotations

import numpy as np

from tidegate.errors import UserError
from tidegate.model.messages import Message, OrderEvent
from tidegate.sim.backtest import Backtest, Setup, run_id
from tidegate.strategy.deploy.envelope import Envelope, expected
from tidegate.strategy.deploy.measure import Figures, Measure
from tidegate.strategy.strategy import Strategy


def measured(setup: Setup, strategy: Strategy, interval: int) -> list[Figures]:
    """Backtest `strategy`, one of the set-up's, and measure it in intervals of so many ns; raises what it raised."""
    events: list[OrderEvent] = []

    def sink(messages: list[Message]) -> None:
        events.extend(m for m in messages if type(m) is OrderEvent and m.strategy == strategy.number)

    run = Backtest(setup, sink)
    result = run.run()
    if result.error is not None:
        raise result.error
    marks = np.concatenate([np.empty((0, 4), np.int64), *run.recorder.marks])
    measure = Measure(setup.universe, strategy.number, interval, setup.base_currency, setup.rates)
    found: list[Figures] = []
    at = 0
    rows = marks.tolist()
    for event in events:
        while at < len(rows) and rows[at][0] <= event.ts:
            found += measure.mark(*rows[at])
            at += 1
        found += measure.event(event)
    for row in rows[at:]:
        found += measure.mark(*row)
    found += measure.pass_time(run.engine.end_time)
    return found[1:]  # the first interval began before the data did


def envelope_of(setup: Setup, strategy: Strategy, version: str, interval: int, ppm: int) -> Envelope:
    """The envelope of a version under the limits of this set-up; raises `UserError` where its backtest fails or is too
    little to go by."""
    try:
        return expected(version, run_id(setup), interval, measured(setup, strategy, interval), ppm)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"version {version}: no envelope from its backtest: {type(error).__name__}: {error}"
        ) from error

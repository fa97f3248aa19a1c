"""One version under watch: what it does, measured, and held against what was expected of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidegate.model.messages import OrderEvent
from tidegate.strategy.deploy.deviation import Deviation, Judge
from tidegate.strategy.deploy.envelope import Envelope
from tidegate.strategy.deploy.measure import Figures, Measure
from tidegate.strategy.deploy.version import WatchRules


class Watched:
    """Folds one version. `ended` is told every interval; without an envelope nothing is judged."""

    def __init__(
        self, version: str, measure: Measure, envelope: Envelope | None, rules: WatchRules,
        ended: Callable[[Figures], None] = lambda figures: None,
    ) -> None:  # fmt: skip
        self.version = version
        self.measure, self.envelope = measure, envelope
        self.deviation: Deviation | None = None
        """The first; after it nothing is judged."""
        self.intervals = 0
        self._judge = Judge(envelope, rules.out, rules.of) if envelope is not None else None
        self._ended = ended

    def mark(self, ts: int, instrument: int, bid: int, ask: int) -> Deviation | None:
        """The touch; the deviation, where it shows one."""
        return self._look(ts, self.measure.mark(ts, instrument, bid, ask))

    def event(self, event: OrderEvent) -> Deviation | None:
        """An order event of the version."""
        return self._look(event.ts, self.measure.event(event))

    def pass_time(self, ts: int) -> Deviation | None:
        """Time has come to `ts`."""
        return self._look(ts, self.measure.pass_time(ts))

    def _look(self, ts: int, ended: Sequence[Figures]) -> Deviation | None:
        for figures in ended:
            self.intervals += 1
            self._ended(figures)
        if self._judge is None or self.deviation is not None:
            return None
        for figures in ended:
            if self.intervals > 1 and self.deviation is None:  # the first interval is a part of one
                self.deviation = self._judge.ended(figures)
        self.deviation = self.deviation or self._judge.running(ts, self.measure.now)
        return self.deviation

"""One strategy's versions under control: shares its limits, watches the version that is new, and takes it back. No I/O of its
own: what is to be done goes out by `Acts`, time comes in by `tick`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tidegate.model.messages import CancelAll, HandOver, Message, OrderEvent, SlotShare
from tidegate.model.order import OrdStatus
from tidegate.model.time import SECOND, duration
from tidegate.risk.booked import booked
from tidegate.risk.halt import HaltEvent
from tidegate.risk.scope_name import Kind, text_of
from tidegate.risk.scopes import NEXT, Slots, State
from tidegate.strategy.deploy.deviation import Deviation
from tidegate.strategy.deploy.slot_state import Life, SlotState
from tidegate.strategy.deploy.stages import WHOLE, DeployEvent, Stage, Status
from tidegate.strategy.deploy.version import CONFIGURED, WatchRules
from tidegate.strategy.deploy.watched import Watched

TRIGGER = "deploy"
"""The trigger of the halt of a candidate's scope."""
RESHARE, AGAIN = 2 * SECOND, SECOND // 2
"""How often limits are shared anew while a candidate has some; how often a cancel or a hand-over is asked for again."""
CRASHES, WITHIN = 3, 300 * SECOND
"""So many starts of one version within this time are a crash loop."""
START = 120 * SECOND
"""A candidate whose process says nothing of it for so long has not started."""
STOP = 10 * SECOND
"""A candidate that has gone may take so long to end before its process is stopped."""
LATE = 300_000_000
"""Order events may come so late, ns: an interval is closed by the clock only then."""
_HANDS_OVER = ("live", "adopt")
"""After these, what the candidate's slot holds goes to the live one."""


class Acts(Protocol):
    """What a desk has done. All of it is stored in this order, however long the log is away."""

    def lane(self, lane: int, messages: list[Message]) -> None: ...
    def halt(self, event: HaltEvent) -> None: ...
    def decide(self, event: DeployEvent) -> None: ...
    def alert(self, kind: str, severity: str, scope: str, text: str, figures: dict[str, Any]) -> None: ...
    def note(self, do: str, scope: str, outcome: str, detail: str) -> None: ...
    def process(self, slot: str, run: bool) -> None: ...


class Desk:
    """Everything about the versions of one strategy."""

    def __init__(self, slots: Slots, acts: Acts, now: Callable[[], int]) -> None:
        self.slots = slots
        self.status = Status(strategy=slots.name)
        self.live, self.candidate = SlotState(slot=slots.name), SlotState(slot=slots.name + NEXT)
        """What the slots' processes say."""
        self.rules: dict[str, WatchRules] = {}
        """By version."""
        self.watched: Watched | None = None
        """The version that is judged: the candidate, or the live one while it is new."""
        self.beside: Watched | None = None
        """The live version while a shadow is compared with it."""
        self.positions: dict[int, dict[int, int]] = {slots.live: {}, slots.candidate: {}}
        """By strategy number and instrument, lots."""
        self.open: dict[int, set[int]] = {slots.live: set(), slots.candidate: set()}
        """Open orders by strategy number."""
        self._acts, self._now = acts, now
        self._shared: tuple[int, int] = (-1, -1)
        self._shared_at = self._asked_at = 0
        self._held = False
        """Whether the candidate held or had open anything when the limits were shared last."""
        self._taken_back: set[int] = set()
        """Attempts that were given up here."""
        self._complained = -1
        self._told: Deviation | None = None
        self._process: bool | None = None
        self._ready = False

    @property
    def scope(self) -> str:
        """The candidate's scope, by name."""
        return text_of(Kind.STRATEGY, self.slots.name + NEXT)

    @property
    def is_new(self) -> bool:
        """Whether the live version may still be taken back by itself."""
        s = self.status
        probation = duration(self.rules.get(s.live, WatchRules()).probation)
        return bool(s.previous) and s.live != CONFIGURED and self._now() - s.live_since < probation

    # What happens.

    def begin(self, status: Status) -> None:
        """All that was there before is known: what follows, is done."""
        self.status, self._ready = status, True
        for state in (self.live, self.candidate):
            self.slot(state)

    def changed(self, status: Status) -> None:
        """DEPLOY says so."""
        self.status = status
        self._step()

    def slot(self, state: SlotState) -> None:
        """A slot's process says so."""
        if state.slot == self.slots.name:
            self.live = state
        else:
            self.candidate = state
        trying = state is self.candidate
        if self._ready and state.attempt == self._attempt(trying) and state.version == self._version(trying):
            now = self._now()
            starts = [ts for ts in state.starts if now - ts < WITHIN]
            if state.life is Life.FAILED:
                self.take_back(trying, "failed", state.why, {"at": str(state.ts)})
            elif len(starts) >= CRASHES:
                span = f"{(now - starts[0]) / 1e9:.0f} s"
                at = {"at": str(state.ts)}
                self.take_back(trying, "crashes", f"{len(starts)} starts within {span}", at)
        self._step()

    def halted(self, scope: str, state: State, why: str) -> None:
        """A scope of ours was halted: the strategy's, or its candidate's."""
        if self.status.stage is Stage.CANARY and state not in (State.ACTIVE, State.WARN, State.RECOVERING):
            self.take_back(True, "halted", f"{scope} is {state.name}: {why}")

    def event(self, event: OrderEvent) -> None:
        """An order event of one of the slots."""
        sign = booked(event)
        if sign:
            held = self.positions[event.strategy]
            lots = held.get(event.instrument, 0) + sign * event.side.sign * event.last_qty
            held[event.instrument] = lots
            if not lots:
                del held[event.instrument]
        if event.cl_ord_id:
            if event.status < OrdStatus.FILLED:
                self.open[event.strategy].add(event.cl_ord_id)
            else:
                self.open[event.strategy].discard(event.cl_ord_id)
        if self.status.stage is not Stage.SHADOW:
            self._judged(self.watched.event(event) if self.watched is not None else None)
        if self.beside is not None and event.strategy == self.slots.live:
            self.beside.event(event)

    def mark(self, ts: int, instrument: int, bid: int, ask: int) -> None:
        """The touch of the live market."""
        if self.beside is not None:
            self.beside.mark(ts, instrument, bid, ask)
        if self.watched is not None and self.status.stage is not Stage.SHADOW:
            self._judged(self.watched.mark(ts, instrument, bid, ask))

    def simulated(self, deviation: Deviation | None) -> None:
        """What a shadow did was looked at."""
        if self.status.stage is Stage.SHADOW:
            self._judged(deviation)

    def tick(self) -> None:
        """Time passes: every tenth of a second or so."""
        if not self._ready:
            return
        now = self._now()
        if self.watched is not None and self.status.stage is not Stage.SHADOW:
            self._judged(self.watched.pass_time(now - LATE))
        if self.beside is not None:
            self.beside.pass_time(now - LATE)
        s = self.status
        silent = s.stage is not Stage.NONE and self.candidate.attempt != s.attempt
        if silent and now - s.since > START:
            self.take_back(True, "not started", f"its process said nothing for {START // SECOND} s")
        self._step()

    # What follows.

    def _judged(self, deviation: Deviation | None) -> None:
        if deviation is None or self.watched is None or self.watched.envelope is None:
            return
        if deviation is not self._told:
            self._told = deviation
            figures = {
                "figure": deviation.figure, "value": f"{deviation.value:.6g}", "expected": deviation.expected,
                "intervals": str(deviation.horizon), "hard": str(deviation.hard).lower(),
                "backtest": self.watched.envelope.run, "at": str(deviation.ts),
            }  # fmt: skip
            trying = self.status.stage is not Stage.NONE
            self.take_back(trying, "deviation", deviation.text(self.watched.envelope.interval), figures)

    def _attempt(self, trying: bool) -> int:
        return self.status.attempt if trying else self.status.live_seq

    def _version(self, trying: bool) -> str:
        return self.status.candidate if trying else self.status.live

    def take_back(self, trying: bool, trigger: str, why: str, figures: dict[str, str] | None = None) -> None:
        """Fall back from the candidate (`trying`) or the live version: close its slot, cancel its orders, give the limits
        back, and say so. All at once; once."""
        s, now, figures = self.status, self._now(), figures or {}
        canary = trying and s.stage is Stage.CANARY
        version, attempt = self._version(trying), self._attempt(trying)
        scope = text_of(Kind.STRATEGY, self.slots.name + (NEXT if trying else ""))
        if not version or attempt in self._taken_back:
            return
        if not trying and not self.is_new:
            if self._complained != attempt:
                self._complained = attempt
                self._acts.alert("deploy_deviation", "high", scope, f"{version}: {trigger}: {why}", figures)
            return
        self._taken_back.add(attempt)
        text = f"{trigger}: {why}"
        if canary:
            self._close(self.slots.candidate, WHOLE)
            self._acts.halt(
                HaltEvent(
                    ts=now, scope=scope, state=State.KILLED, reason=text, trigger=TRIGGER, source=TRIGGER
                )
            )
        elif not trying:
            self._close(self.slots.live, 0)
        event = DeployEvent(
            ts=now, strategy=s.strategy, do="rollback", version=version, reason=text, source=TRIGGER, trigger=trigger,
            figures=figures,
        )  # fmt: skip
        self._acts.decide(event)
        self._acts.alert("deploy_rolled_back", "critical", scope, f"{version} is taken back: {text}", figures)
        self._acts.note("rollback", scope, "done", f"{version}: {text}")

    def _close(self, strategy: int, live: int) -> None:
        """One entry of the lane: the slot has no limits any more, and its orders are cancelled."""
        now, slots = self._now(), self.slots
        self._shared, self._shared_at, self._asked_at, self._held = (live, 0), now, now, True
        self._acts.lane(
            slots.lane,
            [
                SlotShare(now, slots.live_scope, slots.next_scope, live, 0),
                CancelAll(now, account=-1, strategy=strategy),
            ],
        )

    def _step(self) -> None:
        """Bring limits, orders, positions and processes to what DEPLOY says, as far as they are not."""
        if not self._ready:
            return
        s, slots, now = self.status, self.slots, self._now()
        closed = s.stage is not Stage.CANARY or s.attempt in self._taken_back
        candidate = 0 if closed else s.ppm
        right = self.live.version in ("", s.live) and (s.live_seq not in self._taken_back)
        wanted = (WHOLE - candidate if right else 0, candidate)
        held = bool(self.positions[slots.candidate] or self.open[slots.candidate])
        again = (candidate or held or not right) and now - self._shared_at >= RESHARE
        messages: list[Message] = []
        if wanted != self._shared or again or (self._held and not held):
            self._shared, self._shared_at, self._held = wanted, now, held
            messages.append(SlotShare(now, slots.live_scope, slots.next_scope, *wanted))
        if now - self._asked_at >= AGAIN:
            asks = self._asks(closed, right, now)
            messages += asks
            self._asked_at = now if asks else self._asked_at
        if messages:
            self._acts.lane(slots.lane, messages)
        busy = self.candidate.life in (Life.STARTING, Life.RUNNING)
        run = s.stage is not Stage.NONE or (busy and now - s.since < STOP)
        if run != self._process:
            self._process = run
            self._acts.process(slots.name + NEXT, run)

    def _asks(self, closed: bool, right: bool, now: int) -> list[Message]:
        """Cancels of what a closed slot has open, and the hand-over of what a canary that went live still holds."""
        slots, s = self.slots, self.status
        asks: list[Message] = []
        if closed and self.open[slots.candidate]:
            asks.append(CancelAll(now, account=-1, strategy=slots.candidate))
        elif s.stage is Stage.NONE and s.did in _HANDS_OVER and self.positions[slots.candidate]:
            asks.append(HandOver(now, slots.candidate, slots.live))
        if not right and self.open[slots.live]:
            asks.append(CancelAll(now, account=-1, strategy=slots.live))
        return asks

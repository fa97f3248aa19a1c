"""What HALT comes to, by the rules as people were told them (`docs/halts.md`), written down a second time.

Nothing here asks the code under test: whether a command counts is known from who meant it (`people.Intent`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tidegate.access.command import Signed
from tidegate.log.base import Entry
from tidegate.risk.halt import RECOVERED, HaltEvent, decode
from tidegate.risk.scopes import State
from tidegate.sim.faults.people import Intent
from tidegate.sim.faults.plant import Plant


class Standing(NamedTuple):
    """A scope's state; the place in HALT of what halted it last; RECOVERING: until when, ns."""

    state: State = State.ACTIVE
    epoch: int = 0
    until: int = 0


def chain(plant: Plant, account: int, strategy: int, instrument: int) -> tuple[str, ...]:
    """Every scope over an order. A number below 0 is not known, and has none."""
    names = ["firm", f"venue:{plant.universe[0].venue}"]
    if account >= 0:
        names.append(f"account:{plant.scopes.accounts[account].name}")
        if desk := plant.scopes.accounts[account].desk:
            names.append(f"desk:{desk}")
    if strategy >= 0:
        names.append(f"strategy:{plant.scopes.strategies[strategy].name}")
    if instrument >= 0:
        names.append(f"instrument:{plant.universe[instrument].id}")
    return tuple(names)


class HaltFold:
    """The state of every scope after the entries so far."""

    def __init__(self, intents: Mapping[str, Intent]) -> None:
        self.scopes: dict[str, Standing] = {}
        self.seq = 0
        self.came: set[str] = set()
        """Ids of the events that the log has brought, followed or not."""
        self._intents = intents
        self._done: set[object] = set()

    def apply(self, entry: Entry) -> str:
        """Fold it; the scope that changed, or nothing."""
        self.seq = entry.seq
        event = decode(entry.data)
        self.came.add(event.id)
        before = self.scopes.get(event.scope, Standing())
        after = self._signed(before, event, entry) if event.signed else self._machine(before, event, entry)
        if after is None or after == before:
            return ""
        self.scopes[event.scope] = after
        return event.scope

    def state(self, names: Iterable[str]) -> State:
        """The strictest of these scopes."""
        return max((self.scopes[name].state for name in names if name in self.scopes), default=State.ACTIVE)

    def epoch(self, names: Iterable[str]) -> int:
        """Their last halt."""
        return max((self.scopes[name].epoch for name in names if name in self.scopes), default=0)

    def _machine(self, before: Standing, event: HaltEvent, entry: Entry) -> Standing | None:
        """What no person signed goes down; and up only where the time of a recovery is over."""
        if event.trigger == RECOVERED:
            over = before.state is State.RECOVERING and event.ts == before.until <= entry.ts
            return Standing(State.ACTIVE, before.epoch) if over and event.state is State.ACTIVE else None
        if entry.data in self._done:
            return None
        self._done.add(entry.data)
        return self._down(before, event, entry) if event.state is not State.RECOVERING else None

    def _down(self, before: Standing, event: HaltEvent, entry: Entry) -> Standing | None:
        if event.state <= before.state:
            return None
        return Standing(event.state, entry.seq if event.state >= State.REDUCE_ONLY else before.epoch)

    def _signed(self, before: Standing, event: HaltEvent, entry: Entry) -> Standing | None:
        command = Signed.decode(event.signed).command
        meant = self._intents[command.id]
        judged = entry.ts if meant.do == "resume" or event.state < State.REDUCE_ONLY else event.ts
        if not meant.counts(judged) or (meant.scope, meant.state) != (event.scope, event.state):
            return None
        if meant.id in self._done:
            return None
        self._done.add(meant.id)
        if meant.do == "resume":
            return self._up(before, meant, entry)
        if meant.do == "flatten" and before.state >= State.CANCEL_ONLY:
            return None
        return self._down(before, event, entry)

    def _up(self, before: Standing, meant: Intent, entry: Entry) -> Standing | None:
        if meant.lifts != before.epoch:
            return None
        if before.state is State.WARN:
            return Standing(State.ACTIVE, before.epoch)
        if meant.state >= before.state:
            return None
        until = entry.ts + meant.recover if meant.state is State.RECOVERING else 0
        return Standing(meant.state, before.epoch, until)

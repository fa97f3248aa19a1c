"""Halts as they must be obeyed, checked from the venue's record and the logs.

A gateway *has been told* of a halt when HALT has brought it to its process, or a valid command has come to its socket; of
the latter, what it has answered counts for its successors too. From then on no new order or replace of the scope leaves
it but what the state allows. What was on the wire at that moment is counted, and is no breach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidegate.access.command import Signed
from tidegate.log.base import Entry
from tidegate.model.messages import ScopeState, SendCancel, SendNew, SendReplace
from tidegate.model.time import SECOND
from tidegate.risk.halt import FLATTEN, MANUAL, RECOVERED, HaltEvent, decode
from tidegate.risk.scope_name import Kind, parse
from tidegate.risk.scopes import State
from tidegate.sim.faults.exchange import Exchange, Truth
from tidegate.sim.faults.halt_fold import HaltFold, Standing, chain
from tidegate.sim.faults.people import Intent
from tidegate.sim.faults.plant import ACCOUNTS, Plant

_PEOPLE = (MANUAL, FLATTEN, RECOVERED)
MARGIN = 3 * SECOND
"""A command so near (ns) to its end may count at one clock and not at another."""


@dataclass
class Told:
    """A halt that came by a socket, and that HALT has not brought. `kept`: the gateway has answered, so it outlives it."""

    scope: str
    state: State
    at: float
    kept: bool = False


@dataclass
class Known:
    """What a gateway has been told."""

    fold: HaltFold
    waiting: dict[str, Told] = field(default_factory=dict)
    """By the command's id."""

    def state(self, names: tuple[str, ...], before: float) -> State:
        """The strictest state of these scopes, by what came before a time (s); by the log, also in that moment."""
        by_socket = (t.state for t in self.waiting.values() if t.scope in names and t.at < before)
        return max(self.fold.state(names), *by_socket, State.ACTIVE)


class HaltWatch:
    """`judged` says after which entry of its lane a request was decided (0: not known); `fail` is told of breaches."""

    def __init__(
        self,
        plant: Plant,
        intents: Mapping[str, Intent],
        exchange: Exchange,
        judged: Callable[[SendNew | SendReplace], int],
        fail: Callable[[str], None],
        time: Callable[[], float],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.log = HaltFold(intents)
        """The whole of HALT."""
        self.known = [Known(HaltFold(intents)) for _ in ACCOUNTS]
        """By account."""
        self.answered: dict[str, str] = {}
        """Commands that a gateway has said it follows, with its account."""
        self.changed: dict[str, float] = {}
        """When each scope's state changed last, s."""
        self.sent_by: Counter[int] = Counter()
        """Requests for new orders and replaces that reached the venue, by strategy."""
        self._plant, self._intents, self._exchange = plant, intents, exchange
        self._judged, self._fail, self._time = judged, fail, time
        self._entries: list[Entry] = []
        self._knew: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        """By lane, scope and instrument (−1 for none): (entry, the halt that the lane was told of there)."""
        self._last: dict[tuple[int, int, int], State] = {}
        """What each lane takes them for."""
        self._reducing: dict[object, tuple[str, ...]] = {}
        """Requests that left under scopes that only reduce."""

    # What becomes known.

    def entry(self, entry: Entry) -> None:
        """An entry of HALT is stored."""
        self._entries.append(entry)
        scope = self.log.apply(entry)
        if scope:
            self.changed[scope] = self._time()
            self.counts[f"scope {self.log.scopes[scope].state.name}"] += 1
        else:
            self.counts["halt events without effect"] += 1

    def told(self, client: str, seq: int) -> None:
        """The log has brought HALT up to an entry to a process."""
        account = _account(client)
        if account < 0:
            return
        known = self.known[account]
        for entry in self._entries[known.fold.seq : seq]:
            known.fold.apply(entry)
        known.waiting = {key: told for key, told in known.waiting.items() if key not in known.fold.came}

    def heard(self, socket: str, data: bytes, now: int) -> None:
        """A line has come to a gateway's socket. `now`: the time, ns."""
        account = _account(f"gw-{socket.removesuffix('.sock').rpartition('.')[2]}")
        line = msgspec.json.decode(data)
        if account >= 0 and line.get("do") == "halt":
            self._early(account, msgspec.convert(line["event"], HaltEvent))
        if account < 0 or line.get("do") != "command":
            return
        key = msgspec.convert(line["signed"], Signed).command.id
        meant, known = self._intents[key], self.known[account]
        if key in known.fold.came or key in known.waiting or meant.do not in ("halt", "flatten"):
            return
        if meant.counts(now - MARGIN) and meant.counts(now + MARGIN):
            known.waiting[key] = Told(meant.scope, meant.state, self._time())
            self.counts["halts by a socket first"] += 1

    def now(self, client: str, data: bytes) -> None:
        """A component's halt has come by `now.halt`."""
        account = _account(client)
        if account >= 0:
            self._early(account, decode(data))

    def _early(self, account: int, event: HaltEvent) -> None:
        """A gateway hears of a component's halt before the log has it."""
        known, key = self.known[account], event.id
        may = not event.signed and event.state >= State.REDUCE_ONLY and event.trigger not in _PEOPLE
        if may and key not in known.fold.came and key not in known.waiting:
            known.waiting[key] = Told(event.scope, event.state, self._time())
            self.counts["breakers' halts before the log"] += 1

    def obeyed(self, account: int, key: str, said: Mapping[str, Any]) -> None:
        """A gateway has answered that it follows a halt: it holds, and will after any restart."""
        meant, told = self._intents[key], self.known[account].waiting.get(key)
        self.answered[key] = ACCOUNTS[account]
        if not meant.counts(meant.issued):
            self._fail(
                f"gateway {ACCOUNTS[account]} follows a command of {meant.signers} that does not count"
            )
        if told is not None:
            told.kept = True
            if State[said["state"]] < meant.state:
                text = f"is told that {meant.scope} is {meant.state.name} and answers {said['state']}"
                self._fail(f"gateway {ACCOUNTS[account]} {text}")

    def ended(self, client: str) -> None:
        """A process has ended: what it had not answered may be forgotten."""
        account = _account(client)
        if account >= 0:
            known = self.known[account]
            known.waiting = {key: told for key, told in known.waiting.items() if told.kept}

    def lane(self, number: int, seq: int, m: ScopeState, now: State) -> None:
        """A lane is told a state; `now` is what it takes the scope or instrument for then."""
        place = (number, m.scope if m.instrument < 0 else -1, m.instrument)
        knew = self._knew.setdefault(place, [])
        if knew and m.epoch < knew[-1][1] and now < self._last[place]:
            self._fail(f"lane {number} goes up from {self._last[place].name} by what is older than its halt")
        self._last[place] = now
        if not knew or m.epoch > knew[-1][1]:
            knew.append((seq, m.epoch))

    # What leaves gateways, and what the venue takes.

    def sent(self, account: int, m: SendNew | SendCancel | SendReplace) -> None:
        """A gateway puts a request on the wire."""
        if isinstance(m, SendCancel):
            return
        strategy = m.strategy
        names = chain(self._plant, account, strategy, m.instrument)
        known = self.known[account]
        state = known.state(names, self._time())
        what = f"gateway {ACCOUNTS[account]} sends {'order' if type(m) is SendNew else 'a replace of'} {m.cl_ord_id}"
        if state >= State.CANCEL_ONLY:
            self._fail(f"{what} of a scope that it was told is {state.name}")
        judged = self._judged(m)
        for name in names if judged else ():
            epoch = known.fold.epoch((name,))
            if epoch and self._lane_knew(m, name, judged) < epoch:
                self._fail(f"{what}, which its lane let pass before halt {epoch} of {name}")
        if state is State.REDUCE_ONLY:
            waiting = (told.scope for told in known.waiting.values() if told.state is state)
            halted = {name for name in names if known.fold.state((name,)) is state} | {*waiting}
            self._reducing[key_of(m)] = tuple(name for name in names if name in halted)

    def _lane_knew(self, m: SendNew | SendReplace, scope: str, seq: int) -> int:
        """The last halt of a scope that a lane knew of when it judged entry `seq`, of `m`."""
        ref = parse(scope, self._plant.scopes, self._plant.universe)
        of_instrument = ref.kind in (Kind.INSTRUMENT, Kind.VENUE)
        place = (
            m.cl_ord_id >> 40,
            -1 if of_instrument else ref.number,
            m.instrument if of_instrument else -1,
        )
        return next((epoch for at, epoch in reversed(self._knew.get(place, [])) if at < seq), 0)

    def arrived(self, account: int, m: SendNew | SendCancel | SendReplace) -> None:
        """A request has come to the venue, and is about to be followed."""
        if isinstance(m, SendCancel):
            return
        self.sent_by[m.strategy] += 1
        names = chain(self._plant, account, m.strategy, m.instrument)
        if self.known[account].state(names, self._time()) >= State.CANCEL_ONLY:
            self.counts["orders on the wire at a halt"] += 1
        for scope in self._reducing.pop(key_of(m), ()):
            self.counts["orders that only reduce"] += 1
            self._reduces(scope, m)

    def _reduces(self, scope: str, m: SendNew | SendReplace) -> None:
        """With all that is open on its side, the order can only shrink what its scope holds in its lane."""
        order, side = self._exchange.orders.get(m.cl_ord_id), m.side
        if (
            order is not None
            and m.qty <= order.qty
            and side.sign * ((m.price or order.price) - order.price) <= 0
        ):
            return  # it asks for less of an order that rests, at no worse a price
        members = [o for o in self._exchange.orders.values() if self._under(scope, m, o)]
        held = sum(o.side.sign * o.cum for o in members)
        excused = sum(lots for (_, n), lots in self._exchange.excused.items() if n == m.instrument)
        open_too = sum(o.leaves for o in members if o.side is side and o.key != m.cl_ord_id)
        more = max(0, m.qty - order.cum) if order is not None else m.qty
        if open_too + more > max(0, -side.sign * held) + excused:
            text = f"{scope} holds {held} lots and only reduces; {side.name} {more} with {open_too} open"
            self._fail(f"order {m.cl_ord_id} reaches the venue: {text}")

    def _under(self, scope: str, m: SendNew | SendReplace, o: Truth) -> bool:
        """Whether an order counts towards what `scope` holds, as the lane of `m` knows it."""
        if o.instrument != m.instrument or o.key >> 40 != m.cl_ord_id >> 40:
            return False
        if scope.startswith(("instrument:", "venue:")):
            return o.request.strategy == m.strategy
        return scope in chain(self._plant, o.account, o.request.strategy, o.instrument)

    # How it stands.

    def halted(self, order: Truth) -> State:
        """The state of an order's scopes, by the whole log."""
        return self.log.state(chain(self._plant, order.account, order.request.strategy, order.instrument))

    def not_empty(self) -> Iterator[str]:
        """What is open at the venue of scopes whose orders are cancelled."""
        for order in self._exchange.open.values():
            state = self.halted(order)
            if state >= State.CANCEL_ONLY:
                yield f"order {order.key} is open at the venue and its scope is {state.name}"

    def disagrees(self, who: str, states: Mapping[str, tuple[State, int]]) -> Iterator[str]:
        """Where `states` (state and halt epoch by scope) is not what the log says."""
        for scope in sorted({*self.log.scopes, *states}):
            want = self.log.scopes.get(scope, Standing())
            state, epoch = states.get(scope, (State.ACTIVE, 0))
            if (state, epoch) != want[:2]:
                yield (
                    f"{who} takes {scope} for {state.name} (halt {epoch}), HALT says {want.state.name} "
                    f"(halt {want.epoch})"
                )

    def forgotten(self) -> Iterator[str]:
        """Halts that a gateway has answered and the log never had."""
        for key, account in self.answered.items():
            if key not in self.log.came:
                yield f"gateway {account} follows halt {key[:8]} of {self._intents[key].scope}, and HALT has it not"

    def free(self, strategy: int) -> bool:
        """Whether a strategy may trade in every instrument."""
        account = self._plant.traders[strategy][1]
        return all(
            self.log.state(chain(self._plant, account, strategy, n)) <= State.WARN
            for n in range(len(self._plant.universe))
        )


def key_of(m: SendNew | SendReplace) -> object:
    """The same for the same request."""
    return m.cl_ord_id if type(m) is SendNew else (m.cl_ord_id, m.ts, m.qty, m.price)


def _account(client: str) -> int:
    name = client.removeprefix("gw-")
    return ACCOUNTS.index(name) if client.startswith("gw-") and name in ACCOUNTS else -1

"""What must agree once all faults have ended and nobody trades: logs, lanes, strategies and the venue."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec

from tidegate.execution.core import Lane
from tidegate.execution.lane_log import fold
from tidegate.execution.lane_snapshot import Header
from tidegate.execution.service import OmsService
from tidegate.execution.writer import Writer
from tidegate.log.base import Entry
from tidegate.model.order import OrdStatus
from tidegate.model.time import SECOND
from tidegate.model.wire import Unreadable
from tidegate.risk.gate import Gate
from tidegate.risk.leases.lease import Lease
from tidegate.risk.ledger import Ledger
from tidegate.risk.scope_name import name_of
from tidegate.risk.scopes import State
from tidegate.risk.service import RiskService
from tidegate.sim.faults.exchange import DEPOSIT, Truth
from tidegate.sim.faults.halt_fold import HaltFold
from tidegate.sim.faults.plant import ACCOUNTS, Plant
from tidegate.sim.faults.system import System
from tidegate.sim.faults.watch import LaneWatch, Watch
from tidegate.strategy.service import StrategyService
from tidegate.venue.gateway import GatewayService

CASH = "USDT"
WAITS = 10 * SECOND
"""For so long (ns) a halt that came early may be on its way to HALT."""


def audit(system: System, watch: Watch) -> Iterator[str]:
    """Everything that does not hold."""
    for w in watch.lanes.values():
        yield from _lane(system, w)
        yield from _venue(system, w)
    yield from _leases(system, watch)
    yield from standing(system, watch)
    yield from watch.halts.forgotten()
    yield from _holdings(system, watch)
    yield from _strategies(system, watch)


def _writers(system: System, number: int) -> list[Writer]:
    services = [role.service for role in system.roles.values() if isinstance(role.service, OmsService)]
    return [service.writers[number] for service in services if number in service.writers]


def folded(lane: Lane, entries: list[Entry]) -> Lane:
    """The lane with these entries applied."""
    for entry in entries:
        try:
            fold(lane, entry)
        except Unreadable:
            continue
    return lane


def _lane(system: System, w: LaneWatch) -> Iterator[str]:
    """One writer, which holds what any fold of the log gives; every event told; every unreadable entry kept."""
    n, stream = w.number, system.server.streams[f"LANE_{w.number}"]
    writers = _writers(system, n)
    if len(writers) != 1:
        yield f"lane {n} has {len(writers)} writers"
        return
    if writers[0].seq != stream.last:
        yield f"lane {n}: its writer is at entry {writers[0].seq} of {stream.last}"
    want = w.lane.state_hash()
    if writers[0].lane.state_hash() != want:
        yield f"lane {n}: its writer's state is not what the log gives"
    kind = system.plant.kind
    whole = folded(kind.make(n), stream.between(0, stream.last))
    if whole.state_hash() != want:
        yield f"lane {n}: two folds of its log differ"
    if _from_snapshot(system, n) not in ("", want):
        yield f"lane {n}: its snapshot and the log after it give another state than the whole log"
    if w.untold:
        yield f"lane {n}: {len(w.untold)} events were never told, the first of entry {w.untold[0][0]}"
    if missing := w.unreadable - w.buried:
        yield f"lane {n}: unreadable entries {sorted(missing)} are not among the dead letters"


def _from_snapshot(system: System, n: int) -> str:
    """The state's hash by the last snapshot and what followed; empty where there is none."""
    entries = system.server.buckets["SNAP"].entries
    found = entries.get(f"lane.{n}")
    if found is None or found.value is None:
        return ""
    head = msgspec.json.decode(found.value, type=Header)
    parts = [entries[f"lane.{n}.{head.seq}.{part}"].value or b"" for part in range(head.parts)]
    stream = system.server.streams[f"LANE_{n}"]
    lane = system.plant.kind.restore(zlib.decompress(b"".join(parts)))
    return folded(lane, stream.between(head.seq, stream.last)).state_hash()


def _venue(system: System, w: LaneWatch) -> Iterator[str]:
    """Orders and fills are those of the venue."""
    mine = {key: o for key, o in system.exchange.orders.items() if key >> 40 == w.number}
    truth = {(key, exec_id): fill for key, order in mine.items() for exec_id, fill in order.fills.items()}
    for key in sorted(truth.keys() - w.fills.keys()):
        yield f"fill {key[1]} of order {key[0]} is not in the ledger"
    for key in sorted(w.fills.keys() - truth.keys()):
        yield f"fill {key[1]} of order {key[0]} is in the ledger and not at the venue"
    for key in sorted(truth.keys() & w.fills.keys()):
        if truth[key] != w.fills[key]:
            yield f"fill {key[1]} of order {key[0]} is {w.fills[key]} here and {truth[key]} at the venue"
    for number, order in mine.items():
        yield from _order(w, number, order)
    for number, ours in w.lane.state.live.items():
        if ours.status is not OrdStatus.CREATED and (number not in mine or not mine[number].open):
            yield f"order {number} is {ours.status.name} here and not open at the venue"


def _order(w: LaneWatch, key: int, truth: Truth) -> Iterator[str]:
    ours = w.lane.order(key)
    if ours is None:
        if truth.open:
            yield f"order {key} is open at the venue and forgotten here"
    elif truth.open:
        here = (ours.status.terminal, ours.qty, ours.price, ours.cum_qty)
        there = (False, truth.qty, truth.price, truth.cum)
        if here != there:
            yield f"order {key} (over, quantity, price, filled) is {here} here and {there} at the venue"
    elif not ours.status.terminal or ours.cum_qty != truth.cum:
        yield (
            f"order {key} is {ours.status.name}, {ours.cum_qty} filled here; {truth.status.name}, {truth.cum} "
            f"filled at the venue"
        )


def _leases(system: System, watch: Watch) -> Iterator[str]:
    """What is lent and what is free is the limit, by the books of the one who lends and of the lanes."""
    if not system.plant.shared:
        return
    lenders = system.lenders()
    if len(lenders) != 1:
        yield f"{len(lenders)} lend limits"
        return
    for key, pool in lenders[0].pool.pools.items():
        held = {n: w.lane.state.leases.get(key) or Lease() for n, w in watch.lanes.items()}
        if any(pool.holdings[n].outstanding != lease.amount for n, lease in held.items()):
            yield f"lanes hold {held} of {key}, and their lender believes {pool.holdings}"
        if pool.free + sum(lease.amount for lease in held.values()) != pool.limit or pool.free < 0:
            yield f"{pool.free} of {key} are free and {held} lent, which is not {pool.limit}"


def standing(system: System, watch: Watch) -> Iterator[str]:
    """What is halted: the same for all who fold HALT, for the lanes, and nothing of it open at the venue."""
    halts = watch.halts
    yield from halts.not_empty()
    for role in system.roles.values():
        service = role.service
        if not role.ready:
            continue
        if isinstance(service, OmsService | GatewayService):
            board = service.halts.board
        elif isinstance(service, RiskService):
            board = service.board
        else:
            continue
        yield from halts.disagrees(role.name, {name: (s.state, s.epoch) for name, s in board.scopes.items()})
        if isinstance(service, GatewayService):
            since = system.clock.now() - WAITS
            late = [event for event in service.halts.pending.values() if event.ts < since]
            if late:
                yield f"{role.name} still waits for HALT to bring {len(late)} halts"
    for w in watch.lanes.values():
        yield from _gate(system.plant, w, halts.log)


def _gate(plant: Plant, w: LaneWatch, fold: HaltFold) -> Iterator[str]:
    """What the lane's gate takes its scopes for. By itself it may have gone down further."""
    gate = w.lane.state.gate
    assert isinstance(gate, Gate)
    for n in range(len(plant.scopes)):
        name = name_of(n, plant.scopes)
        want, have = fold.state((name,)), gate.scope_state(n)
        if have is not want and not (plant.drawdown and want < have <= State.REDUCE_ONLY):
            yield f"lane {w.number} takes {name} for {have.name}, HALT says {want.name}"
    for n, item in enumerate(plant.universe.instruments):
        want = fold.state((f"instrument:{item.id}", f"venue:{item.venue}"))
        if gate.instrument_state(n) is not want:
            yield f"lane {w.number} takes {item.id} for {gate.instrument_state(n).name}, HALT says {want.name}"


def _holdings(system: System, watch: Watch) -> Iterator[str]:
    """Positions and cash. Profit is split between positions by strategy here and by account there, so cash is
    compared with contracts at one price: the sum is the same however it is split."""
    exchange, universe = system.exchange, system.plant.universe
    marks = [bid for bid, _ in exchange.touch]
    for account in range(len(ACCOUNTS)):
        ledger = watch.lanes[system.plant.lane_of(account)].lane.state.ledger
        assert isinstance(ledger, Ledger)
        held = [0] * len(universe)
        for (owner, _, instrument), position in ledger.positions():
            held[instrument] += position.lots if owner == account else 0
        there = [exchange.positions.get((account, n), 0) for n in range(len(universe))]
        if held != there:
            yield f"account {ACCOUNTS[account]} holds {held} lots here and {there} at the venue"
        worth, truth = _worth(ledger, account, marks), _worth(exchange.books, account, marks) - DEPOSIT
        if worth != truth:
            yield f"account {ACCOUNTS[account]} has {worth} units of cash here and {truth} at the venue"
        asset = universe[1].base
        if ledger.balance(account, asset) != exchange.books.balance(account, asset):
            yield f"account {ACCOUNTS[account]} has other balances of {asset} here than at the venue"


def _worth(ledger: Ledger, account: int, marks: list[int]) -> int:
    open_profit = sum(
        position.unrealised(marks[key[2]])
        for key, position in ledger.positions()
        if key[0] == account and not position.terms.exchanges
    )
    return ledger.balance(account, CASH) + open_profit


def _strategies(system: System, watch: Watch) -> Iterator[str]:
    """What strategies believe of themselves."""
    for role in system.roles.values():
        service = role.service
        if not isinstance(service, StrategyService):
            continue
        state = watch.lanes[service.lane].lane.state
        assert isinstance(state.ledger, Ledger)
        if service.error:
            yield f"{role.name} has stopped: {service.error}"
        number = service.strategy.number
        for n in range(len(system.plant.universe)):
            booked = sum(p.lots for (_, s, i), p in state.ledger.positions() if (s, i) == (number, n))
            believed = service.strategy.market_number(n).position
            if booked != believed:
                yield f"{role.name} believes to hold {believed} lots of instrument {n}, its lane {booked}"
        here = {order.cmd_id for order in state.live.values() if order.strategy == number}
        if here != set(service.strategy.orders):
            yield f"{role.name} believes {len(service.strategy.orders)} orders open, its lane {len(here)}"

"""Our books against the venue's own record: what was lost, what was doubled, and when trading went on after a blow."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rounds_system import System, Trouble

from tidegate.execution.core import Lane
from tidegate.log.base import Entry, LogDown
from tidegate.model import money
from tidegate.model.clock import SystemClock
from tidegate.model.messages import CancelOrder, Message, NewOrder, OrderEvent, ReplaceOrder, SendNew
from tidegate.model.order import ExecType, Side
from tidegate.risk.ledger import Ledger
from tidegate.roles.place import open_log
from tidegate.sim.live_run import LiveRun
from tidegate.venue.binance.symbols import Symbol
from tidegate.venue.port import cl_ord_id_of

TRIES = 20
_OPEN = ("NEW", "PARTIALLY_FILLED")


class Books(LiveRun):
    """The lanes' logs, folded, with what the comparison needs beside the ledger."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.commands: Counter[int] = Counter()
        """Commands in the logs by id, replaces and cancels by that of their order."""
        self.born: dict[int, tuple[int, int]] = {}
        """By ClOrdID: when its command was written, and when the feed had received the touch behind it."""
        self.owner: dict[int, int] = {}
        self.fills: Counter[tuple[int, int, int, int]] = Counter()
        """(ClOrdID, ExecID, lots, price), as booked."""
        self.fees: dict[tuple[int, int], int] = {}

    @property
    def lanes(self) -> dict[int, Lane]:
        """The lanes as they stand."""
        return self._lanes

    def _take(self, number: int, message: Message, outputs: list[Message]) -> None:
        super()._take(number, message, outputs)
        if type(message) is NewOrder or type(message) is CancelOrder or type(message) is ReplaceOrder:
            self.commands[message.cmd_id] += type(message) is NewOrder
        for out in outputs:
            if type(out) is SendNew:
                self.born[out.cl_ord_id] = (message.ts, getattr(message, "ref_ts", 0))
            elif type(out) is OrderEvent:
                self.owner[out.cl_ord_id] = out.strategy
                if out.exec_type is ExecType.TRADE:
                    self.fills[out.cl_ord_id, out.exec_id, out.last_qty, out.last_px] += 1
                    self.fees[out.cl_ord_id, out.exec_id] = out.fee


@dataclass
class Verdict:
    """What a comparison found. `orders` and `fills` are the venue's; the lists are sentences, empty where all is well."""

    orders: int = 0
    fills: int = 0
    commands: int = 0
    unsent: int = 0
    """Commands that a killed strategy had written and nobody had acknowledged, and that are not in the log."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)
    """Where ledger, positions or open orders are not the venue's."""
    accepted: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    """By strategy: (when the command was written, of which touch, when the venue accepted the order)."""

    @property
    def violations(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.doubled, *self.differ]


async def read_books(system: System) -> Books:
    """The lanes' logs from their first entry on."""
    world = system.world
    log = await open_log(world, system.data, "rounds", SystemClock())
    books = Books(
        world.lane_kind(), world.universe, world.scopes, world.config.run.base_currency, dict(world.rates), "rounds",
        10**9,
    )  # fmt: skip
    try:
        for number in range(system.lanes):
            entries: list[Entry] = []
            async for batch in log.read(f"LANE_{number}"):
                entries += batch
            holes = [e.seq for n, e in enumerate(entries, 1) if e.seq != n]
            if holes:
                raise Trouble(f"LANE_{number} has a hole before entry {holes[0]}")
            books.begin(number)
            books.take(number, entries)
    finally:
        await log.close()
    return books


async def compare(system: System) -> Verdict:
    """Wait until venue and logs stand still, then compare all there is."""
    before = None
    for _ in range(TRIES):
        happened = await system.record("happenings")
        try:
            books, state = await read_books(system), await system.admin("state")
        except LogDown:  # a node that has just come back
            await asyncio.sleep(0.5)
            continue
        now = (len(happened), sum(books.commands.values()), [lane.state.now for lane in books.lanes.values()])
        waits = sum(len(lane.state.waiting) for lane in books.lanes.values())
        if now == before and not waits:
            break
        before = now
        await asyncio.sleep(0.5)
    verdict = Verdict(commands=sum(books.commands.values()))
    _orders(system, books, happened, verdict)
    _fills(system, books, happened, verdict)
    _commands(system, books, verdict)
    venue = _venue_ledger(system, books, happened)
    for number, account in enumerate(system.world.accounts):
        _holdings(system, books, number, state[account], venue, verdict)
        _open(system, books, number, state[account], verdict)
    return verdict


def _orders(system: System, books: Books, happened: list[dict[str, Any]], verdict: Verdict) -> None:
    seen: Counter[tuple[str, str, str]] = Counter()
    for row in happened:
        if row["what"] != "NEW":
            continue
        verdict.orders += 1
        seen[row["account"], row["instrument"], row["client_id"]] += 1
        ours = cl_ord_id_of(row["client_id"])
        if ours not in books.born:
            verdict.lost.append(
                f"the venue accepted {row['client_id']} of {row['account']}, no lane's log has it"
            )
        elif "-" not in row["client_id"]:
            verdict.accepted.setdefault(books.owner[ours], []).append((*books.born[ours], row["ts"]))
    verdict.doubled += [f"{key[2]} of {key[0]} was accepted {n} times" for key, n in seen.items() if n > 1]


def _fills(system: System, books: Books, happened: list[dict[str, Any]], verdict: Verdict) -> None:
    symbols = {item.id: Symbol(n, item) for n, item in enumerate(system.world.universe.instruments)}
    venue: Counter[tuple[int, int, int, int]] = Counter()
    for row in happened:
        if row["what"] == "TRADE":
            exec_id = symbols[row["instrument"]].exec_id(row["trade"])
            venue[cl_ord_id_of(row["client_id"]), exec_id, row["qty"], row["price"]] += 1
    verdict.fills = sum(venue.values())
    verdict.lost += [f"the venue's fill {fill} is not in the ledger" for fill in venue - books.fills]
    verdict.doubled += [f"the ledger's fill {fill} is not the venue's" for fill in books.fills - venue]


def _commands(system: System, books: Books, verdict: Verdict) -> None:
    for name in system.strategies:
        lives: list[list[int]] = []
        for row in system.journal(name):
            if row[0] == "life":
                lives.append([])
            elif row[0] == "new":
                lives[-1].append(int(row[2]))
            elif row[0] in ("ack", "told"):
                cmd = int(row[2] if row[0] == "ack" else row[1])
                if cmd not in books.commands:
                    verdict.lost.append(f"{name}'s command {cmd} was answered, and is in no log")
        if not lives:
            verdict.lost.append(f"{name} has never run")
            continue
        missing = [cmd for cmd in lives[-1] if cmd not in books.commands]
        verdict.lost += [f"{name}'s command {cmd} is in no log, though its process lives" for cmd in missing]
        verdict.unsent += sum(cmd not in books.commands for life in lives[:-1] for cmd in life)
    verdict.doubled += [
        f"command {cmd} is in the log {n} times" for cmd, n in books.commands.items() if n > 1
    ]


def _venue_ledger(system: System, books: Books, happened: list[dict[str, Any]]) -> Ledger:
    """A ledger of the venue's own fills in the venue's own order, by account; fees as they were reported to us."""
    universe, accounts = system.world.universe, system.world.accounts
    symbols = {item.id: Symbol(n, item) for n, item in enumerate(universe.instruments)}
    ledger = Ledger(universe, base_currency=system.world.config.run.base_currency, fx=system.world.rates)
    for row in happened:
        if row["what"] == "TRADE":
            lots = Side[row["side"]].sign * row["qty"]
            fee = books.fees.get(
                (cl_ord_id_of(row["client_id"]), symbols[row["instrument"]].exec_id(row["trade"])), 0
            )
            number = universe.number(row["instrument"])
            ledger.apply_fill(accounts.index(row["account"]), 0, number, lots, row["price"], fee, row["ts"])
    return ledger


def _holdings(
    system: System, books: Books, number: int, state: dict[str, Any], venue: Ledger, verdict: Verdict
) -> None:
    """Positions; and money twice: the venue's purse against its own fills, exactly, and those against our books.

    How a position's profit is split into realised and unrealised depends on the order of its fills, and a fill that a
    dead gateway missed is booked late: so our books are compared at marks, by the sum of the two.
    """
    universe, account = system.world.universe, system.world.accounts[number]
    ours: Counter[tuple[str, int]] = Counter()
    theirs: Counter[tuple[str, int]] = Counter()
    marks = next(iter(books.lanes.values())).state.marks
    for ledgers, found in ((books.ledgers(), ours), ([venue], theirs)):
        for ledger in ledgers:
            for asset, units in ledger.balances(number).items():
                found[asset, -1] += units
            for (owner, _, instrument), position in ledger.positions():
                item = universe[instrument]
                if owner == number and not item.cash:
                    found[item.id, instrument] += position.lots
                    found[item.settle_currency, -1] += position.unrealised(marks[instrument][0])
    for key in sorted(ours.keys() | theirs.keys()):
        if ours[key] != theirs[key]:
            verdict.differ.append(
                f"{account}'s {key[0]}: {ours[key]} here, {theirs[key]} by the venue's fills"
            )
    for item in universe.instruments:
        held, told = (
            venue.position(number, 0, universe.number(item.id)).lots,
            state["positions"].get(item.id, 0),
        )
        if not item.cash and held != int(told):
            verdict.differ.append(
                f"{account}'s position in {item.id}: {held} by its fills, {told} at the venue"
            )
    _purse(system, number, state, venue, verdict)


def _purse(system: System, number: int, state: dict[str, Any], venue: Ledger, verdict: Verdict) -> None:
    universe, account = system.world.universe, system.world.accounts[number]
    section = system.world.config.simulated
    assert section is not None
    wallets = {
        (i.venue, asset)
        for i in universe.instruments
        for asset in {i.settle_currency, *((i.base, i.quote) if i.cash else ())}
    }
    for asset in sorted({asset for _, asset in wallets}):
        given = money.to_units(str(section.balance), asset) * sum(a == asset for _, a in wallets)
        purse = state["spot"].get(asset, {"free": "0", "locked": "0"})
        theirs = sum(money.to_units(purse[key], asset) for key in ("free", "locked")) - given
        theirs += sum(money.to_units(v, asset) for k, v in state["wallets"].items() if k.split()[1] == asset)
        if venue.balance(number, asset) != theirs:
            verdict.differ.append(
                f"{account}'s {asset}: {venue.balance(number, asset)} by its fills, {theirs} in its purse"
            )


def _open(system: System, books: Books, number: int, state: dict[str, Any], verdict: Verdict) -> None:
    universe, account = system.world.universe, system.world.accounts[number]
    theirs = set()
    for row in state["orders"]:
        if row["status"] in _OPEN:
            item = universe[universe.number(f"{row['symbol']}.{row['venue']}")]
            figures = (item.lots(row["origQty"]), item.lots(row["executedQty"]), item.ticks(row["price"]))
            theirs.add((cl_ord_id_of(row["clientOrderId"]), item.id, figures[1], figures[0], figures[2]))
    ours = {
        (o.cl_ord_id, universe[o.instrument].id, o.cum_qty, o.qty, o.price)
        for lane in books.lanes.values()
        for o in lane.open_orders()
        if o.account == number
    }
    for row in sorted(ours ^ theirs):
        where = "here" if row in ours else "at the venue"
        verdict.differ.append(f"{account}'s open order {row} is only {where}")


def again(verdict: Verdict, blow: int, strategies: int, fresh: bool) -> float:
    """Seconds from a blow until the venue had accepted an order of every strategy that was asked for after it; with
    `fresh` on market data from after it."""
    slowest = 0
    for number in range(strategies):
        orders = verdict.accepted.get(number, [])
        after = [accepted for born, seen, accepted in orders if born > blow and (seen > blow or not fresh)]
        if not after:
            return float("inf")
        slowest = max(slowest, min(after) - blow)
    return slowest / 1e9


def silence(verdict: Verdict, begin: int, end: int, strategies: int) -> float:
    """The longest time between two orders of one strategy that the venue accepted, from `begin` to `end`, seconds."""
    longest = 0
    for number in range(strategies):
        times = sorted(
            accepted for _, _, accepted in verdict.accepted.get(number, []) if begin <= accepted <= end
        )
        longest = max(longest, *(b - a for a, b in pairwise((begin, *times, end))))
    return longest / 1e9

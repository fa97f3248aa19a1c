"""A lane's whole state as bytes: the same state gives the same bytes on every machine.

Tables are written sorted by their keys; where the order of entries decides what the lane does next (who is
asked first, which closed order is forgotten first), they are written in that order. Gate and ledger add their
own bytes.
"""

from __future__ import annotations

import hashlib

import msgspec

from tidegate.execution import reductions
from tidegate.execution.ports import Gate, Ledger
from tidegate.execution.state import Adopted, Group, LaneOrder, Link, Lost, Reduction, Settings, State
from tidegate.model.instrument import Universe
from tidegate.model.messages import LimitsChange, SlotShare
from tidegate.risk.leases.lease import Key, Lease

FORMAT = 1


class Saved(msgspec.Struct, array_like=True, gc=False):
    """What a snapshot holds."""

    format: int
    number: int
    instruments: str
    settings: Settings
    seq: int
    now: int
    live: list[LaneOrder]
    closed: list[LaneOrder]
    waiting: list[int]
    owed: list[int]
    groups: list[tuple[int, int, Group]]
    links: list[tuple[int, list[Link]]]
    marks: list[tuple[int, int, int, int]]
    forgotten: list[tuple[int, int]]
    counts: list[tuple[int, int]]
    gate: bytes
    ledger: bytes
    leases: list[tuple[Key, Lease]] = []
    halt_epoch: int = 0
    limits_version: int = 0
    limits_due: list[LimitsChange] = []
    gaps: list[tuple[str, str]] = []
    adopted: list[Adopted] = []
    factors: list[tuple[int, tuple[int, int]]] = []
    withheld: list[tuple[Key, int]] = []
    slot_shares: list[SlotShare] = []
    funded: list[tuple[int, int]] = []
    reductions: tuple[int, list[Reduction]] = (0, [])
    halts_at: list[tuple[tuple[int, int], int]] = []
    lost: list[Lost] = []
    flattened: list[tuple[tuple[int, int], int]] = []
    figures_at: list[tuple[tuple[int, int], int]] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Saved)


def fingerprint(universe: Universe) -> str:
    """Which instruments the numbers in a snapshot stand for."""
    return hashlib.sha256("\n".join(item.id for item in universe.instruments).encode()).hexdigest()


def save(s: State) -> bytes:
    """The state as bytes."""
    return _encoder.encode(
        Saved(
            FORMAT,
            s.number,
            fingerprint(s.universe),
            s.settings,
            s.seq,
            s.now,
            list(s.live.values()),
            list(s.closed.values()),
            list(s.waiting),
            list(s.owed),
            [(*key, group) for key, group in sorted(s.groups.items())],
            sorted(s.links.items()),
            [(key, *mark) for key, mark in sorted(s.marks.items())],
            sorted(s.forgotten.items()),
            sorted((int(key), n) for key, n in s.counts.items()),
            s.gate.state_bytes(),
            s.ledger.state_bytes(),
            sorted(s.leases.items()),
            s.halt_epoch,
            s.limits_version,
            s.limits_due,
            sorted(s.gaps.items()),
            s.adopted,
            sorted(s.factors.items()),
            sorted(s.withheld.items()),
            [share for _, share in sorted(s.slot_shares.items())],
            sorted(s.funded.items()),
            reductions.saved(s),
            sorted(s.halts_at.items()),
            list(s.lost.values()),
            sorted(s.flattened.items()),
            sorted(s.figures_at.items()),
        )
    )


def load(data: bytes, universe: Universe, gate: Gate, ledger: Ledger) -> State:
    """The inverse of `save`; gate and ledger are loaded in place.

    Raises `ValueError` where the bytes are no snapshot, of another format, or of other instruments.
    """
    try:
        saved = _decoder.decode(data)
    except ValueError as error:
        raise ValueError(f"not a lane snapshot of format {FORMAT}: {error}") from None
    if saved.format != FORMAT:
        raise ValueError(f"lane snapshot has format {saved.format}, this version reads {FORMAT}")
    if saved.instruments != fingerprint(universe):
        raise ValueError(f"lane snapshot was taken over other instruments than these {len(universe)}")
    s = State(saved.number, universe, gate, ledger, saved.settings)
    s.seq, s.now = saved.seq, saved.now
    s.live = {order.cl_ord_id: order for order in saved.live}
    for order in saved.closed:
        s.closed[order.cl_ord_id] = order
    for order in sorted([*saved.live, *saved.closed], key=lambda order: order.cl_ord_id):
        s.by_cmd[order.cmd_id] = order
    s.waiting = {key: s.live[key] for key in saved.waiting}
    s.owed = {key: s.live[key] for key in saved.owed}
    s.groups = {(strategy, number): group for strategy, number, group in saved.groups}
    s.links = dict(saved.links)
    s.marks = {key: (bid, ask, ts) for key, bid, ask, ts in saved.marks}
    s.forgotten = dict(saved.forgotten)
    s.counts = dict(saved.counts)
    s.leases = dict(saved.leases)
    s.halt_epoch, s.limits_version, s.limits_due = saved.halt_epoch, saved.limits_version, saved.limits_due
    s.gaps, s.adopted, s.funded = dict(saved.gaps), saved.adopted, dict(saved.funded)
    s.factors, s.withheld = dict(saved.factors), dict(saved.withheld)
    s.halts_at, s.flattened = dict(saved.halts_at), dict(saved.flattened)
    s.figures_at = dict(saved.figures_at)
    s.lost = {one.cl_ord_id: one for one in saved.lost}
    s.slot_shares = {(share.live, share.candidate): share for share in saved.slot_shares}
    reductions.restore(s, saved.reductions)
    gate.load(saved.gate)
    ledger.load(saved.ledger)
    return s

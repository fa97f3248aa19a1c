"""One order of the matching oracle, and what may be wrong with it whatever the state of the book."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.kernel.matching_layout import (
    INST_SHIFT,
    MAX_QTY,
    NO_PRICE,
    PRICE_LIMIT,
    SIDE_SHIFT,
    STP_SHIFT,
    TIF_SHIFT,
    TYPE_SHIFT,
    Reason,
)
from tidegate.model.order import ExecInst, OrdType, SelfTrade, Side, TimeInForce

STOPS = {OrdType.STOP, OrdType.STOP_LIMIT, OrdType.TRAILING_STOP}
POST_ONLY, PRIMARY, MARKET, MID = (
    int(i) for i in (ExecInst.POST_ONLY, ExecInst.PEG_PRIMARY, ExecInst.PEG_MARKET, ExecInst.PEG_MID)
)
NO_MORE = {TimeInForce.IOC, TimeInForce.FOK}


@dataclass(eq=False)
class Order:
    """One live order."""

    id: int
    owner: int
    side: Side
    type: OrdType
    tif: TimeInForce
    stp: SelfTrade
    inst: int
    shown: int
    limit: int | None = None
    stop: int | None = None
    extra: int = 0
    expiry: int = 0
    hidden: int = 0
    cum: int = 0
    waiting: bool = False
    at: int | None = None
    """The price it rests at."""

    def __post_init__(self) -> None:
        self.sign = self.side.sign
        self.other = self.side.opposite

    @property
    def open(self) -> int:
        return self.shown + self.hidden

    @property
    def what(self) -> int:
        packed = self.side << SIDE_SHIFT | self.type << TYPE_SHIFT | self.tif << TIF_SHIFT
        return packed | self.stp << STP_SHIFT | self.inst << INST_SHIFT

    def reaches(self, price: int) -> bool:
        """Whether it would trade at this price of the other side."""
        return self.limit is None or (self.limit - price) * self.sign >= 0


def word(price: int | None) -> int:
    return NO_PRICE if price is None else price


def price_of(value: int) -> int | None:
    return None if value == NO_PRICE else value


class Refused(Exception):
    """A command that is not carried out."""

    def __init__(self, why: Reason) -> None:
        self.why = why


def parse(what: int, id: int, owner: int, qty: int, extra: int, time: int) -> Order:
    codes = [what >> shift & 15 for shift in (SIDE_SHIFT, TYPE_SHIFT, TIF_SHIFT, STP_SHIFT)]
    inst = what >> INST_SHIFT
    if inst & ~(POST_ONLY | PRIMARY | MARKET | MID):
        raise Refused(Reason.BAD_FIELD)
    try:
        side, kind, tif, stp = (
            Side(codes[0]),
            OrdType(codes[1]),
            TimeInForce(codes[2]),
            SelfTrade(codes[3]),
        )
    except ValueError:
        raise Refused(Reason.BAD_FIELD) from None
    return Order(id, owner, side, kind, tif, stp, inst, qty, extra=extra, expiry=time)


def check_terms(o: Order, price: int | None, stop: int | None) -> None:
    def out_of_range(value: int | None) -> bool:
        return value is None or abs(value) > PRICE_LIMIT

    if not 1 <= o.shown <= MAX_QTY:
        raise Refused(Reason.BAD_QTY)
    if o.type is OrdType.ICEBERG and not 1 <= o.extra <= o.shown:
        raise Refused(Reason.BAD_QTY)
    if o.type in (OrdType.LIMIT, OrdType.STOP_LIMIT, OrdType.ICEBERG) and out_of_range(price):
        raise Refused(Reason.BAD_PRICE)
    if o.type is OrdType.PEGGED and price is not None and out_of_range(price):
        raise Refused(Reason.BAD_PRICE)
    if o.type in (OrdType.STOP, OrdType.STOP_LIMIT) and out_of_range(stop):
        raise Refused(Reason.BAD_PRICE)
    if o.type is OrdType.TRAILING_STOP and stop is not None and out_of_range(stop):
        raise Refused(Reason.BAD_PRICE)
    if o.type is OrdType.TRAILING_STOP and not 1 <= o.extra <= PRICE_LIMIT:
        raise Refused(Reason.BAD_PRICE)
    if o.type is OrdType.PEGGED and not 0 <= o.extra <= PRICE_LIMIT:
        raise Refused(Reason.BAD_PRICE)
    resting = o.type in (OrdType.LIMIT, OrdType.ICEBERG, OrdType.PEGGED, OrdType.STOP_LIMIT)
    post = bool(o.inst & POST_ONLY)
    if o.tif in NO_MORE and (post or o.type in (OrdType.ICEBERG, OrdType.PEGGED)):
        raise Refused(Reason.BAD_COMBINATION)
    if post and not resting:
        raise Refused(Reason.BAD_COMBINATION)
    pegs = bin(o.inst & (PRIMARY | MARKET | MID)).count("1")
    if pegs != (1 if o.type is OrdType.PEGGED else 0):
        raise Refused(Reason.BAD_COMBINATION)

"""The slow, complete reader of one Binance frame: JSON parsed whole, decimals exact, every refusal explained.

It reads what the compiled scan hands over: frames of the known shapes that are written differently (other
spacing, extra keys, an empty side of the book), replies that carry no market data, and everything that is
wrong. A frame is taken whole or refused whole; nothing in it is repaired.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cache
from typing import Any

import orjson

from tidegate.errors import nearest
from tidegate.marketdata.binance_instruments import Directory, Market
from tidegate.marketdata.binance_shapes import DEPTH, MAX_MS, MIN_RECV, NOBODY, SNAPSHOT, TICKER, TRADE
from tidegate.model.event import Flag, Kind, meta
from tidegate.model.instrument import Instrument
from tidegate.model.order import Side
from tidegate.model.scale import ScaleError, decimal
from tidegate.model.time import MS

STREAMS = ("depth", "bookTicker", "trade")
_MAX = 2**63 - 1


class Reason(StrEnum):
    """Why a frame was refused. The names are what quarantine files and reports carry."""

    NO_TIME = "no receive time"
    MALFORMED = "malformed"
    CUT_SHORT = "cut short"
    UNKNOWN_STREAM = "unknown stream"
    UNKNOWN_SYMBOL = "unknown symbol"
    OFF_TICK = "off-tick price"
    BAD_PRICE = "bad price"
    BAD_SIZE = "bad size"
    CROSSED = "crossed quote"
    BAD_TIME = "bad exchange time"
    NOBODYS_SNAPSHOT = "snapshot without owner"


class Refused(Exception):
    """A frame that cannot be taken: the reason, and one line of detail with the value and what was expected."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass
class Frame:
    """A frame read: what a message header says of it, and its events as rows of eight words.

    `kind` 0 means that it carries no market data by rule; `skipped` says which rule.
    """

    kind: int = 0
    instrument: int = -1
    event: int = 0
    traded: int = 0
    first: int = 0
    last: int = 0
    prev: int = -1
    off_lot: int = 0
    skipped: str = ""
    rows: list[tuple[int, ...]] = field(default_factory=list)


def split_line(line: bytes) -> tuple[int, bytes]:
    """`<receive ns> <frame>` to its two parts; raises `Refused` when there is no time."""
    stamp, _, frame = line.partition(b" ")
    if not stamp.isdigit() or not MIN_RECV <= int(stamp) <= _MAX:
        shown = stamp[:40].decode(errors="backslashreplace")
        raise Refused(Reason.NO_TIME, f"the line starts with {shown!r}, not with a receive time in ns")
    return int(stamp), frame


def read_frame(raw: bytes, recv: int, directory: Directory, owner: int) -> Frame:
    """One frame, as received at `recv` ns. `owner` is whose a snapshot without a symbol is (−1 for nobody's).

    Raises `Refused`.
    """
    try:
        frame = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(Reason.MALFORMED, f"not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise Refused(Reason.MALFORMED, f"a JSON {type(frame).__name__}, not an object")
    if "lastUpdateId" in frame:
        return _stamped(_snapshot(frame, directory, owner), recv)
    if "stream" not in frame:
        if "id" in frame and ("result" in frame or "error" in frame):
            return Frame(skipped="control reply")
        raise Refused(
            Reason.MALFORMED, f"neither a combined-stream frame nor a snapshot; keys: {_keys(frame)}"
        )
    kind = _text(frame, "stream").partition("@")[2]
    data = frame.get("data")
    if not isinstance(data, dict):
        raise Refused(Reason.MALFORMED, f"`data` is {data!r:.40}, not an object")
    if kind == "bookTicker":
        return _stamped(_ticker(data, directory), recv)
    if kind == "trade":
        return _stamped(_trade(data, directory), recv)
    name, _, speed = kind.partition("@")
    if name == "depth" and not speed.strip("0123456789ms"):
        return _stamped(_depth(data, directory), recv)
    raise Refused(Reason.UNKNOWN_STREAM, f"{frame['stream']!r}: {kind!r} is none of {', '.join(STREAMS)}")


def _stamped(frame: Frame, recv: int) -> Frame:
    ts, seq = frame.traded or frame.event, frame.last
    frame.rows = [(ts, recv, seq, *slots, word | frame.instrument) for *slots, word in frame.rows]
    return frame


def _keys(data: dict[str, Any]) -> str:
    return ", ".join(list(data)[:12]) or "none"


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise Refused(Reason.MALFORMED, f"`{key}` is {value!r:.40}, not text; keys: {_keys(data)}")
    return value


def _number(data: dict[str, Any], key: str) -> int:
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX:
        raise Refused(Reason.MALFORMED, f"`{key}` is {value!r:.40}, not an integer ≥ 0; keys: {_keys(data)}")
    return value


def _flag(data: dict[str, Any], key: str) -> bool:
    value = data.get(key)
    if not isinstance(value, bool):
        raise Refused(Reason.MALFORMED, f"`{key}` is {value!r:.40}, neither true nor false")
    return value


def _time(data: dict[str, Any], key: str, needed: bool) -> int:
    if not needed and key not in data:
        return 0
    value = _number(data, key)
    if value > MAX_MS:
        raise Refused(Reason.BAD_TIME, f"`{key}` is {value}, not a time in ms")
    return value * MS


def _instrument(data: dict[str, Any], key: str, futures: bool, directory: Directory) -> int:
    symbol = _text(data, key)
    number = directory.find(symbol, futures)
    if number < 0:
        where = "futures" if futures else "spot"
        hint = nearest(symbol, directory.symbols(futures))
        raise Refused(Reason.UNKNOWN_SYMBOL, f"{symbol!r} on {where}{hint}")
    return number


@cache
def _grid(step: Decimal) -> tuple[int, int]:
    """A step as (decimals, numerator): numerator × 10^−decimals."""
    decimals = max(0, -int(step.as_tuple().exponent))
    return decimals, int(step.scaleb(decimals))


def _plain_steps(text: str, step: Decimal) -> tuple[int, bool]:
    """Digits with or without a point as (whole steps, whether something finer was left over); (−1, _) for others."""
    whole, _, part = text.partition(".")
    if not (text.isascii() and whole.isdigit() and (part.isdigit() or not part)):
        return -1, False
    decimals, numerator = _grid(step)
    steps, rest = divmod(int(whole + part[:decimals].ljust(decimals, "0")), numerator)
    return steps, bool(rest or part[decimals:].strip("0"))


def _price(item: Instrument, text: Any) -> int:
    if not isinstance(text, str):
        raise Refused(Reason.BAD_PRICE, f"{item.id}: {text!r:.40} is not decimal text")
    steps, finer = _plain_steps(text, item.tick)
    if 0 < steps <= _MAX and not finer:
        return steps
    try:
        value = decimal(text)
    except ScaleError as error:
        raise Refused(Reason.BAD_PRICE, f"{item.id}: {error}") from None
    if value <= 0 and not item.negative_prices:
        raise Refused(Reason.BAD_PRICE, f"{item.id}: {text} is not above 0")
    if abs(Fraction(value) / Fraction(item.tick)) > _MAX:
        raise Refused(Reason.BAD_PRICE, f"{item.id}: {text} is beyond what fits")
    try:
        return item.ticks(text)
    except ScaleError as error:
        raise Refused(Reason.OFF_TICK, str(error)) from None


def _size(item: Instrument, text: Any, zero: bool) -> tuple[int, bool]:
    """(whole lots, whether something finer than a lot was left over); `zero` says whether 0 means something."""
    if not isinstance(text, str):
        raise Refused(Reason.BAD_SIZE, f"{item.id}: {text!r:.40} is not decimal text")
    lots, finer = _plain_steps(text, item.lot)
    if lots >= 0:
        positive, negative = lots > 0 or finer, False
    else:
        try:
            value = decimal(text)
        except ScaleError as error:
            raise Refused(Reason.BAD_SIZE, f"{item.id}: {error}") from None
        positive, negative = value > 0, value < 0
        ratio = Fraction(value) / Fraction(item.lot)
        lots, finer = ratio.numerator // ratio.denominator, ratio.denominator != 1
    if negative or not (positive or zero) or lots > _MAX:
        least = "0 or above" if zero else "above 0"
        raise Refused(Reason.BAD_SIZE, f"{item.id}: size {text}, must be {least}")
    return lots, finer


def _side(frame: Frame, item: Instrument, levels: Any, side: Side, zero: bool) -> None:
    if not isinstance(levels, list):
        raise Refused(Reason.MALFORMED, f"{item.id}: levels are {levels!r:.40}, not a list")
    word = meta(0, int(Kind.DELTA), int(side))
    for level in levels:
        if not isinstance(level, list) or len(level) != 2:
            raise Refused(Reason.MALFORMED, f"{item.id}: level {level!r:.60} is not [price, size]")
        lots, finer = _size(item, level[1], zero)
        frame.off_lot += finer
        frame.rows.append((_price(item, level[0]), lots, 0, 0, word))


def _depth(data: dict[str, Any], directory: Directory) -> Frame:
    futures = "pu" in data or "T" in data
    number = _instrument(data, "s", futures, directory)
    item = directory.instruments[number]
    frame = Frame(
        kind=DEPTH, instrument=number, event=_time(data, "E", True), traded=_time(data, "T", futures),
        first=_number(data, "U"), last=_number(data, "u"), prev=_number(data, "pu") if futures else -1,
    )  # fmt: skip
    _side(frame, item, data.get("b"), Side.BUY, zero=True)
    _side(frame, item, data.get("a"), Side.SELL, zero=True)
    if frame.rows:
        *rest, word = frame.rows[-1]
        frame.rows[-1] = (*rest, word | meta(0, 0, 0, int(Flag.LAST)))
    return frame


def _ticker(data: dict[str, Any], directory: Directory) -> Frame:
    futures = "T" in data
    number = _instrument(data, "s", futures, directory)
    item = directory.instruments[number]
    frame = Frame(
        kind=TICKER, instrument=number, event=_time(data, "E", futures), traded=_time(data, "T", futures),
        last=_number(data, "u"),
    )  # fmt: skip
    frame.first = frame.last
    touch: list[int] = []
    for price_key, size_key in (("b", "B"), ("a", "A")):
        price, size = _text(data, price_key), _text(data, size_key)
        if not price.strip("0.") and not size.strip("0."):
            touch += [0, 0]  # an empty side of the book
            continue
        lots, finer = _size(item, size, zero=False)
        frame.off_lot += finer
        touch += [_price(item, price), lots]
    bid, bid_size, ask, ask_size = touch
    if bid and ask and bid >= ask:
        raise Refused(Reason.CROSSED, f"{item.id}: bid {data['b']} is not below ask {data['a']}")
    frame.rows.append((bid, bid_size, ask, ask_size, meta(0, int(Kind.QUOTE), 0, int(Flag.LAST))))
    return frame


def _trade(data: dict[str, Any], directory: Directory) -> Frame:
    origin = data.get("X", "MARKET")
    number = _instrument(data, "s", "X" in data, directory)
    item = directory.instruments[number]
    if origin != "MARKET":
        return Frame(skipped=f"{origin} trade")
    frame = Frame(
        kind=TRADE, instrument=number, event=_time(data, "E", True), traded=_time(data, "T", True),
        last=_number(data, "t"),
    )  # fmt: skip
    frame.first = frame.last
    lots, finer = _size(item, data.get("q"), zero=False)
    if finer:
        raise Refused(Reason.BAD_SIZE, f"{item.id}: traded {data['q']}, not a multiple of {item.lot}")
    side = Side.SELL if _flag(data, "m") else Side.BUY
    word = meta(0, int(Kind.TRADE), int(side), int(Flag.LAST))
    frame.rows.append((_price(item, data.get("p")), lots, frame.last, 0, word))
    return frame


def _snapshot(data: dict[str, Any], directory: Directory, owner: int) -> Frame:
    if "symbol" in data:
        number = _instrument(data, "symbol", True, directory)
    elif owner > NOBODY:
        number = owner
    else:
        why = "no frame before it names one" if owner == NOBODY else "the file holds several"
        raise Refused(Reason.NOBODYS_SNAPSHOT, f"snapshot {data['lastUpdateId']} names no symbol, and {why}")
    item, market = directory.instruments[number], directory.markets[number]
    if market.futures != ("T" in data) or (market is Market.COINM) != ("symbol" in data):
        raise Refused(Reason.MALFORMED, f"snapshot is not of {item.id}'s shape; keys: {_keys(data)}")
    frame = Frame(
        kind=SNAPSHOT, instrument=number, event=_time(data, "E", market.futures),
        traded=_time(data, "T", market.futures), last=_number(data, "lastUpdateId"),
    )  # fmt: skip
    frame.first = frame.last
    frame.rows.append((0, 0, 0, 0, meta(0, int(Kind.SNAPSHOT_BEGIN))))
    _side(frame, item, data.get("bids"), Side.BUY, zero=False)
    _side(frame, item, data.get("asks"), Side.SELL, zero=False)
    frame.rows.append((0, 0, 0, 0, meta(0, int(Kind.SNAPSHOT_END), 0, int(Flag.LAST))))
    return frame

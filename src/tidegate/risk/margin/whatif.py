"""What an order would do to an account's margin, before it is sent: control 20, exactly and with every figure.

The gate judges the same with one rate an instrument, in nanoseconds; this is for people and for whoever wants to know
how far away the end is. An order that only reduces is always allowed, as at the gate.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import msgspec

from tidegate.model import money
from tidegate.risk.margin.account import MarginAccount, filled
from tidegate.risk.margin.liquidation import NONE, Liquidation, of_pool
from tidegate.risk.margin.models import NOT_COVERED, tiered
from tidegate.risk.margin.pool import Contract, Holding, Pool, Resting, resting

OK, MARGIN, BEYOND, STALE, UNKNOWN = "", "MARGIN", "BEYOND_TIERS", "STALE_MARK", "NO_RATE"
"""Why an order is not allowed; `margin_models.NOT_COVERED` is one more."""


class Intent(NamedTuple):
    """An order somebody thinks of: signed lots; limit in ticks, 0 for the market."""

    instrument: int
    lots: int
    price: int = 0


class Side(NamedTuple):
    """An account's figures on one side of the order, in minor units of its currency."""

    equity: int
    initial: int
    maintenance: int
    ratio: Fraction
    liquidation: Liquidation
    """Of the order's instrument."""


class WhatIf(NamedTuple):
    """Before, and with the order: initial margin as it would be with it open, maintenance margin and liquidation price as
    they would be once it has filled at its worst. `reason` is empty when it is allowed."""

    allowed: bool
    reason: str
    text: str
    before: Side
    after: Side


def what_if(
    account: MarginAccount, holding: Holding, order: Intent, buffer: Fraction = Fraction(0)
) -> WhatIf:
    """Judge an order. `holding` is what the account has of its instrument (no lots for nothing), `buffer` the part of
    equity that stays free. The account must have a pool of the instrument's settlement currency."""
    contract = holding.contract
    currency = contract.instrument.settle_currency
    pool = next((p for p in account.pools if p.currency == currency), Pool(currency))
    if pool.find(contract.number) is None:
        pool = pool.with_holding(holding)
    if pool.currency not in {p.currency for p in account.pools}:
        account = replace(account, pools=(*account.pools, pool))
    account = account.with_pool(pool)
    before = _side(account, pool, holding)
    price = order.price or (holding.touch.ask if order.lots > 0 else holding.touch.bid)
    fee = contract.closing(order.lots, price)
    asked = pool.with_holding(_with_order(holding, order))
    opened = account.with_pool(replace(asked, wallet=asked.wallet - fee))
    done = filled(pool, holding, order.lots, price)
    after_fill = account.with_pool(done)
    last = done.find(contract.number)
    assert last is not None
    after = _side(after_fill, done, last)._replace(equity=opened.equity, initial=opened.initial)
    reason, text = _judge(account, holding, order, opened, after, buffer)
    return WhatIf(not reason, reason, text, before, after)


def _side(account: MarginAccount, pool: Pool, holding: Holding) -> Side:
    ends = of_pool(pool, holding) if holding.lots and account.alone else NONE
    return Side(account.equity, account.initial, account.maintenance, account.ratio, ends)


def _with_order(holding: Holding, order: Intent) -> Holding:
    buys, sells = resting(holding.contract, holding.touch, [(order.lots, order.price)])
    return replace(holding, buys=_both(holding.buys, buys), sells=_both(holding.sells, sells))


def _both(a: Resting, b: Resting) -> Resting:
    return Resting(a.lots + b.lots, a.value + b.value, a.loss + b.loss)


def reduces(holding: Holding, order: Intent) -> bool:
    """Whether, with all that is open on its side, the order can only shrink the position."""
    open_lots = holding.buys.lots if order.lots > 0 else holding.sells.lots
    return holding.lots * order.lots < 0 and abs(order.lots) + open_lots <= abs(holding.lots)


def _judge(
    account: MarginAccount, holding: Holding, order: Intent, opened: MarginAccount, after: Side, buffer: Fraction
) -> tuple[str, str]:  # fmt: skip
    contract = holding.contract
    item = contract.instrument
    if reduces(holding, order):
        return OK, "it only reduces"
    short = holding.lots - holding.sells.lots + min(0, order.lots) < 0
    if short and not contract.model.covers_short:
        return NOT_COVERED, f"{item.id} would be short, and there is no margin model for it"
    if item.id in account.stale:
        return STALE, f"the mark of {item.id} is too old, or missing"
    if tiered(item) and contract.table.beyond(_with_order(holding, order).worst_value):
        return BEYOND, f"the position would be larger than any of {item.id}'s margin tiers"
    free = after.equity * (1 - buffer)
    if opened.initial > free:
        show = [money.show(n, account.currency, 2) for n in (opened.initial, int(free))]
        return MARGIN, f"initial margin {show[0]} would be above {show[1]}, equity less its buffer"
    return OK, "there is margin for it"


# As a request, `risk.whatif`.


class WhatIfRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In human units: `quantity` in base units, `price` empty for the market; `venue` follows from the instrument."""

    account: str
    instrument: str
    side: str
    quantity: Decimal
    price: Decimal | None = None


class WhatIfSide(msgspec.Struct, frozen=True):
    """Whole units of the answer's currency; `liquidation` as text, `never` where no price does it, empty where it is
    not known."""

    equity: Decimal
    initial: Decimal
    maintenance: Decimal
    ratio: float
    liquidation: str


class WhatIfAnswer(msgspec.Struct, frozen=True):
    """What `tidegate whatif` shows. `error` says why there is no answer."""

    error: str = ""
    allowed: bool = False
    reason: str = ""
    text: str = ""
    currency: str = ""
    basis: str = ""
    """Whose wallet it was judged against: a venue's, or the account's capital."""
    before: WhatIfSide | None = None
    after: WhatIfSide | None = None


def answer(found: WhatIf, account: MarginAccount, contract: Contract, basis: str) -> WhatIfAnswer:
    """In human units."""
    return WhatIfAnswer(
        "", found.allowed, found.reason, found.text, account.currency, basis,
        *(_shown(side, account.currency, contract, account.alone) for side in (found.before, found.after)),
    )  # fmt: skip


def _shown(side: Side, currency: str, contract: Contract, alone: bool) -> WhatIfSide:
    equity, initial, maintenance = (
        money.from_units(n, currency) for n in (side.equity, side.initial, side.maintenance)
    )
    ends = side.liquidation
    ticks = ends.ticks
    text = f"{contract.instrument.price(ticks):f}" if ticks is not None else ends.kind
    return WhatIfSide(equity, initial, maintenance, float(side.ratio), text if alone else "")


def read(data: bytes) -> WhatIfRequest:
    """A request; raises `ValueError`."""
    try:
        return msgspec.json.decode(data, type=WhatIfRequest)
    except ValueError as error:
        raise ValueError(f"not a what-if request: {error}") from None

"""Binance's cross margin account on spot, as a gateway needs it: spot's instruments and events, margin's own requests.

Orders, cancels and questions go by REST (`/sapi/v1/margin/…`), for margin has no orders on the WS API; what an order may
borrow and repay is the session's `side_effect`. Margin has no replace: one is refused, and the order stays. Events come
on the WS API by a listen token, which is good for a day. What is held and what is owed come in one answer, so that a
statement is of one moment.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from tidegate.errors import UserError, nearest
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import SendCancel, SendNew, SendReplace
from tidegate.risk.margin.compare import VenueLending, VenueLoan, VenueMargin, VenueWallet
from tidegate.risk.margin.spot import SIDE_EFFECTS
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.answers import Pending
from tidegate.venue.binance.errors import VenueError
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.order_entry import OrderEntry, log
from tidegate.venue.binance.products import SPOT, Endpoints
from tidegate.venue.binance.requests import Params, Unsupported, cancel, new_order
from tidegate.venue.binance.venue import BinanceVenue
from tidegate.venue.port import VenueDown, VenueRefused

NAME = SPOT.venue
MARGIN = replace(
    SPOT, listen_key="/sapi/v1/userDataStream", order="/sapi/v1/margin/order",
    open_orders="/sapi/v1/margin/openOrders", cancel_all="/sapi/v1/margin/openOrders",
    trades="/sapi/v1/margin/myTrades", account="/sapi/v1/margin/account", open_orders_weight=1000, query_weight=10,
    trades_weight=10, account_weight=10, order_weight=6, chains=False, orders_page=500,
)  # fmt: skip
_TOKEN = "/sapi/v1/userListenToken"
_OWES_NOTHING = Decimal(999)
"""The level that is told of an account without debts."""


def side_effect(text: str, where: str) -> str:
    """What orders may borrow and repay; raises `UserError`."""
    if text not in SIDE_EFFECTS:
        raise UserError(
            f"{where} is {text!r}, must be one of {', '.join(SIDE_EFFECTS)}{nearest(text, SIDE_EFFECTS)}"
        )
    return text


class MarginEntry(OrderEntry):
    """Requests by REST. What became of one that was not answered is not known, as ever, and the lane asks."""

    def __init__(self, effect: str, *parts: Any) -> None:
        super().__init__(*parts)
        self._extra = {"sideEffectType": effect, "isIsolated": "FALSE"}

    def _send_new(self, request: SendNew) -> None:
        symbol = self._symbols.by_number.get(request.instrument)
        if not self._open_to_new() or symbol is None:
            self._refuse(request, Reason.VENUE_DOWN if symbol else Reason.VENUE_INVALID_ORDER)
            return
        try:
            params = new_order(self._product, symbol, request) | self._extra
        except Unsupported as error:
            self._counts["orders the venue does not have"] += 1
            log.warning("%s", error)
            self._refuse(request, Reason.VENUE_INVALID_ORDER)
            return
        if not self._limits.order(self._rest.venue_now()):
            self._counts["orders held back"] += 1
            self._refuse(request, Reason.VENUE_THROTTLE)
            return
        self._start(self._place(request, Pending(request, self._orders.place(request)), params))

    async def _place(self, request: SendNew, pending: Pending, params: Params) -> None:
        if not await self._by_rest("POST", pending, params):
            self._refuse(request, Reason.VENUE_OTHER)

    def _send_cancel(self, request: SendCancel) -> None:
        symbol = self._symbols.by_number.get(request.instrument)
        if symbol is None:
            self._refuse(request, Reason.UNKNOWN_ORDER)
            return
        known = self._orders.get(request.cl_ord_id, request.instrument)
        known.cancel_asked = True
        params = cancel(symbol, request, known.generation)
        self._start(self._by_rest("DELETE", Pending(request, known), params))

    def _send_replace(self, request: SendReplace) -> None:
        self._counts["replaces the venue does not have"] += 1
        self._refuse(request, Reason.VENUE_INVALID_ORDER)


class SpotMarginVenue(BinanceVenue):
    """`venue.port.Venue` and `MarginVenue` for a cross margin account. Raises `UserError` for a wrong side effect."""

    def __init__(
        self, universe: Universe, endpoints: Endpoints, keys: Keys, clock: Clock, effect: str = SIDE_EFFECTS[0],
        **more: Any,
    ) -> None:  # fmt: skip
        entry = partial(MarginEntry, side_effect(effect, "the side effect of orders"))
        super().__init__(NAME, universe, endpoints, keys, clock, of=MARGIN, entry=entry, **more)

    def __repr__(self) -> str:
        return f"SpotMarginVenue({NAME})"

    async def margin(self, with_tiers: bool = False) -> VenueMargin:
        """See `MarginVenue.margin`: what is held, what is owed, and the level."""
        try:
            answer = await self._rest.signed("GET", MARGIN.account, {}, MARGIN.account_weight)
        except (VenueError, VenueRefused) as error:
            raise VenueDown(f"{NAME}: margin account: {error}") from None
        try:
            rows, nothing = answer["userAssets"], Decimal(0)
            self._queries.wallets.answer(answer)
            held = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in rows}
            owed = {
                row["asset"]: VenueLoan(Decimal(row["borrowed"]), Decimal(row["interest"])) for row in rows
            }
            level = Decimal(answer["marginLevel"])
        except (KeyError, TypeError, ArithmeticError) as error:
            raise VenueDown(f"{NAME}: margin account: not understood: {error!r}") from None
        loans = {asset: loan for asset, loan in owed.items() if loan.borrowed or loan.interest}
        wallets = {asset: VenueWallet(total, nothing, nothing) for asset, total in held.items() if total}
        lending = VenueLending(loans, level if loans and level < _OWES_NOTHING else nothing)
        return VenueMargin(self._rest.venue_now(), wallets, [], lending=lending)

    async def _subscribe(self) -> Any:
        try:
            answer = await self._rest.keyed("POST", _TOKEN)
        except VenueRefused as error:
            self._entry.key_refused(str(error))
            raise VenueDown(f"no listen token: {error}") from None
        return await self._entry.ask_bare("userDataStream.subscribe.listenToken", listenToken=answer["token"])

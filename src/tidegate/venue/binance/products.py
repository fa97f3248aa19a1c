"""What differs between Binance's three products, as one table; all else of the adapter is common to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tidegate.errors import UserError, nearest
from tidegate.marketdata.binance_instruments import VENUES, Market
from tidegate.model.order import OrdType


@dataclass(frozen=True)
class Limit:
    """One of the venue's rate limits: at most `limit` in each whole `seconds` of its clock."""

    limit: int
    seconds: int


@dataclass(frozen=True)
class Product:
    """One of Binance's markets: where things are, how they are called, what it has."""

    venue: str
    market: Market
    time: str
    exchange_info: str
    depth: str
    listen_key: str
    order: str
    open_orders: str
    cancel_all: str
    trades: str
    account: str
    positions: str = ""
    countdown: str = ""
    margin_account: str = ""
    """The account with its margin; none where there is no margin."""
    position_risk: str = ""
    """Positions with leverage, marks and liquidation prices."""
    brackets: str = ""
    """Margin tiers."""
    asset_index: str = ""
    """What assets count for in multi-assets mode, where there is one."""
    open_interest: str = ""
    premium: str = ""
    """Mark price, and the rate and time of the next funding."""
    funding: str = ""
    """Fundings that were paid."""
    depth_speed: str = "@0ms"
    depth_levels: int = 1000
    depth_weight: int = 20
    open_orders_weight: int = 40
    """Of all symbols at once."""
    query_weight: int = 1
    trades_weight: int = 5
    account_weight: int = 5
    user_event: str = "ORDER_TRADE_UPDATE"
    subscribes: bool = False
    """User events can be had on the WS API, without a listen key (the only way on the real spot market)."""
    chains: bool = False
    """A replace cancels the order and places a successor, instead of changing it in place."""
    modify: str = "order.modify"
    post_only_type: str = "LIMIT"
    post_only_tif: str = "GTX"
    reduce_only: bool = True
    good_till_date: bool = True
    types: Mapping[OrdType, str] = field(default_factory=dict)
    weight: Limit = Limit(2400, 60)
    order_weight: int = 0
    """Of a new order or a replace; on futures they count by the limits of orders alone."""
    premium_weight: int = 1
    """Of one symbol."""
    orders: tuple[Limit, ...] = (Limit(300, 10), Limit(1200, 60))
    orders_page: int = 1000
    """Rows that the list of all orders gives at most."""
    error_scope: str = "futures"
    """Some error codes mean different things on spot and on futures."""


_FUTURES = MappingProxyType({
    OrdType.MARKET: "MARKET", OrdType.LIMIT: "LIMIT", OrdType.STOP: "STOP_MARKET", OrdType.STOP_LIMIT: "STOP",
})  # fmt: skip
_SPOT = MappingProxyType({
    OrdType.MARKET: "MARKET", OrdType.LIMIT: "LIMIT", OrdType.STOP: "STOP_LOSS",
    OrdType.STOP_LIMIT: "STOP_LOSS_LIMIT", OrdType.ICEBERG: "LIMIT",
})  # fmt: skip

SPOT = Product(
    venue="BINANCE", market=Market.SPOT, time="/api/v3/time", exchange_info="/api/v3/exchangeInfo",
    depth="/api/v3/depth", listen_key="/api/v3/userDataStream", order="/api/v3/order",
    open_orders="/api/v3/openOrders", cancel_all="/api/v3/openOrders", trades="/api/v3/myTrades",
    account="/api/v3/account", depth_speed="@100ms", depth_weight=50, open_orders_weight=80, query_weight=4,
    trades_weight=20, account_weight=20, user_event="executionReport", subscribes=True, chains=True,
    modify="order.cancelReplace", post_only_type="LIMIT_MAKER", post_only_tif="", reduce_only=False,
    good_till_date=False, types=_SPOT, weight=Limit(6000, 60), order_weight=1,
    orders=(Limit(100, 10), Limit(200_000, 86_400)), error_scope="spot",
)  # fmt: skip
USDM = Product(
    venue="BINANCE_USDM", market=Market.USDM, time="/fapi/v1/time", exchange_info="/fapi/v1/exchangeInfo",
    depth="/fapi/v1/depth", listen_key="/fapi/v1/listenKey", order="/fapi/v1/order",
    open_orders="/fapi/v1/openOrders", cancel_all="/fapi/v1/allOpenOrders", trades="/fapi/v1/userTrades",
    account="/fapi/v3/balance", positions="/fapi/v3/positionRisk", countdown="/fapi/v1/countdownCancelAll",
    margin_account="/fapi/v2/account", position_risk="/fapi/v2/positionRisk", brackets="/fapi/v1/leverageBracket",
    open_interest="/fapi/v1/openInterest", premium="/fapi/v1/premiumIndex", funding="/fapi/v1/fundingRate",
    asset_index="/fapi/v1/assetIndex",
    types=_FUTURES,
)  # fmt: skip
COINM = Product(
    venue="BINANCE_COINM", market=Market.COINM, time="/dapi/v1/time", exchange_info="/dapi/v1/exchangeInfo",
    depth="/dapi/v1/depth", listen_key="/dapi/v1/listenKey", order="/dapi/v1/order",
    open_orders="/dapi/v1/openOrders", cancel_all="/dapi/v1/allOpenOrders", trades="/dapi/v1/userTrades",
    account="/dapi/v1/balance", positions="/dapi/v1/positionRisk", countdown="/dapi/v1/countdownCancelAll",
    margin_account="/dapi/v1/account", position_risk="/dapi/v1/positionRisk", brackets="/dapi/v2/leverageBracket",
    open_interest="/dapi/v1/openInterest", premium="/dapi/v1/premiumIndex", funding="/dapi/v1/fundingRate",
    trades_weight=20, premium_weight=10, good_till_date=False, types=_FUTURES, orders=(Limit(1200, 60),),
)  # fmt: skip
PRODUCTS: Mapping[str, Product] = MappingProxyType({p.venue: p for p in (SPOT, USDM, COINM)})
assert PRODUCTS.keys() == VENUES.keys()


@dataclass(frozen=True)
class Endpoints:
    """Where a venue is: REST base, base of its streams, and its WS API whole; all else follows from these.

    Streams are `<stream>/stream?streams=…`, user events `<stream>/ws/<listen key>`. Where USDⓈ-M's streams are
    split by traffic (`…/public`), user events are on `…/private`.
    """

    rest: str
    stream: str
    ws_api: str

    def __post_init__(self) -> None:
        for name, schemes in (("rest", ("http://", "https://")), ("stream", ("ws://", "wss://")),
                              ("ws_api", ("ws://", "wss://"))):  # fmt: skip
            url = getattr(self, name)
            if not url.startswith(schemes):
                raise UserError(f"{name} = {url!r}: not a URL that begins with {' or '.join(schemes)}")
            object.__setattr__(self, name, url.rstrip("/"))
        object.__setattr__(self, "stream", self.stream.removesuffix("/stream"))

    def streams(self, names: list[str]) -> str:
        """The URL of a combined stream."""
        return f"{self.stream}/stream?streams={'/'.join(names)}"

    def user(self, listen_key: str) -> str:
        """The URL of the events that a listen key opens."""
        if self.stream.endswith("/public"):
            events = "ORDER_TRADE_UPDATE/ACCOUNT_UPDATE"
            return f"{self.stream.removesuffix('/public')}/private/ws?listenKey={listen_key}&events={events}"
        return f"{self.stream}/ws/{listen_key}"


REAL: Mapping[str, Endpoints] = MappingProxyType({
    "BINANCE": Endpoints(
        "https://api.binance.com", "wss://stream.binance.com:9443", "wss://ws-api.binance.com:443/ws-api/v3"
    ),
    "BINANCE_USDM": Endpoints(
        "https://fapi.binance.com", "wss://fstream.binance.com/public", "wss://ws-fapi.binance.com/ws-fapi/v1"
    ),
    "BINANCE_COINM": Endpoints(
        "https://dapi.binance.com", "wss://dstream.binance.com", "wss://ws-dapi.binance.com/ws-dapi/v1"
    ),
})  # fmt: skip
"""The exchange itself."""


def simulated(host: str, port: int, venue: str) -> Endpoints:
    """Where our own venue server has this venue."""
    name = {"BINANCE": "spot", "BINANCE_USDM": "usdm", "BINANCE_COINM": "coinm"}[product(venue).venue]
    return Endpoints(
        f"http://{host}:{port}", f"ws://{host}:{port}/{name}", f"ws://{host}:{port}/{name}/ws-api"
    )


def product(venue: str) -> Product:
    """The product behind a venue's name; raises `UserError`."""
    try:
        return PRODUCTS[venue]
    except KeyError:
        raise UserError(f"venue {venue!r} is not one of Binance's{nearest(venue, PRODUCTS)}") from None

"""Rate limits: request weight by address and minute, orders by account; counted and refused as Binance does."""

from __future__ import annotations

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.time import DAY, MINUTE, SECOND
from tidegate.venue.sim.call import VENUE_NAMES
from tidegate.venue.sim.config import VenueConfig
from tidegate.venue.sim.refusal import Refused

TEN = 10 * SECOND
BAN = 2 * MINUTE


class Window:
    """How much has been used in the present interval; intervals begin at whole multiples of their length."""

    __slots__ = ("_began", "_length", "used")

    def __init__(self, length: int) -> None:
        self._length, self._began, self.used = length, -1, 0

    def at(self, now: int) -> int:
        """What is used of the interval that `now` lies in."""
        began = now // self._length
        if began != self._began:
            self._began, self.used = began, 0
        return self.used

    def left(self, now: int) -> int:
        """Seconds until the next interval, rounded up."""
        return -(-(self._length - now % self._length) // SECOND)


class Limits:
    """All counters of the server."""

    def __init__(self, config: VenueConfig) -> None:
        self._limits = {market: config.limits(name) for market, name in VENUE_NAMES.items()}
        self._weights: dict[tuple[str, Market], Window] = {}
        self._orders: dict[tuple[int, Market], tuple[Window, Window]] = {}
        self._warned: dict[str, int] = {}
        self._banned: dict[str, int] = {}

    def weigh(self, address: str, market: Market, weight: int, now: int) -> None:
        """Charge a request; raises `Refused` 429, and 418 to whoever goes on in spite of it."""
        until = self._banned.get(address, 0)
        if until > now:
            raise self._over(
                418, -1003, f"Way too many requests; IP banned until {until // 1_000_000}.", until, now
            )
        window = self._weight(address, market)
        window.at(now)
        window.used += weight
        limit = self._limits[market]
        if window.used <= limit.weight_1m:
            self._warned.pop(address, None)
            return
        warned = self._warned[address] = self._warned.get(address, 0) + 1
        if warned > limit.ban_after:
            until = self._banned[address] = now + BAN
            self._warned.pop(address, None)
            raise self._over(
                418, -1003, f"Way too many requests; IP banned until {until // 1_000_000}.", until, now
            )
        text = f"Too many requests; current limit is {limit.weight_1m} request weight per 1 MINUTE."
        raise self._over(429, -1003, text, now + window.left(now) * SECOND, now)

    @staticmethod
    def _over(status: int, code: int, text: str, until: int, now: int) -> Refused:
        wait = max(1, -(-(until - now) // SECOND))
        return Refused(code, text, status, {"serverTime": now // 1_000_000, "retryAfter": wait})

    def _weight(self, address: str, market: Market) -> Window:
        return self._weights.setdefault((address, market), Window(MINUTE))

    def _order_windows(self, account: int, market: Market) -> tuple[Window, Window]:
        long = DAY if market is Market.SPOT else MINUTE
        return self._orders.setdefault((account, market), (Window(TEN), Window(long)))

    def order(self, account: int, market: Market, now: int) -> None:
        """Charge a new order; raises `Refused` −1015. Cancels are not charged."""
        limit = self._limits[market]
        short, long = self._order_windows(account, market)
        if short.at(now) >= limit.orders_10s:
            text = f"Too many new orders; current limit is {limit.orders_10s} orders per 10 SECOND."
            raise self._over(429, -1015, text, now + short.left(now) * SECOND, now)
        if long.at(now) >= limit.orders_long:
            per = "1 DAY" if market is Market.SPOT else "1 MINUTE"
            text = f"Too many new orders; current limit is {limit.orders_long} orders per {per}."
            raise self._over(429, -1015, text, now + long.left(now) * SECOND, now)
        short.used += 1
        long.used += 1

    def headers(self, address: str, account: int | None, market: Market, now: int) -> dict[str, str]:
        """What a REST answer says of them."""
        made = {"X-MBX-USED-WEIGHT-1M": str(self._weight(address, market).at(now))}
        if account is not None:
            short, long = self._order_windows(account, market)
            made["X-MBX-ORDER-COUNT-10S"] = str(short.at(now))
            made[f"X-MBX-ORDER-COUNT-{'1D' if market is Market.SPOT else '1M'}"] = str(long.at(now))
        return made

    def rows(self, market: Market) -> list[dict[str, object]]:
        """The limits themselves, as `exchangeInfo` lists them."""
        limit = self._limits[market]
        long = ("DAY", 1) if market is Market.SPOT else ("MINUTE", 1)
        return [
            _row("REQUEST_WEIGHT", "MINUTE", 1, limit.weight_1m),
            _row("ORDERS", "SECOND", 10, limit.orders_10s),
            _row("ORDERS", *long, limit.orders_long),
        ]

    def counted(self, address: str, account: int | None, market: Market, now: int) -> list[dict[str, object]]:
        """The limits and what is used of them, as every answer of the WebSocket API lists them."""
        rows = self.rows(market)
        used = [self._weight(address, market).at(now)]
        if account is None:
            rows = rows[:1]
        else:
            used += [window.at(now) for window in self._order_windows(account, market)]
        for row, count in zip(rows, used, strict=True):
            row["count"] = count
        return rows


def _row(kind: str, interval: str, count: int, limit: int) -> dict[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}

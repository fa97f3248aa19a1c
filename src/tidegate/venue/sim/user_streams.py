"""User streams: listen keys, who listens with them, and the events on their way, with the faults asked for."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable

import orjson

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.time import DAY, MINUTE, MS, SECOND
from tidegate.venue.sim.account import Account
from tidegate.venue.sim.events import money_event, moved_events, order_event
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.faults import Faults
from tidegate.venue.sim.listing import Listing
from tidegate.venue.sim.order import Order, Trade
from tidegate.venue.sim.record import Record
from tidegate.venue.sim.refusal import Refused
from tidegate.venue.sim.sockets import Outlet, Outlets, encode

LIFE = 60 * MINUTE
_TIMER = 0.002
"""Seconds by which a loop's timers may ring early."""
Whose = tuple[int, Market]


class UserStreams:
    """The exchange's `Listener`: turns what happens into events and sends them to their owners."""

    def __init__(self, outlets: Outlets, faults: Faults, record: Record, seed: int) -> None:
        self._outlets, self._faults, self._record, self._seed = outlets, faults, record, seed
        self.exchange: Exchange
        self._keys: dict[str, tuple[Account, Market, int]] = {}
        self._of: dict[Whose, str] = {}
        self._listening: dict[Whose, dict[Outlet, tuple[bytes, bytes]]] = {}
        self._tokens: dict[str, tuple[Account, int]] = {}
        self._made = 0
        self._delayed: deque[tuple[float, Account, Market, bytes]] = deque()
        """Events held back in their order, each with the loop's time it is due."""
        self.call_later: Callable[..., object] = lambda *_: None
        self.time: Callable[[], float] = lambda: 0.0

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop whose timers delay what is to be late."""
        self.call_later, self.time = loop.call_later, loop.time

    # Listen keys.

    def open_key(self, account: Account, market: Market, now: int) -> str:
        """An account's listen key of a market, good for an hour from now; the same while it is good."""
        whose = (account.number, market)
        key = self._of.get(whose)
        if key is None or self._keys[key][2] <= now:
            self._made += 1
            key = hashlib.sha256(f"{self._seed} {account.key} {market} {self._made}".encode()).hexdigest()
            self._of[whose] = key
        self._keys[key] = (account, market, now + LIFE)
        return key

    def close_key(self, account: Account, market: Market) -> None:
        """The key is good no more; its listeners are cut off."""
        key = self._of.pop((account.number, market), None)
        if key is not None:
            del self._keys[key]
            for outlet in list(self._listening.get((account.number, market), ())):
                outlet.cut()

    def keep(self, account: Account, market: Market, key: str, now: int) -> str:
        """Another hour; raises `Refused` −1125 for a key that is none."""
        key = key or self._of.get((account.number, market), "")
        known = self._keys.get(key)
        if known is None or known[0] is not account or known[1] is not market:
            raise Refused(-1125, "This listenKey does not exist.")
        self._keys[key] = (account, market, now + LIFE)
        return key

    def expire(self, now: int) -> None:
        """Tell the listeners of keys that nobody kept alive, and forget these keys."""
        for token, (account, until) in list(self._tokens.items()):
            if until <= now:
                del self._tokens[token]
                if not any(other is account for other, _ in self._tokens.values()):
                    self._send(
                        account, Market.SPOT, orjson.dumps({"e": "eventStreamTerminated", "E": now // MS})
                    )
                    self._listening.pop((account.number, Market.SPOT), None)
        for key, (account, market, until) in list(self._keys.items()):
            if until <= now:
                del self._keys[key]
                self._of.pop((account.number, market), None)
                event = {"e": "listenKeyExpired", "E": now // MS, "listenKey": key}
                self._send(account, market, orjson.dumps(event))

    def listens(self, outlet: Outlet, market: Market, key: str, now: int) -> bool:
        """Let a socket have the events of a listen key; False where it is none."""
        known = self._keys.get(key)
        if known is None or known[1] is not market or known[2] <= now:
            return False
        wrap = (b'{"stream":"' + key.encode() + b'","data":', b"}") if outlet.combined else (b"", b"")
        self.attach(outlet, known[0], market, wrap)
        return True

    def attach(self, outlet: Outlet, account: Account, market: Market, wrap: tuple[bytes, bytes]) -> None:
        """Let a socket have an account's events, each between these bytes."""
        outlet.owner = account.name
        if outlet.kind == "public":
            outlet.kind = "user"
        self._listening.setdefault((account.number, market), {})[outlet] = wrap

    def detach(self, outlet: Outlet) -> None:
        """A socket is gone."""
        for listening in self._listening.values():
            listening.pop(outlet, None)

    # Listen tokens, of margin accounts.

    def open_token(self, account: Account, now: int) -> tuple[str, int]:
        """A token, and until when (ns) it is good."""
        self._made += 1
        token = hashlib.sha256(f"{self._seed} {account.key} token {self._made}".encode()).hexdigest()
        self._tokens[token] = account, now + DAY
        return token, now + DAY

    def attach_by_token(
        self, outlet: Outlet, token: str, now: int, wrap: tuple[bytes, bytes]
    ) -> dict[str, int]:
        """Let a socket have a margin account's events; raises `Refused` −1209."""
        account, until = self._tokens.get(token, (None, 0))
        if account is None or until <= now:
            raise Refused(-1209, "The listenToken is invalid.")
        self.attach(outlet, account, Market.SPOT, wrap)
        return {"subscriptionId": 0, "expirationTime": until // MS}

    # What happens.

    def on_order(self, order: Order, happened: str, ts: int, trade: Trade | None) -> None:
        """See `exchange.Listener`."""
        self._record.happened(order, happened, ts, trade)
        if self._listening.get((order.account.number, order.listing.market)):
            self._report(order.account, order.listing.market, order_event(order, happened, ts, trade), ts)

    def on_money(self, account: Account, listing: Listing, ts: int, traded: bool) -> None:
        """See `exchange.Listener`."""
        if self._listening.get((account.number, listing.market)):
            event = money_event(account, listing, ts, self.exchange.mark)
            self._report(account, listing.market, event, ts)

    def on_moved(
        self, account: Account, market: Market, asset: str, units: int, reason: str, ts: int
    ) -> None:
        """See `exchange.Listener`."""
        if self._listening.get((account.number, market)):
            for event in moved_events(account, market, asset, units, reason, ts):
                self._report(account, market, event, ts)

    def _report(self, account: Account, market: Market, event: bytes, now: int) -> None:
        """Send an event, or let happen to it what faults are in force."""
        faults = self._faults
        if not faults.standing() and not self._delayed:
            self._send(account, market, event)
            return
        if faults.draw("drop_reports", now, account.name):
            return
        if faults.draw("malformed_user", now, account.name):
            event = event[: len(event) // 2]
        copies = 2 if faults.draw("duplicate_reports", now, account.name) else 1
        late = faults.draw("late_reports", now, account.name)
        slow = faults.draw("delay_reports", now, account.name)
        for _ in range(copies):
            if late is not None:
                self.call_later(faults.wait(late) / SECOND, self._send_now, account, market, event)
            elif slow is not None or self._delayed:
                wait = faults.wait(slow) / SECOND if slow is not None else 0.0
                due = max(self.time() + wait, self._delayed[-1][0] if self._delayed else 0.0)
                self._delayed.append((due, account, market, event))
                self.call_later(due - self.time(), self._send_delayed)
            else:
                self._send(account, market, event)

    def _send_delayed(self) -> None:
        while self._delayed and self._delayed[0][0] <= self.time() + _TIMER:
            self._send(*self._delayed.popleft()[1:])
        self._outlets.flush()

    def _send_now(self, account: Account, market: Market, event: bytes) -> None:
        self._send(account, market, event)
        self._outlets.flush()

    def _send(self, account: Account, market: Market, event: bytes) -> None:
        for outlet, (before, after) in self._listening.get((account.number, market), {}).items():
            self._outlets.push(outlet, encode(before + event + after if before else event))

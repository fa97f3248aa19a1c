"""Stream sockets: combined (`/stream`) and raw (`/ws`), by address or by SUBSCRIBE; listen keys among the names."""

from __future__ import annotations

from typing import Any

import orjson

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.clock import Clock
from tidegate.venue.sim.hub import Hub
from tidegate.venue.sim.sockets import Outlet, Outlets, encode
from tidegate.venue.sim.user_streams import UserStreams

_KEY_LENGTH = 64


class Streams:
    """What clients of stream sockets ask for."""

    def __init__(self, hub: Hub, users: UserStreams, outlets: Outlets, clock: Clock) -> None:
        self._hub, self._users, self._outlets, self._clock = hub, users, outlets, clock

    def subscribe(self, outlet: Outlet, market: Market, names: list[str]) -> bool:
        """Add streams and listen keys to a socket; False where a name can be neither."""
        good = True
        for name in names:
            if "@" in name:
                self._hub.subscribe(outlet, market, name)
            elif len(name) != _KEY_LENGTH or not self._users.listens(outlet, market, name, self._clock.now()):
                good = False
        return good

    def leave(self, outlet: Outlet, market: Market) -> None:
        """A socket is gone."""
        for name in list(outlet.names):
            self._hub.unsubscribe(outlet, market, name)
        self._users.detach(outlet)

    def handle(self, outlet: Outlet, market: Market, raw: bytes | str) -> None:
        """Answer SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS."""
        answer: dict[str, Any]
        try:
            asked = orjson.loads(raw)
            method, names = asked["method"], [str(name) for name in asked.get("params") or []]
            answer = {"result": None, "id": asked.get("id")}
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            method, names = "", []
            answer = {"error": {"code": 3, "msg": "Invalid JSON: expected a request"}, "id": None}
        if method == "SUBSCRIBE":
            if not self.subscribe(outlet, market, names):
                answer = {"error": {"code": 2, "msg": "Invalid request: unknown stream"}, "id": answer["id"]}
        elif method == "UNSUBSCRIBE":
            for name in names:
                self._hub.unsubscribe(outlet, market, name)
        elif method == "LIST_SUBSCRIPTIONS":
            answer["result"] = sorted(outlet.names)
        elif method:
            answer = {
                "error": {"code": 2, "msg": f"Invalid request: unknown method {method}"},
                "id": answer["id"],
            }
        self._outlets.push(outlet, encode(orjson.dumps(answer)))

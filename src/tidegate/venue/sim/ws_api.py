"""The WebSocket API: requests as JSON frames, each answered by one, with the rate limits beside it."""

from __future__ import annotations

from typing import Any

import orjson

from tidegate.marketdata.binance_instruments import Market
from tidegate.model.clock import Clock
from tidegate.model.time import SECOND
from tidegate.venue.sim.account import Account
from tidegate.venue.sim.call import Call
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.faults import Faults
from tidegate.venue.sim.limits import Limits
from tidegate.venue.sim.record import Record
from tidegate.venue.sim.refusal import Refused, missing
from tidegate.venue.sim.rest import asked_client_id, late, params_as_text
from tidegate.venue.sim.routes import Route, Security, Table
from tidegate.venue.sim.sign import account_of, check_signature, check_time
from tidegate.venue.sim.sockets import Outlet, Outlets, encode
from tidegate.venue.sim.user_streams import UserStreams

_SUBSCRIBE = "userDataStream.subscribe.signature"
_BY_TOKEN = "userDataStream.subscribe.listenToken"


_WRAP = (b'{"subscriptionId":0,"event":', b"}")


class SocketApi:
    """Answers the frames of WebSocket API connections."""

    def __init__(
        self, table: Table, exchange: Exchange, clock: Clock, limits: Limits, faults: Faults, record: Record,
        outlets: Outlets, streams: UserStreams,
    ) -> None:  # fmt: skip
        self._table, self._exchange, self._clock = table, exchange, clock
        self._limits, self._faults, self._record = limits, faults, record
        self._outlets, self._streams = outlets, streams

    def handle(self, outlet: Outlet, market: Market, raw: bytes | str, received: int) -> None:
        """Answer one frame, received at `received`."""
        ident: Any = None
        account: Account | None = None
        wait, status = 0, 200
        try:
            try:
                asked = orjson.loads(raw)
                ident, method = asked.get("id"), asked["method"]
                params = params_as_text(asked.get("params") or {})
            except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
                raise Refused(-1135, "Invalid JSON Request") from None
            route = self._table.get((market != 0, method))
            subscribes = method == _SUBSCRIBE and market is Market.SPOT
            by_token = method == _BY_TOKEN and market is Market.SPOT
            if route is None and not subscribes and not by_token:
                raise Refused(-1020, f"This operation is not supported: {method}")
            self._limits.weigh(outlet.address, market, route.weight if route else 2, received)
            if route is not None and route.security is Security.NONE:
                result = route.answer(market, params, received)
            elif by_token:
                result = self._streams.attach_by_token(outlet, params.get("listenToken", ""), received, _WRAP)
            else:
                account = self._account(params, route.security if route else Security.SIGNED, received)
                outlet.owner = account.name
                if self._faults.draw("drop_requests", received, account.name):
                    return
                call = Call(account, market, params, received)
                result, wait = self._ask(route, call, method, outlet)
            answer = {"id": ident, "status": 200, "result": result}
        except Refused as no:
            status = no.status
            answer = {"id": ident, "status": status, "error": no.body()}
            if account is not None:
                wait = self._wait
        self._wait = 0
        answer["rateLimits"] = self._limits.counted(
            outlet.address, account.number if account else None, market, received
        )
        frame = encode(orjson.dumps(answer))
        if wait == 0:
            self._outlets.push(outlet, frame)
        elif wait > 0:
            self._streams.call_later(wait / SECOND, self._send, outlet, frame)

    _wait = 0

    def _send(self, outlet: Outlet, frame: bytes) -> None:
        self._outlets.push(outlet, frame)
        self._outlets.flush()

    def _account(self, params: dict[str, str], security: Security, now: int) -> Account:
        if not params.get("apiKey"):
            raise missing("apiKey")
        account = account_of(self._exchange.by_key, params["apiKey"])
        if security is Security.SIGNED:
            signature = params.pop("signature", None)
            payload = "&".join([f"{name}={params[name]}" for name in sorted(params)])
            check_signature(account, payload.encode(), signature)
            check_time(params, now)
        return account

    def _ask(self, route: Route | None, call: Call, method: str, outlet: Outlet) -> tuple[Any, int]:
        """The answer, and how late it is to be. A refusal leaves its lateness in `_wait`."""
        no: Refused | None = None
        answer: Any = None
        try:
            if route is None:
                if not call.account.lends:  # else its spot account is empty, and nothing happens there
                    self._streams.attach(outlet, call.account, call.market, _WRAP)
                answer = {"subscriptionId": 0}
            else:
                answer = route.answer(call)
        except Refused as refused:
            no = refused
        self._wait = late(self._faults, call)
        self._record.request(
            call.now,
            call.account.name,
            method,
            call.params.get("symbol", ""),
            asked_client_id(call),
            self._clock.now(),
        )
        if no is not None:
            raise no
        return answer, self._wait

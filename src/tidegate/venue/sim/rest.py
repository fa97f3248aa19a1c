"""REST in Binance's dialect over aiohttp: reads a request, checks who asks, has it answered, writes headers."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from tidegate.model.clock import Clock
from tidegate.model.time import SECOND
from tidegate.venue.sim.account import Account
from tidegate.venue.sim.call import REST_PREFIX, Call
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.faults import Faults
from tidegate.venue.sim.limits import Limits
from tidegate.venue.sim.record import Record
from tidegate.venue.sim.refusal import Refused
from tidegate.venue.sim.routes import Route, Security, Table
from tidegate.venue.sim.sign import account_of, check_signature, check_time, unsigned
from tidegate.venue.sim.sockets import Outlets

SILENCE = 300.0
"""Seconds a connection whose answer is dropped is held open."""
_FAILURE = Refused(-1000, "An unknown error occurred while processing the request.", 500)


class Rest:
    """The handler of all `/api`, `/sapi`, `/fapi` and `/dapi` paths."""

    def __init__(
        self, table: Table, margin: Table, exchange: Exchange, clock: Clock, limits: Limits, faults: Faults, record: Record,
        outlets: Outlets,
    ) -> None:  # fmt: skip
        self._table, self._margin, self._exchange, self._clock = table, margin, exchange, clock
        self._limits, self._faults, self._record, self._outlets = limits, faults, record, outlets

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        received = self._clock.now()
        market = REST_PREFIX[request.match_info["api"]]
        path, version = request.match_info["path"], request.match_info["version"]
        name = f"{request.method} {path}"
        table = self._margin if request.match_info["api"] == "sapi" else self._table
        route = table.get((market != 0, f"{request.method} {version}/{path}"))
        route = route or table.get((market != 0, name))
        if route is None:
            text = f"Path {request.path}, Method {request.method} is invalid"
            return web.json_response({"code": -5000, "msg": text}, status=404)
        body = (await request.read()).decode("utf-8", "replace") if request.can_read_body else ""
        address = request.remote or ""
        account: Account | None = None
        wait, status, extra = 0, 200, {}
        try:
            self._limits.weigh(address, market, route.weight, received)
            query = request.rel_url.raw_query_string
            params = dict(parse_qsl(query, True) + parse_qsl(body, True))
            if route.security is Security.NONE:
                answer = route.answer(market, params, received)
            else:
                account = account_of(self._exchange.by_key, request.headers.get("X-MBX-APIKEY"))
                if route.security is Security.SIGNED:
                    _check(account, query, body, params, received)
                if self._faults.draw("drop_requests", received, account.name):
                    return await self._silence(request)
                answer, wait = self._ask(route, Call(account, market, params, received), name)
        except Refused as no:
            answer, status = no.body(), no.status
            if no.status in (418, 429) and no.data is not None:
                extra["Retry-After"] = str(no.data["retryAfter"])
        except Exception:
            self._exchange.count("requests_that_failed_inside")
            answer, status = _FAILURE.body(), _FAILURE.status
            self._outlets.flush()
            raise
        self._outlets.flush()
        if wait < 0:
            return await self._silence(request)
        if wait:
            await asyncio.sleep(wait / SECOND)
        headers = self._limits.headers(address, account.number if account else None, market, received)
        return web.Response(
            body=orjson.dumps(answer), status=status, content_type="application/json", headers=headers | extra
        )

    def _ask(self, route: Route, call: Call, name: str) -> tuple[Any, int]:
        """The answer, and how late it is to be (ns; below 0: never)."""
        try:
            answer: Any = route.answer(call)
        except Refused as no:
            answer = no
        wait = late(self._faults, call)
        self._record.request(
            call.now,
            call.account.name,
            name,
            call.params.get("symbol", ""),
            asked_client_id(call),
            self._clock.now(),
        )
        if isinstance(answer, Refused) and wait >= 0:
            raise answer
        return answer, wait

    async def _silence(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(SILENCE)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=504)


def _check(account: Account, query: str, body: str, params: dict[str, str], now: int) -> None:
    bare_query, in_query = unsigned(query)
    bare_body, in_body = unsigned(body)
    check_signature(account, (bare_query + bare_body).encode(), in_body or in_query)
    check_time(params, now)


def asked_client_id(call: Call) -> str:
    """The client id a request speaks of."""
    for name in ("newClientOrderId", "origClientOrderId", "cancelOrigClientOrderId"):
        if call.params.get(name):
            return call.params[name]
    return ""


def late(faults: Faults, call: Call) -> int:
    """How late an answer is to be, ns; −1: never."""
    if not faults.standing():
        return 0
    if faults.draw("drop_answers", call.now, call.account.name):
        return -1
    slow = faults.draw("delay_answers", call.now, call.account.name)
    return faults.wait(slow) if slow is not None else 0


def params_as_text(params: dict[str, Any]) -> dict[str, str]:
    """JSON values as a query would have them."""
    made: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, str):
            made[name] = value
        elif isinstance(value, bool):
            made[name] = "true" if value else "false"
        elif isinstance(value, int | float):
            made[name] = str(value)
        elif value is not None:
            made[name] = orjson.dumps(value).decode()
    return made

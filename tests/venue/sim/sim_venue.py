"""The simulated exchange for tests: a server over the sample capture, and a bare client written from Binance's docs."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from tidegate.model.time import SECOND
from tidegate.venue.sim.capture_files import load_capture
from tidegate.venue.sim.server import VenueServer

SAMPLE = Path(__file__).parents[3] / "data" / "sample"
PREFIX = {"spot": ("api", "v3"), "usdm": ("fapi", "v1"), "coinm": ("dapi", "v1")}
SYMBOL = {"spot": "BTCUSDT", "usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}
QTY = {"spot": "0.01000", "usdm": "0.010", "coinm": "5"}
FAR = {"spot": "60000.00", "usdm": "60000.0", "coinm": "60000.0"}
"""A bid that rests, well below the market."""
MARKETS = tuple(PREFIX)
FREE = {"weight_1m": 1_000_000, "orders_10s": 1_000_000, "orders_long": 1_000_000}
VENUES = ("BINANCE", "BINANCE_USDM", "BINANCE_COINM")
RICH = {
    "BINANCE": {"USDT": "100000", "BTC": "2"},
    "BINANCE_USDM": {"USDT": "100000"},
    "BINANCE_COINM": {"BTC": "3"},
}


def account(name="main", **more):
    return {"name": name, "api_key": f"key-{name}", "api_secret": f"secret-{name}", "balances": RICH} | more


def configuration(**more):
    made = {"accounts": [account()], "admin_token": "token", "rate_limits": dict.fromkeys(VENUES, FREE)}
    return made | more


@cache
def capture():
    """The packaged capture, read once a process."""
    return load_capture([SAMPLE])


@asynccontextmanager
async def serving(config=None, run=False, skip=30 * SECOND, **more):
    """A server with the market as it stands `skip` ns into the capture; it stands still unless told to `run`."""
    server = VenueServer.of_capture(capture(), config or configuration(), skip=skip, autostart=run, **more)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Client:
    """One account's bare client of one market."""

    def __init__(self, session, server, market="usdm", name="main"):
        self.session, self.server, self.market = session, server, market
        self.key, self.secret = f"key-{name}", f"secret-{name}".encode()
        self.api, self.version = PREFIX[market]
        self.socket = None
        self.number = 0

    def signature(self, text):
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()

    async def rest(self, method, path, signed=True, version=None, headers=None, raw=None, **params):
        """(status, body, headers) of a request; `raw` is the whole query as it is."""
        if raw is None:
            if signed:
                params.setdefault("timestamp", int(time.time() * 1000))
            raw = urlencode(params)
            if signed:
                raw += f"&signature={self.signature(raw)}"
        url = f"{self.server.url}/{self.api}/{version or self.version}/{path}?{raw}"
        sent = {"X-MBX-APIKEY": self.key} if headers is None else headers
        async with self.session.request(
            method, aiohttp.client.URL(url, encoded=True), headers=sent
        ) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    async def good(self, method, path, **more):
        """The body of a request that must succeed."""
        status, body, _ = await self.rest(method, path, **more)
        assert status == 200, body
        return body

    async def code(self, method, path, **more):
        """The error code of a request that must fail."""
        status, body, _ = await self.rest(method, path, **more)
        assert status >= 400, body
        return body["code"]

    def order(self, **more):
        """The parameters of a small limit order that rests."""
        made = {"symbol": SYMBOL[self.market], "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        made |= {"quantity": QTY[self.market], "price": FAR[self.market]}
        made |= more
        return {name: value for name, value in made.items() if value is not None}

    async def place(self, **more):
        return await self.good("POST", "order", **self.order(**more))

    async def refused(self, **more):
        return await self.code("POST", "order", **self.order(**more))

    def signed(self, **params):
        """Parameters of the WebSocket API, signed."""
        params |= {"apiKey": self.key, "timestamp": int(time.time() * 1000)}
        text = "&".join(f"{name}={params[name]}" for name in sorted(params))
        return params | {"signature": self.signature(text)}

    async def ask(self, method, **params):
        """The answer of the WebSocket API to a signed request."""
        return await self.ask_raw(method, self.signed(**params))

    async def ask_raw(self, method, params):
        if self.socket is None:
            self.socket = await self.session.ws_connect(f"{self.server.url}/{self.market}/ws-api")
        self.number += 1
        await self.socket.send_str(json.dumps({"id": self.number, "method": method, "params": params}))
        answer = json.loads((await self.socket.receive(5)).data)
        assert answer["id"] == self.number
        return answer

    async def user(self):
        """A user stream; read with `next_event`."""
        path = "userDataStream" if self.market == "spot" else "listenKey"
        key = (await self.good("POST", path, signed=False))["listenKey"]
        return await self.session.ws_connect(f"{self.server.url}/{self.market}/ws/{key}")

    def admin(self):
        return Admin(self.session, self.server)


class Admin:
    """The server's administration."""

    def __init__(self, session, server):
        self.session, self.server = session, server

    async def __call__(self, method, path, token="token", **body):
        async with self.session.request(
            method, f"{self.server.url}/admin/{path}", json=body, headers={"X-Admin-Token": token}
        ) as answer:
            return answer.status, await answer.json(content_type=None)


@asynccontextmanager
async def trading(market="usdm", config=None, **more):
    """(server, client) of one market."""
    async with serving(config, **more) as server, aiohttp.ClientSession() as session:
        yield server, Client(session, server, market)


async def next_event(socket, kind=None, timeout=5):
    """The next event of a stream, or the next of a kind."""
    while True:
        message = await socket.receive(timeout)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        event = json.loads(message.data)
        if kind is None or event["e"] == kind:
            return event


def order_of(event):
    """The order's fields of an event of any market."""
    return event["o"] if event["e"] == "ORDER_TRADE_UPDATE" else event


def run(scenario):
    """Run a coroutine function to its end."""
    return asyncio.run(asyncio.wait_for(scenario(), 60))

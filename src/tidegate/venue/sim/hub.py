"""Public streams: who has subscribed to what, and each frame built once for all of them."""

from __future__ import annotations

from tidegate.marketdata.binance_instruments import Market
from tidegate.venue.sim.sockets import Outlet, Outlets, encode

Key = tuple[Market, str, str]
"""A stream without its pace: market, symbol in lower case, kind (`depth`, `bookTicker`, `trade`, `aggTrade`)."""


class Channel:
    """The subscribers of one stream: by the name they asked for it on combined sockets, and on raw ones."""

    __slots__ = ("named", "raw")

    def __init__(self) -> None:
        self.named: dict[str, tuple[bytes, set[Outlet]]] = {}
        self.raw: set[Outlet] = set()

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self.raw or self.named)


class Hub:
    """Subscriptions, and `publish` to them."""

    def __init__(self, outlets: Outlets) -> None:
        self._outlets = outlets
        self._channels: dict[Key, Channel] = {}
        self.cut_next = 0
        """So many frames are still to be cut off in their middle, on demand."""

    @staticmethod
    def key(market: Market, name: str) -> Key:
        """The stream a name means: `btcusdt@depth@100ms` and `btcusdt@depth` are the same recorded one."""
        symbol, _, rest = name.partition("@")
        return market, symbol, rest.partition("@")[0]

    def channel(self, key: Key) -> Channel:
        """The channel of a stream; it lives as long as the server."""
        found = self._channels.get(key)
        if found is None:
            found = self._channels[key] = Channel()
        return found

    def subscribe(self, outlet: Outlet, market: Market, name: str) -> None:
        """Send a stream to a socket."""
        channel = self.channel(self.key(market, name))
        outlet.names.add(name)
        if outlet.combined:
            prefix = b'{"stream":"' + name.encode() + b'","data":'
            channel.named.setdefault(name, (prefix, set()))[1].add(outlet)
        else:
            channel.raw.add(outlet)

    def unsubscribe(self, outlet: Outlet, market: Market, name: str) -> None:
        """Send it no more."""
        channel = self.channel(self.key(market, name))
        outlet.names.discard(name)
        channel.raw.discard(outlet)
        if name in channel.named:
            channel.named[name][1].discard(outlet)
            if not channel.named[name][1]:
                del channel.named[name]

    def publish(self, channel: Channel, data: bytes) -> None:
        """Push one frame's data to whoever listens."""
        if self.cut_next:
            self.cut_next -= 1
            data = data[: len(data) // 2]
            for _, outlets in channel.named.values():
                for outlet in outlets:
                    self._outlets.push(outlet, encode(data))
            return
        push = self._outlets.push
        for prefix, outlets in channel.named.values():
            frame = encode(prefix + data + b"}")
            for outlet in outlets:
                push(outlet, frame)
        if channel.raw:
            frame = encode(data)
            for outlet in channel.raw:
                push(outlet, frame)

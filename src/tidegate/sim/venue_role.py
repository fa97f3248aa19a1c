"""The simulated venue as a role: a recorded market, or agents, behind `venue.sim`'s server."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import Directory
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.venue.sim.agents import AgentsConfig
from tidegate.venue.sim.capture_files import load_capture
from tidegate.venue.sim.config import AccountConfig, FundingRule, RateLimits, VenueConfig
from tidegate.venue.sim.server import VenueServer

_HOUR_OF_A_LOAN = "0.00001"
_ROOMY = RateLimits(weight_1m=60_000, orders_10s=20_000, orders_long=1_000_000)


class Simulated(Protocol):
    """What of the configuration's `[simulated]` is needed here."""

    @property
    def agents(self) -> Mapping[str, dict[str, Any]]: ...
    @property
    def funding(self) -> Mapping[str, dict[str, Any]]: ...
    @property
    def open_interest(self) -> Mapping[str, str]: ...
    @property
    def speed(self) -> float: ...
    @property
    def loop(self) -> bool: ...
    @property
    def balance(self) -> Decimal: ...
    @property
    def balances(self) -> Mapping[str, Decimal]: ...
    @property
    def seed(self) -> int: ...
    @property
    def fill(self) -> str: ...
    @property
    def limits(self) -> str: ...


class VenueRole:
    """Runs the server. `accounts` maps each to its key file; `borrowers` are margin accounts on spot; `listening(url,
    admin token)` is told once it listens."""

    def __init__(
        self,
        universe: Universe,
        section: Simulated,
        captures: list[Path],
        accounts: Mapping[str, Path],
        port: int,
        clock: Clock,
        listening: Callable[[str, str], None],
        borrowers: frozenset[str] = frozenset(),
    ) -> None:
        self._borrowers = borrowers
        self._token = secrets.token_urlsafe(24)
        self._port, self._listening = port, listening
        config = self._config(universe, section, accounts)
        if section.agents:
            self.server = VenueServer.of_agents(universe, _agents(section.agents), config, clock=clock)
            return
        capture = load_capture(captures, Directory(universe.instruments))
        self.server = VenueServer.of_capture(
            capture, config, clock=clock, speed=section.speed, loop=section.loop, autostart=False
        )

    def _config(self, universe: Universe, section: Simulated, accounts: Mapping[str, Path]) -> VenueConfig:
        made = []
        wallets: dict[str, dict[str, str]] = {}
        for item in universe.instruments:
            wallet = wallets.setdefault(item.venue, {})
            for asset in {item.settle_currency, *((item.base, item.quote) if item.cash else ())}:
                wallet[asset] = str(section.balances.get(asset, section.balance))
        for name, path in accounts.items():
            keys = tomllib.loads(path.read_text())
            made.append(
                AccountConfig(
                    name=name, api_key=keys["key"], api_secret=keys["secret"], balances=wallets,
                    spot="margin" if name in self._borrowers else "cash",
                )
            )  # fmt: skip
        limits = dict.fromkeys(wallets, _ROOMY) if section.limits == "roomy" else {}
        try:
            funding = msgspec.convert(dict(section.funding), dict[str, FundingRule])
        except msgspec.ValidationError as error:
            raise UserError(f"simulated.funding: {error}") from None
        made_of = VenueConfig(
            accounts=made, rate_limits=limits, admin_token=self._token, fill=section.fill, spot_fee="quote",
            seed=section.seed, funding=funding, open_interest=dict(section.open_interest),
            lending=dict.fromkeys(wallets.get("BINANCE", {}), _HOUR_OF_A_LOAN) if self._borrowers else {},
        )  # fmt: skip
        made_of.check()
        return made_of

    async def start(self) -> None:
        """Listen; the market runs once `/admin/start` is asked for."""
        await self.server.start(port=self._port)
        self._listening(self.server.url, self._token)

    async def stop(self) -> None:
        """Cut every connection."""
        await self.server.stop()

    def health(self) -> dict[str, Any]:
        """As in `ops.health`."""
        found = self.server.health()
        counters = {
            **found.pop("counters", {}),
            **{f"fault_{k}": v for k, v in found.pop("faults", {}).items()},
        }
        broken = str(found.get("broken") or "")
        return {"ok": not broken, "why": broken, "venue": found, "counters": counters}


def _agents(section: Mapping[str, dict[str, Any]]) -> dict[str, AgentsConfig]:
    try:
        return {name: msgspec.convert(table, AgentsConfig) for name, table in section.items()}
    except msgspec.ValidationError as error:
        raise UserError(f"simulated.agents: {error}") from None

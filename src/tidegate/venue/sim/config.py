"""What the simulated exchange is started with: accounts, limits, how orders fill, how time runs."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.errors import UserError
from tidegate.kernel.engine import FILL_MODELS
from tidegate.kernel.queue import QUEUE_MODELS
from tidegate.marketdata.binance_instruments import VENUES
from tidegate.model import money
from tidegate.model.scale import ScaleError


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account: one key, a wallet on each market. Amounts are decimal text, by market and asset."""

    name: str
    api_key: str
    api_secret: str
    owner: str = ""
    """Self-trade prevention acts between accounts of one owner; the account's own name when empty."""
    balances: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    leverage: int = 20
    spot: str = "cash"
    """`margin`: its wallets on spot are those of a cross margin account, which is lent to; its spot account is empty."""
    multi_assets: bool = False
    """USDⓈ-M: all wallets stand behind all positions, each asset for what `collateral` says."""

    def __repr__(self) -> str:
        return f"AccountConfig({self.name!r})"  # never the secret


class FundingRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a perpetual pays, decimal text of at most eight places, and how often, seconds."""

    rate: str = "0.0001"
    every: float = 28_800.0


class CollateralRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What USDⓈ-M takes an asset for in multi-assets mode: its index in USD, decimal text or the contract whose mark it
    is, and by how much less it counts (`bidBuffer`)."""

    index: str = "1"
    buffer: str = "0"


class RateLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one market allows: request weight a minute and address, orders in 10 s and in the long window."""

    weight_1m: int
    orders_10s: int
    orders_long: int
    """Orders a day on spot, a minute on the futures markets."""
    ban_after: int = 10
    """Requests sent in spite of 429 until the address is banned (418)."""


DEFAULT_LIMITS = {
    "BINANCE": RateLimits(weight_1m=6000, orders_10s=100, orders_long=200_000),
    "BINANCE_USDM": RateLimits(weight_1m=2400, orders_10s=300, orders_long=1200),
    "BINANCE_COINM": RateLimits(weight_1m=2400, orders_10s=300, orders_long=1200),
}


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole server. `load` makes one of a dict, as a configuration file has it."""

    accounts: list[AccountConfig] = msgspec.field(default_factory=list)
    rate_limits: dict[str, RateLimits] = msgspec.field(default_factory=dict)
    admin_token: str = ""
    """Opens `/admin`; without one there is no `/admin`."""
    fill: str = "no_partial"
    queue: str = "power"
    queue_exponent: float = 2.0
    spot_fee: str = "received"
    """Commission of a spot trade in the asset received, as Binance takes it, or always in the `quote`."""
    max_open_orders: int = 200
    """Of one account in one symbol."""
    history: int = 20_000
    """Orders and trades an account's queries can still see; older ones are forgotten."""
    record: int = 10_000_000
    """Entries of the venue's own record (`/admin/record`); kept in a temporary file; what comes after is counted."""
    seed: int = 1
    funding: dict[str, FundingRule] = msgspec.field(default_factory=dict)
    """By contract (`SYMBOL.VENUE`); one that is not named is not funded."""
    open_interest: dict[str, str] = msgspec.field(default_factory=dict)
    """What others hold of a contract, base units (contracts on COIN-M), beside this exchange's own accounts."""

    collateral: dict[str, CollateralRule] = msgspec.field(default_factory=dict)
    """By asset; USDT is worth 1, what is not named counts for nothing."""
    lending: dict[str, str] = msgspec.field(default_factory=dict)
    """What an hour of a loan costs, by asset, decimal text ("0.00001" of it); what is not named is not lent."""

    @staticmethod
    def load(raw: dict[str, Any]) -> VenueConfig:
        """Check a dict and make a configuration of it; raises `UserError` saying what is wrong."""
        try:
            made = msgspec.convert(raw, VenueConfig)
        except msgspec.ValidationError as error:
            raise UserError(f"the simulated venue's configuration: {error}") from None
        made.check()
        return made

    def check(self) -> None:
        """Raise `UserError` for what no type can say."""
        for what, value, known in (
            ("fill", self.fill, FILL_MODELS),
            ("queue", self.queue, QUEUE_MODELS),
            ("spot_fee", self.spot_fee, ("received", "quote")),
        ):
            if value not in known:
                raise UserError(f"the simulated venue's {what} is {value!r}; one of: {', '.join(known)}")
        for attribute in ("name", "api_key"):
            values = [getattr(item, attribute) for item in self.accounts]
            if len(set(values)) != len(values):
                raise UserError(f"two accounts of the simulated venue have the same {attribute}")
        for market in [*self.rate_limits, *(m for item in self.accounts for m in item.balances)]:
            if market not in VENUES:
                raise UserError(
                    f"the simulated venue knows no market {market!r}; one of: {', '.join(VENUES)}"
                )
        for name, rule in self.funding.items():
            try:
                money.to_units(rule.rate.lstrip("-"), "USDT")
            except ScaleError:
                raise UserError(
                    f"the simulated venue's funding of {name}: rate {rule.rate!r} is none"
                ) from None
            if not rule.every >= 0.001:
                raise UserError(f"the simulated venue's funding of {name}: every {rule.every} s is too often")
        for item in self.accounts:
            if item.spot not in ("cash", "margin"):
                raise UserError(
                    f"account {item.name!r} of the simulated venue: spot is {item.spot!r}, must be cash or margin"
                )
            if not item.api_key or not item.api_secret:
                raise UserError(f"account {item.name!r} of the simulated venue needs api_key and api_secret")

    def limits(self, venue: str) -> RateLimits:
        """The rate limits of a market."""
        return self.rate_limits.get(venue) or DEFAULT_LIMITS[venue]

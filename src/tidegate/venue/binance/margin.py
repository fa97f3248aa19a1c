"""What a futures product says of an account's margin, and of its tiers: three signed questions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tidegate.risk.margin import file as margin_file
from tidegate.risk.margin.compare import VenueAsset, VenueMargin, VenuePosition, VenueWallet
from tidegate.risk.margin.file import Margins
from tidegate.venue.binance.errors import VenueError
from tidegate.venue.binance.limits import POLLS
from tidegate.venue.binance.products import Product
from tidegate.venue.binance.rest import Rest
from tidegate.venue.binance.symbols import Symbol, Symbols
from tidegate.venue.port import VenueDown

Json = dict[str, Any]


class MarginQueries:
    """Asks about one account at one futures product."""

    def __init__(self, product: Product, rest: Rest, symbols: Symbols) -> None:
        self._product, self._rest, self._symbols = product, rest, symbols

    async def tiers(self) -> dict[str, Margins]:
        """The account's own tiers by symbol (`leverageBracket`); raises `VenueDown`, or `UserError` for an answer that
        makes no table."""
        rows = await self._ask(self._product.brackets, 1)
        return margin_file.brackets(rows, f"{self._product.venue}: {self._product.brackets}")

    async def margin(self, with_tiers: bool = False) -> VenueMargin:
        """What the venue asks for and of what; raises `VenueDown`."""
        tiers = await self.tiers() if with_tiers else {}
        account = await self._ask(self._product.margin_account, 5)
        together = bool(self._product.asset_index and account.get("multiAssetsMargin"))
        index = await self._index() if together else []
        risks = {row["symbol"]: row for row in await self._ask(self._product.position_risk, 5)}
        try:
            wallets = {row["asset"]: _wallet(row) for row in account["assets"]}
            assets = {row["symbol"].removesuffix("USD"): _asset(row) for row in index}
            positions = [
                self._position(self._symbols.by_name[row["symbol"]], row, risks[row["symbol"]])
                for row in account["positions"]
                if row["symbol"] in self._symbols.by_name and row["symbol"] in risks
            ]
        except (KeyError, TypeError, ArithmeticError, ValueError) as error:
            raise VenueDown(f"{self._product.venue}: margin: not understood: {error!r}") from None
        held = {name: asset for name, asset in assets.items() if name in wallets}
        if together and not held:
            raise VenueDown(f"{self._product.venue}: margin: no asset of a multi-assets account has an index")
        return VenueMargin(self._rest.venue_now(), wallets, positions, tiers, held)

    async def _index(self) -> Any:
        try:
            return await self._rest.public(self._product.asset_index, None, 10, POLLS)
        except VenueError as error:
            raise VenueDown(f"{self._product.venue}: margin: {error}") from None

    async def _ask(self, path: str, weight: int) -> Any:
        try:
            return await self._rest.signed("GET", path, {}, weight, share=POLLS)
        except VenueError as error:
            raise VenueDown(f"{self._product.venue}: margin: {error}") from None

    def _position(self, symbol: Symbol, row: Json, risk: Json) -> VenuePosition:
        alone = bool(row.get("isolated")) or risk.get("marginType") == "isolated"
        return VenuePosition(
            instrument=symbol.number,
            lots=symbol.qty.steps(risk["positionAmt"]),
            entry=Decimal(risk["entryPrice"]),
            mark=Decimal(risk["markPrice"]),
            initial=Decimal(row["positionInitialMargin"]),
            maintenance=Decimal(row["maintMargin"]),
            liquidation=max(Decimal(risk["liquidationPrice"]), Decimal(0)),
            leverage=int(risk["leverage"]),
            isolated=Decimal(risk["isolatedMargin"]) - Decimal(risk["unRealizedProfit"]) if alone else None,
        )


def _wallet(row: Mapping[str, str]) -> VenueWallet:
    return VenueWallet(
        Decimal(row["crossWalletBalance"]), Decimal(row["initialMargin"]), Decimal(row["maintMargin"])
    )


def _asset(row: Mapping[str, str]) -> VenueAsset:
    return VenueAsset(Decimal(row["index"]), Decimal(row["bidRate"]))

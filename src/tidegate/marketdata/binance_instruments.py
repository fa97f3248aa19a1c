"""The Binance markets that captures hold: instruments as listed in August 2024, and how frames name them.

Grids, limits and fees are those of Binance's `exchangeInfo` and fee schedule (VIP 0) at that time; margins
are those of the first leverage bracket. A capture of other symbols brings definitions of its own
(`--instruments`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import IntEnum

from tidegate.model.instrument import Instrument, InstrumentKind


class Market(IntEnum):
    """Binance's three markets; each has its own frames, rules and venue name."""

    SPOT = 0
    USDM = 1
    COINM = 2

    @property
    def futures(self) -> bool:
        """Frames carry transaction time and the previous update id."""
        return self is not Market.SPOT


VENUES = {"BINANCE": Market.SPOT, "BINANCE_USDM": Market.USDM, "BINANCE_COINM": Market.COINM}


def market_of(instrument: Instrument) -> Market:
    """The Binance market an instrument belongs to; raises `ValueError` for another venue's."""
    try:
        return VENUES[instrument.venue]
    except KeyError:
        raise ValueError(
            f"{instrument.id} is not a Binance instrument; venues: {', '.join(VENUES)}"
        ) from None


def _spot(base: str, lot: str, max_qty: str) -> Instrument:
    return Instrument(
        symbol=f"{base}USDT", venue="BINANCE", kind=InstrumentKind.SPOT, base=base, quote="USDT",
        tick=Decimal("0.01"), lot=Decimal(lot), min_qty=Decimal(lot), max_qty=Decimal(max_qty),
        min_notional=Decimal(5), maker_fee=Decimal("0.001"), taker_fee=Decimal("0.001"),
    )  # fmt: skip


def _usdm(base: str, tick: str, max_qty: str, min_notional: str) -> Instrument:
    return Instrument(
        symbol=f"{base}USDT", venue="BINANCE_USDM", kind=InstrumentKind.PERPETUAL, base=base, quote="USDT",
        settle="USDT", tick=Decimal(tick), lot=Decimal("0.001"), min_qty=Decimal("0.001"),
        max_qty=Decimal(max_qty), min_notional=Decimal(min_notional), maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"), initial_margin=Decimal("0.008"), maintenance_margin=Decimal("0.004"),
        underlying=f"{base}USDT",
    )  # fmt: skip


def _coinm(base: str, tick: str, contract: str, initial: str, maintenance: str) -> Instrument:
    return Instrument(
        symbol=f"{base}USD_PERP", venue="BINANCE_COINM", kind=InstrumentKind.INVERSE_PERPETUAL, base=base,
        quote="USD", settle=base, tick=Decimal(tick), lot=Decimal(1), multiplier=Decimal(contract),
        min_qty=Decimal(1), max_qty=Decimal(1_000_000), maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"), initial_margin=Decimal(initial), maintenance_margin=Decimal(maintenance),
        underlying=f"{base}USD",
    )  # fmt: skip


BINANCE: tuple[Instrument, ...] = (
    _spot("BTC", "0.00001", "9000"),
    _spot("ETH", "0.0001", "9000"),
    _usdm("BTC", "0.1", "1000", "100"),
    _usdm("ETH", "0.01", "10000", "20"),
    _coinm("BTC", "0.1", "100", "0.008", "0.004"),
    _coinm("ETH", "0.01", "10", "0.01", "0.005"),
)
"""The six captured markets."""


class Directory:
    """The instruments a parser knows, numbered, and found as frames name them: by symbol, spot or futures.

    The same symbol may be listed on spot and on USDⓈ-M, never on both futures markets.
    """

    def __init__(self, instruments: Iterable[Instrument] = BINANCE) -> None:
        self.instruments: Sequence[Instrument] = tuple(instruments)
        self.markets = tuple(market_of(item) for item in self.instruments)
        self._number: dict[tuple[str, bool], int] = {}
        for number, (item, market) in enumerate(zip(self.instruments, self.markets, strict=True)):
            key = (item.symbol, market.futures)
            if key in self._number:
                raise ValueError(
                    f"{item.id} and {self.instruments[self._number[key]].id} have the same frames"
                )
            self._number[key] = number

    def find(self, symbol: str, futures: bool) -> int:
        """The number of the instrument that a frame of this shape means, −1 when it is unknown."""
        return self._number.get((symbol, futures), -1)

    def symbols(self, futures: bool) -> list[str]:
        """Every symbol known on spot, or on the futures markets."""
        return [symbol for symbol, shape in self._number if shape is futures]

"""Binance: spot, USDⓈ-M and COIN-M, as feeds of market data and as venues to trade at."""

"""An exchange as a server of its own, in Binance's dialect: a recorded or a simulated market, our orders on it."""

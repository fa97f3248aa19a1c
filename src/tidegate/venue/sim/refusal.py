"""What the exchange says no with: Binance's codes and texts, each in one place."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """A request that is refused: Binance's code and text, and the HTTP status it comes with."""

    def __init__(self, code: int, text: str, status: int = 400, data: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text, self.status, self.data = code, text, status, data

    def body(self) -> dict[str, Any]:
        """The error as REST gives it, and as the WebSocket API nests it."""
        made: dict[str, Any] = {"code": self.code, "msg": self.text}
        if self.data is not None:
            made["data"] = self.data
        return made


def missing(name: str) -> Refused:
    """A mandatory parameter that is not there."""
    return Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str) -> Refused:
    """A parameter that cannot be read."""
    return Refused(-1100, f"Illegal characters found in parameter '{name}'.")


def filter_failure(name: str) -> Refused:
    """A spot order that does not pass one of its symbol's filters."""
    return Refused(-1013, f"Filter failure: {name}")


def unknown_symbol() -> Refused:
    return Refused(-1121, "Invalid symbol.")


def unknown_order(cancel: bool) -> Refused:
    """No such order: −2011 to a cancel, −2013 to a query."""
    return Refused(-2011, "Unknown order sent.") if cancel else Refused(-2013, "Order does not exist.")


def bad_order_type() -> Refused:
    return Refused(-1116, "Invalid orderType.")


def halted(futures: bool) -> Refused:
    """The symbol does not trade now."""
    if futures:
        return Refused(-4140, "Invalid symbol status for opening position.")
    return Refused(-1013, "Market is closed.")


def beyond_band(futures: bool, buy: bool, bound: str) -> Refused:
    """A limit price beyond the symbol's band."""
    if futures:
        code, word = (-4016, "higher") if buy else (-4024, "lower")
        return Refused(code, f"Limit price can't be {word} than {bound}.")
    return filter_failure("PERCENT_PRICE_BY_SIDE")


def would_take(futures: bool) -> Refused:
    """A post-only order that would trade on arrival."""
    if futures:
        return Refused(
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be rejected. "
            "The order will not be recorded in the order history",
        )
    return Refused(-2010, "Order would immediately match and take.")


def no_balance(futures: bool) -> Refused:
    """Not enough money."""
    if futures:
        return Refused(-2019, "Margin is insufficient.")
    return Refused(-2010, "Account has insufficient balance for requested action.")


def duplicate_client_id(futures: bool) -> Refused:
    """An open order has this client order id."""
    if futures:
        return Refused(-4116, "ClientOrderId is duplicated.")
    return Refused(-2010, "Duplicate order sent.")

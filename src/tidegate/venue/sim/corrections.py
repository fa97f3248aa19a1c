"""What a venue does after the fact: trades taken back or corrected, and a fill behind a cancel's acknowledgement."""

from __future__ import annotations

from tidegate.model.order import OrdStatus
from tidegate.venue.sim.events import BUST, CORRECT
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.order import Order, Trade


def find_trade(exchange: Exchange, ident: int) -> Trade | None:
    """The trade with this id, of any account."""
    for account in exchange.accounts:
        if ident in account.trades:
            return account.trades[ident]
    return None


def amend_trade(exchange: Exchange, trade: Trade, qty: int, price: int, now: int) -> bool:
    """Take a trade back (`qty` 0, lots) or change its quantity and price (ticks); False where it is too old.

    Money, position and the order's figures follow; the order's status stays. The owner is told by an event.
    """
    order, account = trade.order, trade.order.account
    old_qty, old_price = trade.qty, trade.price
    old_value = order.listing.value(old_qty, old_price)
    if trade.busted or not account.amend(trade, qty, price):
        return False
    order.cum += qty - old_qty
    order.value -= order.listing.weight(old_qty, old_price)
    order.value += order.listing.weight(qty, price) if qty else 0
    order.turnover += (order.listing.value(qty, price) if qty else 0) - old_value
    order.ts_update = now
    if not qty:
        trade.busted = True
        trade.qty, trade.price = old_qty, old_price
    exchange.listener.on_order(order, CORRECT if qty else BUST, now, trade)
    exchange.listener.on_money(account, order.listing, now, True)
    return True


def fill_after_cancel(exchange: Exchange, order: Order, qty: int, now: int) -> None:
    """A canceled order turns out to have traded `qty` lots at its price before the cancel took hold."""
    qty = min(qty, order.qty - order.cum)
    if qty <= 0 or order.status is not OrdStatus.CANCELED:
        return
    exchange.trade(order, qty, order.resting_price, True, now)

"""What a venue says that an account holds beside what our books hold, and which of the venue's trades explain a
difference. Pure: `venue.gateway.holdings` looks, people adopt what is left (`execution.adopt`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tidegate.execution.lane_view import ViewOrder
from tidegate.execution.reconcile_plan import HistoryFill


class Holding(msgspec.Struct, frozen=True):
    """One instrument of an account: signed lots at the venue and in our books, and of those what no strategy holds.

    `entry` is the venue's average entry price, as it says it (empty: it does not); `price` the same to the nearest tick.
    `lost` are lots that the venue's trades of our own orders have and our books have not, `foreign` those of orders that
    are not ours, both signed; `trades` names them.
    """

    instrument: str
    venue: int
    ours: int
    nobody: int = 0
    entry: str = ""
    price: int = 0
    tick: str = ""
    value: str = ""
    """Of what the venue has, at its average price, in `currency`."""
    currency: str = ""
    moving: bool = False
    """It moved while we looked."""
    lost: int = 0
    foreign: int = 0
    trades: tuple[str, ...] = ()

    @property
    def gap(self) -> int:
        """What the venue has more than our books."""
        return self.venue - self.ours


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway's answer to `holdings`. `orders` are open orders of others, in words."""

    ok: bool = True
    do: str = ""
    error: str = ""
    venue: str = ""
    account: str = ""
    lane: int = -1
    """Whose log the account's fills are in."""
    ts: int = 0
    """When the look began, ns."""
    since: int = 0
    """The venue's trades were read from here on, ns."""
    rows: tuple[Holding, ...] = ()
    orders: tuple[str, ...] = ()


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """One line that two people have seen and sign: exactly this is adopted, or nothing. `given`: `lots` are nobody's in
    our books, and become the strategy's."""

    instrument: str
    venue: int
    ours: int
    lots: int
    price: int
    given: bool = False


def shown_in(text: str) -> list[Shown]:
    """The lines of a signed command; raises `ValueError`."""
    try:
        found = msgspec.json.decode(text, type=list[Shown])
    except ValueError as error:
        raise ValueError(f"positions: {error}") from None
    ids = [one.instrument for one in found]
    if not found or len(set(ids)) < len(ids):
        raise ValueError("positions: each instrument once, and at least one")
    return found


def unlike(shown: Shown, now: Holding | None) -> str:
    """Why what people were shown is not what there is now; empty where it is."""
    if now is None:
        return f"{shown.instrument}: the venue says nothing of it"
    if now.moving:
        return f"{shown.instrument}: it moves at the moment"
    if (now.venue, now.ours) != (shown.venue, shown.ours):
        return (
            f"{shown.instrument}: it has moved since it was shown: {now.venue} lots at the venue and {now.ours} in our "
            f"books, not {shown.venue} and {shown.ours}; look again, and halt what trades there meanwhile"
        )
    if shown.given and shown.lots and 0 < shown.lots * now.nobody <= now.nobody**2:
        return ""
    if shown.given or shown.lots != now.gap:
        return f"{shown.instrument}: {shown.lots} lots are not what there is to adopt"
    return ""


def explain(
    fills: Iterable[HistoryFill], orders: Mapping[int, ViewOrder]
) -> dict[int, tuple[int, int, tuple[str, ...]]]:
    """By instrument: (lots of our own orders that our books lack, lots of others' orders, both in words).

    `fills` are the venue's since some time, `orders` those of ours that a lane knows, by ClOrdID.
    """
    own: dict[int, tuple[int, int, int]] = {}
    others: dict[int, tuple[int, int]] = {}
    for fill in fills:
        r, signed = fill.report, fill.report.last_qty * fill.side.sign
        if r.cl_ord_id:
            instrument, lots, sign = own.get(r.cl_ord_id, (fill.instrument, 0, fill.side.sign))
            own[r.cl_ord_id] = instrument, lots + r.last_qty, sign
        else:
            n, lots = others.get(fill.instrument, (0, 0))
            others[fill.instrument] = n + 1, lots + signed
    found: dict[int, tuple[int, int, tuple[str, ...]]] = {}
    for key, (instrument, lots, sign) in sorted(own.items()):
        order = orders.get(key)
        missing = lots - (order.cum_qty if order is not None else 0)
        if missing > 0:
            what = "fills that our books lack" if order is not None else "an order that our books do not know"
            lost, foreign, words = found.get(instrument, (0, 0, ()))
            found[instrument] = (
                lost + sign * missing,
                foreign,
                (*words, f"our order {key}: {sign * missing:+d} ({what})"),
            )
    for instrument, (n, lots) in sorted(others.items()):
        lost, _, words = found.get(instrument, (0, 0, ()))
        trades = "1 trade" if n == 1 else f"{n} trades"
        found[instrument] = lost, lots, (*words, f"{trades} of orders that are not ours: {lots:+d}")
    return found

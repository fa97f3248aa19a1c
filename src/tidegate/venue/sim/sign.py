"""Who is asking: keys, signatures, and the time a request was made."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from tidegate.model.time import MS
from tidegate.venue.sim import refusal
from tidegate.venue.sim.account import Account
from tidegate.venue.sim.refusal import Refused

RECV_WINDOW, LONGEST_WINDOW, AHEAD = 5000, 60_000, 1000
"""ms"""


def account_of(accounts: Mapping[str, Account], key: str | None) -> Account:
    """The account of a key; raises −2014 for none, −2015 for one that is not known."""
    if not key or not key.isascii() or not key.isprintable():
        raise Refused(-2014, "API-key format invalid.", 401)
    account = accounts.get(key)
    if account is None:
        raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return account


def check_signature(account: Account, payload: bytes, signature: str | None) -> None:
    """HMAC-SHA256 over the request; raises −1102 without one, −1022 where it is wrong."""
    if not signature:
        raise refusal.missing("signature")
    right = hmac.new(account.secret, payload, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right.encode(), signature.lower().encode()):
        raise Refused(-1022, "Signature for this request is not valid.")


def check_time(params: Mapping[str, str], now: int) -> None:
    """`timestamp` (ms) lies within `recvWindow` of the server's time, and less than a second ahead of it."""
    text = params.get("timestamp")
    if not text:
        raise refusal.missing("timestamp")
    try:
        sent, window = int(text), int(float(params.get("recvWindow") or RECV_WINDOW))
    except ValueError:
        raise refusal.illegal("timestamp") from None
    if not 0 < window <= LONGEST_WINDOW:
        raise Refused(-1131, "Invalid recvWindow: it must be at most 60000.")
    ms = now // MS
    if sent >= ms + AHEAD:
        raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if ms - sent > window:
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


def unsigned(query: str) -> tuple[str, str | None]:
    """A query or form without its signature, in the order it was sent, and the signature."""
    parts = query.split("&") if query else []
    kept = [part for part in parts if not part.startswith("signature=")]
    if len(kept) == len(parts):
        return query, None
    (found,) = [part for part in parts if part.startswith("signature=")][-1:]
    return "&".join(kept), found.partition("=")[2]

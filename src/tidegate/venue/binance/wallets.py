"""What a spot account holds of each asset, from its own answers, kept up by the events that tell of changes.

`GET account` and `outboundAccountPosition` both give totals with the time of the last change, so whichever is later
holds. A `balanceUpdate` (a deposit, a transfer) gives a difference only: then the account is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Json = Mapping[str, Any]


class SpotWallets:
    """`known` is False until the account has answered, and again when events may have been missed."""

    def __init__(self) -> None:
        self.known = False
        self._held: dict[str, tuple[Decimal, int]] = {}
        """Free and locked, and the venue's time of the change, ms."""

    def lost(self) -> None:
        """Events may have been missed: what is held is known with the next answer."""
        self.known = False

    def answer(self, account: Json) -> dict[str, Decimal]:
        """`GET account`, or `GET margin/account`, which says no time: what is held of each asset. Events that are later
        than it stay."""
        at = int(account.get("updateTime") or 0)
        rows = account["balances"] if "balances" in account else account["userAssets"]
        said = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in rows}
        later = {name: held for name, held in self._held.items() if held[1] > at}
        self._held = {name: (total, at) for name, total in said.items()} | later
        self.known = True
        return said

    def event(self, event: Json) -> bool:
        """`outboundAccountPosition`: whether anything is worth telling, which an order that rests or ends is not."""
        changed, at = False, int(event["u"])
        for row in event["B"]:
            total, (before, since) = (
                Decimal(row["f"]) + Decimal(row["l"]),
                self._held.get(row["a"], (Decimal(0), 0)),
            )
            if at >= since:
                self._held[row["a"]] = total, at
                changed |= total != before
        return changed

    def totals(self) -> dict[str, Decimal]:
        """What is held, of assets of which anything is."""
        return {name: total for name, (total, _) in self._held.items() if total}

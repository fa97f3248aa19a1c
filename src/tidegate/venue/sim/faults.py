"""Faults on demand: what is to go wrong, how often, for how long. Drawn from a seed; nothing goes wrong by itself."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.model.time import MS, SECOND
from tidegate.venue.sim.refusal import Refused

KINDS = {
    "delay_answers": "answers to signed requests come min_ms … max_ms late",
    "drop_answers": "answers to signed requests never come; what was asked for is done",
    "drop_requests": "signed requests are lost before the exchange sees them",
    "delay_reports": "events of user streams come min_ms … max_ms late, in their order",
    "late_reports": "events come min_ms … max_ms late and are overtaken by those that follow",
    "drop_reports": "events of user streams are lost",
    "duplicate_reports": "events of user streams come twice",
    "reject_orders": "new orders are refused with `code` and `text`",
    "hide_orders": "cancels and queries are answered 'unknown order', open orders are not listed",
    "fill_after_cancel": "an order fills by `quantity` (all that was open) min_ms after its cancel is acknowledged",
    "malformed_public": "a public frame is cut off in its middle",
    "malformed_user": "an event of a user stream is cut off in its middle",
}  # fmt: skip


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One standing fault. It acts with `probability`, at most `count` times, for `seconds`, on `account` or all."""

    kind: str
    probability: float = 1.0
    count: int = 0
    """0: without end."""
    seconds: float = 0.0
    """0: until cleared."""
    account: str = ""
    min_ms: float = 0.0
    max_ms: float = 0.0
    code: int = -1008
    text: str = "Server is currently overloaded with other requests. Please try again in a few minutes."
    quantity: str = ""
    until: int = 0


class Faults:
    """The faults in force."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._standing: dict[str, list[Fault]] = {}
        self.acted: Counter[str] = Counter()

    def add(self, raw: dict[str, Any], now: int) -> Fault:
        """Let something go wrong from now on; raises `UserError` for what is no fault."""
        try:
            fault = msgspec.convert(raw, Fault)
        except msgspec.ValidationError as error:
            raise UserError(f"fault {raw!r}: {error}") from None
        if fault.kind not in KINDS:
            raise UserError(f"unknown fault {fault.kind!r}{nearest(fault.kind, KINDS)}")
        if fault.seconds:
            fault.until = now + int(fault.seconds * SECOND)
        self._standing.setdefault(fault.kind, []).append(fault)
        return fault

    def clear(self, kind: str = "") -> None:
        """End the faults of a kind, or all."""
        if kind:
            self._standing.pop(kind, None)
        else:
            self._standing.clear()

    def standing(self) -> list[Fault]:
        """The faults in force."""
        return [fault for faults in self._standing.values() for fault in faults]

    def draw(self, kind: str, now: int, account: str = "") -> Fault | None:
        """The fault of this kind that acts here and now, if one does; it is then counted."""
        if not self._standing:
            return None
        faults = self._standing.get(kind)
        if not faults:
            return None
        for fault in faults:
            if fault.until and now >= fault.until:
                faults.remove(fault)
                return self.draw(kind, now, account)
            if fault.account and account != fault.account:
                continue
            if fault.probability < 1.0 and self._random.random() >= fault.probability:
                continue
            if fault.count:
                fault.count -= 1
                if not fault.count:
                    faults.remove(fault)
            self.acted[kind] += 1
            return fault
        return None

    def wait(self, fault: Fault) -> int:
        """How long this time, ns: between its min_ms and max_ms."""
        return int(self._random.uniform(fault.min_ms, max(fault.min_ms, fault.max_ms)) * MS)

    def reject(self, now: int, account: str = "") -> None:
        """Raise `Refused` during a storm of rejects."""
        fault = self.draw("reject_orders", now, account)
        if fault is not None:
            raise Refused(fault.code, fault.text, 503 if fault.code == -1008 else 400)

    def hidden(self, now: int, account: str = "") -> bool:
        """Whether the exchange pretends not to know any order."""
        return self.draw("hide_orders", now, account) is not None

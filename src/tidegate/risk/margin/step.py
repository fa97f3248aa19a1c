"""A margin call's next step, as the risk service publishes it and lanes carry it out: subject `risk.margin.reduce`."""

from __future__ import annotations

import msgspec

REDUCE = "risk.margin.reduce"


class Published(msgspec.Struct, frozen=True):
    """A step for one account (`risk.margin.plan.Plan`), JSON. Instruments are ids, lots signed, times ns.

    `cuts` are reduce-only orders to be worked until `until`, after `cancel`: instruments whose open orders could make
    the account larger. Without cuts and cancels the call is over: nothing more is to be closed. `held` is what the
    account held of each when the step was made, `began` the most that this call has found of it.
    """

    ts: int
    account: str
    venue: str
    cuts: list[tuple[str, int]]
    cancel: list[str]
    enough: bool
    currency: str = ""
    until: int = 0
    held: dict[str, int] = {}
    began: dict[str, int] = {}
    participation: int = 0
    """The most that one order closes, parts per million of `began`."""
    collar: int = 0
    """How far from the middle an order may trade, parts per million of it."""
    carry_out: bool = True
    """Whether lanes do it; else it is said to people and programs, and nobody here acts."""

    @property
    def pool(self) -> str:
        """What is margined together: the venue and the currency, or the currency of the account as a whole."""
        return f"{self.venue} {self.currency}".strip()

    def encode(self) -> bytes:
        """As published."""
        return msgspec.json.encode(self)


def decode(data: bytes) -> Published:
    """The inverse of `encode`; raises `ValueError`."""
    try:
        return msgspec.json.decode(data, type=Published)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not a step of a margin call: {error}") from None

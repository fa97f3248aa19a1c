"""Limits that cannot all be meant, found before a gate judges by them: one line that says what, where and the way out.

Only what one table says against itself is a contradiction. A part that may do more than its whole is not: the tighter
limit of a chain holds, whichever it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.errors import UserError
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits


def check(limits: Limits, checked: Limits | None = None) -> None:
    """Raise `UserError` for the first contradiction; `checked` has none, nor have the tables that are of it."""
    known = {id(table) for _, table in _tables(checked)} if checked is not None else ()
    for where, table in _tables(limits):
        if id(table) in known:
            continue
        for line in _of_orders(table):
            raise UserError(f"{where}: {line}")
        if isinstance(table, ScopeLimits):
            for line in _of_scope(table):
                raise UserError(f"{where}: {line}")


def _tables(limits: Limits) -> Iterator[tuple[str, InstrumentLimits]]:
    scopes = [("risk.firm", limits.firm)]
    for level in ("desks", "accounts", "strategies"):
        scopes += [(f"risk.{level}.{name}", table) for name, table in getattr(limits, level).items()]
    for where, table in scopes:
        yield where, table
        yield from ((f"{where}.instruments.{name}", own) for name, own in table.instruments.items())


def _of_orders(table: InstrumentLimits) -> Iterator[str]:
    value, parent = table.order_value, table.parent_value
    if value is not None and parent is not None and value.is_finite() and value > parent:
        yield f"order_value {value} is above parent_value {parent}, which every order is judged by; raise or lower one"
    begins, ends = table.restricted_from, table.restricted_to
    if begins is not None and ends is not None and begins >= ends:
        yield "restricted_from is not before restricted_to: the window is empty; swap them or take both out"


def _of_scope(table: ScopeLimits) -> Iterator[str]:
    for burst, rate in (
        ("order_burst", "orders_per_second"), ("cancel_burst", "cancels_per_second"), ("fill_burst", "fills_per_second"),
    ):  # fmt: skip
        if getattr(table, burst) and getattr(table, rate) is None:
            yield f"{burst} is set and {rate} is not, so it holds nothing back; set {rate} beside it"
    if (table.legs is None) != (table.leg_value is None) and not _off(table):
        yield "legs and leg_value go together: which instruments, and what they may be worth; set both"
    if table.legs is not None and len(set(table.legs)) < 2:
        yield f"legs {list(table.legs)}: two or more instruments hedge each other; name them"


def _off(table: ScopeLimits) -> bool:
    return table.leg_value is not None and not table.leg_value.is_finite()

"""`tidegate margin`: how near each account is to its margin, and what is being closed for it. `tidegate whatif`: what an
order would do to its account's margin, before anybody sends it."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.log import command_log
from tidegate.cli.options import DEFAULT_DATA, ConfigOption, DataOption
from tidegate.errors import UserError, nearest

if TYPE_CHECKING:
    from tidegate.execution.reducer import Progress
    from tidegate.risk.margin.call import Margin, Standing
    from tidegate.risk.margin.whatif import WhatIfAnswer, WhatIfRequest

REFUSED = 1
SILENT = "no risk service answers; is `tidegate up` running, with the role risk?"


def whatif(
    account: Annotated[str, typer.Argument(help="The account it would be for.")],
    side: Annotated[str, typer.Argument(help="buy or sell.")],
    quantity: Annotated[str, typer.Argument(help="How much, in base units (of an inverse one: contracts).")],
    instrument: Annotated[str, typer.Argument(help="SYMBOL.VENUE.")],
    price: Annotated[str, typer.Option(help="Its limit; without one the market.")] = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show an account's margin before and after an order that nobody sends. Exit code 1: it would be refused."""
    import msgspec

    from tidegate.risk.margin.whatif import WhatIfRequest

    if side not in ("buy", "sell"):
        raise UserError(f"side {side!r} is neither buy nor sell{nearest(side, ('buy', 'sell'))}")
    asked = WhatIfRequest(
        account, instrument, side, _number(quantity, "quantity"), _number(price, "--price") if price else None
    )
    answer = asyncio.run(_ask(asked, data, config))
    if answer.error:
        raise UserError(answer.error)
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")
    else:
        show(asked, answer)
    if not answer.allowed:
        raise typer.Exit(REFUSED)


def _number(text: str, what: str) -> Decimal:
    try:
        value = Decimal(text.replace("_", "").replace(",", ""))
    except InvalidOperation:
        raise UserError(f"{what}: {text!r} is not a number") from None
    if not value.is_finite():
        raise UserError(f"{what}: {text!r} is not a finite number")
    return value


async def _ask(asked: WhatIfRequest, data: Path, config: Path | None) -> WhatIfAnswer:
    import msgspec

    from tidegate.log.base import LogDown
    from tidegate.risk.margin.call import WHAT_IF
    from tidegate.risk.margin.whatif import WhatIfAnswer

    async with command_log(data, config) as log:
        try:
            answer = await log.request(WHAT_IF, msgspec.json.encode(asked), timeout=5.0)
        except LogDown:
            raise UserError(SILENT) from None
    return msgspec.json.decode(answer, type=WhatIfAnswer)


def show(asked: WhatIfRequest, answer: WhatIfAnswer) -> None:
    """As a table."""
    from rich.console import Console
    from rich.table import Table

    before, after = answer.before, answer.after
    if before is None or after is None:
        raise UserError("the risk service gave no figures")
    at = f" at {asked.price:f}" if asked.price is not None else " at the market"
    table = Table(title=f"{asked.account}: {asked.side} {asked.quantity:f} {asked.instrument}{at}")
    table.add_column("")
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    unit = answer.currency
    for label, one, other in (
        ("equity", before.equity, after.equity),
        ("initial margin", before.initial, after.initial),
        ("maintenance margin", before.maintenance, after.maintenance),
    ):
        table.add_row(label, f"{one:,.2f} {unit}", f"{other:,.2f} {unit}")
    table.add_row("margin ratio", f"{before.ratio:.2%}", f"{after.ratio:.2%}")
    table.add_row("liquidation price", before.liquidation or "not known", after.liquidation or "not known")
    console = Console()
    console.print(table)
    verdict = "allowed" if answer.allowed else f"refused ({answer.reason})"
    console.print(f"{verdict}: {answer.text}; judged against {answer.basis}", highlight=False)


def margin(
    account: Annotated[str, typer.Argument(help="The account; all.")] = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show every account's margin ratio and level, and how far the steps are that reduce its positions.

    Exit code 1 while an account's positions are to be reduced.
    """
    import msgspec

    standing, steps = asyncio.run(_standing(data, config))
    accounts = [item for item in standing.accounts if account in ("", item.account)]
    if account and not accounts:
        raise UserError(
            f"{account!r} has no positions with margin{nearest(account, [a.account for a in standing.accounts])}"
        )
    steps = [step for step in steps if account in ("", step.account)]
    if json:
        text = msgspec.json.encode({"accounts": accounts, "steps": steps})
        sys.stdout.write(msgspec.json.format(text, indent=2).decode() + "\n")
    else:
        print(table(accounts, steps), end="")
    if any(item.level == "REDUCE" for item in accounts):
        raise typer.Exit(REFUSED)


async def _standing(data: Path, config: Path | None) -> tuple[Standing, list[Progress]]:
    import msgspec

    from tidegate.execution.reducer import Progress
    from tidegate.log.base import LogDown
    from tidegate.risk.margin.call import STANDING, Standing

    async with command_log(data, config) as log:
        try:
            found = msgspec.json.decode(await log.request(STANDING, b"", timeout=5.0), type=Standing)
        except LogDown:
            raise UserError(SILENT) from None
        steps: list[Progress] = []
        for lane in range(found.lanes):
            try:
                steps += msgspec.json.decode(
                    await log.request(f"oms.{lane}.margin", b"", timeout=5.0), type=list[Progress]
                )
            except LogDown:
                print(f"tidegate: nobody writes lane {lane}: nothing is reduced there", file=sys.stderr)
    return found, steps


def table(accounts: list[Margin], steps: list[Progress]) -> str:
    """As text: the accounts, then the steps of those that are reduced."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title="margin")
    for name, justify in (("account", "left"), ("at", "left"), ("level", "left")):
        shown.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("ratio", "equity", "maintenance"):
        shown.add_column(name, justify="right")
    for item in accounts:
        level = f"{item.level} (marks too old)" if item.stale else item.level
        level += f", margin level {item.margin_level}" if item.margin_level else ""
        shown.add_row(
            item.account, item.venue or "all venues", level, f"{item.ratio:.1%}", f"{item.equity} {item.currency}",
            item.maintenance,
        )  # fmt: skip
    console = Console(width=130)
    with console.capture() as captured:
        console.print(shown)
        for item in accounts:
            if item.cuts and not item.carry_out:
                cuts = ", ".join(f"{lots:+} lots of {name}" for name, lots in item.cuts)
                console.print(
                    f"{item.account}: to be closed, and nobody does: {cuts} (risk.margin.carry_out is false)"
                )
        for step in steps:
            if step.cuts:
                cuts = ", ".join(f"{c.done} of {c.lots:+} lots of {c.instrument}" for c in step.cuts)
                why = f": {step.why}" if step.why else ""
                console.print(f"{step.account} ({step.pool}): {cuts}; {step.state}{why}", highlight=False)
    return captured.get()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("margin")(margin)
    app.command("whatif")(whatif)

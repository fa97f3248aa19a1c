"""`tidegate adopt`: a position that the venue has and our books have not is shown, and by two people's word it is ours."""

from __future__ import annotations

import asyncio
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.log import tell_order_managers
from tidegate.cli.options import DEFAULT_DATA, NOT_WELL, ConfigOption, DataOption, folder_of
from tidegate.cli.sign import (
    AndOption,
    ApproveOption,
    AsOption,
    OutOption,
    ReasonOption,
    approved,
    by_two,
)
from tidegate.errors import UserError, nearest

if TYPE_CHECKING:
    from tidegate.access.command import Signed
    from tidegate.execution.holdings import Holding, Holdings, Shown

LOOK_S = 20.0
"""A gateway may take so long to look at its venue."""


def adopt(
    account: Annotated[str, typer.Argument(help="The account's name.")],
    instrument: Annotated[str, typer.Option(help="Only this instrument; else all that differ.")] = "",
    strategy: Annotated[str, typer.Option(help="Whose it is from now on; else nobody's.")] = "",
    price: Annotated[
        str, typer.Option(help="At this price, of --instrument; else the venue's average.")
    ] = "",
    reason: ReasonOption = "",
    approve: ApproveOption = None,
    signer: AsOption = "",
    second: AndOption = "",
    out: OutOption = None,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Show what an account holds at its venues and in our books; with --reason, take what our books lack into them.

    For positions from before tidegate. It takes two risk officers, who sign the very lots that are shown: if they have
    moved meanwhile, nothing is done. Afterwards the account reconciles; two people let it trade with `tidegate resume`.
    """
    scope = account if account.startswith("account:") else f"account:{account}"
    name = scope.removeprefix("account:")
    found = asyncio.run(_look(name, data))
    _show(name, found)
    path = out or data / "run" / f"adopt-{name}.json"
    if approve is not None:
        made = approved(approve, "adopt", scope, data, signer)
        _say_asked(made.command.args)
        path = approve
    else:
        shown = _choose(found, instrument, strategy, price, data)
        if not shown:
            print("nothing to adopt: our books and the venue agree")
            return
        if not reason:
            print("to take this into our books: the same command with --reason …; two risk officers sign")
            raise typer.Exit(NOT_WELL)
        args = {"positions": _encoded(shown)} | ({"strategy": strategy} if strategy else {})
        signed = by_two("adopt", scope, reason, data, signer, second, path, f"adopt {name}", args)
        if signed is None:
            return
        made = signed
    asyncio.run(_do(made, data, config))
    path.unlink(missing_ok=True)
    print(
        f"{scope}: adopted. It reconciles now; where it was halted for this, two people let it trade again:"
    )
    print(f"  tidegate resume {scope} --reason … --data {data}")


async def _look(account: str, data: Path) -> list[Holdings]:
    import msgspec

    from tidegate.execution.holdings import Holdings
    from tidegate.ops.gateways import ask_all, gateways

    every = gateways(folder_of(data))
    chosen = [one for one in every if one.account == account]
    if not chosen:
        known = dict.fromkeys(one.account for one in every)
        raise UserError(
            f"no gateway of account {account!r} has a socket in {data}/run{nearest(account, known)}"
        )
    answers = await ask_all(chosen, {"do": "holdings"}, LOOK_S)
    for answer in answers:
        if answer.error:
            raise UserError(f"gateway {answer.gateway}: {answer.error}")
    return [msgspec.convert(answer.said, Holdings) for answer in answers]


def _show(account: str, found: list[Holdings]) -> None:
    head = ("instrument", "venue", "ours", "difference", "average price", "value", "what explains it")
    rows = [_row(row) for one in found for row in one.rows]
    if rows:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for line in (head, *rows):
            cells = [
                text.rjust(width) if 0 < n < 6 else text.ljust(width)
                for n, (text, width) in enumerate(zip(line, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
    else:
        print(f"account:{account} holds nothing, at the venue and in our books")
    for one in found:
        for row in one.rows:
            for trade in row.trades if row.gap else ():
                print(f"{row.instrument}: {trade}")
            if row.nobody:
                print(f"{row.instrument}: {row.nobody} lots in our books are no strategy's")
        for order in one.orders:
            print(f"open at the venue and not ours; it is not touched: {order}")


def _row(row: Holding) -> tuple[str, ...]:
    if row.moving:
        why = "it moves at the moment: look again"
    elif not row.gap:
        why = ""
    elif row.lost == row.gap:
        why = "fills of our own orders that were lost; not a position from before"
    elif row.lost + row.foreign == row.gap:
        why = "trades of the last 24 h, see below"
    elif row.lost or row.foreign:
        why = f"trades of the last 24 h come to {row.lost + row.foreign:+d}, see below"
    else:
        why = "nothing in the last 24 h: it was there before"
    value = f"{abs(Decimal(row.value)):f} {row.currency}" if row.value else "-"
    gap = f"{row.gap:+d} lots" if row.gap else "-"
    return row.instrument, f"{row.venue} lots", f"{row.ours} lots", gap, row.entry or "-", value, why


def _choose(found: list[Holdings], instrument: str, strategy: str, price: str, data: Path) -> list[Shown]:
    """What is to be signed: what differs, or nobody's lots that are to be a strategy's."""
    from tidegate.execution.holdings import Shown

    rows = {row.instrument: row for one in found for row in one.rows}
    if instrument and instrument not in rows:
        raise UserError(f"--instrument: {instrument!r} is not held{nearest(instrument, rows)}")
    if price and not instrument:
        raise UserError("--price is one instrument's: say which with --instrument")
    shown = []
    for name, row in rows.items():
        if instrument and name != instrument:
            continue
        given = not row.gap and bool(strategy) and bool(row.nobody)
        if not row.gap and not given:
            continue
        if row.moving:
            raise UserError(f"{name} moves at the moment: look again")
        ticks = _ticks(price, row) if price else row.price
        if not ticks:
            raise UserError(
                f"the venue states no price for {name}: say it with --instrument {name} --price …"
            )
        shown.append(Shown(name, row.venue, row.ours, row.nobody if given else row.gap, ticks, given))
    return shown


def _ticks(text: str, row: Holding) -> int:
    try:
        ticks = (Decimal(text) / Decimal(row.tick)).to_integral_value(ROUND_HALF_EVEN)
    except (InvalidOperation, ZeroDivisionError):
        raise UserError(f"--price: {text!r} is no price") from None
    return int(ticks)


def _encoded(shown: list[Shown]) -> str:
    import msgspec

    return msgspec.json.encode(shown).decode()


def _say_asked(args: dict[str, str]) -> None:
    from tidegate.execution.holdings import shown_in

    try:
        shown = shown_in(args.get("positions", ""))
    except ValueError as error:
        raise UserError(f"the request cannot be read: {error}") from None
    whose = f"strategy {args['strategy']}" if args.get("strategy") else "no strategy"
    for one in shown:
        print(
            f"to adopt: {one.instrument} {one.lots:+d} lots at {one.price} ticks for {whose} "
            f"(shown: {one.venue} at the venue, {one.ours} in our books)"
        )


async def _do(made: Signed, data: Path, config: Path | None) -> None:
    from tidegate.execution.adopt_ear import LOOK, SUBJECT, TOLD

    answer = await tell_order_managers(SUBJECT, made, data, config, LOOK + TOLD)
    if answer.error:
        raise UserError(f"{made.command.scope}: not adopted: {answer.error}")


def register(app: typer.Typer) -> None:
    """Put the command on the lead one."""
    app.command("adopt")(adopt)

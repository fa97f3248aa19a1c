"""The command line: data, backtest, and the live system. Mistakes are one line on stderr and exit code 2."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import tidegate
from tidegate.cli import (
    access,
    adopt,
    backtest,
    control,
    data,
    deploy,
    grants,
    lane,
    live,
    margin,
    process,
    risk,
)
from tidegate.errors import UserError
from tidegate.log import private

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Systematic trading from a laptop to a cluster: import market data, backtest, trade live, halt, report.",
)
app.add_typer(data.app, name="data")
app.command("backtest")(backtest.backtest)
live.register(app)
process.register(app)
control.register(app)
lane.register(app)
adopt.register(app)
risk.register(app)
margin.register(app)
access.register(app)
grants.register(app)
deploy.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tidegate {tidegate.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the `tidegate` command."""
    try:
        private.no_core()
        app()
    except UserError as error:
        print(f"tidegate: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("tidegate: interrupted", file=sys.stderr)
        sys.exit(130)

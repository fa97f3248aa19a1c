"""The command line: data, backtest, and the live system. Mistakes are one line on stderr and exit code 2."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import tidegate
from tidegate import (
    cli_access,
    cli_backtest,
    cli_control,
    cli_data,
    cli_deploy,
    cli_grants,
    cli_lane,
    cli_live,
    cli_margin,
    cli_risk,
)
from tidegate.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Systematic trading from a laptop to a cluster: import market data, backtest, report.",
)
app.add_typer(cli_data.app, name="data")
app.command("backtest")(cli_backtest.backtest)
cli_live.register(app)
cli_control.register(app)
cli_lane.register(app)
cli_risk.register(app)
cli_margin.register(app)
cli_access.register(app)
cli_grants.register(app)
cli_deploy.register(app)


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
        app()
    except UserError as error:
        print(f"tidegate: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("tidegate: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

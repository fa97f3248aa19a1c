"""`tidegate adopt` where nothing or little runs: what cannot be asked is one line; what is shown reads as a table."""

from __future__ import annotations

import pytest

from tidegate.cli import adopt
from tidegate.errors import UserError
from tidegate.execution.holdings import Holding, Holdings

ROW = Holding(
    "BTCUSDT.X", 15, 10, 0, "61803.75", 618_037, "0.1", "927.0562", "USDT", False, 0, 5, ("1 trade of others: +5",)
)  # fmt: skip


def shown(monkeypatch, folder, *rows, **options):
    async def look(account, data):
        return [Holdings(venue="X", account=account, lane=0, rows=rows, orders=("BTCUSDT.X: buy 5 lots",))]

    monkeypatch.setattr(adopt, "_look", look)
    adopt.adopt("making", data=folder.path, **options)


def test_an_account_without_a_gateway_is_one_line(folder):
    with pytest.raises(UserError, match="no gateway of account 'making' has a socket in"):
        adopt.adopt("making", data=folder.path)


def test_without_a_reason_it_only_shows(monkeypatch, folder, capsys):
    from typer import Exit

    with pytest.raises(Exit):
        shown(monkeypatch, folder, ROW)
    out = capsys.readouterr().out
    for text in ("15 lots", "10 lots", "+5 lots", "61803.75", "927.0562 USDT", "trades of the last 24 h, see below",
                 "BTCUSDT.X: 1 trade of others: +5", "not ours; it is not touched: BTCUSDT.X: buy 5 lots"):  # fmt: skip
        assert text in out, text
    assert "with --reason" in out


def test_what_agrees_needs_nobody(monkeypatch, folder, capsys):
    shown(monkeypatch, folder, Holding("BTCUSDT.X", 5, 5), reason="x")
    assert "nothing to adopt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "options", "said"),
    [
        (ROW, {"instrument": "BTCUSDT.Y"}, "--instrument: 'BTCUSDT.Y' is not held"),
        (ROW, {"price": "5"}, "--price is one instrument's"),
        (ROW, {"price": "five", "instrument": "BTCUSDT.X"}, "'five' is no price"),
        (Holding("BTCUSDT.X", 5, 0), {}, "the venue states no price for BTCUSDT.X"),
        (Holding("BTCUSDT.X", 5, 0, price=3, moving=True), {}, "BTCUSDT.X moves at the moment: look again"),
        (ROW, {"reason": "x", "signer": "eve"}, "nobody to sign|eve"),
    ],
)
def test_what_cannot_be_is_one_line(monkeypatch, folder, row, options, said):
    with pytest.raises(UserError, match=said):
        shown(monkeypatch, folder, row, **options)

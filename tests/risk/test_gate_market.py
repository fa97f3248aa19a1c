"""Controls 22 and 26: how large a part of the market, and how much of all equity at one venue."""

from __future__ import annotations

import pytest
from gate_desk import BTC, FIRM, MAIN, OIL, Desk

from tidegate.kernel.gate_state import MICRO
from tidegate.risk.reasons import Reason as R

X, Y = 0, 1


def test_a_position_is_held_to_its_share_of_volume_and_open_interest() -> None:
    desk = Desk(firm={"instruments": {"BTCUSDT.X": {"volume_share": "10%", "interest_share": "5%"}}})
    desk.mark()
    assert desk.send(2, 600_000) == R.NO_MARKET_REFERENCE
    assert desk.figures == (-1, 2, FIRM)
    desk.gate.set_market(BTC, 400, 1_000, -1, -1, desk.ts)
    assert desk.send(20, 600_000) == R.NONE
    assert not desk.gate.warnings >> 22 & 1
    assert desk.send(20, 599_990) == R.NONE
    assert desk.gate.warnings >> 22 & 1, "above half"
    assert desk.send(2, 599_980) == R.CONCENTRATION
    assert desk.figures == (40, 42, FIRM)
    assert desk.gate.control == 22
    desk.gate.set_market(BTC, 4_000, 600, -1, -1, desk.ts)
    assert desk.send(2, 599_980) == R.CONCENTRATION
    assert desk.figures == (30, 42, FIRM)
    assert desk.send(2, 5_000, instrument=OIL) == R.NONE


def test_what_only_reduces_passes_whatever_the_market_is() -> None:
    desk = Desk(strategies={"mm": {"volume_share": "10%", "depth_share": "20%"}})
    desk.gate.set_market(BTC, 1_000, -1, 200, 200, desk.ts)
    desk.mark()
    desk.trade(40, 600_010)
    desk.gate.set_market(BTC, -1, -1, -1, -1, desk.ts)
    assert desk.send(2, 599_000) == R.NO_MARKET_REFERENCE
    assert desk.send(-40, 600_500) == R.NONE


def test_an_order_is_held_to_its_share_of_the_depth_it_would_take() -> None:
    desk = Desk(accounts={"main": {"depth_share": "20%"}})
    desk.gate.set_market(BTC, -1, -1, 50, 100, desk.ts)
    assert desk.send(10, 600_000) == R.NONE
    assert not desk.gate.warnings >> 22 & 1
    assert desk.send(20, 599_000) == R.NONE
    assert desk.gate.warnings >> 22 & 1
    assert desk.send(21, 599_001) == R.DEPTH_SHARE
    assert desk.figures == (20, 21, MAIN)
    assert desk.send(-11, 601_000) == R.DEPTH_SHARE
    assert desk.figures == (10, 11, MAIN)


def test_the_firm_may_say_what_to_take_until_the_market_is_told() -> None:
    assumed = {"volume": "0.4", "depth": "0.1", "depth_share": "20%", "volume_share": "10%"}
    desk = Desk(firm={"instruments": {"BTCUSDT.X": assumed}})
    assert desk.send(21, 600_000) == R.DEPTH_SHARE
    assert desk.send(20, 600_000) == R.NONE
    assert desk.send(20, 599_990) == R.NONE
    assert desk.send(2, 599_980) == R.CONCENTRATION
    desk.gate.set_market(BTC, 4_000, -1, -1, 1_000, desk.ts)
    assert desk.send(50, 599_980) == R.NONE
    other = Desk(firm={"instruments": {"BTCUSDT.X": assumed}})
    other.gate.load(desk.gate.state_bytes())
    assert other.send(200, 599_970) == desk.send(200, 599_970) == R.NONE
    assert other.send(201, 599_960) == desk.send(201, 599_960) == R.DEPTH_SHARE


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ((9, 1, 1, 1, 1), "instrument 9 of 2"),
        ((0, -2, 1, 1, 1), "are not lots"),
        ((0, 1, 1 << 62, 1, 1), "are not lots"),
    ],
)
def test_figures_that_cannot_be_are_refused(figures: tuple[int, ...], message: str) -> None:
    desk = Desk()
    before = desk.gate.state_bytes()
    with pytest.raises(ValueError, match=message):
        desk.gate.set_market(*figures, desk.ts)
    assert desk.gate.state_bytes() == before


def test_too_much_equity_at_one_venue_holds_back_what_adds_to_it_there() -> None:
    desk = Desk(firm={"venue_share": "60%"})
    desk.mark()
    assert desk.send(10, 600_000) == R.NONE, "nothing is known yet"
    desk.gate.set_equity(X, 600_000 * MICRO, desk.ts)
    assert desk.send(10, 599_010) == R.NONE, "what the other venue has is not known"
    desk.gate.set_equity(Y, 0, desk.ts)
    assert desk.send(10, 599_000) == R.VENUE_SHARE
    assert desk.figures == (600_000, 1_000_000, FIRM)
    desk.gate.set_equity(Y, 400_000 * MICRO, desk.ts)
    assert desk.send(10, 599_000) == R.NONE
    assert desk.gate.warnings >> 26 & 1, "above four fifths of it"
    desk.gate.set_equity(Y, 390_000 * MICRO, desk.ts)
    assert desk.send(10, 599_001) == R.VENUE_SHARE
    assert desk.figures == (600_000, 606_060, FIRM)
    assert desk.send(1, 5_000, instrument=OIL) == R.NONE, "the other venue has less"
    assert not desk.gate.warnings >> 26 & 1


def test_equity_never_holds_back_what_reduces_and_a_debt_counts_as_nothing() -> None:
    desk = Desk(firm={"venue_share": "60%"})
    desk.mark()
    desk.trade(10, 600_010)
    desk.gate.set_equity(X, 600_000 * MICRO, desk.ts)
    desk.gate.set_equity(Y, -5 * MICRO, desk.ts)
    assert desk.send(2, 599_000, strategy=1) == R.VENUE_SHARE
    assert desk.send(-10, 600_500) == R.NONE
    for venue, equity in ((2, 1), (-1, 1), (0, 1 << 61)):
        with pytest.raises(ValueError, match=r"venue|equity"):
            desk.gate.set_equity(venue, equity, desk.ts)

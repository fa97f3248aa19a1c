"""docs/risk.md prints the code's tables; the tables agree with one another."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_desk import SCOPES, UNIVERSE

from tidegate.kernel import gate_codes
from tidegate.kernel.layout import (
    O_ACCOUNT,
    O_CHARGE,
    O_CUM,
    O_DISPLAY,
    O_EXPIRE,
    O_ID,
    O_INST,
    O_INSTRUMENT,
    O_LEAVES,
    O_OFFSET,
    O_PRICE,
    O_QTY,
    O_REF_ASK,
    O_REF_BID,
    O_REF_TS,
    O_SIDE,
    O_STATUS,
    O_STOP,
    O_STRATEGY,
    O_TAG,
    O_TIF,
    O_TYPE,
)  # fmt: skip
from tidegate.model.order import Order, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.controls import BY_NUMBER, CONTROLS
from tidegate.risk.gate import Gate
from tidegate.risk.limits import unlimited
from tidegate.risk.reasons import GATE_REASONS, Reason, describe
from tidegate.risk.reference import write_into

DOC = Path(__file__).parents[2] / "docs" / "risk.md"


def test_the_document_shows_controls_limits_and_reasons_as_they_are() -> None:
    text = DOC.read_text()
    assert write_into(text) == text, "run: python -m tidegate.risk.reference docs/risk.md"


def test_a_document_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="no markers"):
        write_into("# Risk")


def test_every_code_of_the_kernel_has_its_words_and_every_gate_reason_a_control() -> None:
    codes = {name: code for name, code in vars(gate_codes).items() if name.isupper()}
    assert codes == {reason.name: int(reason) for reason in GATE_REASONS}
    assert {reason.control for reason in GATE_REASONS} == set(BY_NUMBER)


def test_the_catalogue_has_each_control_once_and_in_order() -> None:
    numbers = [control.number for control in CONTROLS]
    assert numbers == sorted(set(numbers)) == [*range(1, 19), 20, *range(22, 31)]


def test_reasons_can_be_described_even_when_unlisted() -> None:
    assert describe(Reason.MARGIN).startswith("MARGIN: The initial margin")
    assert describe(998) == "reason 998"


def test_the_gates_scratch_row_has_the_layouts_columns() -> None:
    order = Order(
        cl_ord_id=101, cmd_id=102, account=0, strategy=0, instrument=0, side=Side.SELL, ord_type=OrdType.STOP_LIMIT,
        time_in_force=TimeInForce.GTD, qty=103, price=104, stop_price=105, display_qty=106, offset=107, expire_ts=108,
        exec_inst=2, status=OrdStatus.NEW, cum_qty=109, leaves_qty=110,
    )  # fmt: skip
    gate = Gate(UNIVERSE, SCOPES, unlimited())
    gate.check(order, 111, 112, 113, 114)
    row = gate._one.play.orders[0]
    for column, value in {
        O_ID: 101, O_TAG: 102, O_ACCOUNT: 0, O_STRATEGY: 0, O_INSTRUMENT: 0, O_SIDE: 2, O_TYPE: 4, O_TIF: 6, O_QTY: 103,
        O_PRICE: 104, O_STOP: 105, O_DISPLAY: 106, O_OFFSET: 107, O_EXPIRE: 108, O_INST: 2, O_STATUS: 2, O_CUM: 109,
        O_LEAVES: 110, O_REF_BID: 111, O_REF_ASK: 112, O_REF_TS: 113, O_CHARGE: 0,
    }.items():  # fmt: skip
        assert row[column] == value, column

"""Orders as Binance's WS API takes them: parameters, signature, text."""

from __future__ import annotations

import hmac
import json
import os
import pickle

import pytest
from binance_desk import COINM, ORDER, SPOT, TEXT, UNIVERSE, USDM, Desk, new_order

from tidegate.errors import UserError
from tidegate.model.messages import SendCancel, SendReplace
from tidegate.model.order import ExecInst, OrdType, Side, TimeInForce
from tidegate.model.time import SECOND
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.orders import Known, is_replaced_id
from tidegate.venue.binance.products import REAL, Endpoints, simulated
from tidegate.venue.binance.requests import (
    Unsupported,
    cancel,
    frame,
    kind_of,
    modify,
    successor,
)
from tidegate.venue.binance.requests import (
    new_order as encode,
)

KEYS = Keys(
    "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
)
"""The documentation's example key."""
VENUES = {SPOT: "BINANCE", USDM: "BINANCE_USDM", COINM: "BINANCE_COINM"}


def encoded(instrument: int = SPOT, **changes: object) -> dict[str, str]:
    desk = Desk(VENUES[instrument])
    return encode(desk.product, desk.symbols.by_number[instrument], new_order(instrument, **changes))


def test_the_signature_is_the_one_of_the_documentation():
    rest = (
        b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
        b"&timestamp=1499827319559"
    )
    assert KEYS.sign(rest) == "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    ws = (
        f"apiKey={KEYS.key}&newOrderRespType=ACK&price=52000.00&quantity=0.01000000&recvWindow=100&side=SELL"
        "&symbol=BTCUSDT&timeInForce=GTC&timestamp=1645423376532&type=LIMIT"
    )
    assert KEYS.sign(ws.encode()) == "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a"


@pytest.mark.parametrize("secret", ["s", "x" * 64, "y" * 65, "z" * 200])
def test_signatures_are_hmac_sha256_whatever_the_secrets_length(secret):
    for payload in (b"", b"a=1", b"b" * 1000):
        assert Keys("k", secret).sign(payload) == hmac.digest(secret.encode(), payload, "sha256").hex()


def test_a_frame_is_json_and_its_signature_is_over_the_sorted_parameters():
    data = json.loads(frame("17", "order.place", encoded(), KEYS, 1_645_423_376_532 * 1_000_000))
    assert (data["id"], data["method"]) == ("17", "order.place")
    signature = data["params"].pop("signature")
    payload = "&".join(f"{name}={value}" for name, value in sorted(data["params"].items()))
    assert KEYS.sign(payload.encode()) == signature
    assert data["params"]["timestamp"] == 1_645_423_376_532
    assert data["params"]["newClientOrderId"] == TEXT


@pytest.mark.parametrize(
    ("instrument", "changes", "expected"),
    [
        (SPOT, {}, {"type": "LIMIT", "timeInForce": "GTC", "price": "50000.00", "quantity": "1.00000"}),
        (SPOT, {"exec_inst": ExecInst.POST_ONLY}, {"type": "LIMIT_MAKER", "timeInForce": None}),
        (USDM, {"exec_inst": ExecInst.POST_ONLY}, {"type": "LIMIT", "timeInForce": "GTX"}),
        (SPOT, {"time_in_force": TimeInForce.IOC}, {"timeInForce": "IOC"}),
        (COINM, {"time_in_force": TimeInForce.FOK, "qty": 3}, {"timeInForce": "FOK", "quantity": "3"}),
        (USDM, {"ord_type": OrdType.MARKET}, {"type": "MARKET", "price": None, "timeInForce": None}),
        (USDM, {"exec_inst": ExecInst.REDUCE_ONLY}, {"reduceOnly": "true"}),
        (SPOT, {"exec_inst": ExecInst.REDUCE_ONLY}, {"reduceOnly": None}),
        (SPOT, {"ord_type": OrdType.STOP, "stop_price": 4_900_000}, {"type": "STOP_LOSS", "stopPrice": "49000.00"}),
        (USDM, {"ord_type": OrdType.STOP, "stop_price": 490_000}, {"type": "STOP_MARKET", "stopPrice": "49000.0"}),
        (USDM, {"ord_type": OrdType.STOP_LIMIT, "stop_price": 1}, {"type": "STOP", "stopPrice": "0.1"}),
        (SPOT, {"ord_type": OrdType.STOP_LIMIT, "stop_price": 1}, {"type": "STOP_LOSS_LIMIT"}),
        (SPOT, {"ord_type": OrdType.ICEBERG, "display_qty": 50}, {"type": "LIMIT", "icebergQty": "0.00050"}),
        (USDM, {"time_in_force": TimeInForce.GTD, "expire_ts": 1_700_000_000 * SECOND + 7},
         {"timeInForce": "GTD", "goodTillDate": "1700000000000"}),
        (SPOT, {"side": Side.SELL}, {"side": "SELL"}),
    ],
)  # fmt: skip
def test_fields_become_the_products_own(instrument, changes, expected):
    params = encoded(instrument, **changes)
    assert {name: params.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("instrument", "changes"),
    [
        (SPOT, {"ord_type": OrdType.TRAILING_STOP, "offset": 5}),
        (USDM, {"ord_type": OrdType.PEGGED}),
        (USDM, {"ord_type": OrdType.ICEBERG, "display_qty": 1}),
        (SPOT, {"time_in_force": TimeInForce.GTD, "expire_ts": 1}),
        (USDM, {"time_in_force": TimeInForce.DAY}),
        (USDM, {"exec_inst": ExecInst.POST_ONLY, "time_in_force": TimeInForce.IOC}),
        (SPOT, {"exec_inst": ExecInst.POST_ONLY, "ord_type": OrdType.MARKET}),
    ],
)
def test_what_the_venue_lacks_is_refused_here_and_named(instrument, changes):
    with pytest.raises(Unsupported, match=VENUES[instrument]):
        encoded(instrument, **changes)


def test_a_cancel_names_the_generation_that_lives():
    symbol = Desk().symbols.by_number[SPOT]
    assert cancel(symbol, SendCancel(1, ORDER, 0, SPOT), 0) == {
        "symbol": "BTCUSDT",
        "origClientOrderId": TEXT,
    }
    assert cancel(symbol, SendCancel(1, ORDER, 0, SPOT), 3)["origClientOrderId"] == f"{TEXT}-3"


def test_a_replace_on_futures_changes_the_order_in_place():
    params = modify(
        Desk("BINANCE_USDM").symbols.by_number[USDM], SendReplace(1, ORDER, 7, 500_001, 0, USDM, Side.SELL)
    )
    assert params == {
        "symbol": "BTCUSDT", "side": "SELL", "origClientOrderId": TEXT, "quantity": "0.007", "price": "50000.1",
    }  # fmt: skip


def test_a_replace_on_spot_places_a_successor_for_what_is_left():
    symbol = Desk().symbols.by_number[SPOT]
    known = Known(ORDER, SPOT, kind=kind_of(encoded(exec_inst=ExecInst.POST_ONLY)))
    request = SendReplace(1, ORDER, 50_000, 4_999_999, 0, SPOT, Side.BUY)
    params = successor(symbol, request, known)
    assert params["cancelRestrictions"] == "ONLY_NEW"
    assert (params["type"], params["newClientOrderId"]) == ("LIMIT_MAKER", f"{TEXT}-1")
    assert params["cancelReplaceMode"] == "STOP_ON_FAILURE"
    assert is_replaced_id(params["cancelNewClientOrderId"])
    known.generation, known.filled = 1, {0: 10_000, 1: 5_000}
    params = successor(symbol, request, known)
    assert (params["quantity"], params["cancelOrigClientOrderId"]) == ("0.35000", f"{TEXT}-1")
    assert "cancelRestrictions" not in params


def test_prices_and_sizes_go_through_their_text_exactly():
    for number in (SPOT, USDM, COINM):
        symbol = Desk(VENUES[number]).symbols.by_number[number]
        for steps in (1, 9, 10, 99_999, 100_000, 123_456_789):
            assert symbol.price.steps(symbol.price.text(steps)) == steps
            assert (
                symbol.qty.steps(symbol.qty.text(steps) + ("0" if "." in symbol.qty.text(steps) else ""))
                == steps
            )
            assert UNIVERSE[number].ticks(symbol.price.text(steps)) == steps
    for text in ("0.123456", "1e5", "", "x", "1.2.3", "٣"):
        with pytest.raises(ValueError, match="multiple"):
            symbol.price.steps(text)


def test_keys_come_from_the_environment_or_a_private_file_and_are_never_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("TG_KEY", "abc")
    with pytest.raises(UserError, match="TG_SECRET not set"):
        Keys.from_environment("TG_KEY", "TG_SECRET")
    monkeypatch.setenv("TG_SECRET", "hush")
    assert Keys.from_environment("TG_KEY", "TG_SECRET").sign(b"") == Keys("abc", "hush").sign(b"")
    path = tmp_path / "keys.toml"
    path.write_text('key = "abc"\nsecret = "hush"\n')
    os.chmod(path, 0o640)
    with pytest.raises(UserError, match="chmod 600"):
        Keys.from_file(path)
    os.chmod(path, 0o600)
    keys = Keys.from_file(path)
    assert "hush" not in repr(keys)
    assert "hush" not in f"{keys!s}{vars(type(keys)).keys()}"
    with pytest.raises(TypeError):
        pickle.dumps(keys)
    path.write_text("key = hush")
    with pytest.raises(UserError) as refused:
        Keys.from_file(path)
    assert "hush" not in str(refused.value)
    with pytest.raises(UserError, match="cannot read"):
        Keys.from_file(tmp_path / "none")


def test_urls_follow_from_three():
    here = simulated("127.0.0.1", 8080, "BINANCE_USDM")
    assert here.streams(["a@trade", "b@depth"]) == "ws://127.0.0.1:8080/usdm/stream?streams=a@trade/b@depth"
    assert here.user("KEY") == "ws://127.0.0.1:8080/usdm/ws/KEY"
    assert REAL["BINANCE_USDM"].streams(["x"]) == "wss://fstream.binance.com/public/stream?streams=x"
    assert REAL["BINANCE_USDM"].user("K").startswith("wss://fstream.binance.com/private/ws?listenKey=K&")
    assert Endpoints("http://h", "ws://h/spot/stream", "ws://h").user("K") == "ws://h/spot/ws/K"
    with pytest.raises(UserError, match="rest"):
        Endpoints("h", "ws://h", "ws://h")

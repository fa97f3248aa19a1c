"""`docs/strategies.md` says what the code does: parameters, defaults, the first strategy, the functions it names."""

import importlib
import re
from pathlib import Path

import msgspec
import pytest
from hosting import LINEAR, World

from tidegate import strategy_code
from tidegate.kernel import compiled_api
from tidegate.model.order import OrdType, TimeInForce
from tidegate.risk.reasons import Reason
from tidegate.strategy.library.maker import MakerParams
from tidegate.strategy.strategy import Strategy

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "strategies.md").read_text()


def documented(name: str) -> dict[str, str]:
    """Parameter → default, as the guide's table has them; '' for none."""
    table = GUIDE.split(f"<!-- params: {name} -->")[1].split("\n\n")[0]
    return {p: d.strip("`") for p, d in re.findall(r"^\| `(\w+)` \| (`[^|]*`|) ?\|", table, re.MULTILINE)}


def actual(params: type[msgspec.Struct]) -> dict[str, str]:
    return {
        field.name: "" if field.default is msgspec.NODEFAULT else repr(field.default)
        for field in msgspec.structs.fields(params)
    }


def library(name: str):
    return getattr(
        importlib.import_module(f"tidegate.strategy.library.{name}"), strategy_code.LIBRARY[name]
    ).Params


@pytest.mark.parametrize(
    "name", ["basis_arbitrage", "ema_cross", "pair_reversion", "imbalance", "compiled_maker"]
)
def test_every_parameter_and_default_is_in_the_guide(name):
    assert documented(name) == actual(library(name))


def test_every_parameter_and_default_of_the_makers_is_in_the_guide():
    assert library("glft") is MakerParams
    assert documented("maker") == actual(MakerParams)
    both = documented("maker") | documented("avellaneda_stoikov beyond maker")
    assert both == actual(library("avellaneda_stoikov"))


def test_every_strategy_of_the_library_has_its_row():
    rows = re.findall(r"^\| `(\w+)` \| [a-z]", GUIDE.split("## The library")[1], re.MULTILINE)
    assert set(strategy_code.LIBRARY) <= set(rows)


def test_every_handler_is_in_the_guide():
    handlers = {name for name in vars(Strategy) if name.startswith("on_")}
    assert handlers == set(re.findall(r"^\| `(on_\w+)\(", GUIDE, re.MULTILINE))


def test_every_order_type_and_time_in_force_is_in_the_guide():
    orders = GUIDE.split("\n## Orders")[1].split("\n## Parameters")[0]
    for name in [*OrdType.__members__, *TimeInForce.__members__]:
        assert re.search(rf"`(OrdType\.)?{name}`", orders), name


def test_every_function_of_the_compiled_api_is_in_the_guide():
    section = GUIDE.split("## Python or compiled")[1].split("\n## ")[0]
    public = {
        name
        for name, value in vars(compiled_api).items()
        if getattr(value, "__module__", "") == compiled_api.__name__ and not name.startswith("_")
    }
    assert "post_buy" in public
    assert {name for name in public - {"order_row"} if f"`{name}" not in section} == set()


def test_the_first_strategy_runs_as_printed():
    code = GUIDE.split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {"__name__": "guide"}
    exec(compile(code, "docs/strategies.md", "exec"), names)
    world = World(LINEAR)
    s = world.add(names["Dipper"], market=LINEAR.id, fall=10)
    world.quote(0, 1000, 1001)
    world.quote(0, 990, 991)
    assert [(order.buy, order.price) for order in s.orders.values()] == [(True, 990)]
    world.quote(0, 980, 981)
    assert s.m.position == 10
    world.quote(0, 985, 986)
    assert [(order.buy, order.price) for order in s.orders.values()] == [(False, 986)]
    world.quote(0, 990, 991)
    assert s.m.position == 0
    world.gate.deny = lambda order: Reason.POSITION_LIMIT
    for _ in range(3):
        world.quote(0, 970, 971)
    assert world.denied() == 1

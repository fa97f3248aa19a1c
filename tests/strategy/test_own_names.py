"""A user's strategy cannot break the base class by the names it chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosting import SPOT, World

from tidegate import strategy_code
from tidegate.errors import UserError
from tidegate.strategy.strategy import RESERVED, Strategy


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_name_the_base_stands_on_is_refused_where_the_class_is_defined(name):
    with pytest.raises(UserError) as told:
        type("Mine", (Strategy,), {name: lambda self: None})
    assert str(told.value) == (
        f"strategy class Mine: {name!r} is a name of Strategy's own; call yours another"
    )


def test_every_public_name_of_the_base_is_reserved_or_meant_to_be_overridden():
    handlers = {name for name in vars(Strategy) if name.startswith("on_")}
    overridden = handlers | {"Params", "save_state", "load_state"}
    public = {name for name in vars(Strategy) if not name.startswith("_")}
    public |= {"host", "params", "name", "number", "account", "orders"}
    assert public == overridden | RESERVED


def test_a_file_with_such_a_class_is_one_line_at_load(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from tidegate.strategy.strategy import Strategy\n"
        "class Mine(Strategy):\n"
        "    def submit(self):\n"
        "        pass\n"
    )
    with pytest.raises(UserError, match="'submit' is a name of Strategy's own") as told:
        strategy_code.strategy_class(f"{file}:Mine", tmp_path)
    assert "\n" not in str(told.value)


def test_private_names_of_a_users_do_not_meet_the_bases():
    class Careless(Strategy):
        def on_start(self) -> None:
            self._markets = self._commands = self._ended = "mine"
            self.m = self.market_number(0)
            self.first = self.m.buy(1, 100)
            self.second = self.m.buy(1, 99)

    world = World(SPOT)
    world.quote(0, 100, 101)
    careless = world.add(Careless)
    assert (careless._markets, careless._commands, careless._ended) == ("mine",) * 3
    assert careless.second.cmd_id == careless.first.cmd_id + 1
    world.trade(0, 98, 5, careless.first.side.opposite)
    assert careless.orders == {}
    assert careless.m.position == 2

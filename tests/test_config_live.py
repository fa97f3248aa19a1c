"""The live sections of a configuration: what they come to, and one line for each mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal

import pytest

from tidegate import config as configuration
from tidegate.config_live import TopologySection, processes_of, role_of
from tidegate.errors import UserError
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.ops.folder import DataFolder
from tidegate.roles import risk as risk_role
from tidegate.roles.place import simulated, simulated_key
from tidegate.world import World

BASE = """
[data]
lake = "lake"
instruments = ["X.Y"]
[accounts.one]
capital = "1000"
[accounts.two]
capital = "1000"
[strategies.s]
type = "ema_cross"
account = "one"
[strategies.t]
type = "ema_cross"
account = "two"
"""


@pytest.fixture
def load(tmp_path):
    def read(more: str = "", **changes):
        path = tmp_path / "c.toml"
        path.write_text(BASE + more)
        return World(path, configuration.load(path, changes))

    return read


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[log]\ndurability = "macine"', r"log\.durability: 'macine'.*machine"),
        ("[log]\nlanes = 0", r"log\.lanes is 0, must be 1"),
        ("[log]\nlanse = 2", r"unknown key 'lanse'.*lanes"),
        ('[topology]\non_stop = "flatten"', r"topology\.on_stop is 'flatten', must be cancel or keep"),
        ("[simulated]\nspeed = 2.0", "simulated: give captures, or agents"),
        ('[topology]\nprocesses = [["feeed"]]', r"unknown role 'feeed'.*feed"),
        ('[topology]\nprocesses = [["strategy:x"]]', r"unknown strategy 'x'"),
        ('[topology]\nprocesses = [["oms:s"]]', r"'oms:s': only a strategy's role takes a name"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(load, more, words):
    with pytest.raises(UserError, match=words) as told:
        load(more)
    assert "\n" not in str(told.value)


def test_by_default_every_role_and_strategy_is_a_process_of_its_own():
    found = processes_of(TopologySection(), {"a": 1, "b": 2}, simulated=True)
    assert found == [
        ("venue",), ("feed",), ("oms",), ("risk",), ("gateway",), ("recorder",), ("strategy:a",), ("strategy:b",),
    ]  # fmt: skip
    assert processes_of(TopologySection(processes=(("feed", "oms"),)), {}, simulated=False) == [
        ("feed", "oms")
    ]


def test_roles_are_named_with_their_strategy():
    assert role_of("strategy:a", {"a": 1}, "run") == ("strategy", "a")
    assert role_of("oms", {}, "run") == ("oms", "")


def test_accounts_are_dealt_out_to_lanes_unless_pinned(load):
    world = load("[log]\nlanes = 2")
    assert [world.lane_of(n) for n in range(2)] == [0, 1]
    pinned = load("[log]\nlanes = 2", **{"accounts.one.lane": 1})
    assert [pinned.lane_of(n) for n in range(2)] == [1, 1]
    with pytest.raises(UserError, match=r"accounts\.one\.lane is 5: there are 2 lanes"):
        load("[log]\nlanes = 2", **{"accounts.one.lane": 5}).lane_of(0)


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    folder = DataFolder(tmp_path)
    folder.make()
    path = simulated_key(folder, "one")
    assert os.stat(path).st_mode & 0o777 == 0o600
    first = path.read_text()
    assert simulated_key(folder, "one").read_text() == first
    assert simulated_key(folder, "two").read_text() != first


def test_without_a_venue_there_is_none(tmp_path):
    assert simulated(DataFolder(tmp_path)) is None


INSTRUMENT = Instrument(
    symbol="X", venue="Y", kind=InstrumentKind.SPOT, base="X", quote="USDT", tick=Decimal("0.1"),
    lot=Decimal("0.001"), maker_fee=Decimal("-0.0001"),
)  # fmt: skip


def test_instruments_are_handed_over_to_processes_of_the_same_configuration_only(load, tmp_path):
    first, path = load(), tmp_path / "instruments.json"
    first.__dict__["universe"] = Universe([INSTRUMENT])
    first.hand_over(path)
    second = load()
    second.take_over(path)
    assert second.universe.instruments == first.universe.instruments
    assert second.universe.index == first.universe.index
    other = load("[log]\nlanes = 2")
    other.take_over(path)
    with pytest.raises(UserError, match="no lake"):
        _ = other.universe  # it looks for the lake, which is not there
    path.write_bytes(b"torn")
    third = load()
    third.take_over(path)
    assert "universe" not in third.__dict__


def test_a_gateway_needs_nothing_compiled(tmp_path):
    code = (
        "import sys, tidegate.roles.run, tidegate.venue.gateway, tidegate.venue.binance.venue, tidegate.cli\n"
        "print([name for name in ('numba', 'pyarrow', 'duckdb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("def f(:", "line 1: SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_strategy_file_that_does_not_load_is_one_line(load, tmp_path, code, words):
    (tmp_path / "mine.py").write_text(code)
    world = load(**{"strategies.s.type": "mine.py:Mine"})
    with pytest.raises(UserError, match=rf"mine\.py.*{words}") as told:
        world.strategies()
    assert "\n" not in str(told.value)


def test_lanes_that_share_limits_need_somebody_who_lends_them(load, monkeypatch):
    monkeypatch.setattr(World, "universe", Universe([INSTRUMENT]))
    both = load('[log]\nlanes = 2\n[topology]\nprocesses = [["feed", "oms", "gateway"]]')
    with pytest.raises(
        UserError, match="no process has the role risk, which lends 2 lanes the limits they share"
    ):
        risk_role.check(both)
    risk_role.check(load('[log]\nlanes = 2\n[topology]\nprocesses = [["feed", "oms", "risk"]]'))
    risk_role.check(load('[topology]\nprocesses = [["feed", "oms"]]'))
    with pytest.raises(
        UserError, match=r"risk\.breakers\.ordrs: unknown breaker 'ordrs'; did you mean 'orders'"
    ):
        risk_role.check(load("[risk.breakers.ordrs]"))

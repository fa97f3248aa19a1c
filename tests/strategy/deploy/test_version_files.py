"""A version from its file: what its id is of, what is wrong said in one line, and that the code kept is the code run."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tidegate import config as configuration
from tidegate import versions
from tidegate.cli.live import topology_of
from tidegate.config_live import processes_of, role_of
from tidegate.errors import UserError
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.risk.scopes import NEXT
from tidegate.strategy.deploy.version import Unknown, Version, Versions, WatchRules

MAKER = """
type = "avellaneda_stoikov"
[params]
market = "X.Y"
size = 5
max_position = 50
"""
OWN = """
from tidegate.strategy.strategy import Strategy, StrategyParams
from helper_of_own import WORD


class Own(Strategy):
    class Params(StrategyParams, frozen=True):
        size: int = 1

    word = WORD
"""


@pytest.fixture
def write(tmp_path):
    def file(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return file


def test_the_id_follows_from_code_and_parameters_alone(write):
    first = versions.read(write("a.toml", MAKER))
    again = versions.read(write("b.toml", "# the same\n" + MAKER))
    other = versions.read(write("c.toml", MAKER.replace("size = 5", "size = 6")))
    watched = versions.read(write("d.toml", MAKER + '[watch]\ninterval = "5s"\n'))
    assert first.id == again.id
    assert len({first.id, other.id, watched.id}) == 3
    assert watched.watch == WatchRules(interval="5s")
    assert first.name == "a.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type = 3", "type"),
        ("typ = 'x'", "unknown key 'typ'"),
        ("type = 'avelaneda_stoikov'", "avellaneda_stoikov"),
        (MAKER + "sise = 1", "unknown key 'sise'"),
        (MAKER + "[watch]\nout = 4\nof = 3", "1 ≤ out ≤ of"),
        (MAKER + "[watch]\ninterval = '1ms'", "100ms or more"),
        ("type = 'nowhere.py:Own'", "nowhere.py does not exist"),
        ("type = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_place(write, text, said):
    with pytest.raises(UserError) as error:
        versions.read(write("v.toml", text))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_code_of_ones_own_is_kept_and_what_happens_to_the_file_changes_nothing(write, tmp_path):
    write("helper_of_own.py", "WORD = 'first'\n")
    write("own.py", OWN)
    version = versions.read(write("v.toml", 'type = "own.py:Own"\n[params]\nsize = 3\n'))
    assert sorted(version.sources) == ["helper_of_own.py", "own.py"]
    (tmp_path / "own.py").write_text("raise RuntimeError\n")
    made = versions.build(version, "maker.next", 4, 0, tmp_path / "versions")
    assert (made.name, made.number, made.params.size, made.word) == ("maker.next", 4, 3, "first")
    write("helper_of_own.py", "WORD = 'second'\n")
    write("own.py", OWN)
    second = versions.read(tmp_path / "v.toml")
    for one, word in (
        (second, "second"),
        (version, "first"),
        (second, "second"),
    ):  # in one process, as a slot has it
        assert versions.build(one, "maker", 0, 0, tmp_path / "versions").word == word
    write("own.py", OWN + "\n")
    assert versions.read(tmp_path / "v.toml").id != version.id


def test_what_a_version_may_not_be_run_as(tmp_path):
    later = Version(type="avellaneda_stoikov", params={"market": "X.Y"}, code="99.0")
    with pytest.raises(UserError, match=r"made with tidegate 99\.0"):
        versions.build(later, "maker", 0, 0, tmp_path)
    out = msgspec.structs.replace(later, sources={"../x.py": ""})
    with pytest.raises(UserError, match="not a file beside it"):
        versions.build(out, "maker", 0, 0, tmp_path)


def test_a_version_that_was_changed_in_the_log_is_not_run():
    async def body():
        log = MemoryServer(1, log=declared(1)).client("c")
        kept, version = Versions(log), Version(type="ema_cross", params={"size": 1})
        await kept.keep("maker", version)
        assert await kept.find("maker", version.id) == version
        bad = msgspec.structs.replace(version, params={"size": 1000})
        await log.bucket("STATE").put(f"version.maker.{version.id}", bad.encode())
        with pytest.raises(Unknown, match="was changed"):
            await kept.find("maker", version.id)
        with pytest.raises(Unknown, match="not in the log"):
            await kept.find("maker", "0" * 12)

    asyncio.run(body())


CONFIG = """
[data]
lake = "lake"
instruments = ["X.Y"]
[accounts.one]
capital = "1000"
[strategies.s]
type = "ema_cross"
account = "one"
canary = "{canary}"
[strategies.t]
type = "ema_cross"
account = "one"
"""


def test_a_slot_is_a_scope_a_role_and_a_process_that_waits(write):
    path = write("c.toml", CONFIG.format(canary="10%"))
    config = configuration.load(path)
    table = configuration.scopes_of(config)
    assert [s.name for s in table.strategies] == ["s", "t", "s" + NEXT]
    assert (table.strategies[2].slot_of, float(table.strategies[2].part)) == ("s", 0.1)
    assert role_of("strategy:s.next", config.strategies, "run") == ("strategy", "s.next")
    with pytest.raises(UserError, match="unknown strategy"):
        role_of("strategy:t.next", config.strategies, "run")
    assert ("deploy",) in processes_of(config.topology, config.strategies, False)
    found = {p.name: p for p in topology_of(config, path, path.parent).processes}
    assert found["strategy-s.next"].spare
    assert not found["strategy-s"].spare
    assert not found["strategy-s.next"].critical


@pytest.mark.parametrize("canary", ["0", "1", "100%", "-5%", "much"])
def test_a_part_that_cannot_be_is_refused(write, canary):
    with pytest.raises(UserError, match=r"strategies\.s\.canary is"):
        configuration.load(write("c.toml", CONFIG.format(canary=canary)))


def test_without_a_slot_nothing_is_added(write):
    config = configuration.load(write("c.toml", CONFIG.format(canary="")))
    assert [s.name for s in configuration.scopes_of(config).strategies] == ["s", "t"]
    assert ("deploy",) not in processes_of(config.topology, config.strategies, False)

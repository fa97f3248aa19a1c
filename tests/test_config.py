from pathlib import Path

import pytest

from tidegate import config, strategy_code
from tidegate.errors import UserError

DEMO = Path(__file__).parents[1] / "examples" / "demo.toml"


def test_the_demo_configuration_is_sound():
    loaded = config.load(DEMO)
    assert list(loaded.strategies) == ["maker", "basis", "trend"]
    assert loaded.run.base_currency == "USDT"
    strategies = list(config.build_strategies(loaded, str(DEMO), DEMO.parent))
    assert [s.account for s in strategies] == [0, 1, 0]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("run.nmae", "x", ["run", "unknown key 'nmae'", "did you mean 'name'"]),
        ("venues.BINANCE.queue_modle", "x", ["venues.BINANCE", "did you mean 'queue_model'"]),
        ("strategies.maker.acount", "x", ["strategies.maker", "did you mean 'account'"]),
        ("strategies.maker.account", "makin", ["unknown account 'makin'", "did you mean 'making'"]),
        ("run.seed", "one", ["Expected `int`, got `str`", "run.seed"]),
        ("accounts.making.capital", [1], ["accounts", "capital"]),
        ("accounts.making.spot", "lent", ["accounts.making.spot", "cash or margin"]),
        ("accounts.making.borrow", "ALL", ["accounts.making.borrow", "one of NO_SIDE_EFFECT"]),
        ("accounts.making.borrow", "MARGIN_BUY", ["accounts.making.borrow", "only an account with spot"]),
    ],
)
def test_a_mistake_is_one_line_with_place_value_and_way_out(key, value, words):
    with pytest.raises(UserError) as caught:
        config.load(DEMO, {key: value})
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text
    assert "demo.toml" in text


def test_an_unknown_parameter_of_a_strategy_names_the_nearest():
    loaded = config.load(DEMO, {"strategies.maker.params.gama": 1.0})
    with pytest.raises(UserError, match="unknown key 'gama'; did you mean 'gamma'"):
        list(config.build_strategies(loaded, "f.toml", DEMO.parent))


def test_a_parameter_of_the_wrong_type_says_so():
    loaded = config.load(DEMO, {"strategies.maker.params.size": "ten"})
    with pytest.raises(UserError, match=r"strategies\.maker\.params.*Expected `int`, got `str`"):
        list(config.build_strategies(loaded, "f.toml", DEMO.parent))


def test_an_unknown_strategy_type_names_the_nearest():
    with pytest.raises(UserError, match="unknown strategy type 'ema_cros'; did you mean 'ema_cross'"):
        strategy_code.strategy_class("ema_cros", DEMO.parent)


def test_a_strategy_of_the_users_own_file_is_loaded(tmp_path):
    source = "from tidegate.strategy.strategy import Strategy\nclass Mine(Strategy):\n    pass\n"
    (tmp_path / "mine.py").write_text(source)
    assert strategy_code.strategy_class("mine.py:Mine", tmp_path).__name__ == "Mine"
    with pytest.raises(UserError, match="Other is not a Strategy"):
        strategy_code.strategy_class("mine.py:Other", tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        strategy_code.strategy_class("gone.py:Mine", tmp_path)


def test_every_library_name_is_a_strategy():
    for name, class_name in strategy_code.LIBRARY.items():
        assert strategy_code.strategy_class(name, DEMO.parent).__name__ == class_name


@pytest.mark.parametrize(("text", "ns"), [("2ms", (2_000_000,)), (["1ms", "250us"], (1_000_000, 250_000))])
def test_latencies_are_durations(text, ns):
    assert config.latencies(text, "x", Path()) == ns


def test_latencies_come_from_a_file_with_one_per_line(tmp_path):
    (tmp_path / "measured.txt").write_text("1ms\n2ms\n3ms\n")
    assert config.latencies("measured.txt", "x", tmp_path) == (1_000_000, 2_000_000, 3_000_000)


@pytest.mark.parametrize("text", ["2 parsecs", [], ["-1ms"]])
def test_a_latency_that_is_none_is_refused(text):
    with pytest.raises(UserError, match=r"venues\.X\.entry_latency"):
        config.latencies(text, "venues.X.entry_latency", Path())


def test_not_toml_and_no_file_are_users_errors(tmp_path):
    (tmp_path / "a.toml").write_text("[run\n")
    with pytest.raises(UserError, match="not valid TOML"):
        config.load(tmp_path / "a.toml")
    with pytest.raises(UserError, match="cannot read configuration"):
        config.load(tmp_path / "b.toml")

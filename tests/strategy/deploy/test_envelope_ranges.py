"""Ranges from a backtest, and when behaviour is out of them: drawn strategies, and the demo's own on the sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidegate import config
from tidegate.sim.expect import measured
from tidegate.store.importer import import_captures
from tidegate.strategy.deploy.deviation import Judge
from tidegate.strategy.deploy.envelope import Range, decode, expected, value_of
from tidegate.strategy.deploy.measure import Figures

ROOT = Path(__file__).resolve().parents[3]
SECOND = 10**9


def calm(seed, count, rate=2.0, drift=0.0, size=1000.0):
    """A strategy as it is drawn: orders by chance, half of them fill, profit wanders."""
    draw = np.random.default_rng(seed)
    found = []
    inventory = 0.0
    for n in range(count):
        orders = int(draw.poisson(rate))
        fills = int(draw.binomial(orders, 0.5))
        inventory = min(5 * size, abs(inventory + size * float(draw.choice([-1, 1])) * fills))
        found.append(
            Figures(
                (n + 1) * SECOND, orders, int(draw.poisson(rate)), orders * size, fills * size, fills,
                fills * size * float(draw.normal(1e-5, 1e-5)), float(draw.normal(drift, 1.0)), inventory,
            )
        )  # fmt: skip
    return found


def judged(judge, figures):
    return next((found for f in figures if (found := judge.ended(f)) is not None), None)


@pytest.mark.parametrize("seed", range(12))
def test_no_false_alarm_where_nothing_has_changed(seed):
    envelope = expected("v", "r", SECOND, calm(seed, 300), 10**6)
    assert judged(Judge(envelope), calm(1000 + seed, 600)) is None


@pytest.mark.parametrize(
    ("figure", "changed"),
    [
        ("orders", {"rate": 20.0}),
        ("pnl", {"drift": -5.0}),
        ("inventory", {"size": 30_000.0}),
    ],
)
def test_what_changes_is_found_and_named(figure, changed):
    envelope = expected("v", "r", SECOND, calm(3, 300), 10**6)
    found = judged(Judge(envelope), calm(4, 120, **changed))
    assert found is not None
    assert found.figure in (figure, "changes") if figure == "orders" else found.figure == figure
    assert found.ts <= 40 * SECOND


def test_one_soft_breach_is_none_and_three_of_five_are_one():
    wanted = Range("orders", 1, 2.0, high=10.0, hard_high=20.0)
    envelope = expected("v", "r", SECOND, calm(5, 100), 10**6)
    one = type(envelope)("v", "r", SECOND, 100, 10**6, [wanted])

    def run(*orders):
        judge = Judge(one)
        return [judge.ended(Figures((n + 1) * SECOND, count)) for n, count in enumerate(orders)]

    assert run(11, 0, 0, 0, 0, 11, 11, 0, 0) == [None] * 9
    *before, last = run(11, 0, 11, 0, 11)
    assert before == [None] * 4
    assert (last.value, last.hard, last.expected) == (11.0, False, "≤ 10")
    assert "orders over 1 s is 11, expected ≤ 10" in last.text(SECOND)
    assert run(21)[0].hard


def test_a_runaway_is_found_before_its_interval_ends():
    envelope = expected("v", "r", SECOND, calm(6, 300), 10**6)
    judge = Judge(envelope)
    bound = next(r.hard_high for r in envelope.ranges if (r.figure, r.horizon) == ("orders", 1))
    assert judge.running(5, Figures(SECOND, int(bound))) is None
    found = judge.running(7, Figures(SECOND, int(bound) + 1))
    assert (found.ts, found.figure, found.hard) == (7, "orders", True)


def test_an_envelope_travels_as_json():
    envelope = expected("v", "r", SECOND, calm(7, 100), 100_000)
    assert decode(envelope.encode()) == envelope
    with pytest.raises(ValueError, match="not an envelope"):
        decode(b"{}")


def test_too_little_to_go_by_is_said():
    with pytest.raises(ValueError, match="20 intervals of 1 s; at least 60"):
        expected("v", "r", SECOND, calm(8, 20), 10**6)
    with pytest.raises(ValueError, match="nothing was traded"):
        expected("v", "r", SECOND, [Figures(n) for n in range(100)], 10**6)


def test_a_ratio_of_few_orders_says_nothing():
    assert value_of("fill_ratio", [Figures(1, 4, ordered=4.0, filled=4.0)]) is None
    assert value_of("fill_ratio", [Figures(1, 5, ordered=4.0, filled=3.0)]) == 0.75
    assert value_of("slippage", [Figures(1, 5, fills=5, filled=10_000.0, paid=1.0)]) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's strategies, measured on the packaged sample, second by second."""
    folder = tmp_path_factory.mktemp("demo")
    import_captures([ROOT / "data" / "sample"], folder / "lake")
    path = ROOT / "examples" / "demo.toml"
    loaded = config.load(path, {"data.lake": str(folder / "lake")})
    found = {}
    for number, name in enumerate(("maker", "basis", "trend")):
        setup = config.backtest(loaded, path)  # strategies are used up by a run
        found[name] = measured(setup, setup.strategies[number], SECOND)
    return found


@pytest.mark.parametrize("name", ["maker", "basis", "trend"])
@pytest.mark.parametrize(("first", "last"), [(0, 100), (0, 75), (45, 145)])
def test_no_false_alarm_on_what_the_envelope_has_not_seen(demo, name, first, last):
    figures = demo[name]
    assert len(figures) >= 145
    held_out = [*figures[:first], *figures[last:]]
    assert len(held_out) >= 45
    assert judged(Judge(expected("v", "r", SECOND, figures[first:last], 10**6)), held_out) is None

"""The lane under everything a network and a venue can do to it: by hypothesis, and in long seeded runs."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from lane_faults import FaultyWorld

from tidegate.model.order import ExecType, Side, TimeInForce

PICK = st.integers(0, 1 << 16)
TIF = [TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.GTD]
FATES = "dddddddxcc"
STRANGERS = [0, 77, 3 << 40 | 9999]


class LaneMachine(RuleBasedStateMachine):
    """Hypothesis chooses what happens next; a failure shrinks to the shortest story."""

    tells = True

    def __init__(self) -> None:
        super().__init__()
        self.world = FaultyWorld(self.tells)

    @rule(
        qty=st.integers(1, 50), price=st.integers(90, 110), side=st.sampled_from(Side), lost=st.booleans(),
        tif=st.sampled_from(TIF), instrument=st.integers(0, 2), reject=st.booleans(),
    )  # fmt: skip
    def submit(self, **what) -> None:
        self.world.submit(**what)

    @rule(pick=PICK, qty=st.integers(1, 30), group=st.integers(0, 3), kind=st.integers(0, 2))
    def submit_linked(self, **what) -> None:
        self.world.submit_linked(**what)

    @rule(qty=st.integers(1, 30), first=st.integers(0, 10))
    def bracket(self, **what) -> None:
        self.world.bracket(**what)

    @rule(pick=PICK)
    def retry(self, pick) -> None:
        self.world.retry(pick)

    @rule(pick=PICK, lost=st.booleans())
    def cancel(self, **what) -> None:
        self.world.cancel(**what)

    @rule(pick=PICK, qty=st.integers(0, 50), price=st.integers(95, 105), lost=st.booleans())
    def replace(self, **what) -> None:
        self.world.replace(**what)

    @rule(instrument=st.integers(-1, 2))
    def cancel_all(self, instrument) -> None:
        self.world.cancel_all(instrument)

    @rule(pick=PICK, key=st.sampled_from(STRANGERS), exec_type=st.sampled_from(ExecType))
    def nonsense(self, pick, key, exec_type) -> None:
        self.world.poison(pick)
        self.world.orphan(key, exec_type)

    @rule(ahead=st.sampled_from([1, 60, 150, 400, 900]), closed=st.booleans())
    def time(self, ahead, closed) -> None:
        self.world.time(ahead)
        self.world.throttle(closed)

    @rule(pick=PICK, qty=st.integers(1, 25))
    def fill(self, **what) -> None:
        self.world.fill(**what)

    @rule(pick=PICK, expire=st.booleans(), qty=st.integers(0, 20))
    def interfere(self, pick, expire, qty) -> None:
        self.world.restate(pick, qty) if qty else self.world.end(pick, expire)

    @rule(pick=PICK, price=st.integers(90, 110), bust=st.booleans())
    def take_back(self, **what) -> None:
        self.world.take_back(**what)

    @rule(fates=st.lists(st.tuples(PICK, st.sampled_from(FATES)), min_size=1, max_size=12))
    def network(self, fates) -> None:
        self.world.network(fates)

    @rule(fates=st.lists(st.tuples(PICK, st.sampled_from(FATES)), min_size=1, max_size=12))
    def network_again(self, fates) -> None:
        self.world.network(fates)

    @rule(pick=PICK, gone=st.booleans())
    def crash(self, pick, gone) -> None:
        self.world.snapshot()
        self.world.crash(pick, gone)

    @invariant()
    def holds(self) -> None:
        self.world.holds()

    def teardown(self) -> None:
        self.world.settle_and_agree()


class SilentVenueMachine(LaneMachine):
    """The same with a venue whose reports carry neither CumQty nor LeavesQty, nor a status with its refusals."""

    tells = False


RUNS = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLane = LaneMachine.TestCase
TestLane.settings = RUNS
TestLaneOfSilentVenue = SilentVenueMachine.TestCase
TestLaneOfSilentVenue.settings = RUNS


def one_step(world: FaultyWorld, rng: random.Random) -> None:
    """One random act; the network moves most often, so that orders live through everything."""
    pick, chance = rng.randrange(1 << 16), rng.random()
    if chance < 0.10:
        tif, side = rng.choice(TIF), rng.choice(list(Side))
        world.submit(
            rng.randint(1, 45),
            rng.randint(90, 110),
            side,
            tif,
            pick % 3,
            rng.random() < 0.1,
            rng.random() < 0.1,
        )
    elif chance < 0.13:
        world.submit_linked(pick, rng.randint(1, 30), rng.randrange(4), rng.randrange(3))
    elif chance < 0.15:
        world.bracket(rng.randint(1, 30), rng.randint(0, 10))
    elif chance < 0.16:
        world.retry(pick)
    elif chance < 0.20:
        world.cancel(pick, rng.random() < 0.1)
    elif chance < 0.26:
        world.replace(pick, rng.randint(0, 45), rng.randint(95, 105), rng.random() < 0.1)
    elif chance < 0.262:
        world.cancel_all(rng.randint(-1, 2))
    elif chance < 0.27:
        world.poison(pick)
        world.orphan(rng.choice(STRANGERS), rng.choice(list(ExecType)))
    elif chance < 0.31:
        world.time(rng.choice([1, 60, 150, 400, 900]))
        world.throttle(rng.random() < 0.3)
    elif chance < 0.46:
        world.fill(pick, rng.randint(1, 25))
    elif chance < 0.48:
        world.end(pick, rng.random() < 0.5)
    elif chance < 0.50:
        world.restate(pick, rng.randint(1, 20))
    elif chance < 0.53:
        world.take_back(pick, rng.randint(90, 110), rng.random() < 0.5)
    elif chance < 0.54:
        world.snapshot()
        world.crash(pick, rng.random() < 0.5)
    else:
        world.network([(rng.randrange(1 << 16), rng.choice(FATES)) for _ in range(rng.randint(1, 4))])


def run_seed(seed: int, steps: int, make=FaultyWorld, **world_args) -> FaultyWorld:
    """A whole story from a seed; a failure is reproduced by its number."""
    rng = random.Random(seed)
    world = make(tells=seed % 2 == 0, **world_args)
    for _ in range(steps):
        one_step(world, rng)
        world.holds()
    world.settle_and_agree()
    return world


@pytest.mark.parametrize("seed", range(24))
def test_a_long_run_of_faults_ends_in_the_venues_truth(seed):
    run_seed(seed, 250)

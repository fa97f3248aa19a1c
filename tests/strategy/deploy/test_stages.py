"""The fold over DEPLOY: up by those who may, down by anybody, the same from the same entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.access.command import new, sign
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.signer import Signer
from tidegate.access.verify import Verifier
from tidegate.log.base import Entry
from tidegate.strategy.deploy.stages import DeployBoard, DeployEvent, Stage, commanded, decode

NOW = 1_700_000_000 * 10**9
PEOPLE = {name: Signer.new(name) for name in ("olga", "rita", "theo", "dina")}
ROLES = {"olga": Role.OPERATOR, "rita": Role.RISK_OFFICER, "theo": Role.TRADER, "dina": Role.RISK_OFFICER}
VERIFIER = Verifier(
    Identities(
        Identity(
            name=name, person=name, role=ROLES[name], key=signer.public,
            scopes=("desk:mm",) if name == "dina" else (),
        )
        for name, signer in PEOPLE.items()
    ),
    above={"strategy:maker": ("account:making", "desk:mm"), "strategy:taker": ("desk:arb",)},
)  # fmt: skip
SLOTS = {"maker": 100_000, "taker": 100_000}


def board():
    return DeployBoard(VERIFIER.verify, lambda name: SLOTS.get(name, 0))


def command(do, version, who="rita", ppm=0, strategy="maker", reason="a try"):
    args = {"version": version} | ({"ppm": str(ppm)} if ppm else {})
    made = new(do, f"strategy:{strategy}", reason, who, NOW, args=args)
    return commanded(sign(made, PEOPLE[who]).encode(), made, NOW)


def automatic(version, strategy="maker"):
    return DeployEvent(
        ts=NOW, strategy=strategy, do="rollback", version=version, reason="orders", source="watch", trigger="deviation"
    )  # fmt: skip


class Log:
    """Entries as the stream has them."""

    def __init__(self):
        self.board, self.entries = board(), []

    def add(self, event, data=None, ts=NOW):
        self.entries.append(Entry(len(self.entries) + 1, ts, event.subject, data or event.encode()))
        return self.board.apply(self.entries[-1])

    @property
    def maker(self):
        return self.board.status("maker")


def test_an_officer_of_a_desk_deploys_that_desks_strategies_alone():
    log = Log()
    assert log.add(command("live", "v1", "dina", strategy="taker")) is None
    assert "OUT_OF_SCOPE: live of strategy:taker: dina acts on desk:mm only" in log.board.refused
    assert log.add(command("live", "v1", "dina"))
    assert log.maker.live == "v1"


def test_from_nothing_to_live_and_back():
    log = Log()
    assert (log.maker.live, log.maker.stage) == ("configured", Stage.NONE)
    log.add(command("shadow", "v2", "olga"))
    assert (log.maker.candidate, log.maker.stage, log.maker.attempt) == ("v2", Stage.SHADOW, 1)
    log.add(command("canary", "v2", "olga", 50_000))
    assert (log.maker.stage, log.maker.ppm, log.maker.attempt, log.maker.seq) == (Stage.CANARY, 50_000, 1, 2)
    log.add(command("live", "v2"))
    assert (log.maker.live, log.maker.previous, log.maker.candidate) == ("v2", "configured", "")
    change = log.add(automatic("v2"))
    assert (log.maker.live, log.maker.previous) == ("configured", "")
    assert change.event.trigger == "deviation"
    assert log.maker.last == "v2 rolled back: orders"


def test_a_candidate_goes_and_the_live_version_stays():
    log = Log()
    log.add(command("canary", "v2", "olga", 100_000))
    log.add(automatic("v2"))
    assert (log.maker.live, log.maker.candidate, log.maker.stage, log.maker.ppm) == (
        "configured",
        "",
        Stage.NONE,
        0,
    )
    log.add(automatic("v2"))
    assert "neither live nor tried" in log.board.refused


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (command("live", "v2", "olga"), "ROLE_TOO_LOW"),
        (command("shadow", "v2", "theo"), "ROLE_TOO_LOW"),
        (command("canary", "v2", ppm=100_001), "10 % at most"),
        (command("canary", "v2"), "10 % at most"),
        (command("shadow", "v2", strategy="other"), "no slot"),
        (DeployEvent(ts=NOW, strategy="maker", do="canary", version="v2", reason="x", source="watch", ppm=1), "signed"),
        (command("shadow", ""), "names no version"),
        (command("rollback", "configured"), "nothing came before"),
    ],
)  # fmt: skip
def test_what_is_not_followed_says_why(event, why):
    log = Log()
    assert log.add(event) is None
    assert why in log.board.refused
    assert log.maker.candidate == ""
    assert log.maker.live == "configured"


def test_a_command_is_followed_once_and_only_as_it_was_signed():
    log = Log()
    first = command("shadow", "v2")
    log.add(first)
    log.add(command("rollback", "v2"))
    assert log.add(first) is None
    assert "followed before" in log.board.refused
    other = decode(command("shadow", "v2").encode().replace(b'"version":"v2"', b'"version":"v3"'))
    assert log.add(other) is None
    assert "another thing" in log.board.refused
    assert log.add(command("shadow", "v4"), ts=NOW + 3600 * 10**9) is None
    assert "COMMAND_EXPIRED" in log.board.refused
    assert log.add(first, data=b"{}") is None
    assert "not a deploy event" in log.board.refused


def test_one_candidate_at_a_time():
    log = Log()
    log.add(command("shadow", "v2"))
    assert log.add(command("canary", "v3", ppm=1)) is None
    assert "roll it back first" in log.board.refused
    assert log.add(command("live", "v3")) is None
    log.add(command("live", "v2"))
    assert log.add(command("shadow", "v2")) is None
    assert "live already" in log.board.refused


acts = st.lists(
    st.tuples(
        st.sampled_from(["shadow", "canary", "live", "rollback", "automatic", "unsigned"]),
        st.sampled_from(["v1", "v2", "v3", "configured"]),
        st.sampled_from(["olga", "rita", "theo"]),
    ),
    max_size=25,
)


@given(acts)
def test_only_those_who_may_bring_a_version_up_and_a_replay_agrees(steps):
    log = Log()
    for do, version, who in steps:
        before = log.maker
        if do == "automatic":
            log.add(automatic(version))
        elif do == "unsigned":
            log.add(
                DeployEvent(ts=NOW, strategy="maker", do="live", version=version, reason="x", source="watch")
            )
        else:
            log.add(command(do, version, who, 100_000 if do == "canary" else 0))
        now = log.maker
        if now.live != before.live:
            assert (do == "live" and who == "rita") or (
                now.live == before.previous and before.live == version
            )
        if now.candidate and now.candidate != before.candidate:
            assert do in ("shadow", "canary")
            assert who != "theo"
        assert bool(now.candidate) == (now.stage is not Stage.NONE)
        assert now.candidate != now.live
        assert now.ppm == (100_000 if now.stage is Stage.CANARY else 0)
    again = board()
    for entry in [*log.entries, *log.entries]:
        again.apply(entry)
    assert again.strategies == log.board.strategies

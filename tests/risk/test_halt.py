"""Halts: down by anybody, up by two people, once."""

from __future__ import annotations

import msgspec
import pytest
from halting import SECOND, SIGNERS, T0, VERIFIER, breach, event, signed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tidegate.access import command
from tidegate.access.command import Signed
from tidegate.access.verify import Denied
from tidegate.errors import UserError
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.risk.halt import RECOVERING_FOR, HaltBoard, HaltEvent, State, commanded, decode, entry, post
from tidegate.risk.scope_name import chain_names, name_of, parse, split
from tidegate.sim.virtual_time import VirtualClock, run

S = State


def board() -> HaltBoard:
    return HaltBoard(VERIFIER.verify)


def test_a_breach_takes_a_scope_down_and_kill_twice_is_kill_once():
    b = board()
    (change,) = b.apply(1, T0, breach("strategy:mm", S.KILLED, T0).encode())
    assert (change.before.state, change.after.state, change.after.epoch) == (S.ACTIVE, S.KILLED, 1)
    assert b.apply(2, T0 + 1, breach("strategy:mm", S.KILLED, T0 + 1)) == []
    assert b.apply(3, T0 + 2, breach("strategy:mm", S.REDUCE_ONLY, T0 + 2)) == []
    assert b.status("strategy:mm").epoch == 1, "what changes nothing raises no epoch"
    assert b.refused == ""
    assert b.effective(["firm", "strategy:mm"]) is S.KILLED
    assert b.effective(["firm", "strategy:arb"]) is S.ACTIVE
    assert b.epoch(["firm", "strategy:arb", "account:main"]) == 0


def test_a_board_that_is_folded_again_from_the_middle_loses_no_halt():
    b = board()
    entries = [
        breach("strategy:mm", S.KILLED, T0), breach("firm", S.REDUCE_ONLY, T0 + 1), breach("account:main", S.KILLED, T0 + 3),
        event("resume", "strategy:mm", "ann", T0 + 4, "bob", epoch="1"), breach("firm", S.KILLED, T0 + 5),
    ]  # fmt: skip
    for seq, one in zip((1, 2, 4, 5, 6), entries, strict=True):
        b.apply(seq, T0 + seq, one)
    before = dict(b.scopes)
    missing = breach("strategy:arb", S.CANCEL_ONLY, T0 + 2)
    kept = [(3, missing), (4, entries[2]), (5, entries[3]), (6, entries[4])]
    changes = b.anew([(seq, T0 + seq, one.encode()) for seq, one in kept], first=3)
    assert [change.after.scope for change in changes] == ["strategy:arb"]
    assert b.status("strategy:arb").state is S.CANCEL_ONLY
    assert b.scopes == before | {"strategy:arb": b.status("strategy:arb")}
    assert b.status("strategy:mm").state is S.RECOVERING


def test_a_command_that_was_refused_for_want_of_a_signature_is_no_echo_of_the_good_one():
    alone = event("resume", "firm", "ann", T0, epoch="1")
    asked = Signed.decode(alone.signed)
    both = msgspec.structs.replace(alone, signed=command.approve(asked, SIGNERS["bob"]).encode())
    later = msgspec.structs.replace(both, ts=T0 + SECOND)
    assert entry(alone)[2] != entry(both)[2], "the log would take it for the same message"
    assert entry(later)[2] == entry(both)[2], "a gateway's copy of it is the same"
    b = board()
    b.apply(1, T0, breach("firm", S.KILLED, T0))
    assert b.apply(2, T0, alone) == []
    assert b.apply(3, T0, both)


def test_people_of_a_desk_halt_and_resume_what_is_below_it_alone():
    b = board()
    for seq, scope in enumerate(("firm", "account:other", "strategy:arb", "venue:X"), 1):
        assert b.apply(seq, T0, event("halt", scope, "dot", T0)) == []
        assert b.refused.endswith(f"OUT_OF_SCOPE: halt of {scope}: dot acts on desk:desk only")
    assert b.apply(5, T0, event("halt", "strategy:mm", "dot", T0))
    assert b.apply(6, T0, event("halt", "account:main", "ann", T0))
    assert up(b, 7, T0, ("dot", "don"), "account:main")
    assert b.apply(8, T0, event("halt", "firm", "ann", T0))
    assert up(b, 9, T0, ("ann", "dot"), "firm") == []
    assert b.effective(["firm", "account:main"]) is S.KILLED


def test_a_warning_halts_nothing_and_raises_no_epoch():
    b = board()
    b.apply(5, T0, breach("firm", S.WARN, T0))
    assert b.effective(["firm"]) is S.WARN
    assert b.epoch(["firm"]) == 0
    b.apply(6, T0, breach("firm", S.REDUCE_ONLY, T0))
    assert b.epoch(["firm"]) == 6


def test_the_effective_state_is_the_most_severe_of_the_chain_also_of_instrument_and_venue():
    b = board()
    b.apply(1, T0, breach("venue:X", S.REDUCE_ONLY, T0))
    b.apply(2, T0, breach("instrument:BTC.X", S.CANCEL_ONLY, T0))
    chain = ["firm", "account:main", "strategy:mm", "venue:X"]
    assert b.effective(chain) is S.REDUCE_ONLY
    assert b.effective([*chain, "instrument:BTC.X"]) is S.CANCEL_ONLY
    assert b.epoch([*chain, "instrument:BTC.X"]) == 2


def up(b: HaltBoard, seq: int, ts: int, by=("ann", "bob"), scope="firm", **args) -> list:
    args = {"epoch": str(b.status(scope).epoch), **args}
    return b.apply(seq, ts, event("resume", scope, by[0], ts, *by[1:], **args))


def test_up_takes_two_people_and_then_time():
    b = board()
    b.apply(1, T0, breach("firm", S.KILLED, T0))
    wrong = {
        ("ann",): "NEEDS_TWO_PEOPLE", ("ann", "ann2"): "SAME_PERSON", ("ann", "oz"): "ROLE_TOO_LOW",
        ("ann", "gone"): "IDENTITY_REVOKED",
    }  # fmt: skip
    for seq, (by, code) in enumerate(wrong.items(), 2):
        assert up(b, seq, T0, by) == []
        assert code in b.refused
        assert b.status("firm").state is S.KILLED
    (change,) = up(b, 9, T0)
    assert change.after.state is S.RECOVERING
    assert change.after.by == ("ann", "bob")
    assert change.after.epoch == 1, "orders from before the halt stay dead"
    end = T0 + RECOVERING_FOR
    assert b.recovered(end - 1) == []
    (over,) = b.recovered(end)
    assert b.apply(10, end - 1, over) == []
    assert "recovers for" in b.refused
    (change,) = b.apply(11, end, over)
    assert change.after.state is S.ACTIVE
    assert change.after.epoch == 1
    assert b.apply(12, end, over) == []


def test_a_kill_may_be_lifted_to_reduce_only_to_flatten_first():
    b = board()
    b.apply(1, T0, breach("firm", S.KILLED, T0))
    b.apply(2, T0, event("flatten", "firm", "ann", T0))
    assert "KILLED" in b.refused
    up(b, 3, T0, state="REDUCE_ONLY")
    assert b.status("firm").state is S.REDUCE_ONLY
    (change,) = b.apply(4, T0, event("flatten", "firm", "ann", T0))
    assert change.after.flatten.do == "flatten"
    assert b.apply(5, T0, event("flatten", "firm", "ann", T0)) == []
    (change,) = b.apply(6, T0, event("halt", "firm", "oz", T0))
    assert change.after.flatten is None, "a kill ends it"


def test_flatten_of_a_trading_scope_halts_it_first():
    b = board()
    (change,) = b.apply(1, T0, event("flatten", "account:main", "ann", T0))
    assert change.after.state is S.REDUCE_ONLY
    assert change.after.flatten is not None


def test_a_flatten_that_is_stored_too_late_halts_and_sends_nothing():
    """It trades: a revoked officer, or a log that was away for long, must not have it carried out by a time of their own."""
    b = board()
    old = event("flatten", "account:main", "ann", T0)
    (change,) = b.apply(1, T0 + 61 * SECOND, old)
    assert (change.after.state, change.after.flatten) == (S.REDUCE_ONLY, None)
    assert "halts account:main and flattens nothing: COMMAND_EXPIRED" in b.refused
    assert b.apply(2, T0 + 61 * SECOND, event("flatten", "account:main", "bob", T0)) == []
    assert "COMMAND_EXPIRED" in b.refused
    (change,) = b.apply(3, T0 + 61 * SECOND, event("flatten", "account:main", "ann", T0 + 60 * SECOND))
    assert change.after.flatten is not None
    assert b.refused == ""


def test_an_approval_is_of_one_halt_and_of_one_time():
    b = board()
    b.apply(1, T0, breach("firm", S.REDUCE_ONLY, T0))
    old = event("resume", "firm", "ann", T0, "bob", epoch="1")
    b.apply(2, T0, breach("firm", S.KILLED, T0))
    assert b.apply(3, T0, old) == []
    assert "lifts halt 1" in b.refused
    late = event("resume", "firm", "ann", T0, "bob", epoch="2")
    assert b.apply(4, T0 + 61 * SECOND, late) == []
    assert "COMMAND_EXPIRED" in b.refused
    again = event("resume", "firm", "ann", T0, "bob", epoch="2")
    assert b.apply(5, T0, again)
    b.apply(6, T0, breach("firm", S.KILLED, T0 + 1))
    assert b.apply(7, T0, again) == [], "a command counts once"
    assert b.status("firm").state is S.KILLED


def test_a_halt_by_a_gateway_that_had_to_wait_for_the_log_still_counts():
    b = board()
    waited = event("halt", "venue:X", "oz", T0)
    (change,) = b.apply(1, T0 + 3600 * SECOND, waited)
    assert change.after.state is S.KILLED
    assert change.after.by == ("oz",)
    assert b.seen(waited.id)
    assert not b.seen("another")


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"\x00", "malformed", "not a halt event"),
        (breach("desk", S.KILLED, T0).encode(), "malformed", "desk:NAME"),
        (breach("firm", S.ACTIVE, T0).encode(), "up", "two people"),
        (breach("firm", S.RECOVERING, T0).encode(), "up", "two people"),
        (event("halt", "firm", "vic", T0).encode(), "denied", "ROLE_TOO_LOW"),
        (event("halt", "firm", "gone", T0).encode(), "denied", "IDENTITY_REVOKED"),
        (
            msgspec.structs.replace(event("halt", "firm", "oz", T0), scope="desk:a").encode(),
            "other_command",
            "another",
        ),
        (
            msgspec.structs.replace(event("halt", "firm", "oz", T0), state=S.WARN).encode(),
            "other_command",
            "another",
        ),
        (
            HaltEvent(
                ts=T0, scope="firm", state=S.KILLED, reason="", trigger="manual", source="x",
                signed=signed("cancel-all", "firm", "oz", T0).encode(),
            ).encode(),
            "other_command", "cancel-all",
        ),
    ],
)  # fmt: skip
def test_what_is_not_followed_is_counted_and_said(data, code, says):
    b = board()
    assert b.apply(1, T0, data) == []
    assert b.ignored == {code: 1}
    assert says in b.refused
    assert b.status("firm").state is S.ACTIVE


def test_a_scope_that_the_run_does_not_have_changes_nothing():
    b = HaltBoard(VERIFIER.verify, {"firm"}.__contains__)
    assert b.apply(1, T0, breach("desk:nowhere", S.KILLED, T0)) == []
    assert "there is no desk:nowhere" in b.refused


def test_a_warning_is_lifted_at_once():
    b = board()
    b.apply(1, T0, breach("firm", S.WARN, T0))
    (change,) = up(b, 2, T0)
    assert change.after.state is S.ACTIVE


def test_an_event_is_posted_once():
    async def main():
        import asyncio

        server = MemoryServer(1, clock=VirtualClock(asyncio.get_running_loop()), log=declared(1))
        log = server.client("risk")
        tripped = breach("firm", S.KILLED, T0)
        assert await post(log, tripped) == await post(log, decode(tripped.encode()))
        assert len(server.streams["HALT"].entries) == 1
        await log.close()

    run(main())


# Names.


def test_names_are_read_and_written(desk_scopes):
    scopes, universe = desk_scopes
    for text in ("firm", "desk:desk", "account:main", "strategy:arb", "instrument:CL.Y", "venue:Y"):
        ref = parse(text, scopes, universe)
        assert str(ref) == text
        if ref.kind not in ("instrument", "venue"):
            assert name_of(ref.number, scopes) == text
    assert chain_names(0, 1, 1, scopes, universe) == (
        "firm", "desk:desk", "account:main", "strategy:arb", "venue:Y", "instrument:CL.Y",
    )  # fmt: skip
    assert chain_names(-1, -1, -1, scopes, universe) == ("firm",)


@pytest.fixture
def desk_scopes():
    from gate_desk import SCOPES, UNIVERSE

    return SCOPES, UNIVERSE


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write firm"),
        ("firm:x", "write firm"),
        ("desk", "write desk:NAME"),
        ("stratgy:mm", "did you mean 'strategy'"),
        ("strategy:mn", "known: arb, mm"),
        ("instrument:CL.X", "did you mean 'CL.Y'"),
        ("venue:Z", "unknown venue 'Z'"),
    ],
)
def test_a_name_that_is_none_is_said(text, says, desk_scopes):
    with pytest.raises(UserError, match=says):
        parse(text, *desk_scopes)
    assert split("venue:Z")[1] == "Z"


# Any order, any duplication.


class Halts(RuleBasedStateMachine):
    """Events of breakers and people in any order, again, late; the model knows only who signed what."""

    @initialize()
    def begin(self) -> None:
        self.board = board()
        self.entries: list[tuple[int, bytes]] = []
        self.now = T0
        self.used: set[str] = set()

    def _append(self, made: HaltEvent) -> None:
        self.entries.append((self.now, made.encode()))
        before = dict(self.board.scopes)
        self.board.apply(len(self.entries), self.now, self.entries[-1][1])
        for name, status in self.board.scopes.items():
            was = before[name].state if name in before else S.ACTIVE
            if status.state < was:
                self._may_go_up(was, status, made)
        self.used.add(made.id)

    def _may_go_up(self, was: State, status, made: HaltEvent) -> None:
        if made.trigger == "recovered":
            assert (was, status.state) == (S.RECOVERING, S.ACTIVE)
            assert self.now >= made.ts
            return
        found = VERIFIER.verify(made.signed, self.now)
        assert found.command.do == "resume"
        assert len(set(found.persons)) == 2
        assert made.id not in self.used
        assert found.command.scope == status.scope

    @rule(seconds=st.sampled_from([1, 30, 61, 600]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(scope=st.sampled_from(["firm", "account:a", "venue:V"]), state=st.sampled_from(list(State)))
    def breaker(self, scope: str, state: State) -> None:
        self._append(breach(scope, state, self.now))

    @rule(
        scope=st.sampled_from(["firm", "account:a", "venue:V"]),
        by=st.sampled_from(["ann", "oz", "vic", "gone"]),
        state=st.sampled_from(["REDUCE_ONLY", "CANCEL_ONLY", "KILLED"]),
    )
    def halt(self, scope: str, by: str, state: str) -> None:
        self._append(event("halt", scope, by, self.now, state=state))

    @rule(
        scope=st.sampled_from(["firm", "account:a", "venue:V"]),
        people=st.sampled_from(
            [("ann",), ("ann", "ann2"), ("ann", "ann"), ("ann", "oz"), ("gone", "bob"), ("ann", "bob")]
        ),
        late=st.sampled_from([0, 0, 90]),
        off=st.sampled_from([0, 0, 1]),
    )
    def resume(self, scope: str, people: tuple[str, ...], late: int, off: int) -> None:
        epoch = str(self.board.status(scope).epoch - off)
        issued = self.now - late * SECOND
        self._append(event("resume", scope, people[0], issued, *people[1:], epoch=epoch))

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def replay(self, data) -> None:
        self._append(decode(data.draw(st.sampled_from(self.entries))[1]))

    @rule(early=st.sampled_from([0, 0, 120]))
    def recovery_ends(self, early: int) -> None:
        for over in self.board.recovered(self.now + early * SECOND):
            self._append(over)

    @invariant()
    def the_chain_is_as_severe_as_its_worst(self) -> None:
        chain = ["firm", "account:a", "venue:V"]
        worst = max(self.board.status(name).state for name in chain)
        assert self.board.effective(chain) is worst

    @invariant()
    def the_same_entries_give_the_same_board(self) -> None:
        again = board()
        for seq, (ts, data) in enumerate(self.entries, 1):
            again.apply(seq, ts, data)
        assert again.scopes == self.board.scopes


TestHalts = Halts.TestCase
TestHalts.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_denied_is_what_the_verifier_raises():
    with pytest.raises(Denied):
        VERIFIER.verify(event("halt", "firm", "vic", T0).signed, T0)
    made = signed("halt", "firm", "oz", T0)
    assert commanded(made.encode(), made.command, T0).state is S.KILLED

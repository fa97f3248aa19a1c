"""Halts in the whole system under faults: they hold; and where a guard is taken away, that is found."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.access.policy import POLICY
from tidegate.execution import controls
from tidegate.execution.lane_halts import LaneHalts
from tidegate.risk import halt as rules
from tidegate.risk.gate import Gate
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State
from tidegate.sim.faults.run import run
from tidegate.sim.faults.schedule import FALSE, Fault
from tidegate.venue.gateway.guard import Guard
from tidegate.venue.gateway.halt_file import HaltFile
from tidegate.venue.gateway.halts import Halts


def found(outcome):
    return "\n".join(outcome.violations)


def hunted(first, faults):
    """What is found with these faults in the first of a few seeds that finds anything: their courses differ."""
    outcomes = (run(seed, 1, faults) for seed in range(first, first + 5))
    return next((found(outcome) for outcome in outcomes if outcome.violations), "")


def halts(at, scope, state="KILLED", **more):
    """A halt that the desk does not lift before the end."""
    return Fault(at, "person halts", scope, 0, {"state": state, "stays": True, **more})


def test_a_halt_by_sockets_alone_outlives_the_log_the_gateway_and_the_risk_service():
    faults = [
        Fault(20, "outage", "", 6), halts(21, "account:red", ways="socket", gap=2.0), Fault(22, "kill", "gw-red"),
        Fault(23, "kill", "oms-a"), Fault(24, "kill", "risk-a"), Fault(24, "kill", "risk-b"),
    ]  # fmt: skip
    outcome = run(13, 1.5, faults)
    assert not outcome.violations
    assert outcome.counts["halts by a socket first"] >= 1
    assert outcome.counts["scope KILLED"] == 1


def test_nothing_false_lets_a_scope_up():
    faults = [halts(10, "strategy:quoter"), Fault(20, "resume", "", 0, {"pick": 0})]
    faults += [
        Fault(12.0 + n, "false resume", "strategy:quoter", 0, {"kind": kind}) for n, kind in enumerate(FALSE)
    ]
    outcome = run(12, 1, faults)
    assert not outcome.violations
    assert {kind for kind in FALSE if outcome.counts.get(f"false resumes: {kind}")} == {*FALSE} - {"replayed"}
    assert outcome.counts["scope KILLED"] == 1
    assert "scope RECOVERING" not in outcome.counts


def test_a_risk_service_killed_amid_its_grants_lends_nothing_twice():
    faults = [
        Fault(8.0 + 9 * n, "kill amid", name, 8, {"stream": ("LEASES", "")[n % 2]})
        for n in range(6)
        for name in ("risk-a", "risk-b")
    ]
    outcome = run(15, 1.5, [*faults, Fault(70, "pause", "risk-a", 8), Fault(70, "partition", "risk-b", 3)])
    assert not outcome.violations
    assert outcome.counts["fault: kills amid an append"] >= 1
    assert outcome.counts["lease epochs"] >= 2


def test_a_writer_that_wakes_tells_its_lane_no_old_state(monkeypatch):
    """It sleeps while its scopes are let up and halted again, and its lane has another writer."""
    scopes = ("account:red", "account:blue")
    faults = [Fault(10, "person halts", scope, 0, {"state": "KILLED", "ways": "log"}) for scope in scopes]
    faults += [Fault(20, "pause", "oms-a", 9.0)]
    faults += [Fault(20.3 + n / 10, "resume", "", 0, {"pick": n}) for n in range(2)]
    faults += [halts(25, scope, ways="log") for scope in scopes]
    assert not run(61, 1, faults).violations

    def old(s, m):
        real(s, msgspec.structs.replace(m, at=0))

    real = controls._scope_state
    monkeypatch.setattr(controls, "_scope_state", old)
    assert "by what is older than its halt" in hunted(61, faults)


def test_a_lane_that_knows_of_a_halt_knows_of_all_before_it(monkeypatch):
    """What it lets pass carries one epoch, and two halts in a row may be lost one by one on their way to it."""
    faults = [Fault(15, "log", name, 20, {"lose": 0.4}) for name in ("oms-a", "oms-b")]
    for n, name in enumerate(("quoter", "mixer", "taker")):
        at, item = 16 + 4.3 * n, "PERP" if n else "SPOT"
        faults += [
            Fault(at - 0.2, "rogue", f"s-{name}", 6, {"how": "busy"}),
            halts(at, f"strategy:{name}", "REDUCE_ONLY", ways="log"),
            halts(at + 0.3, f"instrument:{item}.SIM", "REDUCE_ONLY", ways="log"),
        ]
    assert not run(61, 1, faults).violations

    def alone(self, lane, messages):
        self._unheard[lane] = []
        real(self, lane, messages)

    real = LaneHalts._write
    monkeypatch.setattr(LaneHalts, "_write", alone)
    assert "which its lane let pass before halt" in hunted(61, faults)


# What the checks are worth: each of these takes a guard away.

AMID = [halts(10.0 + 5 * n, scope, ways="log", amid=f"s-{name}", slow=3.0) for n, (scope, name) in enumerate(
    (("strategy:mixer", "mixer"), ("instrument:PERP.SIM", "taker"), ("strategy:quoter", "quoter"))
)]  # fmt: skip


def test_halts_amid_a_runaway_hold():
    outcome = run(31, 1, AMID)
    assert not outcome.violations
    assert outcome.counts["scope KILLED"] == 3


def test_a_gateway_that_does_not_obey_is_found(monkeypatch):
    monkeypatch.setattr(Halts, "judge", lambda self, m: 0)
    assert "of a scope that it was told is KILLED" in hunted(31, AMID)


def test_a_gateway_that_looks_at_no_epoch_is_found(monkeypatch):
    """An order that was checked before a halt is not sent in what the halt left."""

    def judge(self, m):
        verdict = real(self, m)
        return 0 if verdict == Reason.BEFORE_HALT else verdict

    real = Halts.judge
    monkeypatch.setattr(Halts, "judge", judge)
    faults = [
        Fault(fault.at, fault.kind, fault.target, 0, fault.args | {"state": "REDUCE_ONLY"}) for fault in AMID
    ]
    assert "which its lane let pass before halt" in hunted(31, faults)


def test_a_gate_that_forgets_to_reduce_only_is_found(monkeypatch):
    def let(self, scope, state, ts):
        real(self, scope, State.ACTIVE if state == State.REDUCE_ONLY else state, ts)

    real = Gate.set_state
    monkeypatch.setattr(Gate, "set_state", let)
    said = hunted(32, [halts(10, "firm", "REDUCE_ONLY")])
    assert "only reduces" in said or "HALT says REDUCE_ONLY" in said


def test_a_gateway_that_cancels_nothing_is_found(monkeypatch):
    """The lane's own cancels are taken away as well: one of the two would do."""
    monkeypatch.setattr(Halts, "_act", lambda self, scope, key="": None)
    monkeypatch.setattr("tidegate.execution.controls.cancel_halted", lambda s, m: None)
    assert "is open at the venue and its scope is KILLED" in hunted(33, [halts(50, "firm")])


def test_a_halt_that_is_not_on_the_disk_is_found(monkeypatch):
    monkeypatch.setattr(HaltFile, "read", lambda self, now: [])
    faults = [
        Fault(20, "outage", "", 6), halts(21, "account:red", ways="socket", only="red"), Fault(22, "kill", "gw-red")
    ]  # fmt: skip
    assert "of a scope that it was told is KILLED" in hunted(34, faults)


@pytest.mark.parametrize(("kind", "guard"), [("one", "people"), ("other", "epoch"), ("unsigned", "down")])
def test_a_way_up_without_its_guard_is_found(monkeypatch, kind, guard):
    if guard == "people":
        monkeypatch.setitem(POLICY, "resume", POLICY["resume"]._replace(people=1))
        real = rules._up
        monkeypatch.setattr(
            rules, "_up", lambda before, who, *rest: real(before, who._replace(persons=("a", "b")), *rest)
        )
    elif guard == "epoch":
        real = rules._up

        def up(before, who, *rest):
            args = who.command.args | {"epoch": str(before.epoch)}
            return real(before, who._replace(command=msgspec.structs.replace(who.command, args=args)), *rest)

        monkeypatch.setattr(rules, "_up", up)
    else:
        real = rules._down

        def down(before, who, event, seq, *rest):
            if event.state is State.ACTIVE:
                return msgspec.structs.replace(before, state=State.ACTIVE, seq=seq)
            return real(before, who, event, seq, *rest)

        monkeypatch.setattr(rules, "_down", down)
    faults = [halts(10, "account:blue"), Fault(15, "false resume", "account:blue", 0, {"kind": kind})]
    said = hunted(35, faults)
    assert "HALT says KILLED" in said or "told is KILLED" in said


def test_a_lane_that_a_new_writer_does_not_brief_is_found(monkeypatch):
    monkeypatch.setattr(LaneHalts, "brief", lambda self, lane: None)
    faults = [Fault(20, "kill", "oms-a"), Fault(20, "kill", "oms-b"), halts(20.1, "account:blue", ways="log")]
    assert "lane 0 takes account:blue for ACTIVE" in hunted(36, faults)


ASLEEP = [Fault(20, "pause", "risk-a", 20), Fault(20, "pause", "risk-b", 20)]


def test_while_no_risk_service_lives_nothing_goes_out_that_may_add_risk(monkeypatch):
    assert not run(37, 1, ASLEEP).violations
    monkeypatch.setattr(Guard, "_brake", lambda self, *args, **more: None)
    assert "no risk service has lived" in hunted(37, ASLEEP)


def test_a_breaker_reaches_gateways_before_the_log():
    outcome = run(37, 1, [Fault(20, "rogue", "s-mixer", 3, {"how": "refused"})])
    assert not outcome.violations
    assert outcome.counts["breakers' halts before the log"] >= 1

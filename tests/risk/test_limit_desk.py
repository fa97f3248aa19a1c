"""Limits changed by signed command: who may, what is refused, and that every lane and every successor has them."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import msgspec
import pytest
from gate_desk import merged
from risk.halting import SIGNERS, signed
from risk.risk_room import GENEROUS_LIMITS, Room

from tidegate.access import command
from tidegate.access.signer import Signer
from tidegate.model.order import ExecType, OrdStatus
from tidegate.model.time import iso
from tidegate.risk import limit_documents
from tidegate.risk.limits import Limits
from tidegate.sim.virtual_time import run

S = 1_000_000_000


def story(main, **room):
    """Run a story in a fresh room with a risk service."""

    async def go():
        here = Room(**room)
        service = await here.service()
        await main(here, service)
        await service.stop()

    run(go())


def test_one_risk_officer_tightens_and_every_lane_is_told():
    async def main(room, service):
        said = await room.limits(firm={"loss": 400_000})
        assert said["ok"], said
        assert said["text"] == "version 1 holds now"
        assert said["changes"] == ["firm.loss: 500,000 → 400,000"]
        await asyncio.sleep(0.1)
        for lane in (0, 1):
            (change,) = room.changes(lane)
            assert (change.version, change.effective) == (1, 0)
            assert Limits.from_json(change.limits).firm.loss == 400_000
        assert service.panel.loss.limits[0][0] == 400_000 * 1_000_000, "the breaker judges by it"
        (note,) = room.notes
        assert note[:4] == ("ann", "limits", "firm", "done")
        assert "firm.loss: 500,000 → 400,000" in note[4]
        assert note[5], "with the signed command"
        shown = await room.ask("risk.limits", b'{"do":"show"}')
        assert (shown["version"], shown["now"]["by"]) == (1, ["ann"])

    story(main)


def test_more_than_twice_takes_two_people_and_says_what_does():
    async def main(room, service):
        said = await room.limits(firm={"loss": 1_500_000}, accounts={"*": {"loss": 1_000_000}})
        assert not said["ok"]
        assert said["text"].startswith("NEEDS_TWO_PEOPLE: ")
        assert "firm.loss: 500,000 → 1,500,000" in said["text"]
        assert "account" not in said["text"], "twice is not more than twice"
        assert "SAME_PERSON" in (await room.limits("ann2", firm={"loss": 1_500_000}))["text"]
        assert room.changes(0) == []
        said = await room.limits("bob", firm={"loss": 1_500_000})
        assert said["ok"], said
        assert [note[3].partition(":")[0] for note in room.notes] == ["refused", "refused", "done"]

    story(main)


def test_what_was_compared_with_limits_that_are_no_more_is_refused():
    """A review lets others have their turn: another version may come into force meanwhile."""

    async def main(room, service):
        assert (await room.limits(effective=room.now + 3_600 * S, firm={"loss": 400_000}))["ok"]
        desk = service.desk

        def ahead(limits):
            desk.come_into_force(room.now + 3_601 * S)
            yield

        desk._reviewer, whole = dataclasses.replace(desk._reviewer, ahead=ahead), desk._reviewer
        said = await room.limits(version=2, firm={"loss": 300_000})
        assert not said["ok"]
        assert said["text"].startswith("VERSION: the limits changed while these were looked at")
        desk._reviewer = whole
        assert (await room.limits(version=2, firm={"loss": 300_000}))["ok"]

    story(main)


def test_small_steps_within_a_day_count_together_until_two_people_have_signed():
    async def main(room, service):
        assert (await room.limits(firm={"loss": 900_000}))["ok"]
        said = await room.limits(version=2, firm={"loss": 1_100_000})
        assert said["text"].startswith("NEEDS_TWO_PEOPLE: ")
        assert "firm.loss: 500,000 → 1,100,000, within 24 hours" in said["text"]
        assert (await room.limits("bob", version=2, firm={"loss": 1_100_000}))["ok"]
        assert (await room.limits(version=3, firm={"loss": 2_100_000}))["ok"], (
            "two people agreed to 1,100,000"
        )
        asked = {
            "do": "check",
            "limits": Limits.load(merged({"firm": {"loss": 2_300_000}})).to_json().decode(),
        }
        said = await room.ask("risk.limits", json.dumps(asked, separators=(",", ":")).encode())
        assert said["people"] == 2
        assert said["lines"] == ["two people must sign: firm.loss: 1,100,000 → 2,300,000, within 24 hours"]
        room.clock.step(86_400 * S)
        await asyncio.sleep(1)
        assert (await room.limits(version=4, firm={"loss": 2_300_000}))["ok"], (
            "a day later it is what was in force"
        )

    story(main)


def test_steps_that_are_to_come_count_too_and_a_successor_remembers():
    async def main(room, service):
        assert (await room.limits(firm={"loss": 900_000}, effective=room.now + 10 * S))["ok"]
        said = await room.limits(version=2, firm={"loss": 1_700_000}, effective=room.now + 20 * S)
        assert "firm.loss: 500,000 → 1,700,000, within 24 hours" in said["text"]
        await asyncio.sleep(12)
        assert (await room.limits(version=2, firm={"loss": 950_000}))["ok"]
        room.server.partition("risk")
        await asyncio.sleep(1)
        second = await room.service("two")
        await asyncio.sleep(4)
        room.server.heal("risk")
        await asyncio.sleep(2)
        said = await room.limits(version=3, firm={"loss": 1_800_000})
        assert "firm.loss: 500,000 → 1,800,000, within 24 hours" in said["text"]
        await second.stop()

    story(main)


def test_a_change_that_comes_too_late_or_twice_is_told_so():
    async def main(room, service):
        assert (await room.limits(firm={"loss": 400_000}))["ok"]
        said = await room.limits(version=1, firm={"loss": 400_000})
        assert said["text"] == "VERSION: this was done before: version 1, by ann"
        said = await room.limits(version=1, firm={"loss": 300_000})
        assert said["text"].startswith("VERSION: version 1 was given meanwhile, by ann (")
        assert "`tidegate limits set`" in said["text"]
        said = await room.limits(version=7, firm={"loss": 300_000})
        assert said["text"].startswith("VERSION: it is version 7, the next is 2: ask again")

    story(main)


def test_what_nobody_sets_is_said_when_asked_for_and_shown_while_it_holds():
    async def main(room, service):
        document = json.loads(GENEROUS_LIMITS.to_json())
        for table in (document["firm"], *document["accounts"].values(), *document["strategies"].values()):
            table.pop("gross", None)
        text = json.dumps(document).encode()
        said = await room.limits(document=text)
        assert said["ok"], "nothing can be ordered any more: that takes one person"
        (line, *_) = said["warnings"]
        assert line.startswith("denied by default: "), line
        assert (
            "has no limit for control 18 (gross, net): what does not reduce in all instruments is refused"
            in line
        )
        shown = await room.ask("risk.limits", b'{"do":"show"}')
        assert shown["warnings"] == said["warnings"]

    story(main)


def test_unlimited_takes_two_people_too():
    async def main(room, service):
        assert "NEEDS_TWO_PEOPLE" in (await room.limits(firm={"drawdown": "unlimited"}))["text"]
        assert (await room.limits("bob", firm={"drawdown": "unlimited"}))["ok"]

    story(main)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ({"position": 1}, {"position": 1, "long": "unlimited", "short": "unlimited"}),
        ({"position": 1_000_000, "long": 1}, {"position": 1_000_000}),
        ({"order_qty": None}, {"order_qty": 1_000}),
        ({"executions": 10}, {"executions": 10, "execution_window": "1ns"}),
    ],
)
def test_what_loosens_by_another_field_takes_two_people_as_well(was, now):
    async def main(room, service):
        assert "NEEDS_TWO_PEOPLE" in (await room.limits(firm=now))["text"]
        assert (await room.limits("bob", firm=now))["ok"]

    story(main, firm=was)


def test_a_restricted_time_is_opened_by_two_people_and_forgotten_by_one():
    async def main(room, service):
        now = room.clock.now()
        closed = {"restricted_from": iso(now - S), "restricted_to": iso(now + 60 * S)}
        assert (await room.limits(firm=closed))["ok"]
        assert "NEEDS_TWO_PEOPLE" in (await room.limits(version=2))["text"]
        assert "NEEDS_TWO_PEOPLE" in (await room.limits(version=2, effective=now + 59 * S))["text"]
        assert (await room.limits(version=2, effective=now + 70 * S))["ok"], "by then it is over"
        await asyncio.sleep(60)
        assert (await room.limits(version=3))["ok"], "and now it is"

    story(main)


@pytest.mark.parametrize(
    ("by", "code"), [("oz", "ROLE_TOO_LOW"), ("vic", "ROLE_TOO_LOW"), ("gone", "IDENTITY_REVOKED")]
)
def test_who_may_not_is_told_so(by, code):
    async def main(room, service):
        said = await room.limits(by=by, firm={"loss": 1})
        assert (said["ok"], said["text"].partition(":")[0]) == (False, code)
        assert service.desk.documents.last == 0

    story(main)


def test_unsigned_forged_expired_and_replayed_commands_change_nothing():
    async def main(room, service):
        text = Limits.load(merged({"firm": {"loss": 1_000}})).to_json().decode()
        args = {"version": "1", "limits": text, "effective": "0"}
        made = command.new("limits", "firm", "drill", "ann", room.now, args=args)
        bare = command.Signed(command.encode(made))
        assert "UNSIGNED" in (await room.ask("risk.limits", bare.encode()))["text"]
        forged = command.sign(made, Signer.new("ann"))
        assert "BAD_SIGNATURE" in (await room.ask("risk.limits", forged.encode()))["text"]
        assert "MALFORMED" in (await room.ask("risk.limits", b"{}"))["text"]
        good = command.sign(made, SIGNERS["ann"])
        await asyncio.sleep(61)
        assert "COMMAND_EXPIRED" in (await room.ask("risk.limits", good.encode()))["text"]
        other = signed("halt", "firm", "ann", room.now)
        assert "OTHER_COMMAND" in (await room.ask("risk.limits", other.encode()))["text"]
        assert room.changes(0) == []
        who = [(note[0], note[3].partition(": ")[2].partition(":")[0]) for note in room.notes]
        assert who == [
            ("ann (not verified)", "UNSIGNED"), ("ann (not verified)", "BAD_SIGNATURE"), ("nobody", "MALFORMED"),
            ("ann (not verified)", "COMMAND_EXPIRED"), ("ann (not verified)", "OTHER_COMMAND"),
        ], "a name that nobody proved is not noted as somebody's act"  # fmt: skip
        once = signed("limits", "firm", "ann", room.now, **args)
        assert (await room.ask("risk.limits", once.encode()))["ok"]
        again = await room.ask("risk.limits", once.encode())
        assert "VERSION" in again["text"], "a version is given once"
        back = GENEROUS_LIMITS.to_json()
        assert (await room.limits("bob", version=2, document=back))["ok"]
        assert not (await room.ask("risk.limits", once.encode()))["ok"]
        await asyncio.sleep(0.1)
        assert [change.version for change in room.changes(1)] == [1, 2]

    story(main)


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ({"accounts": {"main": {"gross": 60_000_000}}}, "CONTRADICTORY: account:main.gross 60,000,000 is above firm"),
        ({"accounts": {"nobody": {"gross": 1}}}, "LIMITS: risk.accounts: unknown account 'nobody'"),
        ({"firm": {"trade": ["BTCUSD.X"]}}, "LIMITS: risk: unknown instrument 'BTCUSD.X'; did you mean 'BTCUSDT.X'"),
        ({"firm": {"order_value": 20_000_001}}, "LIMITS: risk.firm: order_value 20000001 is above parent_value"),
        ({}, "UNCHANGED"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_one_line(tables, text):
    async def main(room, service):
        said = await room.limits(**tables)
        assert not said["ok"]
        assert said["text"].startswith(text)
        assert "\n" not in said["text"]
        assert service.desk.documents.last == 0

    story(main)


def test_a_limit_lowered_below_use_leaves_the_scope_reducing_and_says_so():
    async def main(room, service):
        room.touch(600_000, 600_000)
        room.trade(1_000, 600_000)
        await asyncio.sleep(0.1)
        said = await room.limits(strategies={"mm": {"gross": 50_000}})
        assert said["below"] == ["strategy:mm: gross 50,000 is below the 60,000.00 in use"]
        assert "; reduce-only: strategy:mm: gross" in said["text"]
        await asyncio.sleep(0.1)
        assert room.halts() == [("strategy:mm", "REDUCE_ONLY", "limit_below_use")]
        (alert,) = room.alerts("limit_below_use")
        assert "limits version 1: strategy:mm: gross 50,000" in alert["text"]

    story(main)


def test_a_change_may_come_later_and_a_newer_one_goes_before_it():
    async def main(room, service):
        soon = room.now + 100 * S
        said = await room.limits(firm={"loss": 400_000}, effective=soon)
        assert said["text"].startswith("version 1 holds from 20")
        assert service.desk.limits.firm.loss == 500_000
        await asyncio.sleep(50)
        assert service.panel.loss.limits[0][0] == 500_000 * 1_000_000
        await asyncio.sleep(52)
        assert service.desk.documents.now.version == 1
        assert service.panel.loss.limits[0][0] == 400_000 * 1_000_000
        assert (await room.limits(version=2, firm={"loss": 300_000}, effective=room.now + 100 * S))["ok"]
        said = await room.limits(version=3, firm={"loss": 350_000})
        assert said["text"] == "version 3 holds now; version 2, which was to come, is dropped"
        await asyncio.sleep(200)
        assert service.desk.limits.firm.loss == 350_000

    story(main)


def test_a_successor_has_the_limits_and_tells_lanes_that_were_not_told():
    async def main():
        room = Room()
        first = await room.service("one")
        assert (await room.limits(firm={"loss": 400_000}))["ok"]
        await asyncio.sleep(0.1)
        room.server.partition("one")
        await asyncio.sleep(1)
        second = await room.service("two")
        await asyncio.sleep(4)
        assert second.desk.limits.firm.loss == 400_000
        assert second.panel.loss.limits[0][0] == 400_000 * 1_000_000
        assert {change.version for change in room.changes(0)} == {1}
        room.server.heal("one")
        await asyncio.sleep(2)
        assert first.health()["risk"]["state"] == "standby"
        assert (await room.limits(version=2, firm={"loss": 390_000}))["ok"]
        assert first.desk.documents.last == 1, "it was not asked"
        await second.stop()
        await first.stop()

    run(main())


def test_two_services_cannot_give_one_version_twice():
    async def main(room, service):
        assert (await room.limits(firm={"loss": 400_000}))["ok"]
        service.desk.documents = type(service.desk.documents)(
            type(service.desk.documents.now)(0, GENEROUS_LIMITS.to_json(), 0, (), "")
        )
        service.desk._revision = 0  # as one that was asleep while another changed them
        said = await room.limits(firm={"loss": 300_000})
        assert "another risk service has changed the limits" in said["text"]

    story(main)


def asked_directly(room, service):
    """Requests reach the desk however long the log takes with its own part."""

    async def ask(_subject, data=b""):
        return json.loads(await service.desk.answer(data))

    room.ask = ask


@pytest.mark.parametrize("fault", ["lose_ack", "lose"])
def test_a_change_of_which_the_log_says_nothing_is_not_called_undone(fault):
    async def main(room, service):
        asked_directly(room, service)
        faults = room.server.clients["risk"].faults
        setattr(faults, fault, 1.0)
        said = await room.limits(firm={"loss": 400_000})
        setattr(faults, fault, 0.0)
        if fault == "lose_ack":
            assert said["ok"], "it was stored: the log has it"
        else:
            assert said["text"].startswith("UNKNOWN: the log did not say whether it has version 1")
        await asyncio.sleep(6)
        version = 2 if fault == "lose_ack" else 1
        shown = await room.ask("risk.limits", b'{"do":"show"}')
        assert shown["version"] == version - 1
        said = await room.limits(version=version, firm={"loss": 300_000})
        assert said["ok"], said
        await asyncio.sleep(1)
        assert [change.version for change in room.changes(1)] == list(range(1, version + 1))

    story(main)


def test_a_change_that_was_stored_late_is_found_and_told():
    async def main(room, service):
        asked_directly(room, service)
        bucket = service.desk._log.bucket("STATE")
        faults = room.server.clients["risk"].faults
        faults.lose = 1.0
        said = await room.limits(firm={"loss": 400_000})
        assert said["text"].startswith("UNKNOWN"), said
        faults.lose = 0.0
        was = service.desk.documents
        late = was.follow(
            type(was.now)(1, was.now.limits.replace(b"500000", b"400000"), 0, ("ann",), "late"), room.now
        )
        await bucket.update("risk.limits", msgspec.json.encode(late), 0)
        shown = await room.ask("risk.limits", b'{"do":"show"}')
        assert shown["version"] == 1
        assert service.desk.limits.firm.loss == 400_000
        await asyncio.sleep(1)
        assert [change.version for change in room.changes(0)] == [1]

    story(main)


def test_what_two_services_gave_is_looked_at_again_at_once():
    async def main(room, service):
        assert (await room.limits(firm={"loss": 400_000}))["ok"]
        service.desk.documents = type(service.desk.documents)(
            type(service.desk.documents.now)(0, GENEROUS_LIMITS.to_json(), 0, (), "")
        )
        service.desk._revision = 0
        assert "another risk service" in (await room.limits(firm={"loss": 300_000}))["text"]
        said = await room.limits(version=2, firm={"loss": 300_000})
        assert said["ok"], said

    story(main)


def test_many_large_documents_by_one_person_take_a_second_before_the_log_refuses_them(monkeypatch):
    size = len(GENEROUS_LIMITS.to_json())
    monkeypatch.setattr(limit_documents, "MOST_BYTES", 3 * size)

    async def main(room, service):
        said = {}
        for n in range(1, 8):
            said = await room.limits(version=n, firm={"loss": 500_000 - n})
            if not said["ok"]:
                break
        assert n == 4
        assert said["text"].startswith("NEEDS_TWO_PEOPLE: ")
        assert (await room.limits("bob", version=4, firm={"loss": 499_000}))["ok"]
        assert (await room.limits(version=5, firm={"loss": 498_000}))["ok"]

    story(main)


def test_orders_above_a_lowered_count_are_below_use():
    async def main(room, service):
        for _ in range(3):
            room.number += 1
            room.tell(room.event(OrdStatus.PENDING_NEW), room.event(OrdStatus.NEW, ExecType.NEW))
        await asyncio.sleep(0.1)
        said = await room.limits(strategies={"mm": {"open_orders": 2}})
        assert said["below"] == ["strategy:mm: open_orders 2 is below the 3 in use"]

    story(main)


def test_an_officer_of_a_desk_changes_that_desks_limits_alone():
    async def main(room, service):
        for tables, scope in (
            ({"firm": {"loss": 400_000}}, "firm"),
            ({"accounts": {"*": {"loss": 400_000}}}, "firm"),
            ({"accounts": {"other": {"loss": 400_000}}}, "account:other"),
            ({"accounts": {"main": {"loss": 400_000}, "other": {"loss": 400_000}}}, "account:other"),
            ({"strategies": {"arb": {"loss": 400_000}}}, "strategy:arb"),
        ):
            said = await room.limits(by="dot", **tables)
            assert said["text"] == f"OUT_OF_SCOPE: limits of {scope}: dot acts on desk:desk only"
        desk = {"desks": {"desk": {"loss": 300_000}}, "accounts": {"main": {"loss": 300_000}}}
        assert (await room.limits(by="dot", **desk))["ok"]
        wide = desk | {"strategies": {"mm": {"cancels_per_second": 2_001}}}
        assert "NEEDS_TWO_PEOPLE" in (await room.limits(by="dot", version=2, **wide))["text"]
        assert (await room.limits("don", by="dot", version=2, **wide))["ok"]
        assert room.notes[0][0] == "dot (not verified)"
        assert room.notes[-1][:4] == ("dot and don", "limits", "firm", "done")

    story(main)


def test_an_officer_of_a_desk_drops_no_change_to_come_of_another_desk():
    async def main(room, service):
        soon = room.now + 100 * S
        assert (await room.limits(effective=soon, accounts={"other": {"loss": 100_000}}))["ok"]
        said = await room.limits(by="dot", version=2, accounts={"main": {"loss": 100_000}})
        assert said["text"] == "OUT_OF_SCOPE: limits of account:other: dot acts on desk:desk only"
        assert (await room.limits(version=2, accounts={"main": {"loss": 100_000}}))["ok"]

    story(main)

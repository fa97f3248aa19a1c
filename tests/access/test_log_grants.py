"""What each user of the log may do, asked of a real server: what it needs works, and the rest is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tidegate.execution.event_pipe import EventPipe
from tidegate.execution.ownership import Ownership
from tidegate.log import grants
from tidegate.log.base import LogDown, LogError
from tidegate.log.embedded import Embedded
from tidegate.log.grants import Trader, User
from tidegate.log.lease import Lease, holder
from tidegate.log.nats import NatsLog, connect
from tidegate.log.nats_calls import Forbidden
from tidegate.log.streams import declared
from tidegate.model.messages import OrderEvent
from tidegate.model.order import OrdStatus
from tidegate.model.wire import decode
from tidegate.risk import quick

DECLARED = declared(2, "process")
LANES = (0, 1)
MAKER, OTHER = Trader("maker", (0,), 0), Trader("other", (1,), 1)
USERS = {
    "maker": grants.strategy(MAKER),
    "other": grants.strategy(OTHER),
    "slot": grants.strategy(Trader("grid.next", (2, 3), 0, slot=True)),
    "feed": grants.feed(),
    "oms": grants.oms(LANES),
    "risk": grants.risk(LANES),
    "gateway": grants.gateway(LANES, [("BINANCE", "main")]),
    "recorder": grants.recorder(LANES),
    "deploy": grants.deploy(LANES, ["grid"]),
}

Clients = Callable[[str], Awaitable[NatsLog]]


@asynccontextmanager
async def system(data: Path) -> AsyncIterator[Clients]:
    """A server with these users; a client as any of them, or as its owner (`admin`)."""
    server = Embedded(data, "process", users=[User(name, name, grant) for name, grant in USERS.items()])
    at = await server.start()
    made: dict[str, NatsLog] = {}

    async def client(name: str) -> NatsLog:
        if name not in made:
            admin = name == "admin"
            user, password = (at.user, at.password) if admin else (name, name)
            made[name] = await connect(
                at.url, name=name, declared=DECLARED, user=user, password=password, setup=admin
            )
        return made[name]

    await client("admin")
    try:
        yield client
    finally:
        for log in made.values():
            await log.close()
        await server.stop()


def run(data: Path, body: Callable[[Clients], Awaitable[None]]) -> None:
    async def live() -> None:
        async with asyncio.timeout(60), system(data) as clients:
            await body(clients)

    asyncio.run(live())


async def refused(log: NatsLog, subject: str, data: bytes = b"x") -> bool:
    """Whether the server refuses a message of ours on a subject."""
    before = log.counters().get(f"not permitted: publish {subject}", 0)
    log.publish(subject, data)
    for _ in range(5):  # a busy machine's server may be late
        with pytest.raises(LogError):  # an answer that comes after the refusal, if there was one
            await log.request("nobody.listens", b"", 1.0)
        if log.counters().get(f"not permitted: publish {subject}", 0) == before + 1:
            return True
    return False


async def silent(log: NatsLog, subject: str) -> bool:
    """Whether the server refuses to let us hear a subject."""
    closing = log.subscribe(subject, lambda *_: None)
    with pytest.raises(LogError):
        await log.request("nobody.listens", b"", 1.0)
    closing.close()
    return bool(log.counters().get(f"not permitted: subscription {subject}"))


def test_a_strategy_cannot_publish_to_a_gateway(tmp_path):
    async def body(clients: Clients) -> None:
        heard: list[bytes] = []
        gateway, maker, oms = await clients("gateway"), await clients("maker"), await clients("oms")
        gateway.subscribe("gw.BINANCE.main", lambda _, data: heard.append(data))
        await gateway.last("HALT")
        assert await refused(maker, "gw.BINANCE.main", b"an order")
        oms.send("gw.BINANCE.main", b"from the lane")
        while not heard:
            await asyncio.sleep(0)
        assert heard == [b"from the lane"]

    run(tmp_path, body)


def test_only_the_risk_service_s_halts_go_the_quick_way_to_gateways(tmp_path):
    async def body(clients: Clients) -> None:
        heard: list[bytes] = []
        gateway, risk = await clients("gateway"), await clients("risk")
        gateway.subscribe(quick.SUBJECT, lambda _, data: heard.append(data))
        await gateway.last("HALT")
        for user in ("maker", "oms", "feed", "deploy"):
            assert await refused(await clients(user), quick.SUBJECT, b"not theirs")
        risk.publish(quick.SUBJECT, b"a breaker's")
        while not heard:
            await asyncio.sleep(0)
        assert heard[-1] == b"a breaker's"

    run(tmp_path, body)


FORBIDDEN = {
    "maker": [
        "gw.BINANCE.main", "ctl.gw.BINANCE.main", "ctl.halts", "lane.0.cmd", "lane.0.cmd.1", "lane.1.cmd.1", "lane.0.rpt",
        "lane.0.sys", "lane.0.epoch", "evt.0", "halt.event", "lease.grant", "audit.record", "deploy.grid", "dead.0",
        "alert.risk", "md.BINANCE.BTCUSDT", "touch.BINANCE", "$KV.LEASE.lane.0", "$KV.LEASE.strategy.other",
        "$KV.STATE.strategy.other", "$KV.ACCESS.revoked.alice", "$KV.SNAP.lane.0", "oms.1.strategy", "oms.0.orders",
        "risk.limits", "_INBOX.oms.x", "$JS.API.STREAM.DELETE.AUDIT", "$JS.API.STREAM.PURGE.LANE_0",
        "$JS.API.STREAM.MSG.DELETE.AUDIT", "$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.UPDATE.EVT_0",
        "$JS.API.CONSUMER.CREATE.EVT_1.x", "$JS.API.CONSUMER.CREATE.LANE_0.x", "$JS.API.CONSUMER.CREATE.KV_STATE.x",
        "$JS.API.CONSUMER.CREATE.KV_LEASE.x", "$JS.API.STREAM.MSG.GET.LANE_0", "$JS.API.STREAM.MSG.GET.EVT_1",
        "$JS.API.DIRECT.GET.KV_STATE", "$JS.API.CONSUMER.CREATE.AUDIT.x", "now.halt",
    ],
    "feed": ["now.halt", "lane.0.cmd", "gw.BINANCE.main", "halt.event", "$KV.LEASE.lane.0", "audit.record", "evt.0"],
    "gateway": [
        "now.halt", "lane.0.cmd", "lane.0.cmd.0", "lane.0.sys", "lane.0.epoch", "evt.0", "gw.BINANCE.other", "md.BINANCE.BTCUSDT",
        "$KV.LEASE.lane.0", "$KV.ACCESS.revoked.alice", "lease.grant", "$JS.API.STREAM.PURGE.AUDIT",
    ],
    "oms": [
        "now.halt", "lane.0.cmd.0", "lane.0.rpt", "md.BINANCE.BTCUSDT", "$KV.ACCESS.revoked.alice", "deploy.grid",
        "$JS.API.STREAM.PURGE.AUDIT", "$JS.API.STREAM.DELETE.LANE_0", "$JS.API.STREAM.MSG.DELETE.AUDIT",
    ],
    "risk": ["lane.0.cmd", "lane.0.rpt", "lane.0.epoch", "gw.BINANCE.main", "evt.0", "$JS.API.STREAM.PURGE.AUDIT"],
    "recorder": ["lane.0.cmd", "gw.BINANCE.main", "halt.event", "audit.record", "$KV.LEASE.lane.0"],
    "deploy": ["lane.0.cmd", "gw.BINANCE.main", "lane.0.rpt", "evt.0", "lease.grant", "$KV.ACCESS.revoked.alice"],
    "slot": ["lane.0.cmd", "lane.0.cmd.0", "gw.BINANCE.main", "deploy.grid", "$KV.ACCESS.revoked.alice", "audit.record"],
}  # fmt: skip


@pytest.mark.parametrize("user", FORBIDDEN)
def test_the_server_refuses_what_is_not_granted(tmp_path, user):
    async def body(clients: Clients) -> None:
        log = await clients(user)
        passed = [subject for subject in FORBIDDEN[user] if not await refused(log, subject)]
        assert passed == []

    run(tmp_path, body)


DEAF = {
    "maker": [
        ">", "lane.>", "evt.>", "evt.1", "gw.>", "halt.>", "_INBOX.>", "_INBOX.oms.>", "_DELIVER.>", "_PULL.other.>", "oms.>",
        "$JS.API.>", "$KV.>", "audit.>", "alert.>", "shadow.grid", "claim.other",
    ],
    "gateway": ["gw.>", "gw.BINANCE.other", "lane.>", "evt.>", "_INBOX.>", "md.>"],
    "feed": ["lane.>", "evt.>", "gw.>", "_INBOX.>"],
    "oms": ["gw.>", "_INBOX.>", "lane.>"],
}  # fmt: skip


@pytest.mark.parametrize("user", DEAF)
def test_nobody_hears_what_is_not_his(tmp_path, user):
    async def body(clients: Clients) -> None:
        log = await clients(user)
        assert [subject for subject in DEAF[user] if not await silent(log, subject)] == []

    run(tmp_path, body)


def test_a_strategy_cannot_read_another_desks_orders(tmp_path):
    async def body(clients: Clients) -> None:
        admin, maker = await clients("admin"), await clients("maker")
        await admin.append("evt.0", b"mine")
        await admin.append("evt.1", b"another desk's")
        heard = asyncio.Queue[bytes]()
        maker.follow("EVT_0", lambda entries: [heard.put_nowait(entry.data) for entry in entries])
        assert await heard.get() == b"mine"
        for stream in ("EVT_1", "LANE_0", "LANE_1"):
            with pytest.raises(Forbidden):
                await maker.last(stream)
            with pytest.raises(Forbidden):
                _ = [batch async for batch in maker.read(stream)]

    run(tmp_path, body)


def test_a_refusal_is_an_answer_at_once_and_names_the_subject(tmp_path):
    async def body(clients: Clients) -> None:
        maker = await clients("maker")
        with pytest.raises(Forbidden, match=re.escape("lane.1.cmd.1: not permitted to this user of the log")):
            await maker.append("lane.1.cmd.1", b"x", timeout=60.0)
        assert maker.connected

    run(tmp_path, body)


def test_what_a_strategy_needs_works(tmp_path):
    async def body(clients: Clients) -> None:
        maker, oms, feed = await clients("maker"), await clients("oms"), await clients("feed")
        oms.serve("oms.0.strategy", lambda data: b"state")
        feed.serve("snap.BINANCE.BTCUSDT", lambda data: b"book")
        await oms.last("EVT_0")
        await feed.append("alert.clock", b"{}")
        assert await maker.request("oms.0.strategy", b"0") == b"state"
        assert await maker.request("snap.BINANCE.BTCUSDT", b"") == b"book"
        assert await maker.append("lane.0.cmd.0", b"order", msg_id="m-1") == 1
        await maker.bucket("STATE").put("strategy.maker", b"saved")
        assert (await maker.bucket("STATE").get("strategy.maker")).value == b"saved"
        await maker.bucket("LEASE").put("strategy.maker", b"me")
        got = asyncio.Event()
        maker.follow("EVT_0", lambda entries: got.set())
        heard = asyncio.Event()
        maker.subscribe("md.BINANCE.BTCUSDT", lambda *_: heard.set())
        await oms.append("evt.0", b"event", expect=0)
        await got.wait()
        feed.publish("md.BINANCE.BTCUSDT", b"rows")
        await heard.wait()
        assert maker.counters() == {}

    run(tmp_path, body)


def test_what_the_server_delivers_for_somebody_is_no_publishers_word(tmp_path):
    """A consumer's maker chooses where the server delivers to: there it is told from a message by what it carries."""

    async def body(clients: Clients) -> None:
        maker, gateway, oms = await clients("maker"), await clients("gateway"), await clients("oms")
        heard: list[bytes] = []
        gateway.subscribe("gw.BINANCE.main", lambda _, data: heard.append(data))
        await oms.append("evt.0", b"looks like an order")
        name = maker.calls.name()
        config = {
            "name": name,
            "deliver_subject": "gw.BINANCE.main",
            "ack_policy": "none",
            "mem_storage": True,
        }
        request = {"stream_name": "EVT_0", "config": config}
        await maker.calls.api(f"CONSUMER.CREATE.EVT_0.{name}", request)
        while not gateway.counters().get("ephemeral refused, not published"):
            await asyncio.sleep(0.01)
        assert heard == []

    run(tmp_path, body)


def test_an_answer_that_a_strategy_has_written_elsewhere_takes_no_lane_from_its_owner(tmp_path):
    """Who publishes chooses the subject of the answer, whatever it may publish on itself."""

    async def body(clients: Clients) -> None:
        maker, oms = await clients("maker"), await clients("oms")

        async def done(*_: object) -> None:
            pass

        bucket = oms.bucket("LEASE")
        one = Ownership("one", "1-one", [0], bucket, done, done)
        await one.start()
        while one.mine != {0}:
            await asyncio.sleep(0.01)
        good = await bucket.get("lane.0")
        maker.wire.post(b"PUB lane.0.cmd.0 $KV.LEASE.lane.0 5\r\norder\r\n")
        while one.spoiled != {0: 1} or (now := await bucket.get("lane.0")).value != good.value:
            await asyncio.sleep(0.01)
        assert now.revision == good.revision + 2, "the answer was there, and the lease is again"
        assert one.mine == {0}
        await one.stop()

    run(tmp_path, body)


def test_an_answer_that_a_strategy_has_written_over_the_acting_lease_ends_nobodys(tmp_path):
    async def body(clients: Clients) -> None:
        maker, risk = await clients("maker"), await clients("risk")
        spoiled: list[bytes] = []
        bucket = risk.bucket("LEASE")
        lease = Lease(bucket, quick.ACTING, "risk", 7, 5.0, spoiled.append)
        assert await lease.step()
        epoch = lease.epoch
        maker.wire.post(b"PUB lane.0.cmd.0 $KV.LEASE.risk.acting 5\r\norder\r\n")
        while not spoiled:
            assert await lease.step()
        assert lease.epoch > epoch
        assert await lease.step()
        word = holder((await bucket.get(quick.ACTING)).value)
        assert (word.owner, word.epoch) == ("risk", lease.epoch)

    run(tmp_path, body)


def test_what_a_strategy_has_the_server_write_among_a_lane_s_events_stops_no_writer(tmp_path):
    """An acknowledgement, and another lane's events that a consumer delivers: both are stepped over, also by a successor."""

    async def body(clients: Clients) -> None:
        maker, other, oms = await clients("maker"), await clients("other"), await clients("oms")
        noise: list[int] = []
        event = OrderEvent(1, 1, 1, 0, 0, 0, OrdStatus.NEW, None, 1, 0)

        def pipe(lane: int, epoch: int) -> EventPipe:
            return EventPipe(oms, lane, epoch, lambda *said: pytest.fail(str(said)), noise.append)

        one, theirs = pipe(0, 1), pipe(1, 900)
        await one.open()
        await theirs.open()
        for seq in (
            2,
            3,
            4,
            5,
        ):  # the fifth expects the fourth: it fits after the fourth of the other stream, too
            theirs.put(900 + seq, [event], 0, 1)
            assert await theirs.settled() == seq
        one.put(1, [event], 0, 1)
        assert await one.settled() == 2
        maker.wire.post(b"PUB lane.0.cmd.0 evt.0 5\r\norder\r\n")
        while (last := await oms.last("EVT_0")) is None or last.seq < 3:
            await asyncio.sleep(0.01)
        name = other.calls.name()
        config = {"name": name, "deliver_subject": "evt.0", "ack_policy": "none", "mem_storage": True}
        request = {"stream_name": "EVT_1", "config": config}
        await other.calls.api(f"CONSUMER.CREATE.EVT_1.{name}", request)
        while (last := await oms.last("EVT_0")) is None or last.seq < 5:
            await asyncio.sleep(0.01)
        assert (last.subject, decode(last.data).messages) == ("evt.1", [event])
        one.put(2, [event], 0, 1)
        assert await one.settled() == 6
        assert noise == [1]
        maker.wire.post(b"PUB lane.0.cmd.0 evt.0 5\r\norder\r\n")
        while (last := await oms.last("EVT_0")) is None or last.seq < 7:
            await asyncio.sleep(0.01)
        two = pipe(0, 2)
        await two.open()
        assert (two.told, two.stored, noise) == (2, 8, [1, 1])

    run(tmp_path, body)


def test_a_wrong_password_is_refused(tmp_path):
    async def body(clients: Clients) -> None:
        url = f"nats://{(await clients('admin')).address}"
        from tidegate.errors import UserError

        with pytest.raises(UserError, match="refused the credentials"):
            await connect(url, name="thief", declared=DECLARED, user="oms", password="maker")

    run(tmp_path, body)


def test_no_strategy_makes_consumers_of_what_strategies_write():
    """Else it could have the server deliver its own words where it may not publish."""
    for user in ("maker", "other", "slot"):
        readable = {
            subject.split(".")[4]
            for subject in USERS[user].publish
            if subject.startswith("$JS.API.CONSUMER.CREATE.")
        }
        assert readable <= {"EVT_0", "EVT_1", "DEPLOY", "KV_ACCESS"}
        assert not any("DIRECT" in subject for subject in USERS[user].publish)


def test_only_its_owner_may_alter_streams():
    for name, grant in USERS.items():
        for subject in grant.publish:
            assert not subject.startswith((">", "$JS.>", "$JS.API.>", "$SYS")), name
            if subject.startswith("$JS.API.STREAM."):
                assert subject.split(".")[3] in ("INFO", "MSG"), (name, subject)
                assert "DELETE" not in subject, (name, subject)


def test_services_answers_are_theirs_alone(tmp_path):
    """What one asks and is answered, no other user can hear."""

    async def body(clients: Clients) -> None:
        maker, other = await clients("maker"), await clients("other")
        assert maker.calls.inbox.startswith("_INBOX.maker.")
        assert await silent(other, maker.calls.inbox + "*")
        assert await silent(other, "_DELIVER.maker.>")

    run(tmp_path, body)


def test_a_service_that_is_not_there_is_not_a_refusal(tmp_path):
    async def body(clients: Clients) -> None:
        with pytest.raises(LogDown):
            await (await clients("maker")).request("oms.0.strategy", msgspec.msgpack.encode(0), 0.3)

    run(tmp_path, body)

"""Who stops, kills or restarts a process of a running system is on the audit trail."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys

import msgspec
import pytest

from tidegate.access import command
from tidegate.access.audit_chain import STREAM, read, verify
from tidegate.access.command import Signed
from tidegate.access.identity import Identities, Identity, Role
from tidegate.access.replays import Replays
from tidegate.access.signer import Signer
from tidegate.access.verify import Verifier
from tidegate.errors import UserError
from tidegate.log.base import LogDown
from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.model.clock import SystemClock
from tidegate.ops.audited import Audited
from tidegate.ops.control import ask
from tidegate.ops.folder import DataFolder
from tidegate.ops.orders import Orders, above_processes, order
from tidegate.ops.supervisor import Supervisor
from tidegate.ops.topology import Process, Topology

OLGA, TOM, DAN = (Signer.new(name) for name in ("olga", "tom", "dan"))
NONE = lambda *_: None  # noqa: E731


def signed(do: str, name: str = "", signer: Signer = OLGA) -> Signed:
    """A command to the supervisor."""
    scope, now = f"process:{name}" if name else "system", SystemClock().now()
    return command.sign(command.new(do, scope, "a drill", signer.name, now), signer)


def asked(folder, clock, note) -> Orders:
    """Obeys olga; tom is a trader, dan of one desk."""
    known = [
        Identity(name="olga", person="olga", role=Role.OPERATOR, key=OLGA.public),
        Identity(name="tom", person="tom", role=Role.TRADER, key=TOM.public),
        Identity(name="dan", person="dan", role=Role.OPERATOR, key=DAN.public, scopes=("desk:arb",)),
    ]
    return Orders(clock, Verifier(Identities(known)).verify, Replays(folder / "up.replays").first, note)


SLEEPS = Process(
    "sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], health=False, stop_timeout=5.0
)


def test_acts_on_processes_are_noted_with_who_asked(tmp_path):
    async def body() -> None:
        server, clock = MemoryServer(1, log=declared(1)), SystemClock()

        async def client():
            return server.client(f"up-{clock.now()}")

        audited = Audited(tmp_path, clock, client)
        orders = asked(tmp_path, clock, audited.note)
        supervisor = Supervisor(Topology([SLEEPS]), DataFolder(tmp_path), clock, orders=orders)
        running = asyncio.create_task(supervisor.run())
        async with asyncio.timeout(30):
            while not supervisor.folder.socket.exists():
                await asyncio.sleep(0.01)
            socket = supervisor.folder.socket
            assert (await ask(socket, {"do": "ps"}))["ok"]
            again = signed("restart", "sleeper")
            assert (await order(socket, again))["pid"]
            for made, said in (
                (again, "REPLAYED: this command was followed before"),
                (signed("kill", "nobody"), "no process 'nobody'"),
                (signed("halt", "sleeper"), "halt is not for the supervisor"),
                (signed("stop", "sleeper", Signer.new("olga")), "BAD_SIGNATURE"),
                (Signed(signed("stop").body), "UNSIGNED"),
                (Signed(b"{}"), "MALFORMED"),
                (signed("stop", signer=TOM), "ROLE_TOO_LOW: stop needs the role operator; tom is trader"),
                (signed("restart", signer=DAN), "OUT_OF_SCOPE: restart of system: dan acts on desk:arb only"),
            ):
                with pytest.raises(UserError, match=said):
                    await order(socket, made)
            for request in ({"do": "stop"}, {"do": "kill", "name": "sleeper"}, {"do": "command"}):
                assert not (await ask(socket, request))["ok"]
            log = server.client("reader")
            lines: list[bytes] = []
            while len(lines) < 12:
                await asyncio.sleep(0.01)
                lines = [entry.data async for batch in log.read(STREAM) for entry in batch]
            assert supervisor.child("sleeper").state == "healthy"
            await order(socket, signed("stop"))
            await running
            await audited.close()
        records = [read(line).record for line in lines]
        assert verify(lines).bad is None
        peer = (
            f"user:{getpass.getuser()} (process {os.getpid()})"
            if sys.platform.startswith("linux")
            else "unknown"
        )
        assert [(r.who, r.do, r.scope, r.outcome.partition(":")[0]) for r in records] == [
            ("olga", "restart", "process:sleeper", "done"),
            ("olga", "restart", "process:sleeper", "refused"),
            ("olga", "kill", "process:nobody", "refused"),
            ("olga", "halt", "process:sleeper", "refused"),
            ("olga (not verified)", "stop", "process:sleeper", "refused"),
            ("olga (not verified)", "stop", "system", "refused"),
            ("nobody", "?", "?", "refused"),
            ("tom (not verified)", "stop", "system", "refused"),
            ("dan (not verified)", "restart", "system", "refused"),
            (peer, "stop", "system", "refused"),
            (peer, "kill", "sleeper", "refused"),
            ("nobody", "?", "?", "refused"),
        ]
        assert records[0].detail == f"a drill; {peer}"
        assert Signed.decode(records[0].signed) == again

    asyncio.run(body())


def test_a_command_to_the_supervisor_is_done_once_over_a_restart_too(tmp_path):
    class Acts:
        def __init__(self):
            self.stops = 0

        def ask_stop(self):
            self.stops += 1

    async def body() -> None:
        acts, made = Acts(), msgspec.to_builtins(signed("stop"))
        line = {"do": "command", "signed": made}
        await asked(tmp_path, SystemClock(), NONE).answer(line, acts)
        with pytest.raises(UserError, match="REPLAYED"):
            await asked(tmp_path, SystemClock(), NONE).answer(line, acts)
        with pytest.raises(UserError, match="UNKNOWN_IDENTITY: nobody may do anything here"):
            await Orders(SystemClock()).answer(line, acts)
        assert acts.stops == 1

    asyncio.run(body())


def test_a_process_lies_below_what_all_its_strategies_do():
    above = {"strategy:a": ("account:x", "desk:arb"), "strategy:b": ("account:y", "desk:arb"), "desk:arb": ()}
    processes = [
        Process("one", ["x"], strategies=("a",)),
        Process("both", ["x"], strategies=("a", "b")),
        SLEEPS,
    ]
    assert above_processes(processes, above) == above | {
        "process:one": ("account:x", "desk:arb", "strategy:a"), "process:both": ("desk:arb",), "process:sleeper": (),
    }  # fmt: skip


def test_an_act_with_the_log_away_is_on_the_disk(tmp_path):
    async def nowhere():
        raise LogDown("away")

    async def body() -> None:
        audited = Audited(tmp_path, SystemClock(), nowhere)
        audited.note("user:me", "stop", "system", "done")
        (left,) = (tmp_path / "run").glob("audit-up.*.jsonl")
        assert b"user:me" in left.read_bytes()
        while not audited.counters["log not reached"]:
            await asyncio.sleep(0)
        await audited.close()

    asyncio.run(body())

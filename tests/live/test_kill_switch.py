"""The kill switch on a system of real processes: by scope, with a strategy that hangs, with the log dead, and up by two."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from ops import children

from tidegate.access import local
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.signer import keys_folder
from tidegate.cli.grants import grant_of
from tidegate.cli.log import command_log
from tidegate.config_live import processes_of
from tidegate.errors import UserError
from tidegate.execution.lane_view import read_view, view_request
from tidegate.log.server_process import binary
from tidegate.ops.topology import process_names

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

NEW = ("order.place", "order.modify", "order.cancelReplace")


async def tidegate(system, *args):
    """Exit code and what was said by a command on this system."""
    code, out, err = await children.tidegate(*args, "--data", system.data)
    return code, out + err


async def sent_after(system, when, account=""):
    """New orders and replaces that the venue has received after `when` (ns), by its own record."""
    found = await system.record("requests")
    return [
        r for r in found if r["received_ns"] > when and r["kind"] in NEW and account in ("", r["account"])
    ]


async def open_at_venue(system, account=""):
    """Orders that rest at the venue, by what its record says happened last to each."""
    last = {}
    for entry in await system.record("happenings"):
        if account in ("", entry["account"]):
            last[entry["instrument"], entry["order"]] = entry["status"]
    return [key for key, status in last.items() if status in ("NEW", "PARTIALLY_FILLED")]


async def positions(system, account):
    """What the lane says an account holds, lots by instrument."""
    async with command_log(system.data) as log:
        return read_view(await log.request("oms.0.orders", view_request(account, []))).positions


async def more_acks(system, name):
    """The strategy trades: one more of its orders is acknowledged."""
    before = system.acks(name)
    await system.until(lambda: system.acks(name) > before, f"{name} to trade")


async def whole(system):
    """Halt, hang, kill the log, restart; at each step the venue's own record is looked at."""
    local.add(
        system.data,
        AccessSection(),
        "second",
        Role.RISK_OFFICER,
        "the second",
        keys_folder(system.data) / "second.key",
    )
    me = next(p.stem for p in keys_folder(system.data).glob("*.key") if p.stem != "second")
    by = ("--as", me)

    # Somebody who was revoked halts nothing, and is told so.
    local.add(system.data, AccessSection(), "gone", Role.OPERATOR, "gone")
    local.revoke(system.data, "gone", time.time_ns())
    code, said = await tidegate(system, "halt", "strategy:left", "--reason", "out of spite", "--as", "gone")
    assert (code, said) == (2, "tidegate: nothing is done: IDENTITY_REVOKED: gone is revoked\n")

    # One strategy is killed while it hangs; the other trades on.
    os.kill(system.pid("strategy-left"), signal.SIGSTOP)
    code, said = await tidegate(system, "halt", "strategy:left", "--reason", "it hangs", *by)
    assert code == 0, said
    assert "halt epoch 2" in said
    answered = time.time_ns()
    os.kill(system.pid("strategy-left"), signal.SIGCONT)
    await more_acks(system, "right")
    assert await sent_after(system, answered, "making") == []
    assert await open_at_venue(system, "making") == []
    assert await sent_after(system, answered, "arbitrage"), "the other strategy trades on"

    # Up by two, and by two only.
    code, said = await tidegate(system, "resume", "strategy:left", "--reason", "mended", *by, "--and", me)
    assert code == 2
    assert "one person" in said
    request = system.home / "request.json"
    code, said = await tidegate(
        system, "resume", "strategy:left", "--reason", "mended", "--for", "1s", *by, "--out", request
    )
    assert (code, request.stat().st_size > 0) == (0, True), said
    code, said = await tidegate(system, "resume", "firm", "--approve", request, "--as", "second")
    assert code == 2
    assert "not to resume firm" in said
    for _ in range(40):  # who asked does not approve too, and spoils nothing for who may
        code, said = await tidegate(system, "resume", "strategy:left", "--approve", request, *by)
        if "may not come up yet" not in said:
            break
        await asyncio.sleep(0.5)
    assert code == 2, said
    assert "SAME_PERSON" in said
    for _ in range(40):  # its gateways must be reconciled first
        code, said = await tidegate(system, "resume", "strategy:left", "--approve", request, "--as", "second")
        if code == 0:
            break
        assert "may not come up yet" in said, said
        await asyncio.sleep(0.5)
    assert code == 0, said
    assert "strategy:left is RECOVERING" in said
    await more_acks(system, "left")

    # The other is flattened: it only reduces, and ends with nothing.
    while not any((held := await positions(system, 1)).values()):
        await asyncio.sleep(0.2)
    code, said = await tidegate(
        system, "flatten", "strategy:right", "--reason", "drill", "--participation", "50%", *by
    )
    assert code == 0, said
    for _ in range(80):
        left = await positions(system, 1)
        if not any(left.values()):
            break
        await asyncio.sleep(0.5)
    assert not any(left.values()), (held, left)

    # The log is dead: the sockets do it.
    log = system.pid("log")
    os.kill(log, signal.SIGSTOP)
    code, said = await tidegate(system, "halt", "firm", "--reason", "the log is dead", *by)
    answered = time.time_ns()
    assert code == 0, said
    assert "log  not reached" in said
    assert said.count("KILLED") == 6, said
    os.kill(system.pid("gateway-1"), signal.SIGKILL)
    os.kill(log, signal.SIGKILL)

    # It is back: the halt is in the log, and holds at the gateways that were killed.
    shown = ""
    for _ in range(120):
        code, shown = await tidegate(system, "halts")
        if code == 0 and "\nfirm " in shown:
            break
        await asyncio.sleep(0.5)
    assert "the log is dead" in shown, shown
    await system.until(lambda: system.state("gateway-1") == "healthy", "the gateways to be back")
    assert await sent_after(system, answered) == []
    assert await open_at_venue(system) == []


def test_the_kill_switch(tmp_path):
    try:
        binary()
    except UserError as error:
        pytest.skip(str(error))
    from rounds_system import System

    async def main():
        system = System(tmp_path / "system", rate=40.0, lanes=1, traced=True)
        try:
            await system.start()
            await whole(system)
        finally:
            await system.stop()
        return system

    system = asyncio.run(main())
    needs_no_more_than_it_is_granted(system)
    keeps_its_secrets(system)


_STRATEGY = {"publish alert.clock", "publish alert.strategy_stopped", "publish alert.strategy_throttled"}
ONCE = {
    "feed-1": {"publish alert.clock"},
    "oms-1": {
        "stream AUDIT", "publish audit.record",  # nobody took a lane up
        "publish ctl.gw.>",  # nobody adopted a position
        "publish lane.0.cmd",  # nothing was closed that no strategy holds
        "publish dead.0", "publish dead.skip.0", "publish lane.0.skip",  # nothing broke
        "publish lease.report", "publish risk.limits",  # nothing was lent, or missed
    },
    "risk-1": {
        "stream LEASES", "publish lease.grant",  # one lane lends nothing
        "stream AUDIT", "publish audit.record", "publish _INBOX.>",  # nobody changed a limit, nor asked
        "publish lane.0.sys", "publish halt.event", "publish now.halt",  # no breaker tripped
        "publish alert.>",
    },
    "gateway-1": {"publish _INBOX.>", "publish halt.event"},  # it was asked by its sockets; the log has halts from them
    "recorder-1": {"publish alert.clock"},
    "strategy-left": {"publish $KV.STATE.strategy.left", *_STRATEGY},
    "strategy-right": {"publish $KV.STATE.strategy.right", *_STRATEGY},
}  # fmt: skip
"""What this run need not have used of the rights of each process, for it did not happen."""


def keeps_its_secrets(system):
    """None stands anywhere but where it is kept: in no log, no printed line, no event, no state, no stream."""
    from secrets_kept import places, secrets_in

    conf = (system.data / "log" / "server.conf").read_text()
    secrets = secrets_in(system.data, dict(re.findall(r'user: "([^"]+)", password: "([^"]+)"', conf)))
    assert {"making.toml secret", "venue.json token", "strategy-left", "second.key"} <= secrets.keys()
    kept = ["log/server.conf", "log/server.json", "run/venue.json"]
    kept += [f"run/keys/{name}.toml" for name in ("making", "arbitrage")]
    kept += [f"access/keys/{path.name}" for path in keys_folder(system.data).iterdir()]
    assert places(system.data, secrets) == dict.fromkeys(kept, "0o600")
    for out in system.home.glob("*.out"):
        assert not any(secret in out.read_bytes() for secret in secrets.values()), out


def needs_no_more_than_it_is_granted(system):
    """The log's server refused nobody anything, and nobody has a right that is not used, nor told why in `ONCE`."""
    from grants_used import idle_of, refusals

    trace = system.data / "log" / "server.log"
    assert refusals(trace) == []
    config = system.world.config
    roles = processes_of(config.topology, dict(config.strategies), True)
    rights = {
        name: grant_of(held, system.world) for name, held in zip(process_names(roles), roles, strict=True)
    }
    idle = {name: sorted(found - ONCE.get(name, set())) for name, found in idle_of(rights, trace).items()}
    assert {name: rest for name, rest in idle.items() if rest} == {}

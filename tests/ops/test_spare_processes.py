"""A process that is started and stopped while the system runs: the slot of a new version."""

from __future__ import annotations

import asyncio
import dataclasses

from ops.children import good, supervise

from tidegate.ops.control import ask
from tidegate.ops.proc import lives
from tidegate.ops.supervisor import all_good


def test_a_spare_process_runs_only_when_it_is_asked_for(tmp_path):
    async def scenario():
        spare = dataclasses.replace(good(tmp_path, "strategy-s.next"), spare=True, critical=False)
        supervisor, told = supervise(tmp_path, [good(tmp_path, "oms-1"), spare])
        token = supervisor._orders.token

        async def slot(name: str, run: bool, token: str = token) -> dict:
            return await ask(socket, {"do": "slot", "name": name, "run": run, "token": token}, 10.0)

        await supervisor.start()
        try:
            socket = supervisor.folder.socket
            assert [row["name"] for row in supervisor.rows()] == ["oms-1"]
            assert all_good(supervisor.rows())
            idle = await slot("strategy-s.next", False)
            assert (idle["ok"], told.all("strategy-s.next", "stopped")) == (True, [])
            pids = []
            for _ in range(2):
                await slot("strategy-s.next", True)
                await slot("strategy-s.next", True)  # twice is once
                await told.until("strategy-s.next", "healthy", len(pids) + 1)
                pids.append(supervisor.child("strategy-s.next").pid)
                assert len(supervisor.rows()) == 2
                for wrong in ("", "guessed"):
                    refused = await slot("strategy-s.next", False, wrong)
                    assert refused["error"] == "slots are for the role deploy to start and stop"
                assert lives(pids[-1])
                await slot("strategy-s.next", False)
                assert not lives(pids[-1])
                assert len(supervisor.rows()) == 1
            other = await slot("oms-1", False)
            assert "no slot for new versions" in other["error"]
            assert lives(supervisor.child("oms-1").pid)
            return pids
        finally:
            await supervisor.stop()

    assert len(set(asyncio.run(scenario()))) == 2

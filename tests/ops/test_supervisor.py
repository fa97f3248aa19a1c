"""The supervisor with real processes: kept alive, given up on, stopped in order, never two on one folder."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from ops.children import MISTAKEN, SLEEPS, good, plain, supervise, told_to

from tidegate.errors import UserError
from tidegate.ops.child import Backoff
from tidegate.ops.control import ask
from tidegate.ops.folder import DataFolder
from tidegate.ops.lock import Lock, holder
from tidegate.ops.proc import ended, lives, started
from tidegate.ops.supervisor import ChildFailed, all_good, read_states
from tidegate.ops.topology import Process, Started, Topology, process_names, role_process


def test_a_killed_process_is_started_again_later_each_time(tmp_path):
    async def scenario():
        supervisor, told = supervise(tmp_path, [good(tmp_path, "oms-1")])
        await supervisor.start()
        try:
            child = supervisor.child("oms-1")
            pids = [child.pid]
            for times in (1, 2):
                os.kill(child.pid, signal.SIGKILL)
                await told.until("oms-1", "restarting", times)
                await told.until("oms-1", "healthy", times + 1)
                pids.append(child.pid)
            texts = [event.text for event in told.all("oms-1", "restarting")]
            return pids, texts, child.restarts
        finally:
            await supervisor.stop()

    pids, texts, restarts = asyncio.run(scenario())
    assert len(set(pids)) == 3
    assert texts == ["killed by SIGKILL; again in 0.1 s", "killed by SIGKILL; again in 0.2 s"]
    assert restarts == 2
    assert not any(lives(pid) for pid in pids)


def test_backoff_doubles_to_its_most_and_begins_anew_after_health():
    backoff = Backoff()
    waits = [backoff.after(0.0) for _ in range(8)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff.after(9.9) == 5.0
    assert [backoff.after(10.0), backoff.after(0.0)] == [0.1, 0.2]


def test_a_clean_stop_takes_strategies_first_and_all_have_ended(tmp_path):
    async def scenario():
        names = {"feed-1": 40, "gateway-1": 30, "oms-1": 20, "strategy-a": 10, "strategy-b": 10}
        processes = [good(tmp_path, name, order_of_stop=order) for name, order in names.items()]
        supervisor, _ = supervise(tmp_path, processes)
        await supervisor.start()
        pids = [child.pid for child in supervisor.children.values()]
        assert all_good(supervisor.rows())
        await supervisor.stop()
        return pids, supervisor

    pids, supervisor = asyncio.run(scenario())
    order = (tmp_path / "order").read_text().split()
    assert sorted(order[:2]) == ["strategy-a", "strategy-b"]
    assert order[2:] == ["oms-1", "gateway-1", "feed-1"]
    assert not any(lives(pid) for pid in pids)
    assert {row["state"] for row in read_states(supervisor.folder)} == {"stopped"}
    assert holder(supervisor.folder) is None
    assert not supervisor.folder.socket.exists()


def test_one_that_does_not_stop_is_killed(tmp_path):
    async def scenario():
        supervisor, told = supervise(tmp_path, [good(tmp_path, "deaf", deaf=True, stop_timeout=0.2)])
        await supervisor.start()
        pid = supervisor.child("deaf").pid
        await supervisor.stop()
        return pid, told.all("deaf", "stopping")[-1].text, supervisor.child("deaf").code

    pid, text, code = asyncio.run(scenario())
    assert not lives(pid)
    assert text == "did not stop in 0.2 s, killed"
    assert code == -signal.SIGKILL


def test_a_users_mistake_while_starting_ends_all_with_the_childs_own_line(tmp_path):
    async def scenario():
        processes = [good(tmp_path, "feed-1"), plain("oms-1", MISTAKEN)]
        supervisor, told = supervise(tmp_path, processes)
        with pytest.raises(UserError, match=r"^oms-1: x\.toml: unknown key$"):
            await supervisor.run()
        return told, supervisor

    told, supervisor = asyncio.run(scenario())
    assert not told.all("oms-1", "restarting")
    assert {row["state"] for row in supervisor.rows()} == {"dead", "stopped"}


def test_a_users_mistake_of_one_that_is_not_critical_leaves_the_others(tmp_path):
    async def scenario():
        processes = [good(tmp_path, "feed-1"), plain("recorder-1", MISTAKEN, critical=False)]
        supervisor, told = supervise(tmp_path, processes)
        await supervisor.start()
        await told.until("recorder-1", "dead")
        try:
            return supervisor.child("feed-1").state, supervisor.child("recorder-1").why
        finally:
            await supervisor.stop()

    assert asyncio.run(scenario()) == ("healthy", "x.toml: unknown key")


def test_what_cannot_be_started_and_what_fails_once_are_told(tmp_path):
    async def scenario(process):
        supervisor, _ = supervise(tmp_path, [process])
        await supervisor.run()

    with pytest.raises(UserError, match=r"feed-1: cannot be started: .*No such file"):
        asyncio.run(scenario(Process("feed-1", [str(tmp_path / "nothing")])))
    failing = plain("venue", "import sys; print('no capture'); sys.exit(7)", restart=False)
    with pytest.raises(ChildFailed, match="venue: exit code 7: no capture"):
        asyncio.run(scenario(Process("venue", failing.argv, restart=False)))


def test_the_run_ends_when_every_process_is_done(tmp_path):
    async def scenario():
        supervisor, _ = supervise(tmp_path, [plain("once", "print('done')", restart=False)])
        async with asyncio.timeout(20):
            await supervisor.run()
        return supervisor.rows()[0]

    row = asyncio.run(scenario())
    assert (row["state"], row["code"]) == ("done", 0)


def test_degraded_by_its_own_word_and_hung_without_one(tmp_path):
    async def scenario():
        bad = good(tmp_path, "gateway-1", {"ok": False, "why": "not connected"})
        hung = good(tmp_path, "oms-1", hung_after=1.5)
        supervisor, told = supervise(tmp_path, [bad, hung])
        await supervisor.start()
        try:
            said = await told.until("gateway-1", "degraded")
            stopped = supervisor.child("oms-1").pid
            os.kill(stopped, signal.SIGSTOP)
            killed = await told.until("oms-1", "degraded")
            await told.until("oms-1", "healthy", 2)
            return said.text, killed.text, stopped, supervisor.child("oms-1").pid
        finally:
            await supervisor.stop()

    said, killed, before, after = asyncio.run(scenario())
    assert said == "test: not connected"
    assert killed == "no sign of life for 2 s: killed"
    assert before != after


def test_one_that_is_slow_to_start_is_degraded_and_never_taken_for_hung(tmp_path):
    async def scenario():
        slow = good(tmp_path, "oms-1", starting=True, hung_after=0.1, ready_timeout=0.8)
        supervisor, told = supervise(tmp_path, [slow])
        await supervisor.start()
        try:
            await told.until("oms-1", "degraded")
            os.kill(supervisor.child("oms-1").pid, signal.SIGSTOP)  # as if it compiled
            supervisor.child("oms-1").look(time.monotonic() + 60)
            return [event.text for event in told.all("oms-1", "degraded")]
        finally:
            await supervisor.stop()

    assert asyncio.run(scenario()) == ["not ready after 0.8 s"]


def test_a_second_up_on_the_folder_is_refused_with_the_pid_of_the_first(tmp_path):
    async def scenario():
        first, _ = supervise(tmp_path, [plain("a", SLEEPS)])
        second, _ = supervise(tmp_path, [plain("b", SLEEPS)])
        await first.start()
        try:
            with pytest.raises(UserError, match=f"in use by `tidegate up`, process {os.getpid()}: stop"):
                await second.run()
            return first.child("a").state, second.child("b").pid, first.folder.socket.exists()
        finally:
            await first.stop()

    assert asyncio.run(scenario()) == ("healthy", 0, True)


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = {path!r}
from ops.children import SLEEPS, good, plain, supervise

async def main():
    path = Path({tmp!r})
    supervisor, told = supervise(path, [plain("a", SLEEPS), good(path, "deaf", deaf=True)])
    await supervisor.start()
    print(*[child.pid for child in supervisor.children.values()], flush=True)
    await supervisor.wait()

asyncio.run(main())
"""


def test_children_die_with_a_killed_supervisor_and_its_lock_is_taken_over(tmp_path):
    program = SUPERVISOR.format(path=[p for p in sys.path if p], tmp=str(tmp_path))
    first = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    meek, deaf = map(int, first.stdout.readline().split())
    first.kill()
    first.wait()
    first.stdout.close()

    async def scenario():
        async with asyncio.timeout(20):
            await ended(meek)  # by the kernel's signal: nobody else is left to send it
        assert lives(deaf)
        supervisor, told = supervise(tmp_path, [plain("a", SLEEPS)])
        assert holder(supervisor.folder) is None
        await supervisor.start()
        try:
            return told.all("up", "stale lock"), told.all("deaf", "left over"), supervisor.child("a").state
        finally:
            await supervisor.stop()

    stale, left, state = asyncio.run(scenario())
    assert f"process {first.pid}, died" in stale[0].text
    assert left
    assert not lives(deaf)
    assert state == "healthy"


def test_the_lock_of_a_clean_end_is_no_stale_one(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.make()
    lock = Lock(folder)
    assert lock.take() is None
    assert holder(folder) == (os.getpid(), started(os.getpid()))
    lock.release()
    assert Lock(folder).take() is None


def test_orders_over_the_control_socket(tmp_path):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()  # longer than a socket's name may be

    async def scenario():
        supervisor, told = supervise(deep, [good(deep, "oms-1"), good(deep, "feed-1")])
        running = asyncio.create_task(supervisor.run())
        await told.until("up", "running")
        path = supervisor.folder.socket
        assert path.stat().st_mode & 0o777 == 0o600
        answer = await ask(path, {"do": "ps"})
        assert [(p["name"], p["state"]) for p in answer["processes"]] == [
            ("oms-1", "healthy"),
            ("feed-1", "healthy"),
        ]
        pid = supervisor.child("oms-1").pid
        assert await told_to(path, "kill", "oms-1", signal="9") == {"ok": True, "pid": pid}
        await told.until("oms-1", "healthy", 2)
        await told_to(path, "restart", "oms-1")
        await told.until("oms-1", "healthy", 3)
        assert (await told_to(path, "stop", "feed-1"))["ok"]
        assert supervisor.child("feed-1").state == "stopped"
        wrong = [await told_to(path, "kill", "oms"), await ask(path, {"do": "dance"})]
        await told_to(path, "stop")
        async with asyncio.timeout(20):
            await running
        return wrong, [event.text for event in told.all("oms-1", "restarting")]

    wrong, texts = asyncio.run(scenario())
    assert [w["ok"] for w in wrong] == [False, False]
    assert "did you mean 'oms-1'" in wrong[0]["error"]
    assert "dance" in wrong[1]["error"]
    assert texts == ["killed by SIGKILL; again in 0.1 s", "restart asked for; again in 0.0 s"]


def test_a_hook_starts_the_log_and_later_processes_get_what_it_says(tmp_path):
    server = []

    async def hook():
        server.append(subprocess.Popen([sys.executable, "-c", SLEEPS]))
        return Started(server[-1].pid, {"TIDEGATE_TEST_LOG": f"log-{len(server)}"})

    async def scenario():
        log = Process("log", start=hook, health=False, wait=True, order_of_stop=70)
        code = "import os, time; print(os.environ['TIDEGATE_TEST_LOG'], flush=True); time.sleep(600)"
        once = plain("b", "import os; print(os.environ['TIDEGATE_TEST_LOG'])", restart=False)
        supervisor, told = supervise(tmp_path, [log, once, plain("c", code)])
        await supervisor.start()
        await told.until("b", "done")
        server[0].kill()
        await told.until("log", "healthy", 2)
        await supervisor.stop()
        return supervisor.folder.out("b").read_text()

    assert asyncio.run(scenario()) == "log-1\n"
    assert len(server) == 2
    assert not any(lives(process.pid) for process in server)


def test_names_and_orders_of_roles():
    roles = [("venue",), ("feed",), ("oms",), ("oms",), ("strategy:maker",), ("feed", "strategy", "oms")]
    names = process_names(roles)
    assert names == ["venue-1", "feed-1", "oms-1", "oms-2", "strategy-maker", "feed-strategy-oms"]
    processes = [role_process(name, r, "x.toml", "d") for name, r in zip(names, roles, strict=True)]
    stops = [[p.name for p in group] for group in Topology(processes).stops()]
    assert stops == [["strategy-maker", "feed-strategy-oms"], ["oms-1", "oms-2"], ["feed-1"], ["venue-1"]]
    assert list(processes[4].argv[1:5]) == ["-m", "tidegate.cli", "run", "strategy:maker"]
    with pytest.raises(UserError, match="unknown role 'omx'; did you mean 'oms'"):
        role_process("x", ["omx"], "x.toml", "d")
    with pytest.raises(UserError, match="two processes are called 'feed-1'"):
        Topology([processes[1], processes[1]])
    with pytest.raises(UserError, match="process name 'a/b'"):
        plain("a/b", SLEEPS)

"""Processes that use more than they may, hang or die again and again: each gets a clear answer, nothing is left over."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from ops.cell_children import EATS, FORKS, LOOPS, SLEEPS, Watched, acting

from tidegate.errors import UserError
from tidegate.ops.cell import Limits, share, size, size_text
from tidegate.ops.cell_group import MEMBERSHIP, Groups, find
from tidegate.ops.cell_watch import family, use
from tidegate.ops.ending import How
from tidegate.ops.proc import ended


def grouped(tmp_path: Path) -> Groups:
    """The machine's control groups; skips with the reason where there are none."""
    found = find(tmp_path)
    if "memory" not in found.bases or "pids" not in found.bases:
        pytest.skip(f"no control groups for memory and processes here: {found.why}")
    return found


def left_of(groups: Groups) -> list[str]:
    """Groups of ours that are still there."""
    mark = groups._mark
    return [str(path) for base in set(groups.bases.values()) for path in base.iterdir() if mark in path.name]


def gone(pids: list[int]) -> None:
    """They have ended, or do so now."""

    async def scenario() -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(*map(ended, pids))

    asyncio.run(scenario())


@pytest.mark.parametrize("groups", [True, False], ids=["control group", "rlimits"])
def test_one_that_allocates_without_end_is_killed_for_it(tmp_path, groups):
    if groups:
        grouped(tmp_path)

    async def scenario():
        process = acting(tmp_path, "eater", EATS, Limits(memory=96 << 20))
        async with Watched(tmp_path, [process], groups) as watched:
            event = await watched.told.until("eater", "restarting")
            return watched, event

    watched, event = asyncio.run(scenario())
    assert event.text == "killed: over its memory limit of 96 MiB; again in 0.1 s"
    assert (watched.ends[0][0], watched.ends[0][1].how, watched.ends[0][1].final) == (
        "eater",
        How.LIMIT,
        False,
    )
    assert left_of(watched.supervisor.groups) == []


def test_where_it_maps_faster_than_anybody_looks_the_rlimit_refuses(tmp_path):
    act = "try:\n    kept = bytearray(3 << 30)\nexcept MemoryError:\n    print('refused', flush=True)\n    os._exit(5)"

    async def scenario():
        process = acting(tmp_path, "eater", act, Limits(memory=96 << 20))
        async with Watched(tmp_path, [process], groups=False) as watched:
            event = await watched.told.until("eater", "restarting")
            return watched.out("eater"), event

    out, event = asyncio.run(scenario())
    assert "refused" in out
    assert event.text.startswith("exit code 5: refused")


def test_forks_beyond_the_limit_fail_and_people_are_told(tmp_path):
    grouped(tmp_path)

    async def scenario():
        process = acting(tmp_path, "forker", FORKS, Limits(processes=20))
        async with Watched(tmp_path, [process]) as watched:
            event = await watched.told.until("forker", "degraded")
            await watched.prints("forker", "no more forks")
            child = watched.supervisor.child("forker")
            return watched, event.text, family(child.pid)

    watched, why, members = asyncio.run(scenario())
    assert why == "at its limit of 20 processes: refused forks: 1"
    assert len(members) == 20
    gone(members)
    assert left_of(watched.supervisor.groups) == []


def test_without_groups_a_forker_is_killed_with_its_whole_family(tmp_path):
    async def scenario():
        process = acting(
            tmp_path,
            "forker",
            FORKS + "\nwhile True:\n    time.sleep(1)",
            Limits(memory=16 << 30, processes=20),
        )
        async with Watched(tmp_path, [process], groups=False) as watched:
            child = watched.supervisor.child("forker")
            members: list[int] = []
            while not watched.ends:
                members = max(family(child.pid) if child.pid else [], members, key=len)
                await asyncio.sleep(0.005)
            event = await watched.told.until("forker", "restarting")
            return event, members

    event, members = asyncio.run(scenario())
    assert event.text == "killed: over its limit of 20 processes; again in 0.1 s"
    assert len(members) > 10
    gone(members)


def test_files_and_their_size_are_limited_and_the_process_reads_it_as_an_error(tmp_path):
    act = (
        f"try:\n    kept = [open('/dev/null') for _ in range(100)]\nexcept OSError as error:\n    print(error)\n"
        f"try:\n    open({str(tmp_path / 'huge')!r}, 'wb').write(bytes(1 << 21))\nexcept OSError as error:\n"
        f"    print(error, flush=True)\nos._exit(7)"
    )

    async def scenario():
        process = acting(tmp_path, "writer", act, Limits(files=40, file_size=1 << 20))
        async with Watched(tmp_path, [process]) as watched:
            await watched.told.until("writer", "restarting")
            return watched.out("writer")

    out = asyncio.run(scenario())
    assert "Too many open files" in out
    assert "File too large" in out
    assert (tmp_path / "huge").stat().st_size <= 1 << 20


@pytest.mark.parametrize("act", [LOOPS, SLEEPS], ids=["loops", "sleeps"])
def test_one_that_does_not_return_is_killed_and_after_so_many_times_for_good(tmp_path, act):
    async def scenario():
        process = acting(tmp_path, "hung", act, hung_after=0.6, deaths=2)
        async with Watched(tmp_path, [process]) as watched:
            first = await watched.told.until("hung", "restarting")
            last = await watched.told.until("hung", "dead")
            return watched, first, last

    watched, first, last = asyncio.run(scenario())
    assert first.text == "killed: no sign of life for 0.6 s; again in 0.1 s"
    assert last.text == "killed: no sign of life for 0.6 s; not started again"
    assert [(end.how, end.final) for _, end in watched.ends] == [(How.HUNG, False), (How.HUNG, True)]


def test_one_crash_is_started_again_without_a_word_to_the_hook_and_the_last_one_tells_it(tmp_path):
    async def scenario():
        process = acting(tmp_path, "mortal", "pass", deaths=3)
        async with Watched(tmp_path, [process]) as watched:
            child = watched.supervisor.child("mortal")
            for times in (1, 2):
                os.kill(child.pid, signal.SIGKILL)
                await watched.told.until("mortal", "healthy", times + 1)
                assert watched.ends == []
            os.kill(child.pid, signal.SIGKILL)
            event = await watched.told.until("mortal", "dead")
            await watched.supervisor.child("mortal").restart()  # people may start it again
            await watched.told.until("mortal", "healthy", 4)
            return watched.ends, event

    ends, event = asyncio.run(scenario())
    assert event.text == "killed by SIGKILL; not started again"
    assert [(end.how, end.final) for _, end in ends] == [(How.CRASHED, True)]


def test_one_that_ends_without_a_fault_when_nobody_asked_is_no_clean_end(tmp_path):
    async def scenario():
        async with Watched(tmp_path, [acting(tmp_path, "leaver", "os._exit(0)", deaths=1)]) as watched:
            event = await watched.told.until("leaver", "dead")
            return watched.ends, event

    ends, event = asyncio.run(scenario())
    assert event.text == "exit code 0; not started again"
    assert [(end.how, end.final) for _, end in ends] == [(How.CRASHED, True)]


def test_a_condemned_one_is_not_started_again(tmp_path):
    async def scenario():
        async with Watched(tmp_path, [acting(tmp_path, "rogue", "pass")]) as watched:
            watched.supervisor.child("rogue").condemn("20000 commands a second")
            event = await watched.told.until("rogue", "dead")
            return watched.ends, event

    ends, event = asyncio.run(scenario())
    assert event.text == "killed: 20000 commands a second; not started again"
    assert [(end.how, end.final) for _, end in ends] == [(How.CONDEMNED, True)]


def test_one_that_does_not_stop_when_asked_is_an_end_nobody_wished(tmp_path):
    async def scenario():
        act = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)"
        async with Watched(tmp_path, [acting(tmp_path, "deaf", act, stop_timeout=0.2)]) as watched:
            await watched.prints("deaf", "deaf")
            await watched.supervisor.child("deaf").stop()
            return watched.ends

    ((_, end),) = asyncio.run(scenario())
    assert (end.how, end.final) == (How.HUNG, True)


def test_what_is_in_force_is_shown(tmp_path):
    async def scenario(groups: bool) -> str:
        process = acting(tmp_path, "shown", "pass", Limits(1 << 30, 0.5, 32, 256, 1 << 20))
        async with Watched(tmp_path, [process], groups) as watched:
            return str(watched.supervisor.rows()[0]["cell"])

    text = "memory 1 GiB, cpu 50 %, 32 processes, 256 files, files of 1 MiB"
    assert asyncio.run(scenario(False)) == f"{text} (rlimits and a watch, cpu not limited: not in this test)"
    if find(tmp_path):
        assert asyncio.run(scenario(True)).startswith(f"{text} (control group")


def test_use_counts_the_family():
    mine = use(os.getpid())
    assert mine.tasks >= 1
    assert mine.memory > 1 << 20
    assert family(1 << 22) == []


# Where groups may be made: files only, so plain folders will do where the machine has no version 2.


def test_version_2_is_used_where_its_controllers_are_handed_down(tmp_path):
    mount = tmp_path / "cgroup"
    own = mount / "user.slice" / "mine"
    own.mkdir(parents=True)
    (mount / "user.slice" / "cgroup.procs").touch()
    (mount / "user.slice" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (own / "cgroup.procs").write_text("1\n2\n")
    (own / "cgroup.controllers").write_text("memory pids")
    (own / "cgroup.subtree_control").write_text("")
    (tmp_path / "mounts").write_text(f"cgroup2 {mount} cgroup2 rw 0 0\n")
    (tmp_path / "member").write_text("0::/user.slice/mine\n")
    groups = find(tmp_path, tmp_path / "mounts", tmp_path / "member")
    # In ours there are others, so that it cannot hand controllers down: the one above does.
    assert groups.bases == dict.fromkeys(("memory", "pids", "cpu"), mount / "user.slice")
    group = groups.make("strategy-a", Limits(1 << 30, 0.5, 32))
    (made,) = (path for path in (mount / "user.slice").iterdir() if path.name.startswith("tidegate-"))
    assert (made / "memory.max").read_text() == str(1 << 30)
    assert (made / "memory.swap.max").read_text() == "0"
    assert (made / "memory.oom.group").read_text() == "1"
    assert (made / "cpu.max").read_text() == "50000 100000"
    assert (made / "pids.max").read_text() == "32"
    (made / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 1\n")
    (made / "pids.events").write_text("max 7\n")
    assert (group.out_of_memory(), group.forks_refused()) == (2, 7)
    group.limit(Limits(None, None, None))
    assert [(made / name).read_text() for name in ("memory.max", "cpu.max", "pids.max")] == [
        "max",
        "max 100000",
        "max",
    ]


def test_a_machine_without_groups_says_so(tmp_path):
    (tmp_path / "mounts").write_text("tmpfs / tmpfs rw 0 0\n")
    groups = find(tmp_path, tmp_path / "mounts", MEMBERSHIP)
    assert not groups
    assert groups.why == "control groups are there, but none may be made here"
    assert not find(tmp_path, tmp_path / "none", MEMBERSHIP)


@pytest.mark.parametrize(
    ("text", "bytes_"), [("1GiB", 1 << 30), ("1.5 MiB", 3 << 19), ("200MB", 200_000_000), ("unlimited", None)]
)
def test_sizes_are_read(text, bytes_):
    assert size(text, "x") == bytes_


@pytest.mark.parametrize("text", ["1", "1G", "-1GiB", "0MiB", "GiB", "", "1e3MiB"])
def test_what_is_no_size_is_one_line(text):
    with pytest.raises(
        UserError, match=r"x\.toml: topology\.cell\.memory: .* is no size; write it as in 512MiB"
    ):
        size(text, "x.toml: topology.cell.memory")


@pytest.mark.parametrize(("text", "cores"), [("50%", 0.5), ("200 %", 2.0), ("unlimited", None)])
def test_shares_are_read(text, cores):
    assert share(text, "x") == cores


@pytest.mark.parametrize("text", ["0%", "50", "half", "-5%", ""])
def test_what_is_no_share_is_one_line(text):
    with pytest.raises(UserError, match="is no share"):
        share(text, "x")


def test_sizes_are_shown_as_people_write_them():
    assert [size_text(n) for n in (5, 2048, 3 << 19, 1 << 30)] == ["5 B", "2 KiB", "1.5 MiB", "1 GiB"]

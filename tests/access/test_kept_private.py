"""Nothing of a process is left for others to read: no core file, no memory, no environment, no file but its owner's."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest
from ops.children import plain

from tidegate.access import local, reach
from tidegate.access.audit_files import Anchors, AuditQueue
from tidegate.access.identity import Role
from tidegate.access.identity_file import AccessSection
from tidegate.access.replays import Replays
from tidegate.log.embedded import Embedded
from tidegate.model.clock import SystemClock
from tidegate.ops.control import serve
from tidegate.ops.folder import DataFolder
from tidegate.ops.logs import LogFile
from tidegate.ops.spawn import spawn

CORES = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
HIDES = """
import ctypes, sys
from tidegate.log import private
before = ctypes.CDLL(None).prctl(3)  # PR_GET_DUMPABLE
private.unseen()
print(before, ctypes.CDLL(None).prctl(3), flush=True)
sys.stdin.read()
"""
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")


@linux
def test_no_process_leaves_a_core_file(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_CORE)
    if before[1] == 0:
        pytest.skip("no process here may have one anyway")
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        folder = DataFolder(tmp_path)
        folder.make()
        child, begin = spawn(plain("one", CORES), folder, {})
        assert child.wait() == 0
        assert folder.out("one").read_text()[begin:] == "(0, 0)\n"

        async def log() -> str:
            server = Embedded(tmp_path, "process")
            await server.start()
            limits = Path(f"/proc/{server.pid}/limits").read_text()
            await server.stop()
            return next(line for line in limits.splitlines() if line.startswith("Max core file size"))

        assert asyncio.run(log()).split()[4:6] == ["0", "0"]
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


@linux
def test_who_holds_keys_is_not_to_be_read_by_others_of_its_user():
    """Of a process that may not be dumped the kernel gives `/proc` to root: others of its user cannot open it."""

    async def body() -> tuple[list[str], str, bool]:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HIDES, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": "/tmp", "THE_KEY": "word"}, **other_user(),
        )  # fmt: skip
        dumpable = (await child.stdout.readline()).decode().split()
        peek = f"print('word' in open('/proc/{child.pid}/environ').read())"
        thief = await asyncio.create_subprocess_exec(
            sys.executable, "-c", peek, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **other_user()
        )  # fmt: skip
        out, err = await thief.communicate()
        child.stdin.close()
        await child.wait()
        return dumpable, err.decode().strip().rpartition("\n")[2], b"True" in out

    dumpable, why, seen = asyncio.run(body())
    assert dumpable == ["1", "0"]
    if os.getuid() == 0 and not other_user():
        return  # root reads all
    assert not seen
    assert "PermissionError" in why


def other_user() -> dict[str, int]:
    """As root, somebody who is not; who may read this interpreter."""
    return {"user": 65534, "group": 65534} if os.getuid() == 0 and _readable() else {}


def _readable() -> bool:
    """Whether anybody may run this interpreter and import tidegate."""
    import tidegate

    paths = [Path(sys.executable).resolve(), Path(tidegate.__file__).resolve()]
    return all(one.stat().st_mode & stat.S_IXOTH for path in paths for one in path.parents)


def test_every_file_of_a_data_folder_is_its_owners_alone(tmp_path):
    data = tmp_path / "deep" / "data"
    before = os.umask(0)  # the widest there is
    try:

        async def body() -> None:
            folder, clock = DataFolder(data), SystemClock()
            local.ensure(data, AccessSection())
            local.add(data, AccessSection(), "bob", Role.OPERATOR, "Bob")
            reach.keep(data, {"desk:a": ()})
            folder.make()
            Anchors(data).keep(1, "0" * 64)
            Replays(folder.run / "up.replays").first("id", 2, 1)
            queue = AuditQueue(folder.run, "up")
            server = await serve(folder.socket, answer)
            lines = LogFile(folder, "one", "feed", clock)
            lines.info("said")
            log = Embedded(data, "process")
            await log.start()
            wide = {
                str(path.relative_to(data.parent)): oct(path.stat().st_mode & 0o777)
                for path in data.rglob("*")
                if path.lstat().st_mode & 0o077
            }
            assert data.stat().st_mode & 0o777 == 0o700, "nobody else may even enter"
            assert data.parent.stat().st_mode & 0o777 == 0o700, "it was made with it"
            secret = [
                name
                for name in wide
                if Path(name).name.endswith((".key", ".toml", ".conf", ".json", ".sock"))
            ]
            assert secret == []
            queue.close()
            lines.close()
            server.close()
            await log.stop()

        asyncio.run(body())
    finally:
        os.umask(before)


async def answer(request: dict) -> dict:
    return request

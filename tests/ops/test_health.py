"""Health files: whole at every moment, honest when a service is not, and gone after a clean stop."""

import asyncio
import json
import os
import threading

import pytest

from tidegate.errors import UserError
from tidegate.model.clock import SystemClock
from tidegate.ops.folder import DataFolder
from tidegate.ops.health import HealthFile, read_health
from tidegate.ops.proc import figures, lives, started


def test_a_reader_never_sees_a_part_of_it(folder):
    health = HealthFile(folder, "a", ["oms"], {"oms": lambda: {"pad": "x" * 100_000}}, SystemClock())
    health.write()
    seen, broken, done = set(), [], threading.Event()

    def look():
        while not done.is_set():
            try:
                seen.add(json.loads(health.path.read_bytes())["n"])
            except (ValueError, OSError) as error:
                broken.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    while len(seen) < 20 and not broken:
        health.write()
    done.set()
    reader.join()
    assert broken == []
    assert [path.name for path in folder.run.iterdir()] == ["a.health"]


def test_what_it_says_from_start_to_stop(folder):
    said = {"ok": True}

    async def scenario():
        health = HealthFile(folder, "a", ["oms"], {"oms": lambda: said}, SystemClock())
        seen = []

        def look():
            seen.append((found := read_health(health.path)).get("condition", "gone"))
            return found

        await health.start()
        look()
        health.running()
        look()
        said.update(ok=False, why="lane 2 is broken")
        health.write()
        found = look()
        health.stopping()
        look()
        await health.stop()
        look()
        return seen, found

    seen, found = asyncio.run(scenario())
    assert seen == ["starting", "healthy", "degraded", "stopping", "gone"]
    assert found["why"] == "oms: lane 2 is broken"
    assert (found["pid"], found["started"]) == (os.getpid(), started(os.getpid()))


def test_a_service_that_cannot_say_how_it_is_is_degraded_and_the_others_are_told(folder):
    def broken():
        raise KeyError("x")

    health = HealthFile(
        folder, "a", ["oms", "feed"], {"oms": broken, "feed": lambda: {"n": 1}}, SystemClock()
    )
    health.running()
    found = read_health(health.path)
    assert found["condition"] == "degraded"
    assert found["why"] == "oms: health() raised KeyError: 'x'"
    assert found["services"]["feed"] == {"n": 1}
    assert found["counters"]["health_raised"] == 1


def test_a_folder_that_is_gone_is_counted(folder, tmp_path):
    health = HealthFile(DataFolder(tmp_path / "nowhere"), "a", [], {}, SystemClock())
    health.write()
    assert health.counters["health_unwritten"] == 1
    assert read_health(health.path) == {}


def test_a_data_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to data folder .*file/data"):
        DataFolder(tmp_path / "file" / "data").make()


def test_figures_of_a_process():
    now = figures(os.getpid())
    assert now is not None
    assert now.rss > 1 << 20
    assert now.cpu_s > 0
    assert lives(os.getpid(), now.started)
    assert not lives(os.getpid(), now.started + 1)  # another one of the same number
    assert figures(2**22 + 1) is None

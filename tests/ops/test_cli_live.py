"""`tidegate ps` and `logs` as a user runs them, on small systems."""

import asyncio
import json
import re

from ops.children import good, supervise, tidegate


def test_ps_of_a_healthy_a_degraded_and_a_stopped_system(tmp_path):
    async def scenario():
        supervisor, _ = supervise(tmp_path, [good(tmp_path, "oms-1"), good(tmp_path, "feed-1")])
        data = supervisor.folder.path
        await supervisor.start()
        well = await tidegate("ps", "--data", data, "--json")
        await supervisor.child("feed-1").stop()
        await asyncio.sleep(0)  # the states are written after it
        ill = await tidegate("ps", "--data", data)
        await supervisor.stop()
        return well, ill, await tidegate("ps", "--data", data)

    well, ill, after = asyncio.run(scenario())
    assert well[0] == 0, well
    assert [(p["name"], p["state"]) for p in json.loads(well[1])["processes"]] == [
        ("oms-1", "healthy"),
        ("feed-1", "healthy"),
    ]
    assert ill[0] == 1
    assert re.search(r"feed-1 +● stopped", ill[1])
    assert after[0] == 1
    assert "no `tidegate up` runs on" in after[2]


def test_commands_without_a_system_are_one_line(tmp_path, folder):
    async def scenario():
        return [
            await tidegate("ps", "--data", tmp_path / "none"),
            await tidegate("logs", "--data", folder.path),
            await tidegate("logs", "--data", folder.path, "--level", "warn"),
        ]

    answers = asyncio.run(scenario())
    assert [code for code, _, _ in answers] == [2, 2, 2]
    assert all(out == "" and err.count("\n") == 1 and err.startswith("tidegate: ") for _, out, err in answers)
    assert "unknown log level 'warn'; did you mean 'warning'" in answers[2][2]


def test_logs_are_merged_and_a_trace_is_one_ticks_way(folder):
    trace = 1_700_000_000_000_000_000
    for name, at in (("gw-1", 400_000), ("oms-1", 200_000)):
        hop = {
            "ts": trace + at,
            "level": "info",
            "name": name,
            "event": "hop",
            "hop": f"{name}.out",
            "trace": trace,
        }
        other = {"ts": trace + at + 1, "level": "error", "name": name, "event": "other", "text": "[bold]"}
        folder.log(name).write_text(json.dumps(hop) + "\n" + json.dumps(other) + "\n")

    async def scenario():
        return (
            await tidegate("logs", "--data", folder.path),
            await tidegate("logs", "--data", folder.path, "--trace", trace),
            await tidegate("logs", "--data", folder.path, "gw-1", "--level", "error", "-n", 1, "--json"),
            await tidegate("logs", "--data", folder.path, "--trace", 5),
        )

    every, way, one, none = asyncio.run(scenario())
    assert [row.split()[2] for row in every[1].splitlines()] == ["oms-1", "oms-1", "gw-1", "gw-1"]
    assert "[bold]" in every[1]
    assert [row.split()[:5] for row in way[1].splitlines()] == [
        ["+0.200", "ms", "info", "oms-1", "oms-1.out"],
        ["+0.400", "ms", "info", "gw-1", "gw-1.out"],
    ]
    assert json.loads(one[1])["event"] == "other"
    assert none[0] == 2
    assert "--trace 5: no line" in none[2]

"""Asked to stop, a process does, in the time it has or without it."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys, time
from tidegate.ops.stopping import StopSignal

async def main():
    stop = StopSignal(deadline=float(sys.argv[1]))
    print("ready", flush=True)
    await stop.wait()
    print("asked", flush=True)
    if sys.argv[2] == "hang":
        time.sleep(600)
    elif sys.argv[2] == "linger":
        await asyncio.sleep(600)

asyncio.run(main())
"""


def start(*args):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *args], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop(number):
    with start("60", "stop") as process:
        process.send_signal(number)
        assert process.stdout.read() == "asked\n"
    assert process.returncode == 0


def test_one_that_hangs_is_ended_by_the_kernel():
    with start("0.2", "hang") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "asked\n"
    assert process.returncode == -signal.SIGALRM


def test_asked_twice_it_ends_at_once():
    with start("3600", "linger") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == -signal.SIGALRM

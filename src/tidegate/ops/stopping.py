"""Being asked to stop: SIGTERM or Ctrl-C, and an end that comes even if stopping hangs."""

from __future__ import annotations

import asyncio
import signal

DEADLINE_S = 15.0


class StopSignal:
    """Make it when the event loop runs; `wait` returns when the process was asked to stop.

    From then on it has `deadline` seconds before the kernel ends it (SIGALRM): a process whose supervisor has died
    must not hang about because nobody is left to kill it. Asked a second time, it ends at once.
    """

    def __init__(self, deadline: float = DEADLINE_S) -> None:
        self._deadline = deadline
        self._asked = asyncio.Event()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._ask)

    async def wait(self) -> None:
        """Return when asked."""
        await self._asked.wait()

    def _ask(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.001 if self._asked.is_set() else self._deadline)
        self._asked.set()

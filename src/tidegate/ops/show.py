"""Showing a running system to whoever started it: a live screen on a terminal, lines on a pipe."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tidegate.ops.snapshot import ALERTS, Looker, Snapshot
from tidegate.ops.supervisor import Event, Supervisor
from tidegate.ops.view import alert, line, screen
from tidegate.report.format import clock

SCREEN_S, LINE_S = 1.0, 5.0
_STYLES = {"info": "", "warning": "yellow", "error": "bold red"}


class Shown:
    """Give its `event` to the supervisor as `on_event`, and run `run` beside it. `extra` gives more alerts."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._alerts: deque[dict[str, Any]] = deque(maxlen=ALERTS)
        self._live: Live | None = None
        self._last = ""

    def event(self, event: Event) -> None:
        """A process's state changed."""
        if event.level != "info":
            text = f"{event.state}: {event.text}" if event.text else event.state
            self._alerts.append({"ts": event.ts, "severity": event.level, "scope": event.name, "text": text})
        if self._live is None:
            self._console.print(event_line(event), soft_wrap=True)

    async def run(self, supervisor: Supervisor, looker: Looker) -> None:
        """Until cancelled."""
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(LINE_S)
                said = line(looker.look(supervisor.rows()))
                self._console.print(
                    f"{clock(supervisor.clock.now())[:8]}  {said}", soft_wrap=True, highlight=False
                )
        with Live(console=self._console, screen=True, auto_refresh=False) as self._live:
            try:
                while True:
                    self._live.update(self._screen(looker.look(supervisor.rows())), refresh=True)
                    await asyncio.sleep(SCREEN_S)
            finally:
                live, self._live = self._live, None
                live.stop()
                for row in self._alerts:  # the screen is gone, and what was wrong with it
                    self._console.print(alert(row))

    def _screen(self, shot: Snapshot) -> Any:
        shot.alerts = sorted([*shot.alerts, *self._alerts], key=lambda a: int(a.get("ts", 0)))[-ALERTS:]
        return screen(shot, self._title, self._console.width)


def event_line(event: Event) -> Text:
    """An event as a line."""
    text = Text()
    text.append(clock(event.ts)[:8], style="dim")
    text.append(f"  {event.name}", style="cyan")
    text.append(f"  {event.state}", style=_STYLES[event.level])
    if event.text:
        text.append(f"  {event.text}", style=_STYLES[event.level] or "dim")
    return text

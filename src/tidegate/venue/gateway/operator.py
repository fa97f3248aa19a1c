"""What people may ask of a gateway, with or without the log; every act is told to the audit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tidegate.log.base import Log, Subscription
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.control import DisabledFile, Doer, Order, Refused, answer, listen
from tidegate.venue.gateway.memory import Memory
from tidegate.venue.gateway.reconciler import Reconciler
from tidegate.venue.gateway.session import Session
from tidegate.venue.gateway.settings import GatewaySettings
from tidegate.venue.gateway.sweep import Sweeper

FRESH = 120_000_000_000
"""Enabling needs a clean reconciliation not older than this, ns."""


class Operator:
    """Answers `control`'s orders on the socket and on `ctl.<subject>`."""

    def __init__(
        self,
        subject: str,
        universe: Universe,
        sweeper: Sweeper,
        session: Session,
        memory: Memory,
        reconciler: Reconciler,
        alerts: Alerts,
        log: Log,
        clock: Clock,
        settings: GatewaySettings,
        health: Callable[[], dict[str, Any]],
    ) -> None:
        self._subject, self._universe, self._sweeper, self._session = subject, universe, sweeper, session
        self._memory, self._reconciler, self._alerts = memory, reconciler, alerts
        self._log, self._clock, self._health = log, clock, health
        self._path = settings.socket
        self._file = DisabledFile(settings.socket.with_suffix(".disabled") if settings.socket else None)
        self._server: asyncio.Server | None = None
        self._served: Subscription | None = None
        self._doers: dict[str, Doer] = {
            "cancel_all": self._cancel_all, "disable": self._disable, "enable": self._enable, "state": self._state,
        }  # fmt: skip

    def recall(self) -> None:
        """Whoever disabled the account before it was restarted has disabled it still."""
        who = self._file.read() or self._memory.saved.disabled
        if who:
            self._hold(who)

    async def open(self) -> None:
        """Take orders."""
        if self._path is not None:
            self._server = await listen(self._path, self._doers)
        self._served = self._log.serve(f"ctl.{self._subject}", lambda line: answer(line, self._doers))

    async def close(self) -> None:
        """Take no more."""
        if self._served is not None:
            self._served.close()
            self._served = None
        if self._server is not None:
            self._server.close()
            self._server = None
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    async def cancel_all(self, instrument: int | None, by: str, reason: str) -> dict[str, Any]:
        """Cancel everything, of one instrument or all; what became of each order."""
        where = "all instruments" if instrument is None else self._universe[instrument].id
        done = await self._sweeper.cancel_all(instrument, f"cancel-all by {by}: {reason}")
        text = f"canceled all of {where}: {reason}"
        self._alerts.say("control", "high", text, by=by, do="cancel_all", **done)
        return done

    def _instrument(self, asked: str | int | None) -> int | None:
        if asked is None:
            return None
        known = self._universe.index.get(asked) if isinstance(asked, str) else asked
        if known is None or not 0 <= known < len(self._universe):
            raise Refused(f"instrument: {asked!r} is not known here")
        return known

    async def _cancel_all(self, order: Order) -> dict[str, Any]:
        return await self.cancel_all(self._instrument(order.instrument), order.by, order.reason)

    async def _disable(self, order: Order) -> dict[str, Any]:
        """Twice is once. It holds, and is on the disk, before it is answered."""
        who = {"by": order.by, "reason": order.reason, "ts": str(self._clock.now())}
        already = "disabled" in self._session.holds
        self._hold(who)
        if not already:
            self._file.write(who)
            self._alerts.say("control", "high", f"disabled: {order.reason}", by=order.by, do="disable")
        return {"disabled": True, "already": already}

    def _hold(self, who: dict[str, str]) -> None:
        self._session.holds.setdefault("disabled", f"by {who.get('by')}: {who.get('reason')}")
        self._memory.saved.disabled = self._memory.saved.disabled or who

    async def _enable(self, order: Order) -> dict[str, Any]:
        if not order.approved_by or order.approved_by == order.by:
            raise Refused("enable needs approved_by, a second person")
        age = self._clock.now() - self._reconciler.reconciled
        if self._reconciler.why or age > FRESH:
            raise Refused(
                f"enable needs a clean reconciliation: {self._reconciler.why or 'the last is too old'}"
            )
        self._file.write({})
        self._memory.saved.disabled = {}
        was = self._session.holds.pop("disabled", "")
        text = f"enabled: {order.reason}"
        self._alerts.say(
            "control", "high", text, by=order.by, approved_by=order.approved_by, do="enable", was=was
        )
        return {"disabled": False, "was": was}

    async def _state(self, order: Order) -> dict[str, Any]:
        return {"health": self._health()}

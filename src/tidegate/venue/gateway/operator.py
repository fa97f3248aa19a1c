"""What people may ask of a gateway, with or without the log: verified here, followed at once, audited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tidegate.access.command import Command, Signed
from tidegate.access.note import Note, unbelieved
from tidegate.access.replays import Replays
from tidegate.access.verify import Denied
from tidegate.errors import UserError
from tidegate.log.base import Log, Subscription
from tidegate.model.clock import Clock
from tidegate.risk.halt import Check, Ignored, commanded
from tidegate.risk.scopes import State
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.control import Doer, Order, Refused, answer, file_of, listen
from tidegate.venue.gateway.halts import Halts
from tidegate.venue.gateway.quick import Quick
from tidegate.venue.gateway.reconciler import Reconciler
from tidegate.venue.gateway.settings import GatewaySettings
from tidegate.venue.gateway.sweep import Sweeper
from tidegate.venue.gateway.target import WHOLE


class Operator:
    """Answers `control`'s orders on the socket and on `ctl.<subject>`."""

    def __init__(
        self,
        subject: str,
        check: Check,
        halts: Halts,
        sweeper: Sweeper,
        reconciler: Reconciler,
        alerts: Alerts,
        note: Note,
        log: Log,
        clock: Clock,
        settings: GatewaySettings,
        health: Callable[[], dict[str, Any]],
        quick: Quick,
    ) -> None:
        self._quick = quick
        self._subject, self._check, self._halts, self._sweeper = subject, check, halts, sweeper
        self._reconciler = reconciler
        self._alerts, self._noted, self._log, self._clock, self._health = alerts, note, log, clock, health
        self._path = settings.socket
        self._replays = Replays(self._path.with_suffix(".replays") if self._path else None)
        self._server: asyncio.Server | None = None
        self._bound = (-1, -1)
        """Which file our socket is: a gateway that took over has put its own at the same path."""
        self._served: Subscription | None = None
        self.doers: dict[str, Doer] = {"command": self._command, "state": self._state}

    async def open(self) -> None:
        """Take orders."""
        if self._path is not None:
            self._server = await listen(self._path, self.doers, self._quick.doers)
            self._bound = file_of(self._path)
        self._served = self._log.serve(f"ctl.{self._subject}", lambda line: answer(line, self.doers))

    async def close(self) -> None:
        """Take no more."""
        if self._served is not None:
            self._served.close()
            self._served = None
        if self._server is not None:
            if self._path is not None and file_of(self._path) == self._bound:
                self._path.unlink(missing_ok=True)
            self._server.close()  # only now: as long as it is bound, no other file has its number
            self._server = None

    async def _state(self, order: Order) -> dict[str, Any]:
        if not order.scope:
            return {"health": self._health()}
        here = self._halts.place.target(order.scope) is not None
        age = (self._clock.now() - self._reconciler.reconciled) / 1e9
        return {
            "concerned": here,
            "age": age,
            "not_clean": self._reconciler.why,
            "halts": self._halts.shown(),
            "followed": {str(seq): ts for seq, ts in self._halts.followed.items()},
            "held": dict(self._halts.held),
        }

    async def _command(self, order: Order) -> dict[str, Any]:
        """Verify, follow, note. Whoever is refused is told why, and it is noted too."""
        signed = order.signed or Signed(b"")
        try:
            command = self._check(signed.encode(), self._clock.now()).command
        except Denied as error:
            unbelieved(self._noted, signed, error, self._subject)
            raise Refused(str(error)) from None
        try:
            done = await self._follow(command, signed)
        except (Refused, Ignored, UserError) as error:
            self._note(command, signed, f"refused: {error}")
            raise Refused(str(error)) from None
        return {"scope": command.scope, "by": command.by, **done}

    async def _follow(self, command: Command, signed: Signed) -> dict[str, Any]:
        target = self._halts.place.target(command.scope)
        if command.do == "cancel-all":
            self._once(command)
            if target is None:
                return {"concerned": False}
            self._note(command, signed, "done")
            done = await self._sweeper.cancel_all(target, f"cancel-all by {command.by}: {command.reason}")
            text = f"canceled all of {command.scope}: {command.reason}"
            self._alerts.say("control", "high", text, by=command.by, do="cancel-all", **done)
            return {"concerned": True, **done}
        if command.do not in ("halt", "flatten"):
            raise Refused(
                f"{command.do} does not go by a gateway's socket: it is for the log, and all who follow it"
            )
        return await self._halt(command, signed)

    async def _halt(self, command: Command, signed: Signed) -> dict[str, Any]:
        """It holds, and is on the disk, before it is answered. The same command by the log is the same halt."""
        event = commanded(signed.encode(), command, self._clock.now())
        here = self._halts.place.target(command.scope) is not None
        applied = self._halts.halt(event)
        state = self._halts.state_of(command.scope)
        if not applied and self._halts.board.seen(event.id) and state is State.ACTIVE:
            raise Refused(f"REPLAYED: {command.scope} was halted by this command once, and came up since")
        if applied:
            self._note(command, signed, "done")
        swept = await self._halts.swept(event.id)
        return {"concerned": here, "state": state.name, "already": not applied, **(swept or {})}

    async def cancel_all(self, by: str, reason: str) -> dict[str, Any]:
        """The gateway's own: cancel everything of the account; what became of each order."""
        done = await self._sweeper.cancel_all(WHOLE, f"cancel-all by {by}: {reason}")
        self._alerts.say("control", "high", f"canceled all: {reason}", by=by, do="cancel-all", **done)
        return done

    def _once(self, command: Command) -> None:
        if not self._replays.first(command.id, command.expires, self._clock.now()):
            raise Refused("REPLAYED: this command was followed before")

    def _note(self, command: Command, signed: Signed, outcome: str) -> None:
        self._noted(
            command.by,
            command.do,
            command.scope,
            outcome,
            f"{self._subject}: {command.reason}",
            signed.encode(),
        )

"""What watches over the gateway itself: who may halt it, the log's absence, and the venue's dead man's switch."""

from __future__ import annotations

import asyncio
from collections import Counter

from tidegate.log.lease import Lease
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.lifeline import Lifeline
from tidegate.venue.gateway.reconciler import Reconciler
from tidegate.venue.gateway.session import Session
from tidegate.venue.gateway.settings import GatewaySettings
from tidegate.venue.gateway.sweep import Sweeper
from tidegate.venue.gateway.target import WHOLE
from tidegate.venue.port import Venue, VenueDown

EVERY = 0.5
"""Seconds between two looks at the log."""


class Guard:
    """The log counts as there while renewals of the lease or appends are acknowledged."""

    def __init__(
        self,
        venue: Venue,
        sweeper: Sweeper,
        session: Session,
        lease: Lease,
        reconciler: Reconciler,
        alerts: Alerts,
        counts: Counter[str],
        settings: GatewaySettings,
    ) -> None:
        self._venue, self._sweeper, self._session, self._lease = venue, sweeper, session, lease
        self._reconciler, self._alerts, self._counts, self._settings = reconciler, alerts, counts, settings
        self.lifeline = Lifeline(settings.control_age, settings.handover)
        self._seen = float("-inf")
        self._armed = float("-inf")
        self._told_away = self._swept = False

    def alive(self, now: float) -> None:
        """The log has acknowledged something (loop time)."""
        self._seen = max(self._seen, now)

    @property
    def silence(self) -> float:
        """Seconds since the log was there."""
        return asyncio.get_running_loop().time() - max(self._seen, self._lease.renewed)

    def check(self) -> None:
        """Hold back what may add risk while nobody could halt us; and all new orders while the log is away for longer, or
        another may have taken over unseen."""
        settings, silence = self._settings, self.silence
        age = settings.control_age
        self._brake("log", silence > age, f"the log has not answered for {age:g} s")
        if settings.risk:
            now = asyncio.get_running_loop().time()
            starting = self.lifeline.starting(now)
            text = (
                "no risk service acts yet"
                if starting
                else f"no risk service has renewed its lease for {age:g} s"
            )
            self._brake("risk", self.lifeline.lost(now), text, quiet=starting)
        if silence > settings.lease_ttl and "log" not in self._session.holds:
            self._session.holds["log"] = "the log is away"
            self._counts["log_lost"] += 1

    def _brake(self, name: str, on: bool, text: str, quiet: bool = False) -> None:
        """Hold it back, or let it go; people are told once, unless it is of no interest to them (`quiet`)."""
        brakes = self._session.brakes
        if not on:
            brakes.pop(name, None)
            return
        if brakes.get(name) == text:
            return
        brakes[name] = text
        if quiet:
            return
        self._counts[f"braked_{name}"] += 1
        self._alerts.say("gateway_braked", "critical", f"{text}: what may add risk is refused", key=name)

    async def run(self) -> None:
        """Look, twice a second at least."""
        while True:
            self.check()
            if self.silence <= self._settings.lease_ttl:
                self._back()
            elif self.silence > self._settings.log_grace and not self._swept:
                await self._away()
            await asyncio.sleep(min(EVERY, self._settings.control_age / 4))

    async def renew(self) -> None:
        """Keep the venue's dead man's switch from running out: beside `run`, which a slow venue must not hold up."""
        while True:
            await self._renew()
            await asyncio.sleep(EVERY)

    def _back(self) -> None:
        if self._session.holds.pop("log", None) is not None:
            self._told_away = self._swept = False
            self._session.holds["reconcile"] = "the log was away: not reconciled since"
            self._reconciler.want("the log was away")

    async def _away(self) -> None:
        """The log has been away for too long: people are told once; what is to be cancelled is tried until it is gone."""
        grace, action = self._settings.log_grace, self._settings.on_log_away
        if not self._told_away:
            self._told_away = True
            text = f"the log has been away for more than {grace} s; resting orders: {action}"
            self._alerts.say("log_away", "critical", text)
        if action != "cancel":
            self._swept = True
            return
        done = await self._sweeper.cancel_all(WHOLE, "the log is away")
        self._swept = done["empty"]
        if self._swept:
            self._alerts.say("control", "high", "canceled all: the log is away", by="gateway", **done)
        else:
            text = "the log is away, and not all orders are gone at the venue"
            self._alerts.say("log_away", "critical", text, key="not empty", **done)

    async def _renew(self) -> None:
        """Tell the venue's dead man's switch that we live, four times in its time."""
        seconds, now = self._settings.countdown, asyncio.get_running_loop().time()
        if not seconds or now - self._armed < seconds / 4:
            return
        if self.silence > self._settings.log_grace and self._settings.on_log_away == "cancel":
            return
        try:
            await self._venue.countdown(seconds)
            self._armed = now
        except VenueDown:
            self._counts["countdown_unanswered"] += 1

    async def disarm(self) -> None:
        """A clean stop: orders that are kept must not be cancelled for our silence."""
        if self._settings.countdown:
            try:
                await self._venue.countdown(0)
            except VenueDown:
                text = "the venue's dead man's switch could not be disarmed: it will cancel all"
                self._alerts.say("countdown", "high", text)

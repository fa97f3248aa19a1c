"""People at work: each command is a process of its own, as the command line is, and does what that does.

It reaches the gateways' sockets, or the log, or both, or dies on the way. A desk of two risk officers lets up what has
been halted for a while; others try what must be refused.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine

from tidegate.access.command import Signed
from tidegate.errors import UserError
from tidegate.log.base import Log, LogDown, LogError
from tidegate.log.memory import Faults
from tidegate.model.time import SECOND
from tidegate.ops.gateways import Gateway, command
from tidegate.ops.halting import board, follow_up, halt, reconciled
from tidegate.risk.halt import RECOVERED, SUBJECT, HaltEvent, commanded, post
from tidegate.risk.scopes import State
from tidegate.sim.faults.halt_watch import HaltWatch
from tidegate.sim.faults.people import People
from tidegate.sim.faults.plant import ACCOUNTS, VENUE
from tidegate.sim.faults.schedule import Fault
from tidegate.sim.faults.system import CALM, System
from tidegate.sim.virtual_process import VirtualProcess

FRESH = 120.0
"""As the command line has it: a reconciliation counts for so long, s."""
LOOK = 10
"""Steps of the market (s) between two looks of the desk."""
LEFT = 15.0
"""What has been halted for so long (s), the desk lets up sooner or later."""
RECOVER = (3.0, 20.0)
"""How long a scope recovers, s."""
Work = Callable[[Log], Coroutine[None, None, None]]


class Control:
    """Commands by people to the system; `watch` is told what gateways answer."""

    def __init__(self, system: System, people: People, watch: HaltWatch, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._system, self._people, self._watch = system, people, watch
        self._rng = random.Random(f"{seed} control")
        self._number = 0
        self.stays: set[str] = set()
        """Scopes that are not let up before the faults end."""
        self._lifted: list[Signed] = []
        """Resumes that were given."""

    # Commands.

    def halt(self, fault: Fault) -> None:
        """`tidegate halt`, `--state …`; once, or the same command again after `gap` seconds."""
        now, by = self._now(), fault.args.get("by", "cat")
        made = self._people.halt(fault.target, State[fault.args.get("state", "KILLED")], by, now)
        if fault.args.get("stays"):
            self.stays.add(fault.target)
        self._give(made, fault)

    def late(self, fault: Fault) -> None:
        """A halt that was signed so long ago that it counts no more."""
        made = self._people.halt(fault.target, State.KILLED, "cat", self._now() - 100 * SECOND)
        self._give(made, fault)

    def flatten(self, fault: Fault) -> None:
        """`tidegate flatten`."""
        self._give(self._people.flatten(fault.target, "ann", self._now()), fault)

    def cancel_all(self, fault: Fault) -> None:
        """`tidegate cancel-all`."""
        made = self._people.cancel_all(fault.target, "cat", self._now())

        async def work(log: Log) -> None:
            await command(self._gateways(), made)

        self._run(work)

    def resume(self, scope: str, checked: bool = True) -> None:
        """`tidegate resume`, by two; unless `checked`, by somebody who does not ask the gateways first."""
        recover = round(self._rng.uniform(*RECOVER) * SECOND)

        async def work(log: Log) -> None:
            epoch = (await board(log)).status(scope).epoch
            if checked and (why := await reconciled(self._gateways(), scope, FRESH)):
                self.counts["resumes put off"] += 1
                del why
                return
            made = self._people.resume(scope, epoch, ("ann", "bob"), self._now(), recover=recover)
            self._lifted.append(made)
            seq = await post(log, commanded(made.encode(), made.command, self._now()))
            await follow_up(log, scope, seq)
            self.counts["resumes"] += 1

        self._run(work)

    def false(self, fault: Fault) -> None:
        """Something that must not let anything up."""
        scope, kind = self._halted(fault), fault.args["kind"]
        standing = self._watch.log.scopes.get(scope)
        if standing is None:
            return
        event = self._false(scope, kind, standing.epoch, standing.until)
        if event is not None:
            self.counts[f"false resumes: {kind}"] += 1

            async def work(log: Log) -> None:
                await log.append(SUBJECT, event.encode(), msg_id=f"false-{self._number}")

            self._run(work)

    def _false(self, scope: str, kind: str, epoch: int, until: int) -> HaltEvent | None:
        now, sign = self._now(), self._people.resume
        recover = 10 * SECOND
        match kind:
            case "one":
                made = sign(scope, epoch, ("ann",), now, recover=recover)
            case "same":
                made = sign(scope, epoch, ("ann", "ann-too"), now, recover=recover)
            case "low":
                made = sign(scope, epoch, ("ann", "cat"), now, recover=recover)
            case "forged":
                made = sign(scope, epoch, ("ann", "bob"), now, recover=recover, forged=True)
            case "expired":
                made = sign(scope, epoch, ("ann", "bob"), now - 100 * SECOND, recover=recover)
            case "other":
                made = sign(scope, max(0, epoch - 1), ("ann", "bob"), now, recover=recover)
            case "replayed":
                if not self._lifted:
                    return None
                made = self._rng.choice(self._lifted)
            case "early":
                return _unsigned(scope, State.ACTIVE, RECOVERED, until or now)
            case _:
                return _unsigned(scope, State.ACTIVE, "manual", now)
        return commanded(made.encode(), made.command, now)

    # The desk.

    def look(self) -> None:
        """Let up one of the scopes that have been halted for a while, perhaps."""
        halted = self.halted(LEFT)
        if halted and self._rng.random() < 0.6:
            self.resume(self._rng.choice(halted), checked=self._rng.random() < 0.9)

    def halted(self, since: float) -> list[str]:
        """Scopes that have stood as they do for so many seconds, and are not to be left so."""
        at = self._system.loop.time() - since
        return [
            scope
            for scope, standing in sorted(self._watch.log.scopes.items())
            if standing.state not in (State.ACTIVE, State.RECOVERING)
            and self._watch.changed[scope] <= at
            and scope not in self.stays
        ]

    # How.

    def _now(self) -> int:
        return self._system.clock.now()

    def _halted(self, fault: Fault) -> str:
        halted = self.halted(0.0)
        return fault.target or (halted[fault.args.get("pick", 0) % len(halted)] if halted else "firm")

    def _gateways(self, only: str = "") -> list[Gateway]:
        names = [name for name in ACCOUNTS if only in ("", name)]
        return [Gateway(VENUE, name, self._system.socket(name)) for name in names]

    def _give(self, made: Signed, fault: Fault) -> None:
        args = fault.args
        chosen = self._gateways(args.get("only", "")) if args.get("ways") != "log" else []
        with_log = args.get("ways") != "socket"

        async def work(log: Log) -> None:
            done = await halt(chosen, made, self._now(), lambda: _log(log if with_log else None))
            for answer in done.answers:
                if not answer.error and answer.said.get("state"):
                    account = ACCOUNTS.index(answer.gateway.account)
                    self._watch.obeyed(account, made.command.id, answer.said)
                self.counts[
                    "halts not taken by a gateway" if answer.error else "halts taken by a gateway"
                ] += 1

        self._run(work, args.get("dies", 0.0))
        if "gap" in args:
            self._system.outside.call_later(args["gap"], self._run, work)

    def _run(self, work: Work, dies: float = 0.0) -> None:
        """A process that does this and ends; killed after `dies` seconds, where that is not 0."""
        system = self._system
        self._number += 1
        process = VirtualProcess(f"person-{self._number}", system.loop)
        log = system.server.client_of(process, Faults(delay=CALM))

        def end() -> None:
            if not process.dead:
                process.kill()
                system.server.kill(process.name)

        async def main() -> None:
            try:
                await work(log)
            except (LogError, UserError, OSError) as error:
                self.counts[f"commands failed: {type(error).__name__}"] += 1
            system.outside.call_soon(end)

        process.spawn(main())
        if dies:
            system.outside.call_later(dies, end)


def _unsigned(scope: str, state: State, trigger: str, ts: int) -> HaltEvent:
    return HaltEvent(ts=ts, scope=scope, state=state, reason="false", trigger=trigger, source="somebody")


@contextlib.asynccontextmanager
async def _log(log: Log | None) -> AsyncIterator[Log]:
    """The log, for whoever can reach it."""
    if log is None:
        raise LogDown("not reached")
    yield log

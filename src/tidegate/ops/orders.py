"""What people may ask of the supervisor of a running system: each act is a command that they sign, judged and noted here.

A line of the control socket is `{"do": "ps"}`, a look, free to whoever may open the socket; `{"do": "command", "signed":
…}`, one of `ACTS`; or `{"do": "slot", "token": …}`, by which the role `deploy` starts and stops the process of a slot for
new versions: what that process then runs is said by DEPLOY alone, and signed.
"""

from __future__ import annotations

import hmac
import secrets
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tidegate.access.command import Command, Signed
from tidegate.access.note import Note, unbelieved
from tidegate.access.reach import Above
from tidegate.access.verify import Denied, Verified
from tidegate.errors import UserError
from tidegate.model.clock import Clock
from tidegate.ops import control
from tidegate.ops.topology import Process

ACTS = ("stop", "restart", "kill")
SYSTEM, PROCESS = "system", "process:"
"""The scope of an act: the whole system (`stop` alone), or one process."""
TOKEN = "TIDEGATE_SLOT_TOKEN"
"""The variable that holds what lets a process ask for slots; those of the role `deploy` alone have it."""


class Acts(Protocol):
    """What a supervisor can do."""

    def rows(self) -> list[dict[str, Any]]: ...
    def ask_stop(self) -> None: ...
    async def act(self, do: str, name: str, number: int, by: str) -> int: ...
    async def slot(self, name: str, run: bool) -> int: ...


def _nobody(signed: bytes, now: int) -> Verified:
    raise Denied("UNKNOWN_IDENTITY", "nobody may do anything here")


def _silent(who: str, do: str, scope: str, outcome: str, detail: str, signed: bytes) -> None:
    pass


class Orders:
    """Judges by `check`, as each is done once by `first` (`access.replays`), and writes every act by `note`. Without a
    check nobody may do anything."""

    def __init__(
        self,
        clock: Clock,
        check: Callable[[bytes, int], Verified] = _nobody,
        first: Callable[[str, int, int], bool] = lambda id, expires, now: True,
        note: Note = _silent,
    ) -> None:
        self.note = note
        """Writes the audit trail."""
        self.token = secrets.token_hex(32)
        """Lets a process ask for slots."""
        self._clock, self._check, self._first = clock, check, first

    async def answer(self, request: dict[str, Any], acts: Acts) -> dict[str, Any]:
        """What is said to a line; `peer` in it is who sent it, by the kernel's word. Raises `UserError`."""
        do, peer = request.get("do"), str(request.get("peer", "unknown"))
        if do == "ps":
            return {"ok": True, "processes": acts.rows()}
        if do == "command":
            return await self._command(request.get("signed"), peer, acts)
        if do == "slot":
            return await self._slot(request, peer, acts)
        self.note(peer, str(do), str(request.get("name", SYSTEM)), "refused: UNSIGNED", "", b"")
        raise UserError(f"cannot do {do!r}: ps, or a signed command to {', '.join(ACTS)} (`tidegate stop`)")

    async def _command(self, data: Any, peer: str, acts: Acts) -> dict[str, Any]:
        try:
            signed = msgspec.convert(data, Signed)
        except msgspec.ValidationError:
            signed = Signed(b"")
        encoded = signed.encode()
        now = self._clock.now()
        try:
            command = self._check(encoded, now).command
        except Denied as error:
            unbelieved(self.note, encoded, error, peer)
            raise UserError(str(error)) from None
        outcome = "done"
        try:
            if not self._first(command.id, command.expires, now):
                raise UserError("REPLAYED: this command was followed before")
            pid = await self._act(command, acts)
        except UserError as error:
            outcome = f"refused: {error}"
            raise
        except Exception as error:
            outcome = f"failed: {error}"
            raise
        finally:
            detail = f"{command.reason}; {peer}"
            self.note(command.by, command.do, command.scope, outcome, detail, encoded)
        return {"ok": True, "pid": pid}

    async def _act(self, command: Command, acts: Acts) -> int:
        do, scope = command.do, command.scope
        if do not in ACTS:
            raise UserError(f"{do} is not for the supervisor; it can {', '.join(ACTS)}")
        if scope == SYSTEM and do == "stop":
            acts.ask_stop()
            return 0
        if not scope.startswith(PROCESS):
            raise UserError(
                f"cannot {do} {scope!r}; write {PROCESS}NAME" + (f", or {SYSTEM}") * (do == "stop")
            )
        number = command.args.get("signal", "")
        return await acts.act(do, scope.removeprefix(PROCESS), signal_of(number) if number else 9, command.by)

    async def _slot(self, request: dict[str, Any], peer: str, acts: Acts) -> dict[str, Any]:
        name, run = str(request.get("name")), bool(request.get("run"))
        outcome = "done"
        try:
            if not hmac.compare_digest(str(request.get("token", "")).encode(), self.token.encode()):
                raise UserError("slots are for the role deploy to start and stop")
            return {"ok": True, "pid": await acts.slot(name, run)}
        except Exception as error:
            outcome = f"{'refused' if isinstance(error, UserError) else 'failed'}: {error}"
            raise
        finally:
            self.note(peer, "slot", PROCESS + name, outcome, "run" if run else "end", b"")


def signal_of(text: str) -> int:
    """A signal's number: `KILL`, `SIGTERM`, `9`; raises `UserError`."""
    try:
        return int(
            signal.Signals(int(text))
            if text.isdecimal()
            else signal.Signals["SIG" + text.removeprefix("SIG")]
        )
    except (ValueError, KeyError):
        raise UserError(f"{text!r} is no signal; write KILL, TERM, STOP, CONT …") from None


def above_processes(processes: Sequence[Process], above: Above) -> Above:
    """The table with processes in it: one of strategies alone lies below what all of them are or lie below."""
    found: dict[str, tuple[str, ...]] = dict(above)
    for process in processes:
        over = [{f"strategy:{name}", *above.get(f"strategy:{name}", ())} for name in process.strategies]
        found[PROCESS + process.name] = tuple(sorted(set.intersection(*over))) if over else ()
    return found


async def order(socket: Path, signed: Signed, timeout: float = 30.0) -> dict[str, Any]:
    """Give the supervisor a signed command. Raises `UserError` where it refuses, `OSError` where none is there."""
    said = await control.ask(socket, {"do": "command", "signed": msgspec.to_builtins(signed)}, timeout)
    if not said.get("ok"):
        raise UserError(str(said.get("error", "refused")))
    return said

"""Requests and appends over one inbox: many in flight, no task and no timer an append."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from tidegate.log.base import Conflict, Full, LogDown, LogError, TooLarge
from tidegate.log.grants import own_subject
from tidegate.log.wire import Wire

SWEEP = 0.1
"""Seconds between two looks for appends whose time is over."""
_API = "$JS.API."
NOT_FOUND = (10037, 10059)
"""Error codes: no such message, no such stream."""
_CONFLICTS = (10071, 10164)
_FULL = (10023, 10047, 10077)
_TOO_LARGE = (10054,)
_UNAVAILABLE = (10008, 10009, 10118, 10158, 10201)


class Trouble(msgspec.Struct, gc=False):
    """An error in an answer of JetStream."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Ack(msgspec.Struct, gc=False):
    """JetStream's answer to an append."""

    seq: int = 0
    duplicate: bool = False
    error: Trouble | None = None


class Refused(LogError):
    """JetStream's API refused a request."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.description)
        self.code = trouble.err_code


class Forbidden(Refused):
    """The log's user that we are may not publish there."""

    def __init__(self, subject: str) -> None:
        super().__init__(Trouble(403, 403, f"{subject}: not permitted to this user of the log"))


class _Append:
    """An append in flight."""

    __slots__ = ("data", "deadline", "fence", "future", "stream", "subject")

    def __init__(
        self,
        future: asyncio.Future[int],
        deadline: float,
        stream: str,
        subject: str,
        data: bytes,
        fence: tuple[str, int] | None,
    ) -> None:
        self.future, self.deadline = future, deadline
        self.stream, self.subject, self.data = stream, subject, data
        self.fence = fence


_ack = msgspec.json.Decoder(Ack)
_answer = msgspec.json.Decoder()


class Calls:
    """What one client asks. `own(stream, seq, subject, data)` is told of its appends as they are acknowledged."""

    def __init__(
        self,
        wire: Wire,
        own: Callable[[str, int, str, bytes], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        user: str = "",
    ) -> None:
        self._id = secrets.token_hex(10)
        self.inbox = own_subject("_INBOX", user, self._id) + "."
        self._user = user
        self._wire, self._own, self._spawn = wire, own, spawn
        self._loop = asyncio.get_running_loop()
        self._skip = len(self.inbox)
        self._count = 0
        self._appends: dict[bytes, _Append] = {}
        self._asked: dict[bytes, tuple[str, asyncio.Future[tuple[bytes, bytes]]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Listen; the wire is connected."""
        self._wire.listen(self.inbox + "*", self._arrived)

    def token(self) -> bytes:
        """A new last token of the inbox."""
        self._count += 1
        return b"%x" % self._count

    def name(self) -> str:
        """A new name for an ephemeral consumer."""
        return f"{self._id}-{self.token().decode()}"

    def place(self, kind: str, name: str) -> str:
        """A subject that only our user may listen on."""
        return own_subject(kind, self._user, name)

    def down(self, why: str) -> None:
        """Nothing in flight will be answered."""
        appends, self._appends = self._appends, {}
        asked, self._asked = self._asked, {}
        for append in appends.values():
            _fail(append.future, LogDown(why))
        for _, future in asked.values():
            _fail(future, LogDown(why))

    def forbidden(self, subject: str) -> None:
        """The server lets us publish nothing on this subject."""
        for token in [token for token, append in self._appends.items() if append.subject == subject]:
            _fail(self._appends.pop(token).future, Forbidden(subject))
        for token, (asked, future) in list(self._asked.items()):
            if asked == subject:
                del self._asked[token]
                _fail(future, Forbidden(subject))

    def _arrived(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        token = subject[self._skip :]
        append = self._appends.pop(token, None)
        if append is not None:
            self._acknowledged(append, data)
            return
        _, future = self._asked.pop(token, ("", None))
        if future is not None and not future.done():
            future.set_result((data, headers))

    # Appends.

    def append(
        self,
        subject: str,
        data: bytes,
        headers: str,
        timeout: float,
        stream: str = "",
        fence: tuple[str, int] | None = None,
    ) -> asyncio.Future[int]:
        """Have JetStream store it; where `stream` is given, `own` is told. `fence` is the message id and the expected
        sequence of one that has both: a conflict may then only mean that it is stored already."""
        future: asyncio.Future[int] = self._loop.create_future()
        wire = self._wire
        if not wire.is_connected:
            future.set_exception(LogDown("the log is not connected"))
            return future
        self._count += 1
        token = b"%x" % self._count
        reply = self.inbox + token.decode()
        if headers:
            block = f"NATS/1.0\r\n{headers}\r\n".encode()
            size = len(block) + len(data)
            head = f"HPUB {subject} {reply} {len(block)} {size}\r\n".encode() + block
        else:
            size = len(data)
            head = f"PUB {subject} {reply} {size}\r\n".encode()
        if size > wire.max_payload:
            future.set_exception(
                TooLarge(f"{subject}: {size} bytes; the log takes {wire.max_payload} in a message")
            )
            return future
        self._appends[token] = _Append(future, self._loop.time() + timeout, stream, subject, data, fence)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)
        wire.post(head, data, b"\r\n")
        return future

    def _acknowledged(self, append: _Append, data: bytes) -> None:
        future = append.future
        if not data:  # 503: nobody takes this subject, or a cluster has no leader for it
            _fail(future, LogDown(f"{append.subject}: the log has nobody to store it"))
            return
        ack = _ack.decode(data)
        if ack.error is None:
            if append.stream and not ack.duplicate:
                self._own(append.stream, ack.seq, append.subject, append.data)
            if not future.done():
                future.set_result(ack.seq)
        elif append.fence is not None and ack.error.err_code in _CONFLICTS:
            self._spawn(self._conflict(append, *append.fence))
        else:
            _fail(future, _refusal(append.subject, ack.error))

    async def _conflict(self, append: _Append, msg_id: str, expect: int) -> None:
        """JetStream looks at the expected sequence before the message id: see whether it is ours that came next."""
        subject, future = append.subject, append.future
        try:
            found = await self.api(
                f"STREAM.MSG.GET.{append.stream}", {"seq": expect + 1, "next_by_subj": subject}
            )
        except Refused:
            _fail(future, Conflict(f"{subject}: its last sequence is not {expect}"))
        except LogDown as error:
            _fail(future, error)
        else:
            message = found["message"]
            lines = base64.b64decode(message.get("hdrs", "")).decode(errors="replace").split("\r\n")
            if f"Nats-Msg-Id: {msg_id}" not in lines:
                _fail(
                    future, Conflict(f"{subject}: its sequence after {expect} is another's, {message['seq']}")
                )
            elif not future.done():
                future.set_result(message["seq"])

    def _sweep(self) -> None:
        """Give up the appends whose time is over."""
        now = self._loop.time()
        over = [token for token, append in self._appends.items() if append.deadline <= now]
        for token in over:
            append = self._appends.pop(token)
            _fail(append.future, LogDown(f"{append.subject}: the log did not answer in time"))
        self._sweeper = self._loop.call_later(SWEEP, self._sweep) if self._appends else None

    # Requests.

    async def ask(self, subject: str, data: bytes, timeout: float) -> bytes:
        """Ask whoever serves the subject; raises `LogDown`."""
        wire = self._wire
        if not wire.is_connected:
            raise LogDown("the log is not connected")
        token = self.token()
        future: asyncio.Future[tuple[bytes, bytes]] = self._loop.create_future()
        self._asked[token] = subject, future
        wire.post(f"PUB {subject} {self.inbox}{token.decode()} {len(data)}\r\n".encode(), data, b"\r\n")
        late = LogDown(f"{subject}: no answer in {timeout:g} s")
        timer = self._loop.call_later(timeout, _fail, future, late)
        try:
            answer, headers = await future
        finally:
            timer.cancel()
            self._asked.pop(token, None)
        if not answer and headers.startswith(b"NATS/1.0 503"):
            raise LogDown(f"{subject}: nobody answers")
        return answer

    async def api(self, name: str, request: dict[str, Any] | None = None, timeout: float = 5.0) -> Any:
        """Ask JetStream's API; raises `Refused` or `LogDown`."""
        body = msgspec.json.encode(request) if request is not None else b""
        answer = _answer.decode(await self.ask(_API + name, body, timeout))
        if "error" in answer:
            trouble = msgspec.convert(answer["error"], Trouble)
            if trouble.err_code in _UNAVAILABLE:
                raise LogDown(trouble.description)
            raise Refused(trouble)
        return answer


def _refusal(subject: str, trouble: Trouble) -> LogError:
    """What an append's error means."""
    text = f"{subject}: {trouble.description}"
    if trouble.err_code in _CONFLICTS:
        return Conflict(text)
    if trouble.err_code in _FULL:
        return Full(text)
    if trouble.err_code in _TOO_LARGE:
        return TooLarge(text)
    if trouble.code == 503 or trouble.err_code in _UNAVAILABLE:
        return LogDown(text)
    return LogError(text)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)

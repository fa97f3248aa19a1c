"""Limits that change while the firm trades: a signed document comes in, is judged, kept, and told to every lane.

The document in force is kept in the STATE bucket before any lane is told, with those that are to come; a service that
takes over tells the lanes again, and they pass over what they have. Versions only rise. Once there is a version 1, the
limits in the configuration's file count no more: the lanes' logs carry what is in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from tidegate.access.command import Command, Signed
from tidegate.access.note import Note, unbelieved
from tidegate.access.verify import Denied, Verified
from tidegate.errors import NotYet, UserError
from tidegate.log.alert import spoiled_text
from tidegate.log.base import Conflict, Log, LogDown, LogError
from tidegate.log.outbox import Outbox
from tidegate.model.clock import Clock
from tidegate.model.instrument import Universe
from tidegate.model.messages import LimitsChange
from tidegate.model.time import iso
from tidegate.model.wire import pack
from tidegate.risk.contradictions import check
from tidegate.risk.limit_changes import BelowUse, touched
from tidegate.risk.limit_documents import Document, Documents
from tidegate.risk.limit_review import Review, Reviewer, warnings
from tidegate.risk.limits import Limits
from tidegate.risk.scopes import ScopeTable

KEY = "risk.limits"
TELL = b'{"do":"tell"}'
"""Asked by an order manager whose lane lacks a version."""
FURTHEST = 30 * 86_400 * 1_000_000_000
"""A change may come into force so much later, ns."""

Verify = Callable[[Signed | bytes, int, int, Collection[str]], Verified]
"""(signed, now, people, over) → who; raises `Denied` (`access.verify.Verifier.verify`)."""


class Refused(Exception):
    """The change is not made; says why in one line."""


class Unbelieved(Refused):
    """Nor is it known yet who asked for it."""


class LimitDesk:
    """`on_change(limits, version)` is called when others come into force, and says which are below present use; `ahead`
    works a document out, step by step; `unset` says which of its limits are missing, `below` which are below present
    use."""

    def __init__(
        self,
        base: Limits,
        universe: Universe,
        scopes: ScopeTable,
        lanes: int,
        log: Log,
        clock: Clock,
        verify: Verify,
        first: Callable[[str, int, int], bool],
        note: Note,
        on_change: Callable[[Limits, int], list[BelowUse]],
        ahead: Callable[[Limits], Iterator[None]],
        unset: Callable[[Limits], list[str]],
        below: Callable[[Limits], list[BelowUse]],
    ) -> None:
        self.documents = Documents(Document(0, base.to_json(), 0, (), "the configuration's file"))
        self.limits = base
        self._reviewer = Reviewer(universe, scopes, ahead, unset, below)
        self._lanes = lanes
        self._log, self._clock = log, clock
        self._verify, self._first, self._note, self._on_change = verify, first, note, on_change
        self._revision = 0
        self._doubted = False
        """Whether what is kept may be another document than ours: the log did not say."""
        self._outbox = Outbox(log)
        self._one_at_a_time = asyncio.Lock()

    async def load(self) -> None:
        """What is kept; raises `LogError`, and `NotYet` where it was overwritten by what is none of ours: the limits in
        force are not known then, and nobody acts by others. Who acts writes them again (`look`)."""
        entry = await self._log.bucket("STATE").get(KEY)
        self._revision = entry.revision if entry else 0
        if entry is not None and entry.value is not None:
            try:
                self.documents = msgspec.json.decode(entry.value, type=Documents)
            except ValueError:
                raise NotYet(spoiled_text(f"STATE {KEY}", entry.value)) from None
            self._apply(self.documents.now)
        self._doubted = False
        self.come_into_force(self._clock.now())

    async def look(self, spoiled: Callable[[str, bytes], None]) -> None:
        """For who acts: write what is kept again where it was overwritten by what is none of ours. Raises `LogError`."""
        bucket = self._log.bucket("STATE")
        async with self._one_at_a_time:
            entry = await bucket.get(KEY)
            if entry is None or entry.value is None or entry.revision == self._revision:
                return
            try:
                msgspec.json.decode(entry.value, type=Documents)
            except ValueError:
                spoiled(f"STATE {KEY}", entry.value)
                ours = msgspec.json.encode(self.documents)
                self._revision = await bucket.update(KEY, ours, entry.revision)
                self._doubted = False  # what was on its way is refused now, and no lane was told of it

    def tell(self) -> None:
        """Tell every lane what is in force and what is to come: they pass over what they have."""
        for document in sorted((self.documents.now, *self.documents.later), key=lambda d: d.version):
            if document.version:
                self._tell(document)

    def come_into_force(self, now: int) -> None:
        """What was to hold from now on does."""
        due = [d for d in self.documents.later if d.effective <= now]
        if not due:
            return
        newest = max(due, key=lambda d: d.version)
        later = tuple(d for d in self.documents.later if d.version > newest.version)
        self.documents = self.documents.follow(newest, newest.effective, later)
        self._apply(newest)

    def _apply(self, document: Document) -> list[BelowUse]:
        self.limits = Limits.from_json(document.limits)
        return self._on_change(self.limits, document.version)

    def close(self) -> None:
        """Tell nothing more."""
        self._outbox.close()

    # Requests.

    async def answer(self, data: bytes) -> bytes:
        """A request on `risk.limits`: `{"do": "show"}`, `TELL`, `{"do": "check", "limits": …}` (what a document would
        come to), or a signed command `limits`. JSON with `ok` and `text`."""
        async with self._one_at_a_time:
            try:
                if self._doubted:
                    await self.load()
                    self.tell()
                said = await self._answer(data)
            except Refused as error:
                said = {"ok": False, "text": str(error)}
            except (LogError, NotYet) as error:
                said = {"ok": False, "text": f"the log did not take it, nothing has changed: {error}"}
        return msgspec.json.encode(said)

    async def _answer(self, data: bytes) -> dict[str, Any]:
        if data == TELL:  # by the ids of the first time: what was stored is not stored again
            self.tell()
            return {"ok": True, "text": ""}
        if data.startswith(b'{"do":"show"}'):
            unset, below = self._reviewer.unset(self.limits), self._reviewer.below(self.limits)
            return {
                "ok": True, "text": "", "version": self.documents.last, "warnings": warnings(unset, below),
                "now": msgspec.to_builtins(self.documents.now) | {"limits": self.documents.now.limits.decode()},
                "later": [
                    msgspec.to_builtins(d) | {"limits": d.limits.decode()} for d in self.documents.later
                ],
            }  # fmt: skip
        now = self._clock.now()
        if data.startswith(b'{"do":"check"'):
            return await self._check(data, now)
        try:
            signed = Signed.decode(data)
            command = signed.command
        except ValueError as error:
            unbelieved(self._note, data, f"MALFORMED: {error}", do="limits")
            raise Refused(f"MALFORMED: {error}") from None
        try:
            return await self._change(signed, command, now)
        except Unbelieved as error:
            unbelieved(self._note, data, error, command.reason)
            raise
        except Refused as error:
            self._note(command.by, "limits", command.scope, f"refused: {error}", command.reason, data)
            raise

    async def _change(self, signed: Signed, command: Command, now: int) -> dict[str, Any]:
        if command.do != "limits":
            raise Unbelieved(f"OTHER_COMMAND: {command.do} is not for the desk of limits")
        document, wanted, found = await self._read(command, now)
        try:
            verified = self._verify(signed, now, found.people, self._touched(document, wanted))
        except Denied as error:
            loosened = "; ".join(found.loosened)
            why = "more than doubled, unlimited, or set where orders were refused"
            more = f" ({why}: {loosened})" if error.code == "NEEDS_TWO_PEOPLE" else ""
            raise Unbelieved(f"{error}{more}") from None
        if not found.changes:
            raise Refused("UNCHANGED: these are the limits in force")
        if found.wrong:
            raise Refused(f"CONTRADICTORY: {'; '.join(found.wrong)}")
        try:
            first = self._first(command.id, command.expires, now)
        except UserError as error:
            raise Refused(f"REPLAYS: {error}") from None
        if not first:
            raise Refused("REPLAYED: this command was done before")
        document = msgspec.structs.replace(document, by=verified.names)
        dropped = [d for d in self.documents.later if d not in self.documents.before(document)]
        below = await self._keep(document, now)
        lines = [str(change) for change in found.changes]
        self._note(
            " and ".join(verified.names), "limits", command.scope, "done",
            f"version {document.version}, {command.reason}: {'; '.join(lines)}", signed.encode(),
        )  # fmt: skip
        when = "now" if document.effective <= now else f"from {iso(document.effective)} on"
        text = f"version {document.version} holds {when}"
        if dropped:
            text += f"; version {', '.join(str(d.version) for d in dropped)}, which was to come, is dropped"
        if below:
            text += f"; reduce-only: {'; '.join(map(str, below))}"
        return {
            "ok": True, "text": text, "version": document.version, "changes": lines,
            "below": [str(line) for line in below], "warnings": warnings(found.unset, []),
        }  # fmt: skip

    async def _check(self, data: bytes, now: int) -> dict[str, Any]:
        """What a document would come to, for who has not signed yet."""
        try:
            asked = msgspec.json.decode(data, type=dict[str, str])
            wanted = Limits.from_json(asked.get("limits", "").encode())
            check(wanted)
            effective = int(asked.get("effective", "0"))
            document = Document(self.documents.last + 1, wanted.to_json(), effective, (), "")
            found = await self._review(document, wanted, now)
        except (UserError, ValueError) as error:
            raise Refused(f"LIMITS: {error}") from None
        return {"ok": True, "text": "", "people": found.people, "lines": found.lines()}

    async def _review(self, document: Document, wanted: Limits, now: int) -> Review:
        """What it comes to. Others have their turn meanwhile, so what it was compared with may be no more: refused."""
        known = self.documents
        since = max(now, document.effective)
        found = await self._reviewer.review(known.compared(document, now), wanted, known.crowded, since)
        if self.documents is not known:
            raise Refused("VERSION: the limits changed while these were looked at; ask again")
        return found

    async def _read(self, command: Command, now: int) -> tuple[Document, Limits, Review]:
        """The document that a command brings, and what it changes of the last one given."""
        args, last = command.args, self.documents.last
        version, effective = args.get("version", ""), args.get("effective", "0")
        if version != str(last + 1):
            raise Unbelieved(self._other_version(version, args.get("limits", "").encode()))
        if not effective.isdecimal() or int(effective) > now + FURTHEST:
            raise Unbelieved(f"EFFECTIVE: {effective!r} is no time within the next 30 days")
        try:
            wanted = Limits.from_json(args.get("limits", "").encode())
            check(wanted)
            document = Document(last + 1, wanted.to_json(), int(effective), (), command.reason)
            found = await self._review(document, wanted, now)
        except UserError as error:
            raise Unbelieved(f"LIMITS: {error}") from None
        return document, wanted, found

    def _limits_before(self, document: Document) -> Limits:
        """What holds when a new version comes into force: what it is compared with."""
        return Limits.from_json(self.documents.compared(document, self._clock.now())[-1])

    def _other_version(self, version: str, limits: bytes) -> str:
        """Why a version other than the next is refused, and what to do."""
        documents = self.documents
        for d in (documents.now, *documents.later):
            who = " and ".join(d.by)
            if str(d.version) == version and d.limits == limits:
                return f"VERSION: this was done before: version {version}, by {who}"
            if str(d.version) == version:
                return (
                    f"VERSION: version {version} was given meanwhile, by {who} ({d.reason}): see `tidegate limits diff`, "
                    "and ask again with `tidegate limits set`"
                )
        told = version or "none"
        return f"VERSION: it is version {told}, the next is {documents.last + 1}: ask again with `tidegate limits set`"

    def _touched(self, document: Document, wanted: Limits) -> list[str]:
        """The scopes whose limits it changes, with those that a version changes which it drops."""
        before = self._limits_before(document)
        dropped = [d for d in self.documents.later if d not in self.documents.before(document)]
        versions = [wanted, *(Limits.from_json(d.limits) for d in dropped)]
        return list(dict.fromkeys(scope for new in versions for scope in touched(before, new)))

    async def _keep(self, document: Document, now: int) -> list[BelowUse]:
        """Keep it, tell the lanes; raises `Refused` where another service was quicker, or nobody knows whether it is
        kept: then what is kept is looked at before anything else is answered."""
        at_once = document.effective <= now
        was = self.documents
        later = (*was.before(document), document)
        kept = was.follow(document, now) if at_once else msgspec.structs.replace(was, later=later)
        bucket = self._log.bucket("STATE")
        data = msgspec.json.encode(kept)
        try:
            self._revision = await bucket.update(KEY, data, self._revision)
        except LogError as error:
            self._doubted = True
            try:
                entry = await bucket.get(KEY)
            except LogError:
                raise self._unknown(document) from None
            if entry is None or entry.value != data:
                if isinstance(error, LogDown):
                    raise self._unknown(document) from None  # it may still be on its way
                if not isinstance(error, Conflict):
                    self._doubted = False
                    raise
                raise Refused(
                    "VERSION: another risk service has changed the limits; look at them again"
                ) from None
            self._revision, self._doubted = entry.revision, False  # it was stored, and only not acknowledged
        self.documents = kept
        below = self._apply(document) if at_once else []
        self._tell(document)
        return below

    @staticmethod
    def _unknown(document: Document) -> Refused:
        return Refused(
            f"UNKNOWN: the log did not say whether it has version {document.version}; see `tidegate limits show`"
        )

    def _follows(self, document: Document) -> int:
        """The version that holds until a later one does."""
        earlier = [d for d in self.documents.later if d.effective < document.effective]
        return max((self.documents.now, *earlier), key=lambda d: d.effective).version

    def _tell(self, document: Document) -> None:
        now = self._clock.now()
        message = LimitsChange(
            now, document.version, document.limits, document.effective, self._follows(document)
        )
        for lane in range(self._lanes):
            data = pack([message], ts=now, lane=lane)
            self._outbox.put(f"lane.{lane}.sys", data, f"limits-{document.version}-{lane}")

"""The chain of audit records: each names the hash of the one before it, so none is changed, cut out or slipped in unseen.

A record is a line: the SHA-256 of its body in hexadecimal, a blank, the body as JSON. An exported file holds such lines.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from tidegate.access.command import Signed, is_mine
from tidegate.access.identity import Identities

STREAM, SUBJECT = "AUDIT", "audit.record"
START = "0" * 64
"""What the first record names as the one before it."""
REFUSED = "refused"
"""An outcome that begins so is of a command that was not obeyed; its signature need not hold."""


class AuditRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One act of a person, or of the system in a person's stead.

    `n` counts from 1 without holes; `prev` is the hash of record n − 1; `ts` is when it was done, ns since the epoch, by
    the clock of `source`, the process that noted it. `signed` is the signed command, where there was one. `id` is the
    note's own, so that a note that is tried twice is stored once.
    """

    n: int
    ts: int
    prev: str
    who: str
    do: str
    scope: str
    outcome: str
    detail: str = ""
    source: str = ""
    id: str = ""
    signed: bytes = b""


class Link(NamedTuple):
    """A record as it is stored, and its hash."""

    record: AuditRecord
    hash: str


class Bad(NamedTuple):
    """The first record that is not as it was written: its number, and what is wrong with it."""

    n: int
    why: str


class Proof(NamedTuple):
    """What verifying came to: how many records there are, the last one's hash, and the first that is bad."""

    records: int
    head: str
    bad: Bad | None


def write(record: AuditRecord) -> tuple[bytes, str]:
    """The line of a record, and its hash."""
    body = msgspec.json.encode(record)
    digest = hashlib.sha256(body).hexdigest()
    return f"{digest} ".encode() + body, digest


def read(line: bytes) -> Link:
    """The record of a line; raises `ValueError` where it is none, or its body was changed."""
    claimed, _, body = line.partition(b" ")
    digest = hashlib.sha256(body).hexdigest()
    try:
        record = msgspec.json.decode(body, type=AuditRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ValueError("it is no audit record") from None
    if claimed.decode(errors="replace") != digest:
        raise ValueError("its hash is not that of what it says")
    return Link(record, digest)


def follows(line: bytes | None) -> tuple[int, str]:
    """The number and the `prev` of the record that comes after this one, whatever it is; None: of the first."""
    if line is None:
        return 1, START
    try:
        link = read(line)
    except ValueError:  # a stranger's: the chain goes on over it, and verifying names it
        return 0, hashlib.sha256(line).hexdigest()
    return link.record.n + 1, link.hash


def verify(
    lines: Iterable[bytes],
    anchors: Mapping[int, str] | None = None,
    identities: Identities | None = None,
    others: Iterable[bytes] | None = None,
) -> Proof:
    """Prove a whole chain, from its first record on.

    `anchors` are hashes of records by number, kept elsewhere: with them a chain that was written anew, or cut off, is
    seen too. `identities`: the signatures in it are judged by their keys. `others`: lines of an exported copy, which the
    chain must begin with.
    """
    anchors = anchors or {}
    found: list[Link] = []
    bad: Bad | None = None
    waiting = list(lines)
    for n, line in enumerate(waiting, 1):
        try:
            link = read(line)
        except ValueError as error:
            bad = Bad(n, str(error))
            break
        bad = _place(found, link) or _chained(found, link, waiting[n : n + 1], anchors)
        if bad is not None:
            break
        found.append(link)
    anchored = _anchored(found, anchors, bad)
    copied = _copied(found, others, bad)
    forged = _forged(found, identities)
    first = min((one for one in (bad, anchored, copied, forged) if one is not None), default=None)
    return Proof(len(found), found[-1].hash if found else START, first)


def _place(found: list[Link], link: Link) -> Bad | None:
    """Whether a record stands where it belongs, behind those that were found."""
    n, at = len(found) + 1, link.record.n
    if at > n:
        missing = f"record {n}" if at == n + 1 else f"records {n} to {at - 1}"
        return Bad(n, f"{missing} missing: record {at} stands in its place")
    if at < n:
        return Bad(n, f"record {at} stands in its place")
    return None


def _chained(found: list[Link], link: Link, after: list[bytes], anchors: Mapping[int, str]) -> Bad | None:
    """Whether a record names the one before it. Where it does not, one of the two is bad: the one for which nothing
    else speaks, neither an anchor nor the record after it."""
    n = link.record.n
    before = found[-1].hash if found else START
    if link.record.prev == before:
        return None
    vouched = anchors.get(n) == link.hash or not after
    with contextlib.suppress(ValueError):
        vouched = vouched or read(after[0]).record.prev == link.hash
    if found and vouched and anchors.get(n - 1) != before:
        return Bad(n - 1, f"it is not the record that record {n} was chained to")
    return Bad(
        n, f"it does not follow record {n - 1}" if found else "it names a record before it, and is the first"
    )


def _anchored(found: list[Link], anchors: Mapping[int, str], bad: Bad | None) -> Bad | None:
    for n in sorted(anchors):
        if n > len(found):
            if bad is None:
                return Bad(
                    len(found) + 1,
                    f"it is missing, with all up to record {max(anchors)} that was there before",
                )
            break
        if found[n - 1].hash != anchors[n]:
            return Bad(n, "it is not the record whose hash was kept on this machine when it was written")
    return None


def _copied(found: list[Link], others: Iterable[bytes] | None, bad: Bad | None) -> Bad | None:
    for n, line in enumerate(others or (), 1):
        if n > len(found):
            return None if bad is not None else Bad(n, "it is missing, and is in the exported copy")
        if write(found[n - 1].record)[0] != line.rstrip(b"\n"):
            return Bad(n, "the exported copy says otherwise")
    return None


def _forged(found: list[Link], identities: Identities | None) -> Bad | None:
    """The first record whose signed command nobody signed who is known to have that name."""
    if identities is None:
        return None
    for record, _ in found:
        if not record.signed or record.outcome.startswith(REFUSED):
            continue
        try:
            signed = Signed.decode(record.signed)
        except ValueError:
            return Bad(record.n, "what was signed cannot be read")
        for index, signature in enumerate(signed.signatures):
            identity = identities.get(signature.name)
            if identity is not None and not is_mine(signed, index, identity.public):
                return Bad(record.n, f"the signature in it is not {signature.name}'s")
    return None

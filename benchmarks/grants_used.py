"""What each user of a log's server really used of its rights, by the server's own trace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tidegate.log.grants import Grant

_LINE = re.compile(r'"\$G/user:([^"]+)" - <<- \[(PUB|HPUB|SUB) (\S+)')
_STREAM = re.compile(
    r"\$JS\.(?:API\.STREAM\.INFO|API\.STREAM\.MSG\.GET|API\.CONSUMER(?:\.MSG)?\.[A-Z]+|FC)\.([^.]+)"
)
REFUSED = " Violation"


class Used(NamedTuple):
    """Subjects on which a user has published, and to which it has listened."""

    published: set[str]
    heard: set[str]


def used(trace: Path) -> dict[str, Used]:
    """By the user's name."""
    found: dict[str, Used] = {}
    with trace.open(errors="replace") as lines:
        for line in lines:
            if match := _LINE.search(line):
                user = found.setdefault(match[1], Used(set(), set()))
                (user.heard if match[2] == "SUB" else user.published).add(match[3])
    return found


def refusals(trace: Path) -> list[str]:
    """What the server has refused to any user."""
    with trace.open(errors="replace") as lines:
        return [line.strip() for line in lines if REFUSED in line]


def covers(granted: str, subject: str) -> bool:
    """Whether a subject is one of those that were granted."""
    words, said = granted.split("."), subject.split(".")
    for n, word in enumerate(words):
        if word == ">":
            return len(said) > n
        if n >= len(said) or word not in ("*", said[n]):
            return False
    return len(words) == len(said)


def unused(grant: Grant, user: Used) -> set[str]:
    """What was granted and never used: `publish SUBJECT`, `hear SUBJECT`."""

    def idle(kind: str, granted: Iterable[str], did: Iterable[str]) -> set[str]:
        return {f"{kind} {one}" for one in granted if not any(covers(one, subject) for subject in did)}

    return idle("publish", grant.publish, user.published) | idle("hear", grant.subscribe, user.heard)


def idle_of(grants: Mapping[str, Grant], trace: Path) -> dict[str, set[str]]:
    """By user: what it has not used of its rights in this run. The parts of one right to a stream, to make a consumer of
    it, to fetch, to end it, are used together: `stream NAME`."""
    did, found = used(trace), {}
    for name, grant in grants.items():
        idle = unused(grant, did.get(name, Used(set(), set())))
        streams = {match[1] for one in grant.publish if (match := _STREAM.match(one))}
        alive = {
            stream for stream in streams if any(_of(stream, f"publish {one}", idle) for one in grant.publish)
        }
        plain = {one for one in idle if not _STREAM.match(one.removeprefix("publish "))}
        found[name] = plain | {f"stream {stream}" for stream in streams - alive}
    return found


def _of(stream: str, right: str, idle: set[str]) -> bool:
    match = _STREAM.match(right.removeprefix("publish "))
    return match is not None and match[1] == stream and right not in idle

"""Bringing a server's streams and buckets to what `streams` declares. Any number of processes may do so at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tidegate.errors import NotYet, UserError
from tidegate.log.base import LogDown
from tidegate.log.nats_calls import Forbidden, Refused
from tidegate.log.streams import BucketSpec, Declared, StreamSpec

if TYPE_CHECKING:
    from tidegate.log.nats import NatsLog

PATIENCE = 20.0
"""Seconds for a cluster to elect its leaders."""
_MISSING = 10059
_EXISTS_DIFFERENTLY = 10058
_SECOND = 10**9


def stream_config(spec: StreamSpec) -> dict[str, Any]:
    """A stream as JetStream is told of it."""
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": "limits",
        "storage": "file",
        "discard": "new" if spec.full == "refuse" else "old",
        "max_age": int(spec.max_age * _SECOND),
        "max_bytes": spec.max_bytes,
        "duplicate_window": int(spec.duplicate_window * _SECOND),
        "num_replicas": spec.replicas,
    }


def bucket_config(spec: BucketSpec) -> dict[str, Any]:
    """A bucket's stream as JetStream is told of it."""
    return {
        "name": f"KV_{spec.name}",
        "subjects": [f"$KV.{spec.name}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_bytes": spec.max_bytes,
        "num_replicas": spec.replicas,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


async def reconcile(log: NatsLog, declared: Declared) -> None:
    """Create what is missing and change what differs; raises `UserError` naming what cannot be had. What our user may not
    look at is another's to set up."""
    wanted = [stream_config(spec) for spec in declared.streams]
    wanted += [bucket_config(spec) for spec in declared.buckets]
    await asyncio.gather(*(_patiently(log, config) for config in wanted))


async def _patiently(log: NatsLog, config: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while True:
        try:
            await _one(log, config)
            return
        except LogDown as error:
            if loop.time() > end:
                raise NotYet(
                    f"log at {log.address}: {config['name']} could not be set up in {PATIENCE:g} s: {error}"
                ) from None
            await asyncio.sleep(0.1)


async def _one(log: NatsLog, config: dict[str, Any]) -> None:
    name = config["name"]
    try:
        have = (await log.calls.api(f"STREAM.INFO.{name}"))["config"]
    except Forbidden:
        return
    except Refused as error:
        if error.code != _MISSING:
            raise _unable(log, name, f"{error}") from None
        try:
            await log.calls.api(f"STREAM.CREATE.{name}", config)
            return
        except Refused as refused:
            if isinstance(refused, Forbidden):
                raise _unable(log, name, "is not there, and this user of the log may not make it") from None
            if refused.code != _EXISTS_DIFFERENTLY:  # else somebody was faster: see what there is
                raise _unable(log, name, f"{refused}") from None
        have = (await log.calls.api(f"STREAM.INFO.{name}"))["config"]
    differing = {key: value for key, value in config.items() if have.get(key, _absent(value)) != value}
    if not differing:
        return
    try:
        await log.calls.api(f"STREAM.UPDATE.{name}", {**have, **differing})
    except Forbidden:
        return
    except Refused as refused:
        said = ", ".join(
            f"{key} is {have.get(key)!r}, should be {value!r}" for key, value in differing.items()
        )
        raise _unable(log, name, f"{said}; the server will not change it: {refused}") from None


def _absent(value: Any) -> Any:
    """What a field that the server leaves out means."""
    return type(value)()


def _unable(log: NatsLog, name: str, why: str) -> UserError:
    hint = ""
    if "replicas" in why:
        hint = "; durability 'replicated' needs a cluster of three, a single server 'machine' or 'process'"
    elif "storage" in why or "resources" in why:
        hint = "; give the server more storage (max_file_store), or the log fewer lanes"
    return UserError(f"log at {log.address}: {name}: {why}{hint}")

"""A client of the log that a configuration names, or of the data folder's own server, as the user that we are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from tidegate.errors import NotYet, UserError
from tidegate.log import embedded
from tidegate.log.nats import NatsLog, connect
from tidegate.log.section import LogSection
from tidegate.log.streams import declared
from tidegate.model.clock import Clock

USER, PASSWORD = "TIDEGATE_LOG_USER", "TIDEGATE_LOG_PASSWORD"
"""Where a supervisor puts the log's user of a process of its own."""
WAIT_S = 30.0
"""Seconds to wait for the data folder's server."""


async def open_log(
    section: LogSection, path: Path, data: Path, name: str, clock: Clock, wait: float = WAIT_S
) -> NatsLog:
    """The client. `path` is the configuration's, to which its files are relative. Raises `UserError`.

    Whose rights it has: those of the user in the environment, where the supervisor put one; else of the configured
    credentials; else, with the data folder's own server, all of them, for who may read its password may do all.
    """
    what = declared(section.lanes, section.durability)
    given = _given()
    if section.urls:
        user, password = given or credentials(section.credentials, path)
        return await connect(
            section.urls, name=name, declared=what, user=user, password=password, tls=tls_of(section, path),
            clock=clock,
        )  # fmt: skip
    running = await _running(data, wait)
    user, password = given or (running.user, running.password)
    return await connect(
        running.url, name=name, declared=what, user=user, password=password, clock=clock, setup=given is None
    )


@contextlib.asynccontextmanager
async def log_of(
    data: Path, name: str, clock: Clock, section: LogSection | None = None, path: Path = Path()
) -> AsyncIterator[NatsLog]:
    """A client of the log of `section`, or of the data folder's own, whose server is started for as long where none
    runs. For commands of people; raises `UserError`."""
    server, section = None, section or LogSection()
    if not section.urls and embedded.find(data) is None:
        if not embedded.folder(data).is_dir():
            raise UserError(f"no log in {data}; start a system with `tidegate up`, or say --data")
        server = embedded.Embedded(data, embedded.last_durability(data))
        await server.start()
    try:
        log = await open_log(section, path, data, name, clock)
        try:
            yield log
        finally:
            await log.close()
    finally:
        if server is not None:
            await server.stop()


def _given() -> tuple[str, str] | None:
    user = os.environ.get(USER, "")
    return (user, os.environ.get(PASSWORD, "")) if user else None


async def _running(data: Path, wait: float) -> embedded.Running:
    loop = asyncio.get_running_loop()
    end = loop.time() + wait
    while (found := embedded.find(data)) is None:
        if loop.time() >= end:
            raise NotYet(
                f"the log's server on {data} did not come up within {wait:g} s; is `tidegate up` running?"
            )
        await asyncio.sleep(0.05)
    return found


def credentials(text: str, path: Path) -> tuple[str, str]:
    """User and password of `env:NAME`; raises `UserError`."""
    if not text:
        return "", ""
    kind, _, where = text.partition(":")
    if kind != "env":
        raise UserError(
            f"{path}: log.credentials is {text!r}; write env:NAME, for NAME_USER and NAME_PASSWORD"
        )
    missing = [name for name in (f"{where}_USER", f"{where}_PASSWORD") if name not in os.environ]
    if missing:
        raise UserError(f"{path}: log.credentials: environment variable {missing[0]} is not set")
    return os.environ[f"{where}_USER"], os.environ[f"{where}_PASSWORD"]


def tls_of(section: LogSection, path: Path) -> ssl.SSLContext | None:
    """How the connection is encrypted; None where it is not. Raises `UserError`."""
    if not section.tls:
        return None
    base = path.parent
    try:
        context = ssl.create_default_context(cafile=base / section.tls_ca if section.tls_ca else None)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"{path}: log.tls_ca: {base / section.tls_ca}: {_said(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if section.tls_cert:
        key = base / section.tls_key
        try:
            mode = stat.S_IMODE(key.stat().st_mode)
            if mode & 0o077:
                raise UserError(f"{key}: mode {mode:04o} lets others read a private key; chmod 600 {key}")
            context.load_cert_chain(base / section.tls_cert, key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise UserError(
                f"{path}: log.tls_cert, log.tls_key: {base / section.tls_cert}, {key}: {_said(error)}"
            ) from None
    return context


def _no_password() -> str:
    raise OSError(0, "the key has a password; give one without")


def _said(error: OSError) -> str:
    return error.strerror or str(error)

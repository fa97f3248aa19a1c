"""`tidegate identity`: who may do what."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.cli.options import DEFAULT_DATA, ConfigOption, DataOption, until_of
from tidegate.errors import UserError

if TYPE_CHECKING:
    from tidegate.access.command import Signed
    from tidegate.access.identity import Identities, Identity
    from tidegate.access.identity_file import AccessSection
    from tidegate.config import Config
    from tidegate.log.base import Log

identity = typer.Typer(no_args_is_help=True, help="Who may do what: identities, their roles and keys.")
RoleOption = Annotated[str, typer.Option(help="viewer, trader, operator, risk_officer or admin.")]
PersonOption = Annotated[
    str, typer.Option(help="Who it is; by default the name. Two names of one person are one.")
]
ExpiresOption = Annotated[str, typer.Option(help="Until when: 90d, or a time, ISO 8601 in UTC; for ever.")]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(
        help="What its commands count for, with all below it: desk:arb; may be repeated. The whole firm."
    ),
]
AdminOption = Annotated[
    str, typer.Option("--as", help="The admin who signs it; by default one whose key is here.")
]
SOURCE = "command"


# Identities.


@identity.command("new")
def new(
    name: Annotated[str, typer.Argument(help="What it signs as.")],
    role: RoleOption,
    person: PersonOption = "",
    scope: ScopeOption = None,
    expires: ExpiresOption = "",
    out: Annotated[
        Path | None, typer.Option(help="Where the private key goes; default DATA/access/keys/NAME.key.")
    ] = None,
    signer: AdminOption = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Make an identity and its key pair; the private key is written to a file of mode 0600, and shown to nobody."""
    from tidegate.access.signer import keys_folder

    key = out or keys_folder(data) / f"{name}.key"
    made = _add(name, role, person, scope, expires, signer, data, config, key=key)
    print(_line(made))
    print(f"private key in {key}: whoever may read it signs as {made.name}")


@identity.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What it signs as.")],
    public: Annotated[
        str, typer.Option(help="Its Ed25519 public key, base64; the private one stays where it is.")
    ],
    role: RoleOption,
    person: PersonOption = "",
    scope: ScopeOption = None,
    expires: ExpiresOption = "",
    signer: AdminOption = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Know somebody whose key was made elsewhere."""
    made = _add(name, role, person, scope, expires, signer, data, config, public=public)
    print(_line(made))


def _add(
    name: str, role: str, person: str, scope: list[str] | None, expires: str, signer: str, data: Path,
    config: Path | None, **key: Any,
) -> Identity:  # fmt: skip
    """Where there is an admin, one who reaches the new identity's scopes must sign."""
    from tidegate.access import admins, local
    from tidegate.access.identity import Role
    from tidegate.access.reach import FIRM, kept, known_scopes
    from tidegate.access.verify import Denied

    found, until, scopes = Role.of(role, "--role"), until_of(expires), tuple(scope or ())
    known_scopes(scopes, kept(data), "--scope")
    args = {"name": name, "role": role, "person": person or name, "scopes": " ".join(scopes)}
    args |= {"public": str(key["public"])} if "public" in key else {}
    known, now = known_of(data, config), time.time_ns()
    try:
        signed = admins.signed(
            "identity-add", args, scopes or (FIRM,), f"{name} is to sign", known, data, now, signer
        )
    except Denied as error:
        raise UserError(str(error)) from None
    made = local.add(data, _section(config), name, found, person or name, expires=until, scopes=scopes, **key)
    _note(data, config, "identity-add", _line(made), signed)
    return made


def _line(one: Identity) -> str:
    """An identity for people and for the trail."""
    from tidegate.access.identity import Role

    where = f" of {', '.join(one.scopes)}" if one.scopes else ""
    return f"{one.name}: {Role(one.role).label}{where}, {one.person}; public key {one.key}"


@identity.command("list")
def list_(
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Everybody who may sign, and who might once."""
    rows = [_shown(one) for one in known_of(data, config)]
    if json:
        _print_json(rows)
        return
    print_table(
        ("name", "role", "scopes", "person", "state", "public key"),
        ([str(cell) for cell in row.values()] for row in rows),
    )


@identity.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Whose.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """One identity, with its public key. A private key is never shown."""
    from tidegate.errors import nearest

    known = known_of(data, config)
    found = known.get(name)
    if found is None:
        raise UserError(f"nobody is called {name!r}{nearest(name, [one.name for one in known])}")
    for key, value in _shown(found).items():
        print(f"{key}: {value}")


@identity.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Whose signature counts no more.")],
    reason: Annotated[str, typer.Option(help="Why; goes into the audit trail.")],
    signer: AdminOption = "",
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """From now on nothing counts that NAME signs: in the data folder's file at once, and by the log everywhere.

    One that only the configuration knows is revoked by an admin's signature, through the log.
    """
    from tidegate.access import admins, local
    from tidegate.access.keyring import REVOKE
    from tidegate.access.verify import Denied
    from tidegate.errors import nearest
    from tidegate.log.base import LogError

    known, now = known_of(data, config), time.time_ns()
    found = known.get(name)
    if found is None:
        raise UserError(f"nobody is called {name!r}{nearest(name, [one.name for one in known])}")
    if not reason.strip():
        raise UserError("--reason is empty; say why")
    signed, why = None, ""
    try:
        signed = admins.signed(REVOKE, {"name": name}, found.reach, reason, known, data, now, signer)
    except Denied as error:
        raise UserError(str(error)) from None
    except UserError as error:  # the data folder's owner may, as its file is his
        if signer:
            raise
        why = str(error)
    written = local.revoke(data, name, now)
    told = False
    if signed is not None:
        try:
            told = _publish(data, config, name, signed.encode())
        except (UserError, LogError) as error:
            why = str(error)
    if not written and not told and not found.revoked:
        raise UserError(
            f"{name} is not revoked: it is not in {data}'s own identities, and {why or 'no log runs'}"
        )
    _note(data, config, REVOKE, f"{name}: {reason}", signed)
    where = "in the data folder" if written else "already in the data folder" if found.revoked else ""
    if told:
        where += f"{' and ' if where else ''}by the log, everywhere"
    print(f"{name} is revoked {where}")


def _publish(data: Path, config: Path | None, name: str, signed: bytes) -> bool:
    """Tell every receiver by the log; False where it does not run."""
    from tidegate.access.keyring import BUCKET, PREFIX
    from tidegate.log import embedded

    section, path = log_section_of(config)
    if not section.urls and embedded.find(data) is None:
        return False

    async def put() -> None:
        from tidegate.log.opening import log_of
        from tidegate.model.clock import SystemClock

        async with log_of(data, SOURCE, SystemClock(), section, path) as log:
            await log.bucket(BUCKET).put(PREFIX + name, signed)

    asyncio.run(put())
    return True


# What they share.


def _note(data: Path, config: Path | None, do: str, detail: str, signed: Signed | None) -> None:
    """Put an act of this command on the trail: at once where the log runs, else with the next process that it runs
    for. It is on the disk either way."""
    from tidegate.access.audit import leave
    from tidegate.access.local import own_name
    from tidegate.log import embedded
    from tidegate.log.opening import log_of
    from tidegate.model.clock import SystemClock

    clock = SystemClock()
    who, scope = (signed.command.by, signed.command.scope) if signed else (f"user:{own_name()}", "firm")
    try:
        leave(data, clock, SOURCE, who, do, scope, "done", detail, signed.encode() if signed else b"")
    except OSError as error:
        raise UserError(f"{data}: done, but not on the audit trail: {error.strerror}") from None
    section, path = log_section_of(config)
    if not section.urls and embedded.find(data) is None:
        return

    async def send() -> None:
        async with log_of(data, SOURCE, clock, section, path) as log:
            await send_waiting(log, data)

    try:
        asyncio.run(send())
    except UserError as error:
        print(f"tidegate: the audit trail has it later: {error}", file=sys.stderr)


async def send_waiting(log: Log, data: Path) -> None:
    """Send what waits on this machine's disk."""
    from tidegate.access.audit import AuditTrail
    from tidegate.model.clock import SystemClock

    trail = AuditTrail(log, SystemClock(), SOURCE, data)
    if not await trail.drained(5.0):
        print(f"tidegate: {trail.pending} notes wait for the audit trail in {data}/run", file=sys.stderr)
    trail.close()


def _config(config: Path | None) -> Config | None:
    from tidegate.config import load

    return load(config) if config is not None else None


def _section(config: Path | None) -> AccessSection:
    from tidegate.access.identity_file import AccessSection

    loaded = _config(config)
    return loaded.access if loaded is not None else AccessSection()


def log_section_of(config: Path | None) -> tuple[Any, Path]:
    from tidegate.log.section import LogSection

    loaded = _config(config)
    return (loaded.log if loaded is not None else LogSection()), config or Path()


def known_of(data: Path, config: Path | None) -> Identities:
    from tidegate.access.keyring import Keyring

    return Keyring(data, _section(config)).identities


def _shown(one: Identity) -> dict[str, str]:
    from tidegate.access.identity import Role
    from tidegate.model.time import iso

    now, state = time.time_ns(), "valid"
    if one.revoked:
        state = f"revoked {iso(one.revoked)[:19]}"
    elif one.expires:
        state = f"{'expired' if one.expires <= now else 'until'} {iso(one.expires)[:19]}"
    elif one.not_before > now:
        state = f"from {iso(one.not_before)[:19]}"
    return {
        "name": one.name, "role": Role(one.role).label, "scopes": ", ".join(one.reach), "person": one.person,
        "state": state, "public key": one.key,
    }  # fmt: skip


def print_table(head: Iterable[str], rows: Iterable[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*[Text(cell, overflow="fold") for cell in row])  # no markup of what others wrote
    console = Console()
    console.print(table)


def _print_json(rows: list[dict[str, str]]) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")


def register(app: typer.Typer) -> None:
    """Put the commands on the lead one."""
    from tidegate.cli.audit import audit

    app.add_typer(identity, name="identity")
    app.add_typer(audit, name="audit")

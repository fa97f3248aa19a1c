"""`[log]`: where the event log is, and how it is reached."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import msgspec

from tidegate.errors import UserError, nearest
from tidegate.log.streams import DURABILITY, MOST_LANES


class LogSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[log]`: where the event log is. Without `url` a server of our own is started under the data folder.

    `durability`: what an acknowledged append survives: `process` the kill of any process, `machine` the loss of
    power, `replicated` the loss of a node. `lanes` share the accounts out between order-manager writers.
    """

    url: str = ""
    credentials: str = ""
    """`env:NAME`: user and password are in NAME_USER and NAME_PASSWORD."""
    durability: str = "machine"
    lanes: int = 1
    tls_ca: str = ""
    """File of the authorities that may vouch for the server, PEM; empty: the machine's."""
    tls_cert: str = ""
    tls_key: str = ""
    """Files of our own certificate and its private key (mode 0600), PEM, where the server asks for them."""
    insecure: bool = False
    """Talk to another machine without encryption all the same."""

    @property
    def urls(self) -> list[str]:
        """The servers' addresses."""
        return [url.strip() for url in self.url.split(",") if url.strip()]

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return bool(self.tls_ca or self.tls_cert) or any(url.startswith("tls://") for url in self.urls)


def check(section: LogSection, where: str) -> None:
    """Refuse what cannot be, in one line."""
    if section.durability not in DURABILITY:
        raise UserError(
            f"{where}: log.durability: {section.durability!r} is none of {', '.join(DURABILITY)}"
            f"{nearest(section.durability, DURABILITY)}"
        )
    if not 1 <= section.lanes <= MOST_LANES:
        raise UserError(f"{where}: log.lanes is {section.lanes}, must be 1 … {MOST_LANES}")
    if bool(section.tls_cert) != bool(section.tls_key):
        raise UserError(f"{where}: log.tls_cert and log.tls_key go together: give both, or neither")
    if section.tls and not section.urls:
        raise UserError(
            f"{where}: log.tls_ca and log.tls_cert are for a log at a url; our own server is on this machine"
        )
    for url in section.urls:
        host = urlsplit(url if "://" in url else f"nats://{url}").hostname or ""
        if urlsplit(url).password:
            raise UserError(f'{where}: log.url holds a password; write credentials = "env:NAME" instead')
        if not section.tls and not section.insecure and not _here(host):
            raise UserError(
                f"{where}: log.url: {host} is another machine and {url.partition('@')[2] or url} is not encrypted; write "
                f"tls://{host}, or insecure = true"
            )


def _here(host: str) -> bool:
    """Whether a host's name can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""A log on another machine is reached encrypted, or in so many words not."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tidegate.errors import UserError
from tidegate.log.grants import User
from tidegate.log.opening import open_log, tls_of
from tidegate.log.section import LogSection, check
from tidegate.log.server_process import ServerProcess, configuration, free_port, write_private
from tidegate.model.clock import SystemClock


class Authority:
    """An authority that vouches for names, and the certificates that it made, in files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, folder.name)])
        self.file = folder / "ca.pem"
        made = self._sign(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name, key, *extensions) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def certificate(self, name: str, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """The files of a certificate for an address, and of its private key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        cert, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(
            self._sign(subject, key.public_key(), names).public_bytes(serialization.Encoding.PEM)
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(private, pem.decode())
        return cert, private


@asynccontextmanager
async def server(home: Path, authority: Authority, ask_clients: bool = False) -> AsyncIterator[int]:
    """A real server that speaks TLS only; its port."""
    cert, key = authority.certificate("server")
    port = free_port()
    home.mkdir()
    verify = f'verify: true, ca_file: "{authority.file}"' if ask_clients else ""
    text = configuration(
        port=port, store=home / "store", name="tls", users=[User("oms", "word")], sync=False,
        cluster=f'tls {{ cert_file: "{cert}", key_file: "{key}", {verify} }}\n',
    )  # fmt: skip
    write_private(home / "server.conf", text)
    process = ServerProcess(home / "server.conf", home / "server.log", "tls", port)
    await process.start()
    try:
        yield port
    finally:
        await process.stop()


async def stored(section: LogSection, path: Path) -> int:
    """That a client of this section stores and reads an entry."""
    log = await open_log(section, path, path.parent, "test", SystemClock())
    try:
        seq = await log.append("lane.0.cmd", b"over the wire")
        assert log.wire.encrypted
        last = await log.last("LANE_0")
        assert last is not None
        assert last.data == b"over the wire"
        got = asyncio.Event()
        log.follow("LANE_0", lambda entries: got.set())
        await got.wait()
        await log.append("lane.0.cmd", bytes(1 << 20))  # more than one record of TLS
        return seq
    finally:
        await log.close()


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("LOG_USER", "oms")
    monkeypatch.setenv("LOG_PASSWORD", "word")
    return tmp_path


def section(port: int, **more: str) -> LogSection:
    return LogSection(url=f"tls://127.0.0.1:{port}", credentials="env:LOG", durability="process", **more)


def test_the_log_is_reached_over_tls(world):
    async def body() -> None:
        authority = Authority(world / "ours")
        async with asyncio.timeout(60), server(world / "server", authority) as port:
            assert await stored(section(port, tls_ca=str(authority.file)), world / "c.toml") == 1
            relative = section(port, tls_ca="ours/ca.pem")  # from the configuration's folder
            assert await stored(relative, world / "c.toml") == 3

    asyncio.run(body())


def test_services_on_their_own_loop_reach_it_over_tls(world):
    async def body() -> None:
        authority = Authority(world / "ours")
        async with asyncio.timeout(60), server(world / "server", authority) as port:
            assert await stored(section(port, tls_ca=str(authority.file)), world / "c.toml") == 1

    uvloop.run(body())


def test_who_speaks_no_tls_is_not_told_our_password(world):
    """Somebody between us and the server could take the encryption away by saying that there is none."""

    async def body() -> None:
        heard: list[bytes] = []

        async def clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(
                b'INFO {"version":"2.15.1","max_payload":1000000,"headers":true,"jetstream":true}\r\n'
            )
            while data := await reader.read(1000):
                heard.append(data)
            writer.close()

        listening = await asyncio.start_server(clear, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        made = section(port, tls_ca=str(Authority(world / "ours").file))
        with pytest.raises(UserError, match="does not speak TLS"):
            await open_log(made, world / "c.toml", world, "t", SystemClock())
        assert heard == []
        listening.close()

    asyncio.run(body())


def test_a_server_nobody_vouches_for_is_refused(world):
    async def body() -> None:
        async with asyncio.timeout(60), server(world / "server", Authority(world / "theirs")) as port:
            other = Authority(world / "ours")
            with pytest.raises(UserError) as error:
                await open_log(
                    section(port, tls_ca=str(other.file)), world / "c.toml", world, "t", SystemClock()
                )
            assert "\n" not in str(error.value)
            assert "cannot be reached" in str(error.value)
            assert "certificate" in str(error.value).lower()

    asyncio.run(body())


def test_a_server_that_asks_for_our_certificate_is_shown_it(world):
    async def body() -> None:
        authority = Authority(world / "ours")
        async with asyncio.timeout(60), server(world / "server", authority, ask_clients=True) as port:
            cert, key = authority.certificate("oms")
            own = {"tls_cert": str(cert), "tls_key": str(key)}
            assert await stored(section(port, tls_ca=str(authority.file), **own), world / "c.toml") == 1
            with pytest.raises(UserError, match=r"cannot be reached|refused"):
                bare = section(port, tls_ca=str(authority.file))
                await open_log(bare, world / "c.toml", world, "t", SystemClock())

    asyncio.run(body())


def test_a_private_key_that_others_may_read_is_refused(world):
    cert, key = Authority(world / "ours").certificate("oms")
    key.chmod(0o644)
    made = section(1, tls_cert=str(cert), tls_key=str(key))
    with pytest.raises(UserError, match="mode 0644 lets others read a private key; chmod 600"):
        tls_of(made, world / "c.toml")


@pytest.mark.parametrize("field", ["tls_ca", "tls_cert", "tls_key"])
def test_a_file_that_is_not_there_is_one_line(world, field):
    authority = Authority(world / "ours")
    cert, key = authority.certificate("oms")
    files = {"tls_ca": str(authority.file), "tls_cert": str(cert), "tls_key": str(key)}
    with pytest.raises(UserError, match=r"log\.tls.*missing\.pem") as error:
        tls_of(section(1, **{**files, field: "missing.pem"}), world / "c.toml")
    assert "\n" not in str(error.value)


def test_a_key_of_another_certificate_is_one_line(world):
    authority = Authority(world / "ours")
    (cert, _), (_, key) = authority.certificate("a"), authority.certificate("b")
    with pytest.raises(UserError, match=r"log\.tls_cert, log\.tls_key"):
        tls_of(section(1, tls_cert=str(cert), tls_key=str(key)), world / "c.toml")


def test_the_servers_name_is_checked(world):
    context = tls_of(section(1, tls_ca=str(Authority(world / "ours").file)), world / "c.toml")
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "nats://log.firm.example:4222"}, "log.url: log.firm.example is another machine"),
        ({"url": "log.firm.example:4222"}, "is another machine"),
        ({"url": "nats://127.0.0.1:1,nats://10.0.0.5:1"}, "log.url: 10.0.0.5 is another machine"),
        ({"url": "nats://0.0.0.0:1"}, "is another machine"),
        ({"url": "tls://x:1", "tls_cert": "a"}, "log.tls_cert and log.tls_key go together"),
        ({"tls_ca": "a"}, "are for a log at a url"),
        ({"url": "tls://u:p@x:1"}, "log.url holds a password"),
        ({"lanes": 0}, "log.lanes is 0"),
        ({"durability": "machin"}, "did you mean 'machine'"),
    ],
)
def test_what_is_not_safe_is_one_line(fields, said):
    with pytest.raises(UserError) as error:
        check(msgspec.convert(fields, LogSection), "c.toml")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "nats://127.0.0.1:4222"},
        {"url": "nats://localhost:4222"},
        {"url": "nats://[::1]:4222"},
        {"url": "tls://log.firm.example:4222"},
        {"url": "nats://log.firm.example:4222", "tls_ca": "ca.pem"},
        {"url": "nats://log.firm.example:4222", "insecure": True},
    ],
)
def test_what_is_safe_or_asked_for_is_taken(fields):
    check(msgspec.convert(fields, LogSection), "c.toml")

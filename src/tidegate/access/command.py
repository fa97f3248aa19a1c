"""A command and who signed it. What is signed is the command's bytes, and they travel as they were signed."""

from __future__ import annotations

import secrets

import msgspec

from tidegate.access import ed25519
from tidegate.access.signer import Signer

LIFE = 60_000_000_000
"""How long a command lives by default, ns: it is acted on at once, or not at all."""
APPROVAL_LIFE = 900_000_000_000
"""How long one lives that waits for a second person, ns."""
LARGEST = 1 << 20
"""Bytes of a signed command."""
_MARK = b"tidegate command 1\n"
"""Stands before what is signed, so that no signature of ours fits anything else."""


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is to be done: `do` (`access.policy`) to `scope` (`risk.scope_name`), by whom and why.

    `issued` and `expires` in ns since the epoch; it counts between them, once: `id` is never used twice.
    """

    id: str
    do: str
    scope: str
    reason: str
    by: str
    issued: int
    expires: int
    args: dict[str, str] = {}


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That the identity `name` signed."""

    name: str
    sig: bytes


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command's bytes and the signatures under them, the issuer's first."""

    body: bytes
    signatures: list[Signature] = []

    def encode(self) -> bytes:
        """As one line of JSON, for a socket, a file or an entry of the log."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes | str) -> Signed:
        """What `encode` wrote; raises `ValueError`."""
        if len(data) > LARGEST:
            raise ValueError(f"{len(data)} bytes are no command")
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"no signed command: {error}") from None

    @property
    def command(self) -> Command:
        """The command that was signed, or says it was; raises `ValueError`. `verify` says whether to believe it."""
        try:
            command = msgspec.json.decode(self.body, type=Command)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"no command: {error}") from None
        if encode(command) != self.body:
            raise ValueError("no command: it is not written in the one way it may be")
        return command


def encode(command: Command) -> bytes:
    """The one form of a command as bytes."""
    return msgspec.json.encode(command, order="deterministic")


def signed_bytes(body: bytes) -> bytes:
    """What a signature is over."""
    return _MARK + body


def new(
    do: str, scope: str, reason: str, by: str, now: int, life: int = LIFE, args: dict[str, str] | None = None
) -> Command:
    """A command issued now, with an id of its own."""
    return Command(
        id=secrets.token_hex(16), do=do, scope=scope, reason=reason, by=by, issued=now, expires=now + life,
        args=args or {},
    )  # fmt: skip


def sign(command: Command, signer: Signer) -> Signed:
    """The command under its issuer's signature."""
    return approve(Signed(encode(command)), signer)


def approve(signed: Signed, signer: Signer) -> Signed:
    """One more signature under the same command."""
    signature = Signature(signer.name, signer.sign(signed_bytes(signed.body)))
    return Signed(signed.body, [*signed.signatures, signature])


def is_mine(signed: Signed, index: int, key: bytes) -> bool:
    """Whether the holder of this public key made the signature at `index`."""
    return ed25519.verify(key, signed.signatures[index].sig, signed_bytes(signed.body))

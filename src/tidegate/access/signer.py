"""A private key and its name: from a file that only its owner may read, or from the environment. Never shown."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from tidegate.access import ed25519
from tidegate.access.identity import NAME
from tidegate.errors import UserError
from tidegate.log import private

ENVIRONMENT = "TIDEGATE_SIGNING_KEY"
"""The variable that may hold `NAME:tgsk_…`."""
PREFIX = "tgsk_"
"""Every private key begins so: what is told to people is searched for it (`ops.redact`)."""
_TEXT = re.compile(r"([^:\s]+):tgsk_([A-Za-z0-9+/]{43}=)")
_LARGEST = 1024


class Signer:
    """Signs in the name of an identity. Printing, logging or pickling it shows no key."""

    __slots__ = ("_seed", "name")

    def __init__(self, name: str, seed: bytes) -> None:
        if not NAME.fullmatch(name):
            raise UserError(f"identity {name!r}: use letters, digits, _ and - only, 40 at most")
        self.name = name
        self._seed = seed

    @classmethod
    def new(cls, name: str) -> Signer:
        """With a key made now."""
        return cls(name, ed25519.new_seed())

    @classmethod
    def from_file(cls, path: Path) -> Signer:
        """From a file of one line, `NAME:tgsk_…`, of mode 0600; raises `UserError`."""
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise UserError(
                        f"{path}: mode {mode:04o} lets others read a private key; chmod 600 {path}"
                    )
                data = file.read(_LARGEST)
        except OSError as error:
            raise UserError(f"{path}: cannot read the private key: {error.strerror}") from None
        return cls._parsed(data.decode(errors="replace"), str(path))

    @classmethod
    def from_environment(cls, variable: str = ENVIRONMENT) -> Signer:
        """From an environment variable that holds `NAME:tgsk_…`; raises `UserError`."""
        value = os.environ.get(variable)
        if not value:
            raise UserError(f"environment variable {variable} is not set; it may hold NAME:{PREFIX}…")
        return cls._parsed(value, f"environment variable {variable}")

    @classmethod
    def _parsed(cls, text: str, where: str) -> Signer:
        found = _TEXT.fullmatch(text.strip())
        try:
            seed = ed25519.from_text(found[2], ed25519.SEED) if found else b""
        except ValueError:
            seed = b""
        if found is None or not seed:  # the text itself is not shown: it may be a secret with a slip in it
            raise UserError(
                f"{where}: no private key; one line NAME:{PREFIX}… is needed (`tidegate identity new`)"
            )
        return cls(found[1], seed)

    @property
    def public(self) -> str:
        """The public key, base64."""
        return ed25519.text(ed25519.public_of(self._seed))

    def sign(self, data: bytes) -> bytes:
        """The signature of `data`, 64 bytes."""
        return ed25519.sign(self._seed, data)

    def save(self, path: Path) -> None:
        """Write the key to a new file of mode 0600; raises `UserError` where it cannot, or one is there."""
        line = f"{self.name}:{PREFIX}{ed25519.text(self._seed)}\n"
        try:
            private.folder(path.parent)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            raise UserError(f"{path} is there already; a private key is never written over") from None
        except OSError as error:
            raise UserError(f"{path}: cannot write the private key: {error.strerror}") from None

    def __repr__(self) -> str:
        return f"Signer({self.name})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("private keys are not pickled")


def keys_folder(data: Path) -> Path:
    """Where the private keys of a data folder's own identities are."""
    return data / "access" / "keys"


def find(data: Path, name: str = "") -> Signer:
    """Whoever signs on this machine: the environment's key, else a file of the data folder, the one called `name` where
    there are several; raises `UserError`."""
    if os.environ.get(ENVIRONMENT):
        signer = Signer.from_environment()
        if name and signer.name != name:
            raise UserError(f"{ENVIRONMENT} holds the key of {signer.name!r}, not of {name!r}")
        return signer
    folder = keys_folder(data)
    have = sorted(path.stem for path in folder.glob("*.key"))
    if name:
        if name not in have:
            raise UserError(
                f"no private key {folder / name}.key; set {ENVIRONMENT}, or `tidegate identity new {name}`"
            )
        return Signer.from_file(folder / f"{name}.key")
    if not have:
        raise UserError(
            f"nobody to sign: no key in {folder}; set {ENVIRONMENT}, or run `tidegate identity new NAME`"
        )
    if len(have) > 1:
        raise UserError(f"who signs? {folder} has keys of {', '.join(have)}; say which with --as NAME")
    return Signer.from_file(folder / f"{have[0]}.key")

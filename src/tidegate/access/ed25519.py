"""Ed25519 (RFC 8032), by `cryptography`: keys and signatures as bytes, nothing else."""

from __future__ import annotations

import base64
import binascii

SEED, KEY, SIGNATURE = 32, 32, 64
"""Bytes of a private seed, a public key, a signature."""
_P = 2**255 - 19
_EIGHTH = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
_LOW_ORDER = {0, 1, _P - 1, _EIGHTH, _P - _EIGHTH}
"""The y of points whose order divides 8: under such a key one signature fits every message."""


def new_seed() -> bytes:
    """A new private key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_of(seed: bytes) -> bytes:
    """The public key of a private one."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, data: bytes) -> bytes:
    """The signature of `data`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).sign(data)


def verify(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the holder of `key` signed `data`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_weak(key: bytes) -> bool:
    """Whether anybody could sign for this public key."""
    return (int.from_bytes(key, "little") & ~(1 << 255)) % _P in _LOW_ORDER


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def from_text(value: str, size: int) -> bytes:
    """The bytes of a base64 text of so many bytes; raises `ValueError`."""
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes, must be {size}")
    return data

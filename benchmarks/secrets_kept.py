"""Where the secrets of a system that ran stand in its data folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def secrets_in(data: Path, passwords: Mapping[str, str]) -> dict[str, bytes]:
    """Every secret of a data folder, by a name for it: signing keys, accounts' keys, the venue's token, the log's
    passwords. `passwords` are more of them."""
    found = {
        f"{path.name}": path.read_bytes().split(b"tgsk_")[1].strip()
        for path in (data / "access/keys").iterdir()
    }
    for path in [*(data / "run/keys").glob("*.toml"), data / "run/venue.json", data / "log/server.json"]:
        text = path.read_text()
        for key, value in re.findall(r'"?(key|secret|token|password)"?\s*[=:]\s*"([^"]+)"', text):
            found[f"{path.name} {key}"] = value.encode()
    return found | {name: value.encode() for name, value in passwords.items()}


def places(data: Path, secrets: Mapping[str, bytes]) -> dict[str, str]:
    """The files that hold a secret, with their modes."""
    found = {}
    for path in data.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            if any(secret in held for secret in secrets.values()):
                found[str(path.relative_to(data))] = oct(path.stat().st_mode & 0o777)
    return found

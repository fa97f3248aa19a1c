"""Virtual environments for the peers, made on demand below `.venv-peers/` (git-ignored), one for each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv-peers"


class Unavailable(RuntimeError):
    """A peer cannot be run here; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A peer's packages, pinned, and the Python versions they have wheels for, best first."""

    name: str
    packages: tuple[str, ...]
    pythons: tuple[str, ...]

    def python(self) -> Path:
        """The environment's interpreter; makes the environment where it is not there yet."""
        home = FOLDER / self.name
        inside, made_of = home / "bin" / "python", home / "packages.txt"
        wanted = "\n".join(self.packages)
        if inside.exists() and made_of.exists() and made_of.read_text() == wanted:
            return inside
        failures = []
        for version in self.pythons:
            base = _find(version)
            if base is None:
                failures.append(f"no Python {version} found")
                continue
            print(f"making {home.relative_to(ROOT)} with {base}: {' '.join(self.packages)}", file=sys.stderr)
            shutil.rmtree(home, ignore_errors=True)
            failure = _run(base, "-m", "venv", home) or _run(
                inside, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *self.packages
            )
            if not failure:
                made_of.write_text(wanted)
                return inside
            failures.append(f"with Python {version}: {failure}")
        shutil.rmtree(home, ignore_errors=True)
        raise Unavailable("; ".join(failures))


def _run(*command: str | Path) -> str:
    """Run quietly; empty, or the last line of what went wrong."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return next(
        (line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "failed"
    )


def _find(version: str) -> Path | None:
    """An interpreter of `version` ("3.13"): this one, on PATH, or one of pyenv's."""
    for candidate in _candidates(version):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if asked.stdout.strip() == version:
            return candidate
    return None


def _candidates(version: str) -> Iterator[Path]:
    if "{}.{}".format(*sys.version_info[:2]) == version:
        yield Path(sys.executable).resolve()
    for folder in os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv":
        if folder:
            yield from sorted(Path(folder).glob(f"versions/{version}*/bin/python"), reverse=True)
    found = shutil.which(f"python{version}")
    if found:
        yield Path(found)


NAUTILUS_2 = Peer("nautilus2", ("nautilus_trader==2.0.0rc7", "numpy==2.2.6"), ("3.13", "3.12", "3.14"))
NAUTILUS_1 = Peer("nautilus1", ("nautilus_trader==1.221.0", "numpy==2.2.6"), ("3.12", "3.11", "3.13"))
HFTBACKTEST = Peer(
    "hftbacktest", ("hftbacktest==2.4.4", "numba==0.68.1", "numpy==2.2.6"), ("3.11", "3.12", "3.13")
)

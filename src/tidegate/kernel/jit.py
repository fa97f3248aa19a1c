"""How kernels are compiled: once, eagerly, cached under a key of their own sources.

Numba's cache does not notice an edited callee in another file, so each kernel's cache folder is named by a hash
of its module and of every tidegate module that one imports. `NUMBA_DISABLE_JIT=1` runs every kernel as the
plain Python it is written in.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import njit

JIT = not numba.config.DISABLE_JIT
_PACKAGE = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(r"^\s*from tidegate\.([\w.]+) import ([\w, ()]+)", re.MULTILINE)


@cache
def cache_root() -> Path:
    """Where compiled kernels are kept: TIDEGATE_CACHE, else the user's cache, else a temporary folder."""
    chosen = os.environ.get("TIDEGATE_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    base = Path(chosen) if chosen else user / "tidegate"
    try:
        base.mkdir(parents=True, exist_ok=True)
        if os.access(base, os.W_OK):
            return base
    except OSError:
        pass
    if chosen:
        print(f"tidegate: cannot write TIDEGATE_CACHE={chosen}; compiling into a temporary folder", file=sys.stderr)
    return Path(tempfile.gettempdir()) / f"tidegate-{os.getuid()}"


def _imports(path: Path) -> set[Path]:
    found = set()
    for dotted, names in _IMPORT.findall(path.read_text()):
        module = _PACKAGE.joinpath(*dotted.split("."))
        candidates = [module.with_suffix(".py"), *(module / f"{n.strip(' ()')}.py" for n in names.split(","))]
        found.update(c for c in candidates if c.exists())
    return found


@cache
def source_hash(path: Path) -> str:
    """Twelve hex digits over Numba's version, this source file and the tidegate sources it rests on."""
    todo, seen = {path}, set[Path]()
    while todo:
        current = todo.pop()
        seen.add(current)
        todo |= _imports(current) - seen
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(seen):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:12]


def use_cache(function: Callable[..., Any]) -> None:
    """Point Numba's cache at the folder for the sources behind `function`."""
    path = Path(function.__code__.co_filename).resolve()
    numba.config.CACHE_DIR = str(cache_root() / "kernels" / f"{path.stem}-{source_hash(path)}")


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper that becomes part of its caller.

    `forceinline` (LLVM's alwaysinline) keeps compile times sane where `inline="always"` does not; `_nrt=False`
    drops reference counting of array arguments, which costs a factor of five in hot loops (the helper must
    therefore not allocate). `_nrt` is undocumented: Numba is pinned and `benchmarks/` watches it.
    """
    return njit(forceinline=True, _nrt=False)(function) if JIT else function


def kernel(*signatures: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An entry point: compiled for these signatures when its module is first imported, then cached."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        if not JIT:
            return function
        use_cache(function)
        return njit(list(signatures) or None, cache=True)(function)

    return wrap

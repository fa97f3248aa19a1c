"""The class behind a strategy's `type` in a configuration: of the library, of a module, of a user's own file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from tidegate.errors import UserError, nearest

LIBRARY = {
    "avellaneda_stoikov": "AvellanedaStoikov",
    "glft": "GLFT",
    "basis_arbitrage": "BasisArbitrage",
    "ema_cross": "EmaCross",
    "pair_reversion": "PairReversion",
    "imbalance": "Imbalance",
    "compiled_maker": "CompiledMaker",
}
"""Strategies of `strategy.library`: module, which is also the name in a configuration → class."""


def strategy_class(name: str, base: Path) -> Any:
    """The class behind a strategy's `type`: a library name, `module:Class`, or `file.py:Class` beside the file."""
    from tidegate.strategy.strategy import Strategy

    if ":" in name:
        module_name, _, class_name = name.partition(":")
        module = _user_module(module_name, base)
    elif name in LIBRARY:
        module, class_name = importlib.import_module(f"tidegate.strategy.library.{name}"), LIBRARY[name]
    else:
        hint = nearest(name, LIBRARY)
        raise UserError(f"unknown strategy type {name!r}{hint} (or write module:Class, or file.py:Class)")
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise UserError(f"strategy type {name!r}: {class_name} is not a Strategy of that module")
    return found


def _user_module(name: str, base: Path) -> Any:
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise UserError(f"strategy module {name!r} cannot be imported: {error}") from None
    path = (base / name).resolve()
    # A name of its own, the same in every run: compiled code is cached under it, and no other module is hidden.
    unique = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(unique, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise UserError(f"strategy file {path} does not exist")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # modules beside it can be imported
    module = sys.modules[unique] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"strategy file {path}{line}: {type(error).__name__}: {error}") from error
    return module


def code_of(kind: type) -> str:
    """A hash of a user's strategy and of what it imports beside it; empty for tidegate's own, which have a version."""
    from tidegate.kernel.jit import sources

    package = Path(__file__).resolve().parent
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None or package in Path(file).resolve().parents:
        return ""
    own = [path for path in sources(Path(file).resolve()) if package not in path.parents]
    return hashlib.sha256(b"".join(path.read_bytes() for path in own)).hexdigest()

"""Versions of strategies from files, and strategies from versions."""

from __future__ import annotations

import contextlib
import importlib
import sys
import tomllib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

import tidegate
from tidegate import config as configuration
from tidegate.config import Config, check_keys
from tidegate.errors import UserError
from tidegate.ops.folder import replace
from tidegate.risk.scopes import ScopeTable
from tidegate.strategy.deploy.version import Version, WatchRules
from tidegate.strategy_code import strategy_class

_PACKAGE = Path(__file__).resolve().parent


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version's TOML file."""

    type: str
    params: dict[str, Any] = {}
    watch: WatchRules = WatchRules()


def read(path: Path) -> Version:
    """The version that a file describes, with the sources it names; raises `UserError`."""
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read version {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    check_keys(data, _File, str(path))
    try:
        file = msgspec.convert(data, _File)
    except (msgspec.ValidationError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None
    return _made(file.type, file.params, file.watch, path.parent, str(path), path.name)


def configured(config: Config, name: str, path: Path) -> Version:
    """The version of a strategy that the configuration at `path` says."""
    section = config.strategies[name]
    return _made(section.type, section.params, WatchRules(), path.parent, str(path), path.name)


def _made(type: str, params: dict[str, Any], watch: WatchRules, base: Path, where: str, name: str) -> Version:
    kind = strategy_class(type, base)
    _params(kind, params, where)
    file = Path(sys.modules[kind.__module__].__file__ or "").resolve()
    if _PACKAGE in file.parents:
        return Version(type=type, params=params, watch=watch, code=tidegate.__version__, name=name)
    from tidegate.kernel.jit import sources

    own = [source for source in sources(file) if _PACKAGE not in source.parents]
    outside = [source for source in own if file.parent not in source.parents]
    if outside:
        raise UserError(f"{where}: {file.name} imports {outside[0]}, which is not beside it")
    texts = {source.relative_to(file.parent).as_posix(): source.read_text() for source in own}
    called = f"{file.name}:{kind.__name__}"
    return Version(
        type=called, params=params, watch=watch, code=tidegate.__version__, sources=texts, name=name
    )


def _params(kind: Any, params: dict[str, Any], where: str) -> Any:
    check_keys(params, kind.Params, f"{where}: params")
    try:
        return msgspec.convert(params, kind.Params)
    except (msgspec.ValidationError, ValueError) as error:
        raise UserError(f"{where}: params: {error}") from None


def build(version: Version, name: str, number: int, account: int, folder: Path) -> Any:
    """The strategy of a version, fresh. Its sources are written under `folder`, in a place of the version's own: what
    somebody does to the files it was made of later changes nothing. Raises `UserError`."""
    where = f"version {version.id} of {name}"
    base = folder / version.id
    for file, text in version.sources.items():
        relative = PurePosixPath(file)
        if relative.is_absolute() or ".." in relative.parts:
            raise UserError(f"{where}: source {file!r} is not a file beside it")
        path = base / relative
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace(path, text.encode())
    if version.code != tidegate.__version__:
        raise UserError(f"{where} was made with tidegate {version.code}; this is {tidegate.__version__}")
    with _beside(base, version.sources):
        kind = strategy_class(version.type, base)
    return kind(name, number, account, _params(kind, version.params, where))


@contextlib.contextmanager
def _beside(base: Path, sources: Iterable[str]) -> Iterator[None]:
    """While a version is loaded, what it imports beside it is its own: not what another version of the same names has left
    among the loaded modules, nor what stands elsewhere on the path."""
    tops = {PurePosixPath(file).parts[0].removesuffix(".py") for file in sources}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        installed = file is None or any(
            Path(root) in Path(file).parents for root in (sys.prefix, sys.base_prefix)
        )
        if name.partition(".")[0] in tops and not installed:
            del sys.modules[name]
    importlib.invalidate_caches()
    sys.path.insert(0, str(base.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(base.resolve()))


def only(config: Config, path: Path, strategy: Any, ppm: int = 1_000_000) -> Any:
    """The set-up of a backtest of `config` in which this strategy alone trades; a candidate under `ppm` of the limits."""
    setup = configuration.backtest(config, path)
    setup.strategies = [strategy]
    setup.key += f"\n{strategy.name} {strategy.number} {ppm}"
    table = setup.scopes
    slots = [
        msgspec.structs.replace(s, part=Decimal(ppm) / 1_000_000) if s.slot_of and ppm < 1_000_000 else s
        for s in table.strategies
    ]
    setup.scopes = ScopeTable(table.accounts, slots, table.desks)
    return setup

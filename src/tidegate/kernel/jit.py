"""How kernels are compiled: once, eagerly, cached under a key of their own sources.

Numba's cache does not notice an edited callee in another file, so each kernel's cache folder is named by a hash
of its module and of every module of tidegate, or beside it, that one imports. `NUMBA_DISABLE_JIT=1` runs every
kernel as the plain Python it is written in.
"""

from __future__ import annotations

import gc
import hashlib
import operator
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import numba
from numba import njit, types
from numba.core import cgutils
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.np import arrayobj

_settings: Any = numba.config
JIT = not _settings.DISABLE_JIT
_PACKAGE = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(r"^\s*(?:from|import)\s+([\w.]+)(?:\s+import\s+(\([^)]*\)|[^\n]+))?", re.MULTILINE)
_NAME = re.compile(r"(\w+)(?:\s+as\s+\w+)?")


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
        print(
            f"tidegate: cannot write TIDEGATE_CACHE={chosen}; compiling into a temporary folder",
            file=sys.stderr,
        )
    return Path(tempfile.gettempdir()) / f"tidegate-{os.getuid()}"


def _imports(path: Path) -> set[Path]:
    """The sources that one imports: of tidegate, and those beside it, as a user's strategy has them."""
    found: set[Path] = set()
    for dotted, names in _IMPORT.findall(path.read_text()):
        parts = dotted.split(".")
        module = _PACKAGE.joinpath(*parts[1:]) if parts[0] == "tidegate" else path.parent.joinpath(*parts)
        candidates = [
            module.with_name(f"{module.name}.py"),
            *(module / f"{n}.py" for n in _NAME.findall(names)),
        ]
        found.update(c for c in candidates if c.exists())
    return found


def sources(path: Path) -> list[Path]:
    """This source file and those it rests on, of tidegate and beside it."""
    todo, seen = {path}, set[Path]()
    while todo:
        current = todo.pop()
        seen.add(current)
        todo |= _imports(current) - seen
    return sorted(seen)


@cache
def source_hash(path: Path) -> str:
    """Twelve hex digits over Numba's version, this source file and those it rests on."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sources(path):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:12]


def use_cache(function: Callable[..., Any]) -> None:
    """Point Numba's cache at the folder for the sources behind `function`."""
    path = Path(function.__code__.co_filename).resolve()
    _settings.CACHE_DIR = str(cache_root() / "kernels" / f"{path.stem}-{source_hash(path)}")


_OPERATORS = frozenset(function for function in vars(operator).values() if callable(function))
_operator_types: dict[Any, Any] = {}
_resolve_call = types.Function.get_call_type


def _call_type(self: Any, context: Any, args: Any, kws: Any) -> Any:
    """What an operator on numbers and arrays comes to, asked once: Numba tries every overload each time it meets one,
    which is a quarter of its time on kernels made of little else.
    """
    if kws or self.typing_key not in _OPERATORS:
        return _resolve_call(self, context, args, kws)
    if not all(isinstance(kind, (types.Number, types.Boolean, types.Array)) for kind in args):
        return _resolve_call(self, context, args, kws)
    key = (context, self, args)
    if key not in _operator_types:
        _operator_types[key] = _resolve_call(self, context, args, kws)
    return _operator_types[key]


types.Function.get_call_type = _call_type  # type: ignore[method-assign]


def _link_only(library: Any) -> None:
    """Finish a helper's library without optimising it or making machine code of it: its callers do that."""
    for other in dict.fromkeys(library._linking_libraries):
        library._reload_init.update(other._reload_init)
        library._final_module.link_in(other._get_module_for_linking(), preserve=True)
    library._finalized = True


_FROM_ABOVE = "tidegate.kernel.gate"
"""Modules whose indices are never below 0: rows there are found by numbers that were tested when they came in."""
_item_pointer, _fix_index = cgutils.get_item_pointer2, arrayobj.fix_integer_index
_direct = False


def _item_pointer_direct(*args: Any, **kws: Any) -> Any:
    return _item_pointer(*args, **(kws | {"wraparound": kws.get("wraparound", False) and not _direct}))


def _fix_index_direct(context: Any, builder: Any, idxty: Any, idx: Any, size: Any) -> Any:
    return (
        context.cast(builder, idx, idxty, types.intp)
        if _direct
        else _fix_index(context, builder, idxty, idx, size)
    )


cgutils.get_item_pointer2 = _item_pointer_direct
arrayobj.fix_integer_index = _fix_index_direct


class _HelperLowering(NativeLowering):
    _name = "helper_lowering"

    def run_pass(self, state: Any) -> bool:
        global _direct
        state.flags.no_compile = True
        _direct = state.func_id.modname.startswith(_FROM_ABOVE)
        try:
            super().run_pass(state)
        finally:
            _direct = False
        # Numba files an overload under its compiled entry point. There is none: any builtin of its own will do.
        library, lowered = state.library, state["cr"]._replace(cfunc=[].append)
        state["cr"] = lowered
        setattr(library, "finalize", lambda: _link_only(library))  # noqa: B010  (of this one library)
        state.targetctx.insert_user_function(lowered.cfunc, lowered.fndesc, [library])
        return True


register_pass(mutates_CFG=True, analysis_only=False)(_HelperLowering)


class _HelperCompiler(CompilerBase):
    """Numba's usual pipeline, with the last step replaced: a helper has no life outside its callers."""

    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [
            (_HelperLowering if step is NativeLowering else step, about) for step, about in pipeline.passes
        ]
        pipeline._finalized = False
        pipeline.finalize()
        return [pipeline]


def _helper(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    if not JIT:
        return function
    # Helpers are never called from Python, so they need no wrapper for it.
    compiler: Any = njit
    dispatcher = compiler(
        _nrt=False,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        error_model="numpy",
        pipeline_class=_HelperCompiler,
        **options,
    )(function)
    resolve = dispatcher.get_call_template

    def by_plain_types(args: Any, kws: Any) -> Any:
        # Numba would compile a helper anew for every integer literal it is called with.
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return resolve(tuple(types.unliteral(kind) for kind in args), plain)

    dispatcher.get_call_template = by_plain_types
    return dispatcher


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper that becomes part of its caller.

    `forceinline` (LLVM's alwaysinline) keeps compile times sane where `inline="always"` does not; `_nrt=False`
    drops reference counting of array arguments, which costs a factor of five in hot loops (the helper must
    therefore not allocate). `_nrt` is undocumented: Numba is pinned and `benchmarks/` watches it.
    """
    return _helper(function, forceinline=True)


def outline(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper that stays a function of its own: for what is large or rare, so that its callers stay small.

    Like `inline` it must not allocate.
    """
    # Said outright, for Numba would otherwise pass on the forceinline of whichever helper calls it first.
    return _helper(function, forceinline=False)


def in_python(helper: Callable[..., Any]) -> Callable[..., Any]:
    """The Python that a helper is written in: compiled, it cannot be called from Python and would give nonsense."""
    return cast(Callable[..., Any], getattr(helper, "py_func", helper))


def kernel(*signatures: Any, nogil: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An entry point: compiled for these signatures when its module is first imported, then cached.

    With `nogil` it releases the interpreter while it runs, so threads of one process share the cores; a kernel
    that calls back into Python must not.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        if not JIT:
            return function
        use_cache(function)
        collecting = gc.isenabled()
        gc.disable()  # compiling makes little garbage and much that stays: looking through it takes a tenth of the time
        try:
            return njit(list(signatures) or None, cache=True, nogil=nogil, error_model="numpy")(function)
        finally:
            if collecting:
                gc.enable()

    return wrap

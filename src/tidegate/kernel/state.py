"""Passing many arrays to kernels as one word: the address of a table of them.

A NamedTuple of thirty arrays is 250 values to every function it is handed to; Numba copies them, LLVM chokes on
them (a minute to compile), and each array costs 40 ns on the way in from Python. So kernels take the address of a
table (data pointer and shape of each array), typed as a `StateType`: `e.book` then reads one entry of the table
and is the array. Nested NamedTuples are tables within the table.

Without compilation the NamedTuple itself is passed, and the same kernels read the same names.

The table has no lifetime checks: whoever builds it (`table`) keeps the arrays alive while kernels run.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model
from numba.np.arrayobj import populate_array

from tidegate.kernel.jit import JIT

_WORDS = 4  # of a table entry: data pointer and up to three dimensions
MAX_DIMS = 3
FIXED_WIDTH = frozenset(
    ("orders", "xo", "book", "inst", "ring", "ringh", "queue", "finst", "journal", "chain", "rules", "cell", "scope",
     "real", "slot", "commands", "last", "work",
     "plain")
)  # fmt: skip
"""Arrays whose rows are as long in every run as in the example a `StateType` is made of."""


class StateType(types.Type):
    """The Numba type of a state table: the names, types and places of its arrays.

    Trailing dimensions listed in `fixed` are compile-time constants, which spares a multiplication an access.
    """

    def __init__(self, name: str, fields: dict[str, tuple[Any, int, tuple[int, ...]]]) -> None:
        self.fields = fields
        spec = ",".join(f"{key}@{place}:{kind}:{fixed}" for key, (kind, place, fixed) in fields.items())
        super().__init__(name=f"State[{name}|{spec}]")


@register_model(StateType)
class _StateModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.IntType(64))


@infer_getattr
class _StateAttributes(AttributeTemplate):
    key = StateType

    def generic_resolve(self, state: StateType, name: str) -> Any:  # type: ignore[override]
        return state.fields[name][0] if name in state.fields else None


@lower_getattr_generic(StateType)
def _lower(context: Any, builder: Any, state: StateType, value: Any, name: str) -> Any:
    kind, place, fixed = state.fields[name]
    if isinstance(kind, StateType):
        return value  # nested fields know their own places in the one table
    word = ir.IntType(64)
    start = builder.inttoptr(value, word.as_pointer())
    nothing = builder.module.add_metadata([])

    def entry(n: int) -> Any:
        loaded = builder.load(builder.gep(start, [ir.Constant(word, place * _WORDS + n)]))
        loaded.set_metadata("invariant.load", nothing)  # tables do not change while a kernel runs
        return loaded

    array = context.make_array(kind)(context, builder)
    item = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    free = kind.ndim - len(fixed)
    shape = [entry(1 + n) if n < free else ir.Constant(word, fixed[n - free]) for n in range(kind.ndim)]
    step: Any = ir.Constant(word, item)
    strides: list[Any] = []
    for size in reversed(shape):
        strides.insert(0, step)
        step = builder.mul(step, size)
    populate_array(
        array,
        data=builder.inttoptr(entry(0), context.get_data_type(kind.dtype).as_pointer()),
        shape=shape,
        strides=strides,
        itemsize=context.get_constant(types.intp, item),
        meminfo=None,
    )
    return array._getvalue()


def _fields(state: Any, place: int, name: str) -> tuple[StateType, int]:
    found: dict[str, tuple[Any, int, tuple[int, ...]]] = {}
    for key, value in zip(state._fields, state, strict=True):
        if isinstance(value, tuple):
            nested, place = _fields(value, place, key)
            found[key] = (nested, place, ())
            continue
        kind = types.Array(numba.from_dtype(value.dtype), value.ndim, "C")
        found[key] = (kind, place, value.shape[-1:] if key in FIXED_WIDTH else ())
        place += 1
    return StateType(name, found), place


def state_type(example: Any) -> Any:
    """The `StateType` of a NamedTuple of arrays (nested ones allowed)."""
    return _fields(example, 0, type(example).__name__)[0] if JIT else None


def _rows(state: Any) -> list[list[int]]:
    rows = []
    for value in state:
        if isinstance(value, tuple):
            rows += _rows(value)
            continue
        if not value.flags.c_contiguous or value.ndim > MAX_DIMS:
            raise ValueError(f"a state array must be C-contiguous with at most {MAX_DIMS} dimensions")
        rows.append([value.ctypes.data, *value.shape, *[0] * (MAX_DIMS - value.ndim)])
    return rows


def table(state: Any) -> npt.NDArray[np.int64]:
    """The table of a NamedTuple of arrays, whose address kernels take (`table.ctypes.data`)."""
    return np.array(_rows(state), np.int64)


def state_at(kind: Any) -> Any:
    """An intrinsic `address -> state` for kernels whose entry takes the table's address as an int64."""
    if not JIT:
        return lambda state: state

    @intrinsic
    def cast(typing: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return args[0]

        return kind(types.int64), code

    return cast

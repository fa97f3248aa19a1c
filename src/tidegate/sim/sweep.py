"""Parameter sweeps: one configuration over a grid of values, spread over the cores of the machine."""

from __future__ import annotations

import datetime
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from tidegate.errors import UserError


@dataclass(frozen=True)
class Point:
    """One run of a sweep: the values set, and what came of it (`report.summary`), or why it failed."""

    values: dict[str, Any]
    summary: dict[str, Any]
    error: str = ""


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """`strategies.maker.params.gamma=0.1,0.2` to its dotted key and values (numbers where they read as such)."""
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise UserError(f"--sweep {text!r}: write KEY=VALUE,VALUE,…")
    return key.strip(), [parse_value(item.strip()) for item in values.split(",")]


def parse_value(text: str) -> Any:
    """A value as TOML would read it, else text."""
    import tomllib

    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
    return text if isinstance(value, datetime.date | datetime.time) else value


def grid(axes: list[tuple[str, list[Any]]]) -> Iterator[dict[str, Any]]:
    """Every combination, the last axis fastest."""
    names = [name for name, _ in axes]
    for values in itertools.product(*(values for _, values in axes)):
        yield dict(zip(names, values, strict=True))


def sweep(
    axes: list[tuple[str, list[Any]]], run: Callable[[dict[str, Any]], dict[str, Any]],
    progress: Callable[[int], None], workers: int | None = None,
) -> list[Point]:  # fmt: skip
    """Run every point in processes of their own; points come back in the grid's order.

    `run` is a picklable function from overrides to a summary. A point that fails keeps its error, the rest go on.
    """
    points = list(grid(axes))
    found: dict[int, Point] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count() or 1, mp_context=context) as pool:
        futures = {pool.submit(run, values): n for n, values in enumerate(points)}
        for done, future in enumerate(as_completed(futures), 1):
            number = futures[future]
            error = future.exception()
            if isinstance(error, UserError):
                raise error
            found[number] = Point(
                points[number],
                {} if error else future.result(),
                f"{type(error).__name__}: {error}" if error else "",
            )
            progress(done)
    return [found[n] for n in range(len(points))]

"""docs/risk.md names every breaker, every parameter, and their defaults as they are."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tidegate.risk.breakers.settings import BreakerSettings
from tidegate.risk.dynamic import DynamicSettings
from tidegate.risk.limits import Duration, Percent

PAGE = (Path(__file__).parents[2] / "docs" / "risk.md").read_text()


def shown(value):
    """A default as the page writes it."""
    if isinstance(value, Percent):
        return f"{value * 100:f}".rstrip("0").rstrip(".") + "%"
    if isinstance(value, Duration):
        seconds = value / 1e9
        return f"{seconds / 60:g}m" if seconds > 60 else f"{seconds:g}s"
    if value == float("inf"):
        return "unlimited"
    return f"{value:g}" if isinstance(value, float) else str(value) if value != {} else "none"


@pytest.mark.parametrize("name", BreakerSettings.__struct_fields__)
def test_a_breakers_row_has_its_parameters_and_defaults(name):
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    rule = getattr(BreakerSettings(), name)
    for field in type(rule).__struct_fields__:
        assert f"`{field}` {shown(getattr(rule, field))}" in row.rpartition(" | ")[2], field


def test_dynamic_limits_keys_and_defaults_are_on_the_page():
    section = PAGE.partition("## Dynamic limits")[2].partition("\n## ")[0]
    settings = DynamicSettings()
    for field in msgspec.structs.fields(DynamicSettings):
        (row,) = [
            line
            for line in section.splitlines()
            if line.startswith("| `") and f"`{field.name}`" in line.split("|")[1]
        ]
        assert shown(getattr(settings, field.name)) in row.split("|")[3], field.name

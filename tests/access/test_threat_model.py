"""The threat model names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

from tidegate.access.policy import POLICY

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "security.md"


def test_every_test_that_the_threat_model_names_exists():
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE.read_text()))
    there: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        there |= set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    assert len(named) > 60
    assert named - there == set()


def test_every_threat_names_a_control_and_a_test():
    text = PAGE.read_text().partition("## Threats, controls, proofs")[2].partition("\n## ")[0]
    rows = [
        line.strip("|").split("|")
        for line in text.splitlines()
        if line.startswith("| ") and "---" not in line
    ]
    assert len(rows) > 30
    for threat, control, tests in rows[1:]:
        assert control.strip(), threat
        assert "`test_" in tests, threat


def test_the_page_says_who_may_do_what():
    """Its table of commands is the policy's."""
    table = PAGE.read_text().partition("| command |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    said = {
        name: (role, int(people[0]))
        for names, role, people in rows
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    assert said == {do: (rule.role.label, rule.people) for do, rule in POLICY.items()}

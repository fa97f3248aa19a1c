"""The key under which compiled code is cached: it changes with every source the code rests on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tidegate.kernel
from tidegate.kernel.jit import JIT, cache_root, source_hash

KERNEL = Path(tidegate.kernel.__file__ or "").parent

STEP = """
from tidegate.strategy.compiled import compiled
{imports}

@compiled
def step(e, s, kind):
    e.memory[s, 0] = {value}
"""


def hash_of(folder: Path, **sources: str) -> str:
    """The hash of `strategy.py` beside these other sources."""
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)
    source_hash.cache_clear()
    return source_hash(folder / "strategy.py")


@pytest.mark.parametrize(
    "imports",
    [
        "from helpers import LEVEL",
        "from helpers import (\n    LEVEL,\n)",
        "import helpers as h",
        "from helpers import LEVEL as L",
    ],
)
def test_an_edited_module_beside_a_strategy_is_noticed(tmp_path, imports):
    step = STEP.format(imports=imports, value=1)
    first = hash_of(tmp_path, strategy=step, helpers="from deeper import LEVEL", deeper="LEVEL = 1", other="")
    assert hash_of(tmp_path, helpers="from deeper import LEVEL # again") != first
    assert hash_of(tmp_path, helpers="from deeper import LEVEL", deeper="LEVEL = 2") != first
    assert hash_of(tmp_path, deeper="LEVEL = 1", other="not imported") == first


def test_a_module_reached_by_another_name_is_part_of_the_hash():
    # `from tidegate.kernel import gate_state as g`
    from tidegate.kernel.jit import _imports

    assert KERNEL / "gate_state.py" in _imports(KERNEL / "gate_judge.py")
    assert KERNEL / "exchange.py" in _imports(KERNEL / "local.py")


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_a_step_is_compiled_once_and_again_when_what_it_imports_has_changed(tmp_path):
    (tmp_path / "strategy.py").write_text(STEP.format(imports="from helpers import LEVEL", value="LEVEL"))
    cache = tmp_path / "cache" / "kernels"
    cache.mkdir(parents=True)
    for ready in (cache_root() / "kernels").iterdir():  # tidegate's own kernels need no second compilation
        (cache / ready.name).symlink_to(ready)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from strategy import step; print(step.address() != 0)"
    )

    def compiled_files(level: int) -> set[Path]:
        (tmp_path / "helpers.py").write_text(f"LEVEL = {level}")
        done = subprocess.run(
            [sys.executable, "-B", "-c", code, str(tmp_path)], capture_output=True, text=True, check=True,
            env=os.environ | {"TIDEGATE_CACHE": str(tmp_path / "cache")},
        )  # fmt: skip
        assert done.stdout == "True\n"
        return set(cache.glob("strategy-*/**/*.nbc"))

    first = compiled_files(1)
    assert len(first) == 1
    assert compiled_files(1) == first
    assert len(compiled_files(2)) == 2

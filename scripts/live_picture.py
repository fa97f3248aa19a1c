"""The picture of the live view in the README: a running system as `tidegate up` shows it on a terminal.

    tidegate up examples/demo.toml --data /tmp/demo          # and a minute later, from another shell:
    python scripts/live_picture.py /tmp/demo --title "tidegate up examples/demo.toml"

Needs chromium on the path.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tidegate.model.clock import SystemClock
from tidegate.ops.folder import DataFolder
from tidegate.ops.snapshot import Looker
from tidegate.ops.view import screen

WIDTH = 120
OUT = Path(__file__).parents[1] / "docs" / "pictures" / "live.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--title", default="tidegate up")
    parser.add_argument("--name", default="demo")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    looker = Looker(DataFolder(args.data), SystemClock())
    for _ in range(3):  # rates are differences of two looks
        shot = looker.look()
        time.sleep(1.0)
    console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(screen(shot, args.name, WIDTH))
    drawn = console.export_svg(title=args.title)
    head = drawn[: drawn.index(">", drawn.index("viewBox"))]
    width, height = (round(float(part)) for part in head.split('viewBox="')[1].split('"')[0].split()[2:])
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "live.html"
        page.write_text(f"<style>body{{margin:0}}svg{{display:block}}</style>{drawn}")
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--window-size={width},{height}", f"--screenshot={args.out.resolve()}", page.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip
    print(args.out)


if __name__ == "__main__":
    main()

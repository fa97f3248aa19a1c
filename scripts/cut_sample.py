"""Cut the project's sample out of full captures: the same first stretch of time of each, as it was recorded.

    python scripts/cut_sample.py ../shared/data/binance-2024-08-08 data/sample --seconds 150

Takes the three BTC markets from the start of each file (so that the depth snapshot is in it) to one common
moment of the recorder's clock. Lines are copied byte for byte; the gzip files carry neither time nor name, so
the same cut by the same zlib has the same sha256. Writes README.md with origin, licence and sha256 beside
them.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
from pathlib import Path

CAPTURES = {
    "spot_btcusdt_20240808.gz": "spot, BTCUSDT",
    "usdm_btcusdt_20240808.gz": "USDⓈ-M futures, BTCUSDT linear perpetual",
    "cm_btcusd_perp_20240808.gz": "COIN-M futures, BTCUSD_PERP inverse perpetual",
}
README = """# Sample of real market data

The first {seconds:g} seconds of three Binance markets, recorded at the same time on 2024-08-08 from 23:54
UTC: depth diffs, the depth snapshot, best bid/ask and trades, as raw WebSocket frames with the recorder's
receive times (`docs/data.md` has the format). `make demo` imports it into a lake.

Origin: the examples of the public repository nkaz001/hftbacktest (MIT licence), recorded from Binance's
public streams. Cut by `scripts/cut_sample.py`: every line from the start of each file up to the recorder's
time {end} ns, unchanged. The recorder's clock ran about 1.27 s behind the exchange's; the import
takes that out.

| file | market | lines | bytes | sha256 of the file | sha256 of the capture it was cut from |
|---|---|---|---|---|---|
{rows}
"""


def lines_until(path: Path, end: int) -> list[bytes]:
    """A capture's lines received before `end`, ns."""
    kept = []
    with gzip.open(path, "rb") as file:
        for line in file:
            if int(line.partition(b" ")[0]) >= end:
                break
            kept.append(line)
    return kept


def compress(lines: list[bytes]) -> bytes:
    """The lines as gzip that depends on nothing but them."""
    target = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=9, mtime=0) as file:
        file.writelines(lines)
    return target.getvalue()


def main() -> None:
    """Cut, write, and say how large it became."""
    parser = argparse.ArgumentParser(description="Cut the sample of three BTC markets out of full captures.")
    parser.add_argument("source", type=Path, help="folder of the full captures")
    parser.add_argument("target", type=Path, help="folder to write the sample to")
    parser.add_argument(
        "--seconds", type=float, default=150.0, help="length from the first receive time of all"
    )
    arguments = parser.parse_args()
    starts = []
    for name in CAPTURES:
        with gzip.open(arguments.source / name, "rb") as file:
            starts.append(int(file.readline().partition(b" ")[0]))
    end = min(starts) + int(arguments.seconds * 1e9)
    arguments.target.mkdir(parents=True, exist_ok=True)
    rows, total = [], 0
    for name, market in CAPTURES.items():
        lines = lines_until(arguments.source / name, end)
        data = compress(lines)
        (arguments.target / name).write_bytes(data)
        total += len(data)
        whole = hashlib.sha256((arguments.source / name).read_bytes()).hexdigest()
        mine = hashlib.sha256(data).hexdigest()
        rows.append(f"| {name} | {market} | {len(lines):,} | {len(data):,} | `{mine}` | `{whole}` |")
    text = README.format(seconds=arguments.seconds, end=end, rows="\n".join(rows))
    (arguments.target / "README.md").write_text(text)
    print(f"{total:,} bytes in {len(rows)} files")


if __name__ == "__main__":
    main()

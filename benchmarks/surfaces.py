"""How many surface pairs are rendered a second at 128 px, averaged over the families: 60 on 2 processes is the target.

python benchmarks/surfaces.py        about 15 s; exit 1 below the target
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import _report
from farm.surfaces import render_batch

ROUNDS, PAIRS, SIZE_PX, PROCESSES, TARGET = 5, 128, 128, 2, 60.0


def _render(start: int) -> int:
    return len(render_batch(range(start, start + 16), SIZE_PX)["caption"])


def _warm(_: int) -> None:
    _render(0)
    time.sleep(0.2)  # so that every process gets its share of the warm-up


def main() -> int:
    alone, together = [], []
    _render(0)
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        pool.map(_warm, range(PROCESSES), chunksize=1)
        for index in range(ROUNDS):
            starts = range(index * PAIRS, (index + 1) * PAIRS, 16)
            clock = time.perf_counter()
            done = sum(map(_render, starts))
            alone.append(done / (time.perf_counter() - clock))
            clock = time.perf_counter()
            done = sum(pool.map(_render, starts, chunksize=1))
            together.append(done / (time.perf_counter() - clock))
    figures = {
        "one_process": _report.figure(alone, "pairs/s"),
        "two_processes": _report.figure(together, "pairs/s"),
    }
    _report.write("surfaces", figures, n=ROUNDS * PAIRS)
    rate = figures["two_processes"]["value"]
    verdict = "PASS" if rate >= TARGET else "FAIL"
    print(
        f"{verdict}: {rate:.0f} pairs/s on {PROCESSES} processes at {SIZE_PX} px (target {TARGET:.0f}), "
        f"{figures['one_process']['value']:.0f} on one; median of {ROUNDS} rounds of {PAIRS}"
    )
    return 0 if rate >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())

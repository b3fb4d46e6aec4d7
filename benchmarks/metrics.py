"""Pixel metrics of a large test set: memory, and seconds of AUPRO against two other implementations.

python benchmarks/metrics.py        about 5 min; exit 1 where a bar is missed

- All pixel metrics of 1,000 maps of 512 x 512, one at a time, in a process of its own: below 4 GB at the peak. Once
  with 1 % of all pixels defective, once with 8 %.
- AUPRO of 100 maps, in rounds that take turns: at least 3 times as fast as the MVTec AD evaluation's algorithm (written
  below from its description: components marked one by one, one argsort of all pixels, sums along it) and as
  anomalib's, which runs in an interpreter that has it, named by ``ANOMALIB_PYTHON``; without, it is left out. Equal to
  1e-4. One thread each.
- Seconds of 1,000 resampled test sets, for the six pixel metrics of those 100 maps.
- How often 95 % intervals of AUROC hold the truth, by the number of groups of a toy whose truth is known.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from farm.metrics import PixelScores, auroc, metric_interval, pixel_intervals

MANY, SOME, SIZE_PX, ROUNDS, LIMIT = 1000, 100, 512, 5, 0.3
LARGEST_PX = {"": 40, ".large": 115}  # radius of the largest disc: 1 % and 8 % of all pixels
MOST_GB, LEAST_TIMES, MOST_APART = 4.0, 3.0, 1e-4
GROUPS, REPETITIONS, APART = (20, 60, 200), 400, 1.5

ANOMALIB = """
import sys, time
import numpy, torch
from importlib.metadata import version
from anomalib.metrics.aupro import _AUPRO
torch.set_num_threads(1)
held = numpy.load(sys.argv[1])
maps, masks = torch.from_numpy(held["maps"]), torch.from_numpy(held["masks"])
print("ready", version("anomalib"), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    metric = _AUPRO(fpr_limit=float(sys.argv[2]))
    for one, mask in zip(maps, masks):
        metric.update(one[None], mask[None])
    value = float(metric.compute())
    print(value, time.perf_counter() - start, flush=True)
"""


def main() -> int:
    cv2.setNumThreads(1)
    figures: dict[str, _report.Figure] = {}
    for name, radius in LARGEST_PX.items():
        print(f"{MANY} maps, discs up to {radius} px", flush=True)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak, seconds, share = pool.apply(_all_metrics, (MANY, radius))
        figures[f"peak{name}"] = _report.figure([peak], "GB")
        figures[f"all_metrics{name}"] = _report.figure([seconds], "s")
        figures[f"defective{name}"] = _report.figure([100 * share], "%")
    maps, masks = (np.stack(part) for part in zip(*photographs(SOME, LARGEST_PX[""]), strict=True))
    figures |= _against(maps, masks, os.environ.get("ANOMALIB_PYTHON"))
    start = time.perf_counter()
    pixel_intervals(_held(zip(maps, masks, strict=True)))
    figures["intervals"] = _report.figure([time.perf_counter() - start], "s")
    for groups in GROUPS:
        print(f"coverage with {groups} groups", flush=True)
        figures[f"coverage.{groups}"] = _report.figure([100 * _coverage(groups)], "%")
    _report.write("metrics", figures, n=MANY)
    missed = [name for name, figure in figures.items() if not _passes(name, figure["value"])]
    times = {name: figure["value"] for name, figure in figures.items() if name.startswith("times")}
    print(
        f"{'FAIL: ' + ', '.join(missed) if missed else 'PASS'}: peak {figures['peak']['value']} GB, large defects "
        f"{figures['peak.large']['value']} GB; AUPRO {times} times as fast; median of {ROUNDS} rounds of {SOME} maps"
    )
    return 1 if missed else 0


def _passes(name: str, value: float) -> bool:
    """Whether a figure that has a bar is within it."""
    if name.startswith("peak"):
        return value < MOST_GB
    if name.startswith("times"):
        return value >= LEAST_TIMES
    return not name.startswith("apart") or value <= 1e6 * MOST_APART


def photographs(count: int, largest_px: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps float32 and masks uint8 (SIZE_PX, SIZE_PX): smooth noise, raised over discs; every third is good."""
    for number in range(count):
        random = np.random.default_rng(number)
        mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        for _ in range(random.integers(1, 5) if number % 3 else 0):
            place = tuple(random.integers(20, SIZE_PX - 20, 2).tolist())
            cv2.circle(mask, place, int(random.integers(4, largest_px)), 1, -1)
        noise = cv2.GaussianBlur(random.random(mask.shape, np.float32), (0, 0), 3)
        yield noise + 0.06 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 5), mask


def _held(photos: Iterable[tuple[np.ndarray, np.ndarray]]) -> PixelScores:
    scores = PixelScores()
    for one, mask in photos:
        scores.add(one, mask)
    return scores


def _all_metrics(count: int, largest_px: int) -> tuple[float, float, float]:
    """(peak memory of this process in GB, seconds without drawing the maps, share of defective pixels)."""
    scores, seconds = PixelScores(), 0.0
    for one, mask in photographs(count, largest_px):
        start = time.perf_counter()
        scores.add(one, mask)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    counts = scores.counts()
    counts.metrics(LIMIT)
    seconds += time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return peak, seconds, counts.ranking.positives / (counts.ranking.positives + counts.ranking.negatives)


def _against(maps: np.ndarray, masks: np.ndarray, python: str | None) -> dict[str, _report.Figure]:
    """Seconds of AUPRO, how many times as fast ours is in the same round, and how far apart the values are (1e-6)."""

    def timed(aupro: Callable[[], float]) -> Callable[[], tuple[float, float]]:
        def run() -> tuple[float, float]:
            start = time.perf_counter()
            return aupro(), time.perf_counter() - start

        return run

    runs = {
        "ours": timed(lambda: _held(zip(maps, masks, strict=True)).counts().aupro(LIMIT)),
        "reference": timed(lambda: reference_aupro(maps, masks)),
    }
    with tempfile.TemporaryDirectory() as folder:
        if python:
            name, runs_there = _anomalib(python, Path(folder) / "maps.npz", maps, masks)
            runs[name] = runs_there
        rounds = []
        for number in range(ROUNDS):
            rounds.append({name: run() for name, run in runs.items()})
            told = ", ".join(f"{name} {seconds:.2f} s" for name, (_, seconds) in rounds[-1].items())
            print(f"round {number + 1}: {told}", flush=True)
    figures = {f"aupro.{name}": _report.figure([one[name][1] for one in rounds], "s") for name in runs}
    for name in [name for name in runs if name != "ours"]:
        figures[f"times.{name}"] = _report.figure([one[name][1] / one["ours"][1] for one in rounds], "1")
        figures[f"apart.{name}"] = _report.figure([1e6 * abs(one[name][0] - one["ours"][0]) for one in rounds], "1e-6")
    return figures


def _anomalib(
    python: str, path: Path, maps: np.ndarray, masks: np.ndarray
) -> tuple[str, Callable[[], tuple[float, float]]]:
    """("anomalib <version>", a round in its interpreter, which waits for the next one between rounds)."""
    np.savez(path, maps=maps, masks=masks)
    pipe = subprocess.PIPE
    child = subprocess.Popen([python, "-c", ANOMALIB, str(path), str(LIMIT)], stdin=pipe, stdout=pipe, text=True)

    def answer() -> list[str]:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise SystemExit(f"{python} ended with {child.wait()}; does it have anomalib?")
        return line.split()

    def run() -> tuple[float, float]:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        value, seconds = answer()
        return float(value), float(seconds)

    return f"anomalib {answer()[1]}", run


def reference_aupro(maps: np.ndarray, masks: np.ndarray) -> float:
    """AUPRO as the MVTec AD evaluation describes it: what each pixel adds to FPR and PRO, sorted and summed."""
    alarms, overlap = np.zeros(maps.shape, np.uint32), np.zeros(maps.shape)
    regions = good = 0
    for number, mask in enumerate(masks):
        numbered, found = ndimage.label(mask, np.ones((3, 3), int))
        alarms[number][numbered == 0] = 1
        good += int((numbered == 0).sum())
        regions += found
        for region in range(1, found + 1):
            member = numbered == region
            overlap[number][member] = 1 / member.sum()
    order = np.argsort(maps, axis=None)[::-1]
    scores = maps.reshape(-1)[order]
    last = np.append(np.diff(scores) != 0, True)
    fpr = np.append(0, np.cumsum(alarms.reshape(-1)[order])[last] / good)
    pro = np.append(0, np.cumsum(overlap.reshape(-1)[order])[last] / regions)
    end = int(np.searchsorted(fpr, LIMIT, side="right"))
    share = (LIMIT - fpr[end - 1]) / (fpr[end] - fpr[end - 1])
    height = pro[end - 1] + share * (pro[end] - pro[end - 1])
    return float(np.trapezoid(np.append(pro[:end], height), np.append(fpr[:end], LIMIT)) / LIMIT)


def _coverage(groups: int) -> float:
    """How often the interval of AUROC holds the truth; groups of 4 photographs share 0.8 of a score's variance."""
    truth, held = NormalDist().cdf(APART / math.sqrt(2)), 0
    labels, member = np.repeat(np.arange(groups) % 2, 4), np.repeat(np.arange(groups), 4)
    for repetition in range(REPETITIONS):
        random = np.random.default_rng(repetition)
        own, shared = random.normal(0, math.sqrt(0.2), member.size), random.normal(0, math.sqrt(0.8), groups)
        low, high = metric_interval(auroc, APART * labels + shared[member] + own, labels, member, draws=200)
        held += low <= truth <= high
    return held / REPETITIONS


if __name__ == "__main__":
    sys.exit(main())

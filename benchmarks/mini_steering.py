"""Does the embedded diffusion model paint what its caption says? The embedded CLIP is asked, without training for it.

python benchmarks/mini_steering.py [--each 16]      pictures a surface, half of them with a defect

Captions are those of held-out renders. Two questions of each picture: which surface, and defect or none. The renders
themselves are asked about too: a generated picture cannot be expected to do better than what the classifier reads in
them. Accuracy of surfaces; balanced accuracy (mean over both answers) of defects; 95 % bootstrap over
pictures. Bar: 80 % of generated pictures, for both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks.mini_pictures import FIRST_SEED, KINDS, arguments, held_out, number, sampler, surfaces
from farm.ids import generator

OFFSET = 100_000  # of the rows, so that no picture of mini_kid is met again
DRAWS = 1000
BAR = 0.8  # of generated pictures, for both questions


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--each", type=int, default=16, help="pictures of each surface")
    given = parser.parse_args()
    from farm.config import ComputeConfig
    from farm.mini.zero_shot import load_zero_shot

    among = surfaces()
    first = OFFSET - OFFSET % len(among)
    told = held_out(first, given.each // len(KINDS) * len(among), among)
    captions = [text for kind in KINDS for text in told[kind].captions]
    names = np.array([name for kind in KINDS for name in told[kind].surfaces])
    defective = np.repeat([kind == "defect" for kind in KINDS], len(captions) // len(KINDS))
    print(f"{len(captions)} pictures of {len(among)} surfaces on {given.processes} processes", flush=True)
    start = FIRST_SEED + first
    made = sampler(given)(captions, range(start, start + len(captions)))
    judge, figures = load_zero_shot(ComputeConfig(batch_size=32)), dict[str, Any]()
    for source, images in (("generated", made), ("real", np.concatenate([told[kind].images for kind in KINDS]))):
        print(f"asking about {source} pictures", flush=True)
        right = np.array(judge.names(images)) == names
        figures |= measure(source, right, np.asarray(judge.defective(images), bool), defective, names)
    _report.write("mini_steering", figures, n=len(captions))
    values = {name: f"{figure['value']:.1%}" for name, figure in figures.items()}
    shown = "; ".join(
        f"{source}: surface {values[f'{source}.surface']}, defect {values[f'{source}.defect']}"
        for source in ("generated", "real")
    )
    missed = [name for name in ("surface", "defect") if figures[f"generated.{name}"]["value"] < BAR]
    print(f"{f'FAIL ({missed})' if missed else 'PASS'}: {shown}; {len(captions)} pictures of each")
    return 1 if missed else 0


def measure(
    source: str, right: np.ndarray, said: np.ndarray, defective: np.ndarray, names: np.ndarray
) -> dict[str, Any]:
    """The figures of one source of pictures; all arrays are (N,)."""

    def surface(rows: np.ndarray) -> float:
        return float(right[rows].mean())

    def defect(rows: np.ndarray) -> float:
        return balanced(said[rows], defective[rows])

    figures = {
        f"{source}.surface": number(surface(np.arange(len(right))), "1", *interval(surface, len(right))),
        f"{source}.defect": number(balanced(said, defective), "1", *interval(defect, len(right))),
    }
    for name in dict.fromkeys(names.tolist()):
        rows = np.flatnonzero(names == name)
        figures[f"{source}.surface.{name}"] = number(surface(rows), "1")
        figures[f"{source}.defect.{name}"] = number(defect(rows), "1")
    return figures


def balanced(said: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the shares of true and of false rows that are said rightly; nan unless both are there."""
    if truth.all() or not truth.any():
        return float("nan")
    return float((said[truth].mean() + (~said[~truth]).mean()) / 2)


def interval(metric: Callable[[np.ndarray], float], count: int) -> tuple[float, float]:
    """The middle 95 % of ``metric`` over resampled rows."""
    random = generator(0, "steering interval")
    found = [metric(random.integers(0, count, count)) for _ in range(DRAWS)]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())

"""Adapting the decoder to each image: the farm's way against one by one with plain AdamW, on real photographs.

python benchmarks/adapt.py --data FOLDER [--n 8]     (the folder of bsdata_pitting and magnetic_tile; ten minutes)

Normal test photographs with a dark disc pasted in the latents; both ways minimise the same loss (card 004 section 5).
One by one takes the paper's 200 iterations at 1e-4 (Li et al., arXiv 2402.19330). Background error: mean square
outside the mask, of [-1, 1], relative to before. Bar: at least four times as many images a second, at a background
error no higher than one by one's (median of the images). ``low`` and ``high`` are the extremes of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks.mini_autoencoder import SIDE, read
from benchmarks.mini_pictures import number
from farm.config import AdaptConfig, ComputeConfig, ModelConfig
from farm.diffusion.adapt import Adaptation, adapt_and_decode, adapt_one_by_one
from farm.diffusion.backbone import load_backbone
from farm.diffusion.latents import to_unit

SETS = ("bsdata_pitting", "magnetic_tile")
PAPER = AdaptConfig(iterations=200, lr=1e-4)
RADIUS_PX, LEAST = 9, 4.0
Adapt = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Adaptation]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--n", type=int, default=8, help="photographs of each set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    backbone = load_backbone(ModelConfig(), ComputeConfig(threads=given.threads))
    ways: dict[str, Adapt] = {
        "one_by_one": lambda z, x, m: adapt_one_by_one(backbone.vae, z, x, m, PAPER),
        "farm": lambda z, x, m: adapt_and_decode(backbone.vae, z, x, m, AdaptConfig()),
    }
    figures, missed = dict[str, Any](), list[str]()
    for name in SETS:
        sources = read(given.data / name / "test" / "good")
        sources = sources[np.linspace(0, len(sources) - 1, given.n).astype(int)]
        z, mask = pasted(backbone.encode, sources)
        x_ok = to_unit(sources).to(z)
        found = {way: rounds(partial(adapt, z, x_ok, mask), given.rounds) for way, adapt in ways.items()}
        faster = [slow / fast for slow, fast in zip(found["one_by_one"][0], found["farm"][0], strict=True)]
        for way, (seconds, facts) in found.items():
            each = [one / given.n for one in seconds]
            figures[f"{name}.{way}.seconds"] = number(float(np.median(each)), "s", min(each), max(each))
            share = (facts.after / facts.before).numpy()
            figures[f"{name}.{way}.background"] = number(float(np.median(share)), "1", share.min(), share.max())
        figures[f"{name}.faster"] = number(float(np.median(faster)), "1", min(faster), max(faster))
        after, before = (figures[f"{name}.{way}.background"]["value"] for way in ("farm", "one_by_one"))
        print(f"{name}: {np.median(faster):.1f} times as fast, background error {after} against {before}", flush=True)
        if np.median(faster) < LEAST or after > before:
            missed.append(name)
    _report.write("adapt", figures, n=len(SETS) * given.n)
    print(f"FAIL: {', '.join(missed)}" if missed else "PASS")
    return 1 if missed else 0


def pasted(encode: Callable[[np.ndarray], Tensor], sources: np.ndarray) -> tuple[Tensor, Tensor]:
    """Latents (N, C, h, w) of the photographs with a dark disc in the middle, and its mask, bool (N, H, W)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = (y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2 <= RADIUS_PX**2
    changed = np.where(disc[..., None], sources // 3, sources)
    return encode(changed), torch.from_numpy(disc).expand(len(sources), -1, -1)


def rounds(adapt: Callable[[], tuple[Tensor, Adaptation]], count: int) -> tuple[list[float], Adaptation]:
    """Seconds of each round, and what the last one did."""
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        _, facts = adapt()
        seconds.append(time.perf_counter() - begun)
    return seconds, facts


if __name__ == "__main__":
    sys.exit(main())

"""What the benchmarks of the embedded diffusion model share: held-out renders, and pictures made from their captions.

No training used a seed from FIRST_SEED on. Surfaces are the focus of the recipe, in turn: row i shows surface i mod F.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import load_backbone
from farm.mini.recipe import load_recipe
from farm.mini.sampling import sample
from farm.surfaces import SURFACES, render

FIRST_SEED, SIDE_PX, BATCH = 900_000_000, 128, 8
KINDS = {"normal": ("normal", "normal_caption"), "defect": ("image", "caption")}  # attributes of a rendered pair


@dataclass(frozen=True)
class Sampler:
    """How pictures are made, and by how many processes of one thread each."""

    steps: int = 20
    guidance: float = 3.0
    dtype: str = "float32"
    processes: int = 2

    def __call__(self, captions: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """uint8 (B, 128, 128, 3), the same bytes for any number of processes."""
        starts = range(0, len(captions), BATCH)
        jobs = [(self, captions[i : i + BATCH], [int(seed) for seed in seeds[i : i + BATCH]]) for i in starts]
        with multiprocessing.get_context("spawn").Pool(self.processes) as pool:
            return np.concatenate(pool.map(_make, jobs, chunksize=1))


def _make(job: tuple[Sampler, Sequence[str], Sequence[int]]) -> np.ndarray:
    """One batch; the backbone is loaded once a process."""
    given, captions, seeds = job
    backbone = load_backbone(ModelConfig(), ComputeConfig.model_validate({"dtype": given.dtype, "threads": 1}))
    return sample(
        backbone, captions, seeds, steps=given.steps, guidance=given.guidance, size_px=SIDE_PX, batch_size=BATCH
    )


def arguments(told: str) -> argparse.ArgumentParser:
    """A parser with the sampler's settings."""
    usual = Sampler()
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--guidance", type=float, default=usual.guidance)
    parser.add_argument("--dtype", default=usual.dtype, choices=("float32", "bfloat16"))
    parser.add_argument("--processes", type=int, default=usual.processes)
    return parser


def sampler(given: argparse.Namespace) -> Sampler:
    """The sampler that the arguments ask for."""
    return Sampler(given.steps, given.guidance, given.dtype, given.processes)


def surfaces() -> tuple[str, ...]:
    """What the noise predictor learned, by the recipe; all there are where the recipe names none."""
    return load_recipe(_report.ROOT / "farm" / "mini" / "recipe.yaml").pool.focus or tuple(SURFACES)


@dataclass(frozen=True)
class Renders:
    """Held-out pictures of one kind (normal or defect) with their captions; row i shows ``surfaces[i]``."""

    images: np.ndarray  # uint8 (N, 128, 128, 3)
    captions: list[str]
    surfaces: list[str]


def held_out(first: int, count: int, among: Sequence[str]) -> dict[str, Renders]:
    """Rows ``first`` to ``first + count`` of the held-out renders, of both kinds: one pair each."""
    names = [among[row % len(among)] for row in range(first, first + count)]
    pairs = [render(FIRST_SEED + first + row, SIDE_PX, name) for row, name in enumerate(names)]
    return {
        kind: Renders(np.stack([getattr(pair, image) for pair in pairs]), [getattr(p, text) for p in pairs], names)
        for kind, (image, text) in KINDS.items()
    }


def number(value: float, unit: str, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """A figure of the report; without a spread, ``low`` and ``high`` are None."""
    spread = {"low": low, "high": high}
    rounded = {key: None if x is None else round(float(x), 5) for key, x in {"value": value, **spread}.items()}
    return {**rounded, "unit": unit}

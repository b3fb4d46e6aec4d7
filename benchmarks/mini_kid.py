"""How near the pictures of the embedded diffusion model are to renders that it never saw: KID, FID and diversity.

python benchmarks/mini_kid.py [--generated 500] [--real 1000] [--grid]      about 2 s of one core a generated picture

``generated`` renders lend their captions, each for one generated picture; ``real`` other renders are what both are
compared with, so that "generated" and "real" below are sets of one size against one and the same third set. Features:
EfficientNet-Lite0 (ImageNet), not Inception, so that the numbers compare with none in the literature. The round trip
of the lending renders through the autoencoder shows what decoding alone costs. Bar, for normals and for defects:
KID <= 2 KID of real + 0.01. KID is over all rows; its spread is one standard deviation of 100 subsets of 100.
``--grid`` also writes docs/images/mini_grid.png: surfaces in rows, four normals and four defects each.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks.mini_grid import write_grid
from benchmarks.mini_pictures import FIRST_SEED, KINDS, Renders, arguments, held_out, number, sampler, surfaces
from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import load_backbone
from farm.diffusion.latents import to_pixels
from farm.metrics import cluster_diversity, fid, kid, kid_subsets
from farm.perceptual_features import Features, between

REFERENCES, VARIED = 100, 300  # pictures that open the clusters of the diversity, and pictures that are put in them
SLACK, TIMES = 0.01, 2.0


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--generated", type=int, default=500, help="of each kind")
    parser.add_argument("--real", type=int, default=1000, help="of each kind")
    parser.add_argument("--subsets", type=int, default=100)
    parser.add_argument("--grid", action="store_true")
    given = parser.parse_args()
    among, count = surfaces(), given.generated
    print(f"{count + given.real} held-out pairs of {len(among)} surfaces", flush=True)
    lending, others = held_out(0, count, among), held_out(count, given.real, among)
    captions = [text for kind in KINDS for text in lending[kind].captions]
    print(f"{len(captions)} pictures on {given.processes} processes", flush=True)
    made = sampler(given)(captions, range(FIRST_SEED, FIRST_SEED + len(captions)))
    generated = dict(zip(KINDS, (made[:count], made[count:]), strict=True))
    back = {kind: round_trip(lending[kind].images, given.processes) for kind in KINDS}
    features, figures, missed = Features(given.processes), dict[str, Any](), list[str]()
    for kind in KINDS:
        print(f"features and metrics: {kind}", flush=True)
        found = measure(features, generated[kind], back[kind], lending[kind], others[kind], given.subsets)
        figures |= {f"{kind}.{name}": figure for name, figure in found.items()}
        value, real = found["kid"]["value"], found["kid.real"]["value"]
        if not value <= allowed(real):
            missed.append(f"{kind} KID {value:.4f} > {allowed(real):.4f}")
    _report.write("mini_kid", figures, n=len(captions))
    if given.grid:
        write_grid(_report.ROOT / "docs" / "images" / "mini_grid.png", generated, lending["normal"].surfaces)
    shown = "; ".join(f"{kind} {figures[f'{kind}.kid']['value']:.4f}" for kind in KINDS)
    print(f"{'FAIL: ' + '; '.join(missed) if missed else 'PASS'}: KID {shown}; {count} of each against {given.real}")
    return 1 if missed else 0


def allowed(real: float) -> float:
    """The largest KID that passes, where real pictures have ``real``; that is below 0 by chance now and then."""
    return TIMES * max(real, 0.0) + SLACK


def measure(
    features: Features, made: np.ndarray, back: np.ndarray, lending: Renders, others: Renders, subsets: int
) -> dict[str, Any]:
    """The figures of one kind: generated, real and round trip against ``others``; KID of each surface."""
    third = features.pooled(others.images)
    figures: dict[str, Any] = {}
    for name, images in (("", made), (".real", lending.images), (".round_trip", back)):
        pooled = features.pooled(images)
        deviation = kid_subsets(pooled, third, subsets)[1]
        value = kid(pooled, third)
        figures[f"kid{name}"] = number(value, "1", value - deviation, value + deviation)
        figures[f"fid{name}"] = number(fid(pooled, third), "1")
        if name != ".round_trip":
            figures |= {
                f"surface{name}.{surface}": number(each, "1")
                for surface, each in by_surface(pooled, lending.surfaces, third, others.surfaces).items()
            }
    references = features.perceptual(others.images[:REFERENCES])
    for name, images in (("", made), (".real", lending.images)):
        figures[f"diversity{name}"] = number(diversity(features.perceptual(images[:VARIED]), references), "1")
    return figures


def by_surface(x: np.ndarray, names: Sequence[str], y: np.ndarray, others: Sequence[str]) -> dict[str, float]:
    """KID of the rows of each surface that has two a side, nearest first."""
    owner, other = np.array(names), np.array(others)
    found = {name: kid(x[owner == name], y[other == name]) for name in dict.fromkeys(names)}
    return dict(sorted(((name, value) for name, value in found.items() if value == value), key=lambda pair: pair[1]))


def diversity(rows: np.ndarray, references: np.ndarray) -> float:
    """Mean perceptual distance of pictures that have one nearest reference (``farm.metrics.cluster_diversity``)."""
    apart = between(rows, rows)
    return cluster_diversity(between(rows, references), lambda first, second: apart[first, second])


@torch.no_grad()
def round_trip(images: np.ndarray, threads: int, batch: int = 16) -> np.ndarray:
    """The images (N, H, W, 3) encoded and decoded."""
    backbone = load_backbone(ModelConfig(), ComputeConfig(threads=threads))
    starts = range(0, len(images), batch)
    return np.concatenate([to_pixels(backbone.decode(backbone.encode(images[i : i + batch]))) for i in starts])


if __name__ == "__main__":
    sys.exit(main())

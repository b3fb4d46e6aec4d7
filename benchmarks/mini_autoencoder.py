"""Round trip of the embedded autoencoder on real photographs it never saw.

python benchmarks/mini_autoencoder.py --data FOLDER [--reference FOLDER]

``--data`` is the folder of bsdata_pitting, magnetic_tile and deeppcb. ``--reference`` is that of TAEF2, a tiny
autoencoder for the latents of FLUX.2 (32 channels, 2.7 million weights, learned from photographs at large), measured
beside ours.

Centre crops of 128 px of up to 200 good test photographs a set; PSNR over all their pixels. Bars: 30, 30 and 24 dB.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks.tiny_reference import Reference
from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import load_backbone
from farm.diffusion.latents import to_pixels
from farm.images import decode_image

BARS = {"magnetic_tile": 30.0, "bsdata_pitting": 30.0, "deeppcb": 24.0}
MOST, SIDE, BATCH = 200, 128, 20


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--reference", type=Path)
    given = parser.parse_args()
    backbone = load_backbone(ModelConfig(), ComputeConfig(threads=2))
    ours = {"psnr": lambda images: to_pixels(backbone.decode(backbone.encode(images)))}
    reference = {"reference": Reference(given.reference).round_trip} if given.reference else {}
    figures, missed, n = dict[str, Any](), list[str](), 0
    for name, bar in BARS.items():
        crops = read(given.data / name / "test" / "good")
        for kind, round_trip in {**ours, **reference}.items():
            figures[f"{kind}.{name}"] = psnr(crops, round_trip)
        value = figures[f"psnr.{name}"]["value"]
        n += len(crops)
        if value < bar:
            missed.append(f"{name} {value:.1f} dB < {bar:g}")
    _report.write("mini_autoencoder", figures, n)
    shown = ", ".join(f"{name} {figures[f'psnr.{name}']['value']} dB" for name in BARS)
    print(f"{'FAIL: ' + '; '.join(missed) if missed else 'PASS'}: {shown}; {n} crops")
    return 1 if missed else 0


def read(folder: Path) -> np.ndarray:
    """Centre crops (N, 128, 128, 3) of the photographs that are large enough."""
    crops = []
    for path in sorted(folder.iterdir())[:MOST]:
        image = decode_image(path.read_bytes(), path.name)
        top, left = ((size - SIDE) // 2 for size in image.shape[:2])
        if min(top, left) >= 0:
            crops.append(image[top : top + SIDE, left : left + SIDE])
    return np.stack(crops)


@torch.no_grad()
def psnr(crops: np.ndarray, round_trip: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """PSNR in dB over all pixels, with the worst and the best tenth of the crops."""
    starts = range(0, len(crops), BATCH)
    back = np.concatenate([round_trip(crops[start : start + BATCH]) for start in starts])
    errors = ((back.astype(np.float64) - crops) ** 2).mean(axis=(1, 2, 3))
    found = {"value": errors.mean(), "low": np.quantile(errors, 0.9), "high": np.quantile(errors, 0.1)}
    return {**{name: round(float(10 * np.log10(255**2 / error)), 2) for name, error in found.items()}, "unit": "dB"}


if __name__ == "__main__":
    sys.exit(main())

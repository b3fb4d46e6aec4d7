"""Round trip of the embedded autoencoder on real photographs it never saw.

python benchmarks/mini_autoencoder.py --data FOLDER     (the folder of bsdata_pitting, magnetic_tile and deeppcb)

Centre crops of 128 px of up to 200 good test photographs a set; PSNR over all their pixels. Bars: 30, 30 and 24 dB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import load_backbone
from farm.diffusion.latents import to_pixels
from farm.images import decode_image

BARS = {"magnetic_tile": 30.0, "bsdata_pitting": 30.0, "deeppcb": 24.0}
MOST, SIDE, BATCH = 200, 128, 20


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=Path)
    given = parser.parse_args()
    backbone = load_backbone(ModelConfig(), ComputeConfig(threads=2))
    figures, missed, n = {}, [], 0
    for name, bar in BARS.items():
        crops = read(given.data / name / "test" / "good")
        each = [psnr(crops[i : i + BATCH], backbone) for i in range(0, len(crops), BATCH)]
        errors = np.concatenate(each)
        low, high = (10 * np.log10(255**2 / np.quantile(errors, q)) for q in (0.9, 0.1))
        value = 10 * np.log10(255**2 / errors.mean())
        numbers = {key: round(float(number), 2) for key, number in (("value", value), ("low", low), ("high", high))}
        figures[f"psnr.{name}"] = {**numbers, "unit": "dB"}
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
def psnr(images: np.ndarray, backbone: object) -> np.ndarray:
    """Mean squared error (N,) of the round trip, in 8-bit levels."""
    back = to_pixels(backbone.decode(backbone.encode(images)))  # type: ignore[attr-defined]
    return ((back.astype(np.float64) - images) ** 2).mean(axis=(1, 2, 3))


if __name__ == "__main__":
    sys.exit(main())

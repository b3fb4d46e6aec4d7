"""How well DDIM inversion of real photographs comes back: 20 steps, 3 fixed-point rounds each on average, no guidance.

python benchmarks/mini_inversion.py --data FOLDER     (the folder of bsdata_pitting, magnetic_tile and deeppcb)

Centre crops of 128 px of the first ``n`` good test photographs a set, under the empty prompt and under a normal one.
Error: |z - z'| / |z| of the encoded latent z and of z' sampled back from its own inversion, all in float32. Bar: the
median of every set and prompt below 1 %; ``low`` and ``high`` are the best and the worst photograph.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks.mini_autoencoder import read
from benchmarks.mini_pictures import number
from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.ddim import invert_within, sample
from farm.diffusion.schedule import INVERSION_TOLERANCE, Level

PROMPTS = {
    "magnetic_tile": "a photo of a magnetic tile",
    "bsdata_pitting": "a photo of grooved steel",
    "deeppcb": "a photo of a black and white circuit board",
}
BAR, BATCH = 0.01, 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--n", type=int, default=32, help="photographs of each set")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="fixed-point rounds of each step")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    backbone = load_backbone(ModelConfig(), ComputeConfig(threads=given.threads))
    figures, missed, n = dict[str, Any](), list[str](), 0
    for name, caption in PROMPTS.items():
        crops = read(given.data / name / "test" / "good")[: given.n]
        n += len(crops)
        for kind, prompt in (("empty", ""), ("caption", caption)):
            print(f"{name}: {len(crops)} crops under {prompt!r}", flush=True)
            batches = [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)]
            errors = np.concatenate([error(backbone, batch, prompt, given.steps, given.rounds) for batch in batches])
            figures[f"error.{name}.{kind}"] = number(float(np.median(errors)), "1", errors.min(), errors.max())
            if not np.median(errors) < BAR:
                missed.append(f"{name} under {prompt!r} {np.median(errors):.2%}")
    _report.write("mini_inversion", figures, n)
    middle = max(figure["value"] for figure in figures.values())
    worst = max(figure["high"] for figure in figures.values())
    verdict = "FAIL: " + "; ".join(missed) if missed else "PASS"
    print(f"{verdict}: largest median error {middle:.2%} (bar {BAR:.0%}), worst photograph {worst:.2%}; {n} crops")
    return 1 if missed else 0


@torch.no_grad()
def error(backbone: Backbone, images: np.ndarray, prompt: str, steps: int, rounds: int) -> np.ndarray:
    """(B,): |z - z'| / |z| of each image."""
    text, levels = backbone.embed_prompts([prompt] * len(images)), backbone.schedule.levels(steps)

    def predict(z: torch.Tensor, level: Level) -> torch.Tensor:
        return backbone.predict(z, level.time, text)

    z = backbone.encode(images)
    trajectory, _ = invert_within(predict, z, levels, rounds, INVERSION_TOLERANCE)
    back = sample(predict, trajectory[:, -1], levels)
    return ((back - z).flatten(1).norm(dim=1) / z.flatten(1).norm(dim=1)).numpy()


if __name__ == "__main__":
    sys.exit(main())

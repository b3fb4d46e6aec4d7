"""Does the second stage pay on a toy where the answer is known (card 000, test 7.8)? Pixel AP, mean of three seeds.

Woven squares; "real" defects are soft dark strokes that no rule paints. The generated set has a few such strokes;
unfiltered, half of it is junk: a stroke labelled somewhere else. Expected: two stages beat stage 1 alone, and stage 2
alone with as many steps as both have, and filtered beats unfiltered.

python benchmarks/two_stage_toy.py        about three minutes on one core; exit 1 where one of the three fails
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import cv2
import numpy as np
import pyarrow as pa
import torch

from benchmarks import _report
from farm.config import Run, parse
from farm.detector.feed import Feed
from farm.detector.loop import Loop
from farm.detector.materials import Kept, Materials
from farm.detector.model import build_detector
from farm.detector.predict import Detector
from farm.detector.two_stage import Stage, stage_batch, stage_config
from farm.ids import generator
from farm.images import encode_mask, encode_png
from farm.metrics import average_precision

SEEDS, SIZE, NORMALS, GENERATED, TEST = (0, 1, 2), 64, 24, 24, 40
STEPS1, STEPS2 = 120, 40


def weave(seed: int) -> np.ndarray:
    """A normal square: threads both ways, uneven light, grain."""
    random = generator(seed, "weave")
    y, x = np.mgrid[:SIZE, :SIZE]
    threads = 18 * np.sin(x * 1.1 + random.uniform(0, 6)) + 18 * np.sin(y * 0.9 + random.uniform(0, 6))
    grey = 130 + threads + random.uniform(-15, 15) + random.normal(0, 6, (SIZE, SIZE))
    return np.clip(grey[..., None] + np.array([4, 0, -4]), 0, 255).astype(np.uint8)


def stroke(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A square with a soft dark stroke, and its mask."""
    random = generator(seed, "stroke")
    mask = np.zeros((SIZE, SIZE), np.uint8)
    ends = random.integers(6, SIZE - 6, (2, 2))
    cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 1, int(random.integers(2, 5)))
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)[..., None]
    return np.clip(weave(seed) - random.uniform(18, 45) * soft, 0, 255).astype(np.uint8), mask


def generated(seed: int, junk: bool) -> Kept:
    """The kept images: strokes with their masks; with ``junk`` every second mask belongs to another image."""
    pairs = [stroke(10_000 * (seed + 1) + index) for index in range(GENERATED)]
    masks = [pairs[(index + 7) % GENERATED if junk and index % 2 else index][1] for index in range(GENERATED)]
    images = pa.chunked_array([pa.array([encode_png(image) for image, _ in pairs])])
    return Kept(images, pa.chunked_array([pa.array([encode_mask(mask) for mask in masks])]), (np.arange(GENERATED),))


def settings(seed: int, steps1: int, steps2: int) -> Run:
    stage1, stage2 = {"steps": steps1, "lr": 1e-3}, {"steps": steps2, "lr": 1e-3 if not steps1 else 2e-4}
    return parse(
        {
            "name": "toy",
            "output": "runs/toy",
            "rows": 1,
            "size_px": SIZE,
            "data": {"kind": "textile", "category": "toy"},
            "prompts": {"normal": "a weave", "defects": [{"name": "stroke", "prompt": "a stroke"}]},
            "methods": [{"kind": "rules", "recipes": ["copy_paste", "noise", "scar"]}],
            "train": {"seed": seed, "detector": {"width": 8}, "stage1": stage1, "stage2": stage2},
        },
        "benchmark",
    )


def learn(run: Run, kept: Kept) -> dict[Stage, float]:
    """Both stages one after the other; the pixel AP on real strokes after each."""
    seed = run.train.seed
    normals = np.stack([weave(500 * (seed + 1) + index) for index in range(NORMALS)])
    feed = Feed(run, Materials(normals, (), kept))
    model = build_detector(run.train.detector, seed)
    found: dict[Stage, float] = {}
    for stage in ("stage1", "stage2"):
        config = stage_config(run.train, stage)
        draws = (stage_batch(run.train, stage, step, range(config.batch_size)) for step in range(config.steps))
        Loop(model, config).run(feed(one) for one in draws)
        found[stage] = pixel_ap(model)
    return found


def pixel_ap(model: torch.nn.Module) -> float:
    pairs = [stroke(index) for index in range(TEST)]
    images = np.stack([image for image, _ in pairs] + [weave(100_000 + index) for index in range(TEST)])
    masks = np.stack([mask for _, mask in pairs] + [np.zeros((SIZE, SIZE), np.uint8)] * TEST)
    maps, _ = Detector(model)(images)
    return average_precision(maps, masks)


def main() -> int:
    torch.set_num_threads(1)
    rows: dict[str, list[float]] = {"stage1_only": [], "stage2_only": [], "two_stage": [], "two_stage_unfiltered": []}
    for seed in SEEDS:
        both = learn(settings(seed, STEPS1, STEPS2), generated(seed, junk=False))
        rows["stage1_only"].append(both["stage1"])
        rows["two_stage"].append(both["stage2"])
        rows["two_stage_unfiltered"].append(learn(settings(seed, STEPS1, STEPS2), generated(seed, True))["stage2"])
        alone = settings(seed, 0, STEPS1 + STEPS2)
        alone = alone.model_copy(update={"train": alone.train.model_copy(update={"replay": 0.0})})
        rows["stage2_only"].append(learn(alone, generated(seed, junk=False))["stage2"])
    mean = {name: float(np.mean(values)) for name, values in rows.items()}
    figures = {name: _report.figure([100 * value for value in values], "pixel AP, %") for name, values in rows.items()}
    _report.write("two_stage_toy", figures, n=len(SEEDS))
    good = mean["two_stage"] > max(value for name, value in mean.items() if name != "two_stage")
    shown = ", ".join(f"{name} {100 * value:.1f}" for name, value in mean.items())
    print(f"{'PASS' if good else 'FAIL'}: pixel AP % (mean of {len(SEEDS)} seeds): {shown}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

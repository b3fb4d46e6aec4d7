"""A small dataset in MVTec AD layout: grey brushed plates, some with a disc, and the config that reads it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from farm.config import Run, parse


def plate(seed: int, side: int = 64) -> np.ndarray:
    """A brushed grey plate (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    streaks = cv2.blur(rng.normal(0, 25, (side, side)), (15, 1))
    grey = np.clip(130 + streaks + rng.normal(0, 3, (side, side)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def make_tree(root: Path, train: int = 12, test: int = 4, shots: int = 2, side: int = 64) -> Path:
    """``train`` good plates, ``test`` good and ``shots + test`` plates with a disc and its mask; returns ``root``."""
    for split, count, offset in (("train/good", train, 0), ("test/good", test, 1000)):
        for index in range(count):
            _save(root / split / f"{index:03d}.png", plate(offset + index, side))
    for index in range(shots + test):
        image, mask = plate(2000 + index, side), np.zeros((side, side), np.uint8)
        cv2.circle(mask, (20 + index * 3, 30), 5, 255, -1)
        image[mask > 0] //= 3
        _save(root / "test" / "disc" / f"{index:03d}.png", image)
        _save(root / "ground_truth" / "disc" / f"{index:03d}_mask.png", mask)
    (root / "few_shot.txt").write_text("".join(f"test/disc/{index:03d}.png\n" for index in range(shots)))
    return root


def make_run(root: Path, output: Path, **changes: Any) -> Run:
    """A rules-only run of ten rows over ``make_tree``'s folder, at 64 px; ``changes`` replace top-level settings."""
    tree: dict[str, Any] = {
        "name": "plates",
        "output": str(output),
        "rows": 10,
        "size_px": 64,
        "data": {"kind": "mvtec", "root": str(root), "category": "plate"},
        "prompts": {"normal": "a photo of a plate", "defects": [{"name": "disc", "prompt": "a plate with a disc"}]},
        "compute": {"batch_size": 4},
        "methods": [{"kind": "rules"}],
        "cluster": {"shard_rows": 4, "num_cpus": 4},
    }
    return parse(tree | changes, "tests")


def make_learning_run(root: Path, output: Path, rows: int, round_rows: int, **changes: Any) -> Run:
    """An adaptive budget of two arms: what ``specks`` makes is too small to be kept, most of ``rules`` is kept."""
    specks, rules = {"min_area": 0.0005, "max_area": 0.001}, {"min_area": 0.03, "max_area": 0.1}
    tree: dict[str, Any] = {
        "methods": [
            {"kind": "rules", "name": "specks", "recipes": ["noise"], "masks": specks},
            {"kind": "rules", "recipes": ["noise"], "masks": rules},
        ],
        "embed": {"kind": "pixels"},
        "filter": {"near_duplicate": 1.0, "low_margin": 0.5, "min_changed_area": 0.005},
        "cluster": {"shard_rows": 8, "num_cpus": 4},
        "budget": {"kind": "adaptive", "round_rows": round_rows},
    }
    return make_run(root, output, rows=rows, **(tree | changes))


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)

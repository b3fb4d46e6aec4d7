"""Target masks of planned rows: a real one has the shape of the row's own defect."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from farm.datasets import load_photos
from farm.stages.sources import Sources
from tests.photos import make_run, make_tree, plate


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Two shots of discs, and one of a long scratch."""
    root = make_tree(tmp_path / "plates")
    scratch = np.zeros((64, 64), np.uint8)
    cv2.line(scratch, (10, 32), (50, 32), 255, 2)
    for name, pixels in (("test/Long-Scratch/000.png", plate(77)), ("ground_truth/Long-Scratch/000_mask.png", scratch)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
    with (root / "few_shot.txt").open("a") as file:
        file.write("test/Long-Scratch/000.png\n")
    run = make_run(root, tmp_path / "run", methods=[{"kind": "background_aware", "masks": {"kinds": ["real"]}}])
    return Sources(run, load_photos(run.data))


def elongation(mask: np.ndarray) -> float:
    """Longer over shorter side of the smallest rectangle around a mask."""
    _, sides, _ = cv2.minAreaRect(np.argwhere(mask > 0).astype(np.float32))
    return (max(sides) + 1) / (min(sides) + 1)


def drawn(sources: Sources, defect: str, **changes: Any) -> list[float]:
    row = {"method": "background_aware", "mask_kind": "real", "defect": defect, **changes}
    everywhere = np.ones((64, 64), bool)
    return [elongation(sources.mask({**row, "seed": seed}, everywhere)) for seed in range(12)]


def test_a_real_mask_is_of_a_shot_of_the_rows_defect(sources: Sources) -> None:
    assert max(drawn(sources, "disc")) < 2
    assert min(drawn(sources, "long_scratch")) > 3


def test_a_defect_without_shots_takes_any(sources: Sources) -> None:
    found = drawn(sources, "perlin")
    assert min(found) < 2
    assert max(found) > 3

from pathlib import Path

import pytest

from tests.trees import save_mask, save_photo


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """Three pictures a folder: train/good, test/good, test/crack, test/hole, masks for both, no list."""
    root = tmp_path / "plate"
    for number in range(3):
        for folder in ("train/good", "test/good", "test/crack", "test/hole"):
            save_photo(root / folder / f"{number:03d}.png")
        for defect in ("crack", "hole"):
            save_mask(root / "ground_truth" / defect / f"{number:03d}_mask.png")
    return root


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Three pictures a folder: good, dent and scratch, masks for dent as stem.png and for scratch as stem_mask.png."""
    root = tmp_path / "parts"
    for number in range(3):
        for folder in ("good", "dent", "scratch"):
            save_photo(root / folder / f"{number}.png")
        save_mask(root / "masks" / "dent" / f"{number}.png")
        save_mask(root / "masks" / "scratch" / f"{number}_mask.png")
    return root


@pytest.fixture
def textile(tmp_path: Path) -> Path:
    root = tmp_path / "simulated"
    for number in range(1, 4):
        for folder in ("nominal", "local", "global"):
            save_photo(root / folder / f"textile_{number:04d}.jpg")
    return root

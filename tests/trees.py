"""Small pictures and masks for folder layouts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from farm.config import DataConfig
from farm.datasets import load_photos
from farm.datasets.photo import PhotoSet


def save_photo(path: Path, side: int = 16) -> None:
    """A picture of its own: its pixels are a function of its path's last three parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = [ord(letter) for letter in "/".join(path.parts[-3:])]
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save_mask(path: Path, side: int = 16, filled: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((side, side), np.uint8)
    mask[4:8, 4:8] = 255 * filled
    Image.fromarray(mask).save(path)


def plain_folder(root: Path, dents: Sequence[str] = ("0", "1")) -> Path:
    """A plain folder with five normals (four to learn from), and a dent with its mask for each of ``dents``."""
    for number in range(5):
        save_photo(root / "good" / f"{number}.png")
    for name in dents:
        save_photo(root / "dent" / f"{name}.png")
        save_mask(root / "masks" / "dent" / f"{name}.png")
    return root


def load_folder(root: Path, **changes: Any) -> PhotoSet:
    """The photographs of a plain folder, half of which may be bad; ``changes`` replace settings."""
    settings = {"kind": "folder", "root": str(root), "category": "part", "few_shot": "none", "max_bad_fraction": 0.5}
    return load_photos(DataConfig.model_validate(settings | changes))

"""Miniature trees of published data sets: three pictures of 16 x 16 px a folder, with the masks drawn for them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.trees import save_mask, save_photo

Box = tuple[int, int, int, int]  # top, bottom, left, right

LOCO_DEFECTS: list[dict[str, Any]] = [
    {"defect_name": "missing_pin", "pixel_value": 255, "saturation_threshold": 6, "relative_saturation": False},
    {"defect_name": "broken_pin", "pixel_value": 254, "saturation_threshold": 0.5, "relative_saturation": True},
    {"defect_name": "extra_pin", "pixel_value": 253, "saturation_threshold": 6300, "relative_saturation": False},
]
LOCO_REGIONS: dict[
    str, dict[str, list[tuple[int, Box]]]
] = {  # by defect, by photograph: number and place of each region
    "logical_anomalies": {
        "000": [(255, (0, 4, 0, 4)), (254, (2, 6, 2, 6))],  # they overlap
        "001": [(253, (8, 12, 8, 16))],
        "002": [(255, (0, 2, 0, 2))],
    },
    "structural_anomalies": {name: [(254, (5, 9, 5, 7))] for name in ("000", "001", "002")},
}


def drawn(*boxes: Box, side: int = 16) -> np.ndarray:
    """(side, side) in {0, 1}: 1 inside any of the boxes."""
    mask = np.zeros((side, side), np.uint8)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = 1
    return mask


def save_numbers(path: Path, numbers: Sequence[tuple[int, Box]], side: int = 16) -> None:
    """A mask of numbers: 0, and each number in its box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((side, side), np.uint8)
    for number, box in numbers:
        values[drawn(box, side=side) > 0] = number
    Image.fromarray(values).save(path)


def make_loco(root: Path) -> Path:
    for number in range(3):
        for folder in ("train/good", "validation/good", "test/good"):
            save_photo(root / folder / f"{number:03d}.png")
    for defect, photos in LOCO_REGIONS.items():
        for name, regions in photos.items():
            save_photo(root / "test" / defect / f"{name}.png")
            for place, region in enumerate(regions):
                save_numbers(root / "ground_truth" / defect / name / f"{place:03d}.png", [region])
    (root / "defects_config.json").write_text(json.dumps(LOCO_DEFECTS))
    return root


def make_btad(root: Path, photo: str = ".bmp", mask: str = ".png") -> Path:
    for number in range(3):
        for folder in ("train/ok", "test/ok", "test/ko"):
            save_photo(root / folder / f"{number:04d}{photo}")
        save_mask(root / "ground_truth" / "ko" / f"{number:04d}{mask}")
    return root


def make_ksdd2(root: Path, spare: int = 3) -> Path:
    """Three normals and ``spare`` defects in train/, three of each in test/; a mask for every one."""
    for split, first, defects in (("train", 10000, spare), ("test", 20000, 3)):
        for number in range(3 + defects):
            save_photo(root / split / f"{first + number}.png")
            regions = [] if number < 3 else [(1 if number % 2 else 255, (4, 8, 2, 5))]
            save_numbers(root / split / f"{first + number}_GT.png", regions)
    return root


def make_visa(root: Path, labels: Sequence[str] = ("bent", "melt", "bent,melt"), name: str = "pcb1") -> Path:
    """VisA with one object: two normals train, one is test, and an anomaly has each label. Its folder is given back."""
    images = [f"{name}/Data/Images/Normal/{number:04d}.JPG" for number in range(3)]
    split = [f"{name},{'test' if number == 1 else 'train'},normal,{image}," for number, image in enumerate(images)]
    annotations = [f"{image},normal," for image in images]
    for number, label in enumerate(labels):
        image, mask = f"{name}/Data/Images/Anomaly/{number:03d}.JPG", f"{name}/Data/Masks/Anomaly/{number:03d}.png"
        save_numbers(root / mask, [(1, (0, 2, 0, 2)), (2, (8, 12, 8, 12))])
        images.append(image)
        split.append(f"{name},test,anomaly,{image},{mask}")
        annotations.append(f'{image},"{label}",{mask}')
    for image in images:
        save_photo(root / image)
    (root / "split_csv").mkdir(exist_ok=True)
    (root / "split_csv" / "1cls.csv").write_text("\n".join(["object,split,label,image,mask", *split, ""]))
    (root / name / "image_anno.csv").write_text("\n".join(["image,label,mask", *annotations, ""]))
    return root / name


def make_visa_converted(root: Path) -> Path:
    """An object's folder of VisA_pytorch/1cls."""
    for number in range(3):
        for folder in ("train/good", "test/good", "test/bad"):
            save_photo(root / folder / f"{number:03d}.JPG")
        save_mask(root / "ground_truth" / "bad" / f"{number:03d}.png")
    return root

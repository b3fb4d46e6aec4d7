"""The real sets of the project, where they are: counts as in their READMEs."""

import os
from collections import Counter
from pathlib import Path

import pytest

from farm.config import DataConfig
from farm.datasets import PhotoSet, load_photos, read_mask, read_photo

DATA = Path(os.environ.get("FARM_DATA") or Path(__file__).resolve().parents[3] / ".." / "shared" / "data")


def load(name: str, **changes: object) -> PhotoSet:
    if not (DATA / name).is_dir():
        pytest.skip(f"no real photographs: {name} is neither in FARM_DATA nor in ../shared/data")
    return load_photos(
        DataConfig.model_validate({"kind": "mvtec", "root": str(DATA / name), "category": name} | changes)
    )


@pytest.mark.parametrize(
    ("name", "train", "shots", "test", "groups"),
    [
        ("bsdata_pitting", 544, 63, {None: 142, "pitting": 109}, 15),
        ("cookies", 31, 10, {None: 14, "cracked": 22}, 77),
        (
            "magnetic_tile",
            742,
            139,
            {None: 210, "blowhole": 72, "break": 56, "crack": 36, "fray": 19, "uneven": 64},
            192,
        ),
    ],
)
def test_counts(name: str, train: int, shots: int, test: dict[str | None, int], groups: int) -> None:
    photos = load(name)
    assert (len(photos.train), len(photos.shots)) == (train, shots)
    assert Counter(photo.defect for photo in photos.test) == test
    assert photos.refused == ()
    assert len({photo.group for split in photos.splits().values() for photo in split}) == groups
    assert not {photo.group for photo in photos.shots} & {photo.group for photo in photos.test if not photo.is_good}


def test_close_masks_of_circuit_boards() -> None:
    photos = load("deeppcb", mask_folder="ground_truth_diff", max_train=10, max_test=5)
    assert len(photos.train) == 10
    assert Counter(photo.defect for photo in photos.test).total() == 35
    shot = photos.shots[0]
    assert "ground_truth_diff" in str(shot.mask_path)
    assert read_photo(shot, 64).shape == (64, 64, 3)
    assert read_mask(shot, 64).any()

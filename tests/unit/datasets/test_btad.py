from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.config import DataConfig
from farm.datasets import PhotoSet, load_photos, read_channels, read_mask
from farm.errors import DataError
from tests.layouts import drawn, make_btad
from tests.trees import save_mask, save_photo


def load(root: Path, **changes: Any) -> PhotoSet:
    settings = {"kind": "btad", "root": str(root), "category": root.name, "few_shot": "none"}
    return load_photos(DataConfig.model_validate(settings | changes))


@pytest.mark.parametrize(("photo", "mask"), [(".bmp", ".png"), (".png", ".png"), (".bmp", ".bmp")])
def test_counts_and_masks_whatever_the_formats(tmp_path: Path, photo: str, mask: str) -> None:
    root = make_btad(tmp_path / "01", photo, mask)
    photos = load(root, max_bad_fraction=0.0)
    assert [one.relative for one in photos.train] == [f"train/ok/{n:04d}{photo}" for n in range(3)]
    assert Counter(one.defect for one in photos.test) == {None: 3, "ko": 3}
    for one in (one for one in photos.test if one.defect):
        assert one.mask_path == str(root / "ground_truth" / "ko" / f"{Path(one.path).stem}{mask}")
        assert np.array_equal(read_mask(one, 16), drawn((4, 8, 4, 8)))
    assert photos.licence == "CC BY-NC-SA 4.0"


def test_a_plain_mask_is_one_channel_all_of_which_is_to_be_found(tmp_path: Path) -> None:
    defective = next(photo for photo in load(make_btad(tmp_path / "01")).test if photo.defect)
    found = read_channels(defective)
    assert np.array_equal(found.masks, [drawn((4, 8, 4, 8))])
    assert found.saturations.tolist() == [16.0]


@pytest.mark.parametrize(("count", "shots"), [(1, 1), (2, 1), (3, 1), (4, 1), (9, 3), (10, 3)])
def test_the_first_third_is_few_shot_and_the_rest_is_test(tmp_path: Path, count: int, shots: int) -> None:
    root = make_btad(tmp_path / "01")
    for number in range(3, count):
        save_photo(root / "test" / "ko" / f"{number:04d}.bmp")
        save_mask(root / "ground_truth" / "ko" / f"{number:04d}.png")
    for number in range(count, 3):
        (root / "test" / "ko" / f"{number:04d}.bmp").unlink()
    photos = load(root, few_shot="third")
    assert [photo.relative for photo in photos.shots] == [f"test/ko/{n:04d}.bmp" for n in range(shots)]
    tested = [photo.relative for photo in photos.test if photo.defect]
    assert tested == [f"test/ko/{n:04d}.bmp" for n in range(shots, count)]


def test_a_missing_mask_and_one_of_another_size_are_refused(tmp_path: Path) -> None:
    root = make_btad(tmp_path / "03")
    (root / "ground_truth" / "ko" / "0000.png").unlink()
    save_mask(root / "ground_truth" / "ko" / "0001.png", side=20)
    assert [bad.reason for bad in load(root, max_bad_fraction=0.3).refused] == [
        "ground_truth/ko/0000.png: the mask is missing; draw it, or remove the photograph",
        "ground_truth/ko/0001.png: the mask has 20 x 20 px but its photograph 16 x 16; "
        "a mask must have its photograph's size",
    ]


def test_the_folder_above_is_told_which_are_right(tmp_path: Path) -> None:
    for name in ("01", "02"):
        make_btad(tmp_path / name)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: is not in the BTAD layout; expected train/ok, test/ok and test/ko, with masks as "
        f"ground_truth/ko/<stem>.png or .bmp; found 01, 02. Set data.root to {tmp_path / '01'} or {tmp_path / '02'}"
    )

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from farm.config import DataConfig
from farm.datasets import PhotoSet, load_photos, read_channels, read_mask
from farm.errors import DataError
from tests.layouts import drawn, make_ksdd2, save_numbers
from tests.trees import save_photo


@pytest.fixture
def ksdd2(tmp_path: Path) -> Path:
    return make_ksdd2(tmp_path / "KolektorSDD2")


def load(root: Path, **changes: Any) -> PhotoSet:
    settings = {"kind": "ksdd2", "root": str(root), "category": "ksdd2", "few_shot": "none"}
    return load_photos(DataConfig.model_validate(settings | changes))


def test_an_all_black_mask_means_good_and_the_test_folder_is_the_test(ksdd2: Path) -> None:
    photos = load(ksdd2, few_shot="third")
    assert [photo.relative for photo in photos.train] == [f"train/{n}.png" for n in (10000, 10001, 10002)]
    assert [photo.relative for photo in photos.shots] == ["train/10003.png"]
    assert Counter((photo.relative[:5], photo.defect) for photo in photos.test) == {
        ("test/", None): 3,
        ("test/", "defect"): 3,
    }
    assert photos.licence == "CC BY-NC-SA 4.0"


def test_any_number_but_zero_is_defect(ksdd2: Path) -> None:
    photos = load(ksdd2, few_shot="third")
    for photo in (*photos.shots, *(photo for photo in photos.test if photo.defect)):
        assert np.array_equal(read_mask(photo, 16), drawn((4, 8, 2, 5)))
        assert read_channels(photo).saturations.tolist() == [12.0]


@pytest.mark.parametrize(("count", "shots"), [(1, 1), (2, 1), (3, 1), (4, 1), (9, 3), (10, 3)])
def test_the_first_third_of_the_train_split_is_few_shot_and_its_rest_is_in_no_split(
    tmp_path: Path, count: int, shots: int
) -> None:
    root = make_ksdd2(tmp_path / "set", spare=count)
    photos = load(root, few_shot="third", max_bad_fraction=0.0)
    assert [photo.relative for photo in photos.shots] == [f"train/{10003 + n}.png" for n in range(shots)]
    assert len(photos.train) == 3
    assert len(photos.test) == 6
    assert [one.path for one in photos.refused] == [str(root / f"train/{10003 + n}.png") for n in range(shots, count)]
    assert {one.reason.split(": ")[1] for one in photos.refused} <= {
        "a defect of the train split that data.few_shot does not take; it is neither learned from nor evaluated"
    }


def test_none_and_a_list(ksdd2: Path) -> None:
    photos = load(ksdd2)
    assert photos.shots == ()
    assert len(photos.refused) == 3
    (ksdd2 / "few_shot.txt").write_text("train/10005.png\n")
    listed = load(ksdd2, few_shot="few_shot.txt")
    assert [photo.relative for photo in listed.shots] == ["train/10005.png"]
    (ksdd2 / "few_shot.txt").write_text("test/20003.png\ntrain/10000.png\n")
    with pytest.raises(
        DataError, match=r"2 line\(s\) name no photograph of a defect: test/20003\.png, train/10000.*e\.g\. train/10003"
    ):
        load(ksdd2, few_shot="few_shot.txt")


def test_stray_copies_and_masks_alone_are_refused(ksdd2: Path) -> None:
    save_photo(ksdd2 / "train" / "10001 (copy).png")
    save_numbers(ksdd2 / "test" / "20001_GT - Copy.png", [])
    save_numbers(ksdd2 / "test" / "20900_GT.png", [])
    photos = load(ksdd2, few_shot="third", max_bad_fraction=0.25)
    assert [one.reason for one in photos.refused[:3]] == [
        "train/10001 (copy).png: is a stray copy that the set is published with; remove it",
        "test/20001_GT - Copy.png: is a stray copy that the set is published with; remove it",
        "test/20900_GT.png: is a mask without its photograph; remove it, or copy the photograph again",
    ]
    assert len(photos.train) == 3


def test_a_name_that_is_no_unicode_is_refused_in_words_that_can_be_written(ksdd2: Path) -> None:
    try:
        os.rename(ksdd2 / "train" / "10000.png", os.fsencode(ksdd2) + b"/train/\xe9.png")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    found = [one.reason for one in load(ksdd2, max_bad_fraction=0.25).refused]
    assert found[:2] == [
        "train/10000_GT.png: is a mask without its photograph; remove it, or copy the photograph again",
        "train/\\udce9.png: the name is not Unicode text (UTF-8); rename the file or its folder",
    ]


def test_a_photograph_whose_mask_is_missing_or_broken_is_neither_good_nor_bad(ksdd2: Path) -> None:
    (ksdd2 / "train" / "10000_GT.png").unlink()
    (ksdd2 / "train" / "10001_GT.png").write_bytes(b"no picture")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(
        ksdd2 / "test" / "20004_GT.png"
    )
    save_numbers(ksdd2 / "test" / "20003_GT.png", [(255, (0, 4, 0, 4))], side=20)
    photos = load(ksdd2, max_bad_fraction=0.5)
    assert [one.reason.split("; ")[0] for one in photos.refused[:4]] == [
        "train/10000_GT.png: the mask is missing",
        "train/10001_GT.png: is not a picture that can be read (10 bytes)",
        "test/20004_GT.png: has pixels of mode RGB, not numbers",
        "test/20003_GT.png: the mask has 20 x 20 px but its photograph 16 x 16",
    ]
    assert len(photos.train) == 1


def test_the_folder_above_is_told_which_is_right(ksdd2: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(ksdd2.parent)
    assert str(caught.value) == (
        f"{ksdd2.parent}: is not in the KolektorSDD2 layout; expected train/ and test/, each with <number>.png and its "
        f"mask <number>_GT.png; found KolektorSDD2. Set data.root to {ksdd2}"
    )

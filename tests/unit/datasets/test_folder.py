from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from farm.config import DataConfig
from farm.datasets import PhotoSet, load_photos, read_mask
from farm.errors import DataError
from tests.trees import save_mask, save_photo


def load(root: Path, **changes: Any) -> PhotoSet:
    return load_photos(
        DataConfig(**({"kind": "folder", "root": str(root), "category": "part", "few_shot": "none"} | changes))
    )


def test_counts_and_pairs(plain: Path) -> None:
    photos = load(plain, few_shot="third")
    assert [photo.relative for photo in photos.train] == ["good/0.png", "good/1.png"]
    assert [photo.relative for photo in photos.shots] == ["dent/0.png", "scratch/0.png"]
    assert Counter(photo.defect for photo in photos.test) == {None: 1, "dent": 2, "scratch": 2}
    masks = {photo.relative: photo.mask_path for photo in photos.test}
    assert masks["dent/1.png"] == str(plain / "masks" / "dent" / "1.png")
    assert masks["scratch/2.png"] == str(plain / "masks" / "scratch" / "2_mask.png")
    assert masks["good/2.png"] is None
    assert read_mask(photos.shots[0], 16).sum() == 16


@pytest.mark.parametrize(("count", "train"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (9, 7), (10, 8)])
def test_four_fifths_of_the_normals_train(plain: Path, count: int, train: int) -> None:
    for photo in (plain / "good").iterdir():
        photo.unlink()
    for number in range(count):
        save_photo(plain / "good" / f"{number}.png")
    photos = load(plain)
    assert [photo.relative for photo in photos.train] == [f"good/{n}.png" for n in range(train)]
    assert sum(photo.is_good for photo in photos.test) == count - train


def test_the_split_keeps_a_place_together(tmp_path: Path) -> None:
    root = tmp_path / "screw"
    for place in range(5):
        for day in (1, 2):
            save_photo(root / "good" / f"10{place}_090_20090{day}041126_L.png")
    photos = load(root)
    assert {photo.group for photo in photos.train} == {f"place_10{place}_090" for place in range(4)}
    assert [photo.group for photo in photos.test] == ["place_104_090"] * 2


def test_normal_is_another_name_of_good_and_masks_may_be_absent(plain: Path) -> None:
    (plain / "good").rename(plain / "normal")
    (plain / "masks").rename(plain.parent / "gone")
    photos = load(plain)
    assert photos.train[0].relative == "normal/0.png"
    assert {photo.mask_path for photo in photos.test} == {None}


def test_a_mask_folder_is_no_defect(plain: Path) -> None:
    (plain / "masks").rename(plain / "drawn")
    with pytest.raises(DataError, match=r"parts/other: no such mask folder; found dent, drawn, good, scratch"):
        load(plain, mask_folder="other")
    photos = load(plain, mask_folder="drawn")
    assert {photo.defect for photo in photos.test} == {None, "dent", "scratch"}


def test_a_missing_mask_is_refused_where_masks_exist(plain: Path) -> None:
    save_photo(plain / "hole" / "0.png")
    photos = load(plain, max_bad_fraction=0.2)
    assert [bad.reason for bad in photos.refused] == [
        "masks/hole/0_mask.png: the mask is missing; draw it, or remove the photograph"
    ]
    save_mask(plain / "masks" / "hole" / "0.png")
    assert load(plain).refused == ()


def test_a_missing_folder_is_an_error_that_tells_the_layout(plain: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder; data\.root must hold good/ \(or normal/\) and one"):
        load(plain / "nowhere")
    (plain / "normal").mkdir()
    with pytest.raises(
        DataError, match=r"exactly one of good/ and normal/ must be there; .*found dent, good, masks, n"
    ):
        load(plain)


def test_the_default_list_must_be_there(plain: Path) -> None:
    with pytest.raises(DataError, match=r"few_shot\.txt: the list of few-shot photographs is not there"):
        load(plain, few_shot="few_shot.txt")

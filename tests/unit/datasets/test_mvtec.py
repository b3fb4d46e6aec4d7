import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from farm.config import DataConfig
from farm.datasets import PhotoSet, ShotPhoto, TestPhoto, TrainPhoto, load_photos, read_mask, read_photo
from farm.errors import DataError
from farm.images import decode_image
from tests.trees import save_mask, save_photo


def load(root: Path, **changes: Any) -> PhotoSet:
    return load_photos(
        DataConfig(**({"kind": "mvtec", "root": str(root), "category": "plate", "few_shot": "none"} | changes))
    )


def names(photos: Any) -> list[str]:
    return [photo.relative for photo in photos]


def test_counts_pairs_and_types(mvtec: Path) -> None:
    photos = load(mvtec, few_shot="third")
    assert names(photos.train) == [f"train/good/{n:03d}.png" for n in range(3)]
    assert names(photos.shots) == ["test/crack/000.png", "test/hole/000.png"]
    assert Counter(photo.defect for photo in photos.test) == {None: 3, "crack": 2, "hole": 2}
    assert {type(photo) for photo in photos.train} == {TrainPhoto}
    assert {type(photo) for photo in photos.shots} == {ShotPhoto}
    assert {type(photo) for photo in photos.test} == {TestPhoto}
    for photo in (*photos.shots, *photos.test):
        expected = mvtec / "ground_truth" / str(photo.defect) / f"{Path(photo.path).stem}_mask.png"
        assert photo.mask_path == (None if photo.is_good else str(expected))
    assert photos.refused == ()
    assert photos.category == "plate"


def test_ids_and_fingerprint_name_the_photographs_and_nothing_else(mvtec: Path, tmp_path: Path) -> None:
    one = load(mvtec)
    moved = tmp_path / "elsewhere"
    mvtec.rename(moved)
    two = load(moved)
    assert [photo.photo_id for photo in one.train] == [photo.photo_id for photo in two.train]
    assert all(len(photo.photo_id) == 16 for photo in one.test)
    assert one.fingerprint == two.fingerprint
    assert load(moved, category="other").train[0].photo_id != one.train[0].photo_id
    assert load(moved, few_shot="third").fingerprint != one.fingerprint
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(moved / "test" / "good" / "000.png")
    assert load(moved).fingerprint != one.fingerprint


@pytest.mark.parametrize(("count", "shots"), [(1, 1), (2, 1), (3, 1), (4, 1), (9, 3), (10, 3)])
def test_the_first_third_is_few_shot_and_the_rest_is_test(mvtec: Path, count: int, shots: int) -> None:
    for number in range(count):
        save_photo(mvtec / "test" / "spot" / f"{number}.png")
        save_mask(mvtec / "ground_truth" / "spot" / f"{number}_mask.png")
    photos = load(mvtec, few_shot="third", defects=("spot",))
    assert names(photos.shots) == [f"test/spot/{n}.png" for n in range(shots)]
    tested = [photo.relative for photo in photos.test if not photo.is_good]
    assert tested == [f"test/spot/{n}.png" for n in range(shots, count)]


def test_the_third_takes_whole_tiles(mvtec: Path) -> None:
    for number in (10, 200, 400, 3000, 3100, 9000):  # three tiles: gaps above 250
        save_photo(mvtec / "test" / "blowhole" / f"exp1_num_{number}.png")
        save_mask(mvtec / "ground_truth" / "blowhole" / f"exp1_num_{number}_mask.png")
    photos = load(mvtec, few_shot="third", defects=("blowhole",))
    assert [photo.group for photo in photos.shots] == ["tile_10"] * 3
    assert [photo.group for photo in photos.test if not photo.is_good] == ["tile_3000", "tile_3000", "tile_9000"]


def test_a_list_names_the_few_shot_photographs(mvtec: Path) -> None:
    (mvtec / "few_shot.txt").write_text("# shown\n\ntest/crack/001.png\n./test/hole/002.png\ntest/crack/001.png\n")
    photos = load(mvtec, few_shot="few_shot.txt")
    assert names(photos.shots) == ["test/crack/001.png", "test/hole/002.png"]
    only = load(mvtec, few_shot="few_shot.txt", defects=("hole",))
    assert names(only.shots) == ["test/hole/002.png"]
    assert {photo.defect for photo in only.test} == {None, "hole"}


def test_limits_are_evenly_spaced_and_by_class(mvtec: Path) -> None:
    for number in range(3, 9):
        save_photo(mvtec / "train" / "good" / f"{number:03d}.png")
        save_photo(mvtec / "test" / "good" / f"{number:03d}.png")
    photos = load(mvtec, max_train=3, max_test=2)
    assert names(photos.train) == [f"train/good/{n:03d}.png" for n in (0, 4, 8)]
    assert names(photos.test) == [
        *(f"test/crack/{n:03d}.png" for n in (0, 2)),
        *(f"test/good/{n:03d}.png" for n in (0, 8)),
        *(f"test/hole/{n:03d}.png" for n in (0, 2)),
    ]
    assert names(load(mvtec, max_train=1).train) == ["train/good/000.png"]


def test_numbers_sort_as_numbers(mvtec: Path) -> None:
    for number in (10, 9):
        save_photo(mvtec / "test" / "spot" / f"{number}.png")
        save_mask(mvtec / "ground_truth" / "spot" / f"{number}_mask.png")
    assert names(load(mvtec, few_shot="third", defects=("spot",)).shots) == ["test/spot/9.png"]


def test_another_mask_folder(mvtec: Path) -> None:
    for number in range(3):
        for defect in ("crack", "hole"):
            save_mask(mvtec / "ground_truth_diff" / defect / f"{number:03d}_mask.png")
    photos = load(mvtec, mask_folder="ground_truth_diff")
    assert {Path(str(photo.mask_path)).parts[-3] for photo in photos.test if photo.mask_path} == {"ground_truth_diff"}
    with pytest.raises(
        DataError, match=r"plate/diff: no such mask folder; found ground_truth, ground_truth_diff, test"
    ):
        load(mvtec, mask_folder="diff")


def test_without_masks_there_are_none(mvtec: Path) -> None:
    (mvtec / "ground_truth").rename(mvtec.parent / "gone")
    photos = load(mvtec)
    assert {photo.mask_path for photo in photos.test} == {None}
    defective = next(photo for photo in photos.test if not photo.is_good)
    with pytest.raises(DataError, match=r"000\.png: shows 'crack' but has no mask; only image-level numbers"):
        read_mask(defective, 8)


def test_reading_pixels_and_masks(mvtec: Path) -> None:
    photos = load(mvtec)
    good, crack = (next(photo for photo in photos.test if photo.defect == name) for name in (None, "crack"))
    assert np.array_equal(read_photo(good, 16), decode_image(Path(good.path).read_bytes(), "x"))
    assert read_photo(good, 32).shape == (32, 32, 3)
    assert read_mask(crack, 8).sum() == 4
    assert not read_mask(good, 8).any()
    save_photo(Path(good.path), side=18)
    with pytest.raises(DataError, match="the file has changed since the photographs were loaded"):
        read_photo(good, 16)
    Path(good.path).unlink()
    with pytest.raises(DataError, match="is missing or not a regular file"):
        read_photo(good, 16)


def test_clutter_is_left_aside(mvtec: Path) -> None:
    for name in (".DS_Store", "Thumbs.db"):
        (mvtec / "train" / "good" / name).write_bytes(b"x")
    assert len(load(mvtec, max_bad_fraction=0.0).train) == 3


def reasons(root: Path, **changes: Any) -> list[str]:
    photos = load(root, **({"max_bad_fraction": 1.0} | changes))
    return [bad.reason for bad in photos.refused]


def test_what_is_no_picture_is_refused(mvtec: Path) -> None:
    (mvtec / "train" / "good" / "000.png").write_bytes(b"not a picture")
    (mvtec / "test" / "good" / "sub").mkdir()
    found = reasons(mvtec)
    assert len(found) == 2
    assert found[0].startswith("train/good/000.png: is not a picture that can be read (13 bytes); use PNG")
    assert found[1] == "test/good/sub: is a folder; pictures lie directly in the folder of their class"


def test_too_large_a_picture_is_refused(mvtec: Path) -> None:
    save_photo(mvtec / "train" / "good" / "000.png", side=100)
    found = reasons(mvtec, max_megapixels=0.005)
    assert len(found) == 1
    assert "train/good/000.png: 100 x 100 px are 0.0 megapixels; at most 0.005 are allowed" in found[0]
    with (mvtec / "train" / "good" / "001.png").open("ab") as file:
        file.truncate(1_100_000)
    assert (
        "001.png: is larger than 1 MB, the most that 0.005 megapixels can take"
        in reasons(mvtec, max_megapixels=0.005)[1]
    )


def test_a_mask_of_another_size_is_refused(mvtec: Path) -> None:
    save_mask(mvtec / "ground_truth" / "crack" / "001_mask.png", side=20)
    text = (
        "ground_truth/crack/001_mask.png: the mask has 20 x 20 px but its photograph 16 x 16; "
        "a mask must have its photograph's size"
    )
    assert reasons(mvtec) == [text]


def test_an_empty_mask_is_refused(mvtec: Path) -> None:
    save_mask(mvtec / "ground_truth" / "crack" / "001_mask.png", filled=False)
    (found,) = reasons(mvtec)
    assert found.startswith("ground_truth/crack/001_mask.png: the mask is empty (no pixel above 127); mark the defect")


def test_a_missing_mask_is_refused(mvtec: Path) -> None:
    (mvtec / "ground_truth" / "crack" / "001_mask.png").unlink()
    text = "ground_truth/crack/001_mask.png: the mask is missing; draw it, or remove the photograph"
    assert reasons(mvtec) == [text]


def test_links_and_lines_that_leave_the_root_are_refused(mvtec: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", mvtec / "train" / "good" / "900.png")
    os.symlink(mvtec / "train" / "good" / "ring.png", mvtec / "train" / "good" / "ring.png")
    (mvtec / "few_shot.txt").write_text("test/crack/000.png\n../secret.png\n/etc/passwd\n")
    photos = load(mvtec, few_shot="few_shot.txt", max_bad_fraction=1.0)
    found = {bad.path: bad.reason for bad in photos.refused}
    assert found.pop("../secret.png") == f"few_shot.txt: ../secret.png: leaves {mvtec}; name photographs below it"
    assert found.pop("/etc/passwd").startswith("few_shot.txt: /etc/passwd: leaves")
    left = found.pop(str(mvtec / "train" / "good" / "900.png"))
    assert left == f"train/good/900.png: is a link that leaves {mvtec}; copy the file instead"
    assert list(found) == [str(mvtec / "train" / "good" / "ring.png")]
    assert names(photos.shots) == ["test/crack/000.png"]


def test_a_list_outside_the_root_or_of_wrong_lines_is_an_error(mvtec: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("test/crack/000.png\n")
    for name in ("../list.txt", "missing.txt"):
        with pytest.raises(DataError, match=r"the list of few-shot photographs is not there; .* 'third' .* or 'none'"):
            load(mvtec, few_shot=name)
    (mvtec / "few_shot.txt").write_text("test/crack/000.png\ntest/crack/77.png\ntrain/good/000.png\n")
    text = (
        r"2 line\(s\) name no photograph of a defect: test/crack/77\.png, train/good/000\.png\. .*e\.g\. test/crack/000"
    )
    with pytest.raises(DataError, match=text):
        load(mvtec, few_shot="few_shot.txt")


def test_too_many_bad_photographs_stop_the_run_with_twenty_reasons(mvtec: Path) -> None:
    for number in range(25):
        (mvtec / "train" / "good" / f"bad{number:02d}.png").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        load(mvtec)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        f"{mvtec}: 25 of 37 photographs cannot be used; at most 2.0% may be bad. "
        "Mend or remove them, or raise data.max_bad_fraction"
    )
    assert lines[1].startswith("  train/good/bad00.png: is not a picture")
    assert len(lines) == 22
    assert lines[-1] == "  and 5 more"
    assert len(load(mvtec, max_bad_fraction=25 / 37).refused) == 25
    with pytest.raises(DataError, match="25 of 37"):
        load(mvtec, max_bad_fraction=24.9 / 37)


def test_a_missing_folder_is_an_error_that_tells_the_layout(mvtec: Path, tmp_path: Path) -> None:
    layout = "train/good, test/good and test/<defect>, with masks as ground_truth/<defect>/<stem>_mask.png"
    with pytest.raises(DataError) as caught:
        load(tmp_path / "nowhere")
    assert str(caught.value) == (
        f"{tmp_path / 'nowhere'}: no such folder; data.root must be the folder of one category with {layout}"
    )
    with pytest.raises(DataError) as caught:
        load(mvtec.parent)
    assert str(caught.value) == (
        f"{mvtec.parent}: is not in the MVTec AD layout; expected {layout}; found plate. Set data.root to {mvtec}"
    )
    for photo in (mvtec / "train" / "good").iterdir():
        photo.unlink()
    with pytest.raises(DataError, match="no normal photograph to learn from; put defect-free pictures there"):
        load(mvtec)


def test_an_unknown_defect_is_an_error(mvtec: Path) -> None:
    with pytest.raises(DataError, match=r"plate: no defect folder rust; found crack, hole\. Mend data\.defects"):
        load(mvtec, defects=("rust", "hole"))


def test_one_picture_in_two_splits_is_an_error(mvtec: Path) -> None:
    data = (mvtec / "train" / "good" / "000.png").read_bytes()
    (mvtec / "test" / "good" / "002.png").write_bytes(data)
    with pytest.raises(DataError) as caught:
        load(mvtec)
    assert str(caught.value).splitlines() == [
        "plate: 1 photograph(s) are in two splits; a number measured on what was learned from means nothing. "
        "Remove them from one split",
        "  photo test/good/002.png is in both train and test (the same picture as train/good/000.png)",
    ]
    (mvtec / "test" / "good" / "001.png").write_bytes(data)  # twice in one split is no leak
    (mvtec / "train" / "good" / "000.png").unlink()
    assert len(load(mvtec).test) == 9


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({}, "unknown"),
        ({"README.md": "# Set\nhello\n"}, "unknown"),
        ({"README.md": "# Set\n## Licence\n**CC BY 4.0**: free.\n## Counts\n3\n"}, "CC BY 4.0: free."),
        ({"readme.txt": "A set\nLicense: MIT\n"}, "MIT"),
        ({"LICENSE": "MIT License\n\nCopyright (c) 2025\n"}, "MIT License Copyright (c) 2025"),
    ],
)
def test_the_licence_is_read(mvtec: Path, files: dict[str, str], licence: str) -> None:
    for name, text in files.items():
        (mvtec / name).write_text(text)
    assert load(mvtec).licence == licence

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from farm.config import DataConfig
from farm.datasets import PhotoSet, load_photos, read_channels, read_mask, read_photo
from farm.errors import DataError
from farm.run_folder import RunFolder
from farm.source_index import read_index, write_index
from tests.layouts import LOCO_DEFECTS, LOCO_REGIONS, drawn, make_loco, save_numbers
from tests.trees import save_photo


@pytest.fixture
def loco(tmp_path: Path) -> Path:
    return make_loco(tmp_path / "pushpins")


def load(root: Path, **changes: Any) -> PhotoSet:
    settings = {"kind": "loco", "root": str(root), "category": "pushpins", "few_shot": "none"}
    return load_photos(DataConfig.model_validate(settings | changes))


def reason(root: Path) -> str:
    """Why the one bad photograph is refused."""
    (bad, *left_out) = load(root, max_bad_fraction=0.2).refused
    assert len(left_out) == 3
    return bad.reason


def test_counts_and_splits(loco: Path) -> None:
    photos = load(loco)
    assert [photo.relative for photo in photos.train] == [f"train/good/{n:03d}.png" for n in range(3)]
    assert Counter(photo.defect for photo in photos.test) == {
        None: 3,
        "logical_anomalies": 3,
        "structural_anomalies": 3,
    }
    assert photos.shots == ()
    assert photos.licence == "CC BY-NC-SA 4.0"


def test_the_validation_split_is_in_no_split_and_that_is_told(loco: Path) -> None:
    photos = load(loco, max_bad_fraction=0.0)
    assert [bad.path for bad in photos.refused] == [str(loco / "validation/good" / f"{n:03d}.png") for n in range(3)]
    assert photos.refused[1].reason == (
        "validation/good/001.png: normal, of the split that is published for calibration; it is neither learned from "
        "nor evaluated"
    )


def test_the_mask_is_the_union_of_the_regions_that_are_drawn(loco: Path) -> None:
    for photo in load(loco).test:
        boxes = LOCO_REGIONS[photo.defect][Path(photo.path).stem] if photo.defect else []
        assert np.array_equal(read_mask(photo, 16), drawn(*(box for _, box in boxes)))


def test_a_channel_is_a_region_at_its_own_resolution_with_what_must_be_found_of_it(loco: Path) -> None:
    logical = {photo.relative: photo for photo in load(loco).test if photo.defect == "logical_anomalies"}
    first = logical["test/logical_anomalies/000.png"]
    assert [channel.defect for channel in first.channels] == ["missing_pin", "broken_pin"]
    found = read_channels(first)
    assert np.array_equal(found.masks, [drawn((0, 4, 0, 4)), drawn((2, 6, 2, 6))])
    assert found.saturations.tolist() == [6.0, 8.0]  # pixels; half of the 16 of the second
    assert read_channels(logical["test/logical_anomalies/001.png"]).saturations.tolist() == [32.0]  # 6300: all there is
    assert read_channels(logical["test/logical_anomalies/002.png"]).saturations.tolist() == [4.0]


def test_a_good_photograph_has_no_channel_but_a_size(loco: Path) -> None:
    good = next(photo for photo in load(loco).test if photo.is_good)
    found = read_channels(good)
    assert found.masks.shape == (0, 16, 16)
    assert found.saturations.shape == (0,)


@pytest.mark.parametrize(("count", "shots"), [(1, 1), (2, 1), (3, 1), (4, 1), (9, 3), (10, 3)])
def test_the_first_third_is_few_shot_and_the_rest_is_test(loco: Path, count: int, shots: int) -> None:
    for number in range(3, count):
        save_photo(loco / "test" / "structural_anomalies" / f"{number:03d}.png")
        save_numbers(loco / "ground_truth" / "structural_anomalies" / f"{number:03d}/000.png", [(254, (0, 1, 0, 1))])
    for number in range(count, 3):
        (loco / "test" / "structural_anomalies" / f"{number:03d}.png").unlink()
    photos = load(loco, few_shot="third", defects=("structural_anomalies",))
    assert [photo.relative[-7:] for photo in photos.shots] == [f"{n:03d}.png" for n in range(shots)]
    assert [photo.relative[-7:] for photo in photos.test if photo.defect] == [
        f"{n:03d}.png" for n in range(shots, count)
    ]
    assert not {photo.photo_id for photo in photos.shots} & {photo.photo_id for photo in photos.test}


def test_the_index_gives_the_channels_back(loco: Path, tmp_path: Path) -> None:
    photos = load(loco, few_shot="third")
    folder = RunFolder(str(tmp_path / "run"))
    write_index(folder, photos)
    assert read_index(folder) == photos
    assert read_channels(read_index(folder).shots[0]).saturations.tolist() == [6.0, 8.0]


def test_the_fingerprint_knows_regions_and_what_must_be_found_of_them(loco: Path) -> None:
    before = load(loco).fingerprint
    assert load(loco.rename(loco.parent / "moved")).fingerprint == before
    loco = loco.parent / "moved"
    (loco / "defects_config.json").write_text(
        json.dumps([{**LOCO_DEFECTS[0], "saturation_threshold": 7}, *LOCO_DEFECTS[1:]])
    )
    other = load(loco).fingerprint
    assert other != before
    save_numbers(loco / "ground_truth" / "logical_anomalies" / "001" / "000.png", [(253, (8, 12, 8, 15))])
    assert load(loco).fingerprint not in (before, other)


def test_grey_photographs_become_rgb(loco: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(loco / "train" / "good" / "000.png")
    assert np.array_equal(read_photo(load(loco).train[0], 16), np.repeat(grey[..., None], 3, axis=2))


def test_a_region_that_changes_later_is_not_read(loco: Path) -> None:
    photo = next(photo for photo in load(loco).test if photo.channels)
    save_numbers(Path(photo.channels[-1].path), [(254, (0, 1, 0, 1))])
    for read in (lambda: read_mask(photo, 16), lambda: read_channels(photo)):
        with pytest.raises(DataError, match=r"001\.png: the file has changed since the photographs were loaded"):
            read()


def test_a_missing_mask_is_refused(loco: Path) -> None:
    (loco / "ground_truth" / "logical_anomalies" / "001" / "000.png").unlink()
    assert reason(loco) == "ground_truth/logical_anomalies/001: holds no mask; draw one, or remove the photograph"
    (loco / "ground_truth" / "logical_anomalies" / "001").rmdir()
    assert reason(loco) == (
        "ground_truth/logical_anomalies/001: the mask is missing; draw it, or remove the photograph"
    )


def test_a_mask_of_another_size_is_refused(loco: Path) -> None:
    save_numbers(loco / "ground_truth" / "logical_anomalies" / "000" / "001.png", [(254, (0, 4, 0, 4))], side=20)
    assert reason(loco) == (
        "ground_truth/logical_anomalies/000/001.png: the mask has 20 x 20 px but its photograph 16 x 16; "
        "a mask must have its photograph's size"
    )


def test_a_number_that_stands_for_no_defect_is_refused(loco: Path) -> None:
    save_numbers(loco / "ground_truth" / "logical_anomalies" / "000" / "001.png", [(7, (0, 4, 0, 4))])
    assert reason(loco) == (
        "ground_truth/logical_anomalies/000/001.png: holds 7, which stands for no defect; known are 253, 254, 255. "
        "Take mask and list of defects from one version of the set"
    )


def test_two_regions_in_a_file_and_an_empty_file_are_refused(loco: Path) -> None:
    where = loco / "ground_truth" / "logical_anomalies" / "000" / "001.png"
    save_numbers(where, [(255, (0, 4, 0, 4)), (254, (8, 9, 8, 9))])
    assert reason(loco).endswith("001.png: holds 254, 255; a file is one region and has one number. Give each its file")
    save_numbers(where, [])
    assert reason(loco).endswith("001.png: the mask is empty (all 0); mark the defect, or move the photograph to good")


def test_a_folder_of_masks_that_leaves_the_root_is_refused(loco: Path) -> None:
    where = loco / "ground_truth" / "logical_anomalies" / "001"
    where.rename(loco.parent / "elsewhere")
    where.symlink_to(loco.parent / "elsewhere")
    assert reason(loco) == f"ground_truth/logical_anomalies/001: is a link that leaves {loco}; copy the file instead"


def test_a_region_whose_name_is_no_unicode_is_refused_in_words_that_can_be_written(loco: Path, tmp_path: Path) -> None:
    where = loco / "ground_truth" / "logical_anomalies" / "001"
    try:
        os.rename(where / "000.png", os.fsencode(where) + b"/\xe9.png")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert reason(loco) == (
        "ground_truth/logical_anomalies/001/\\udce9.png: the name is not Unicode text (UTF-8); "
        "rename the file or its folder"
    )
    write_index(RunFolder(str(tmp_path / "run")), load(loco, max_bad_fraction=0.2))


def test_a_mask_that_is_a_bomb_is_refused_by_its_header(loco: Path) -> None:
    save_numbers(loco / "ground_truth" / "logical_anomalies" / "001" / "000.png", [(253, (0, 4, 0, 4))], side=300)
    found = load(loco, max_bad_fraction=0.2, max_megapixels=0.05).refused[0].reason
    assert "000.png: 300 x 300 px are 0.1 megapixels; at most 0.05 are allowed" in found


def test_a_missing_config_is_an_error(loco: Path) -> None:
    (loco / "defects_config.json").unlink()
    with pytest.raises(DataError) as caught:
        load(loco)
    assert str(caught.value) == (
        f"{loco / 'defects_config.json'}: is missing; it names the defects and how much of each must be found "
        "(defect_name, pixel_value, saturation_threshold and relative_saturation). Take it from the published set"
    )


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("{", "the file: Invalid JSON"),
        ("[" * 100_000, "the file: Invalid JSON: recursion limit exceeded"),
        (json.dumps({"defects": LOCO_DEFECTS}), "the file: Input should be a valid array"),
        (
            json.dumps([{**LOCO_DEFECTS[0], "pixel_value": 256}]),
            r"0\.pixel_value: Input should be less than or equal to",
        ),
        (
            json.dumps([{**LOCO_DEFECTS[0], "saturation_threshold": 0}]),
            r"0\.saturation_threshold: Input should be greater",
        ),
        (
            json.dumps([{**LOCO_DEFECTS[0], "relative_saturation": "no"}]),
            r"0\.relative_saturation: Input should be a valid",
        ),
        (json.dumps([{"defect_name": "pin"}]), r"0\.pixel_value: Field required"),
        (json.dumps([LOCO_DEFECTS[0]] * 2), "gives a pixel_value to two defects; each needs its own"),
    ],
)
def test_a_config_that_says_it_wrongly_is_an_error(loco: Path, config: str, text: str) -> None:
    (loco / "defects_config.json").write_text(config)
    with pytest.raises(DataError, match=rf"defects_config\.json: {text}.*published") as caught:
        load(loco)
    assert len(str(caught.value)) < 1000


def test_the_folder_above_is_told_which_is_right(loco: Path) -> None:
    with pytest.raises(DataError, match=rf"is not in the MVTec LOCO AD layout; .*\. Set data\.root to {loco}$"):
        load(loco.parent)
    make_loco(loco.parent / "juice_bottle")
    with pytest.raises(DataError, match=rf"Set data\.root to {loco.parent / 'juice_bottle'} or {loco}$"):
        load(loco.parent, category="screws")

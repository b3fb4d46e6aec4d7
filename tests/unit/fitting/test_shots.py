from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farm.config import Run
from farm.datasets import load_photos, read_mask, read_photo
from farm.datasets.photo import defect_name
from farm.errors import DataError
from farm.fitting.shots import Shots, load_shots


def load(run: Run) -> Shots:
    return load_shots(run, load_photos(run.data), run.methods[0])


def test_shots_are_the_photographs_and_masks_of_the_list(make: Callable[..., Run]) -> None:
    run = make(size_px=48)
    photos = load_photos(run.data)
    shots = load_shots(run, photos, run.methods[0])
    assert shots.ids == tuple(shot.photo_id for shot in photos.shots)
    assert shots.defects == ("disc", "disc")
    assert shots.prompts == ("a disc", "a disc")
    for index, photo in enumerate(photos.shots):
        np.testing.assert_array_equal(shots.images[index], read_photo(photo, 48))
        np.testing.assert_array_equal(shots.masks[index], read_mask(photo, 48))
    assert shots.normals.shape == (12, 48, 48, 3)
    np.testing.assert_array_equal(shots.normals[3], read_photo(photos.train[3], 48))
    assert shots.problems == ()


def test_no_test_photograph_is_opened(make: Callable[..., Run], tree: Path) -> None:
    run = make()
    photos = load_photos(run.data)
    for photo in photos.test:
        Path(photo.path).write_bytes(b"not a picture")
    shots = load_shots(run, photos, run.methods[0])
    assert not set(shots.ids) & {photo.photo_id for photo in photos.test}
    assert shots.problems == ()


def test_normals_are_those_of_the_arm(make: Callable[..., Run]) -> None:
    run = make(methods=[{"kind": "background_aware", "sources": 3, "fit": {}}])
    photos = load_photos(run.data)
    wanted = np.stack([read_photo(photos.train[place], 64) for place in (0, 6, 11)])
    np.testing.assert_array_equal(load_shots(run, photos, run.methods[0]).normals, wanted)


def test_a_photograph_that_cannot_be_read_is_left_out(make: Callable[..., Run], tree: Path) -> None:
    run = make()
    photos = load_photos(run.data)
    (tree / "ground_truth" / "disc" / "000_mask.png").unlink()
    (tree / "train" / "good" / "002.png").write_bytes(b"not a picture")
    shots = load_shots(run, photos, run.methods[0])
    assert shots.ids == (photos.shots[1].photo_id,)
    assert len(shots.normals) == 11
    assert shots.problems[0].startswith("test/disc/000.png: ")
    assert "the file has changed" in shots.problems[1]


def test_nothing_to_learn_from_is_said(make: Callable[..., Run], tree: Path) -> None:
    other = {"normal": "a plate", "defects": [{"name": "scratch", "prompt": "a scratch"}]}
    with pytest.raises(
        DataError, match="plate: no few-shot photograph to learn from; found 2 of 'disc'; wanted scratc"
    ):
        load(make(prompts=other))
    run = make()
    photos = load_photos(run.data)
    with pytest.raises(DataError, match="found none at all; wanted disc with masks"):
        load_shots(run, replace(photos, shots=()), run.methods[0])
    bare = tuple(replace(shot, mask_path=None) for shot in photos.shots)
    with pytest.raises(DataError, match=r"000\.png: .*000\.png: shows 'disc' but has no mask"):
        load_shots(run, replace(photos, shots=bare), run.methods[0])


def test_a_folder_is_named_as_a_run_names_defects() -> None:
    assert [defect_name(name) for name in ("disc", "Broken Wire", "MT-Crack")] == ["disc", "broken_wire", "mt_crack"]

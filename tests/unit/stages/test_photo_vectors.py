"""What the judge knows of photographs: whole, cut into windows, and how grainy real defects are."""

from pathlib import Path

import numpy as np
import pytest

from farm.config import Run
from farm.crop_index import PhotoCrops
from farm.crops import cut, defect_window, grid_windows, reference_windows
from farm.datasets import load_photos, read_mask, read_photo
from farm.embedders.pixels import MeanPixels
from farm.facts import grain
from farm.parts import to_batch
from farm.prepare import prepare
from farm.run_folder import RunFolder
from farm.stages.photo_vectors import CROP_NORMALS, REFERENCES, PhotoVectors, Seen, grains, photo_crops
from tests.loop import run_in_a_loop
from tests.photos import make_run, make_tree

SHAPE = (64, 64)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"), train=70, shots=6)


def asked(root: Path, output: Path, crops: str) -> Run:
    return make_run(root, output, embed={"kind": "pixels", "crops": crops}, filter={"low_margin": 0.5})


def seen(root: Path, output: Path, crops: str) -> dict[str, Seen]:
    run = asked(root, output, crops)
    folder, plan = prepare(run)
    vectors = PhotoVectors(folder, plan.photos)
    for block in reversed(range(len(vectors))):
        vectors.embed(block, run, MeanPixels())
    assert vectors.missing() == []
    return vectors.read()


def test_windows_of_photographs_are_the_vectors_of_what_is_cut_out(root: Path, tmp_path: Path) -> None:
    found = seen(root, tmp_path / "run", "grid")
    photos, embedder = load_photos(asked(root, tmp_path / "x", "grid").data), MeanPixels()
    crops = photo_crops(found)
    assert isinstance(crops, PhotoCrops)
    assert crops.normals.shape == (CROP_NORMALS, REFERENCES, embedder.dim)
    assert crops.grid.shape == (CROP_NORMALS, 9, embedder.dim)
    last = read_photo(photos.train[-1], 64)
    np.testing.assert_array_equal(crops.normals[-1], embedder(cut(last, reference_windows(SHAPE))))
    np.testing.assert_array_equal(crops.grid[-1], embedder(cut(last, grid_windows(SHAPE))))
    for vector, shot in zip(crops.shots, photos.shots, strict=True):
        window = defect_window(read_mask(shot, 64))
        np.testing.assert_array_equal(vector, embedder(cut(read_photo(shot, 64), [window]))[0])


def test_only_real_defects_that_may_be_learned_from_are_looked_at_for_grain(root: Path, tmp_path: Path) -> None:
    found = seen(root, tmp_path / "run", "none")
    shots = load_photos(asked(root, tmp_path / "x", "none").data).shots
    wanted = [grain(read_photo(shot, 64), read_mask(shot, 64) > 0) for shot in shots]
    np.testing.assert_allclose(grains(found), wanted, rtol=1e-6)
    assert photo_crops(found) is None
    assert not np.isfinite(found["test"].grain).any()
    assert found["train"].crops.shape == (70, 0, MeanPixels().dim)


def test_a_run_with_crops_is_judged_by_them(root: Path, tmp_path: Path) -> None:
    run_in_a_loop(asked(root, tmp_path / "run", "grid"))
    folder = RunFolder(str(tmp_path / "run"))
    verdicts, known = to_batch(folder.verdicts()), folder.read_json(folder.verdict_name("calibration.json"))
    assert np.isfinite(verdicts["crop_score"]).all()
    assert np.isfinite(verdicts["grid_score"]).any()
    assert len(known["crop_scores"]) == len(known["grains"]) == 6
    assert known["crop_low"] == pytest.approx(np.quantile(known["crop_scores"], 0.01) - 0.15)
    assert known["grid_low"] == pytest.approx(np.quantile(known["grid_scores"], 0.01) - 0.5)
    assert known["max_grain"] == pytest.approx(1.5 * np.quantile(known["grains"], 0.99))
